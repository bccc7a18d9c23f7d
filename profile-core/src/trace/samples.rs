//! Where threads were at work, as the CPU engine saw them while the window was open: it is shared, so
//! that any profile can be taken at the same time.

use std::collections::HashMap;

use crate::cpu::sampled::not_started;
use crate::cpu::sampler;
use crate::cpu::sampler::{Stacks, Subscription};
use crate::stacks::symbol::Symbolizer;

use crate::trace::tree::{Sample, Tree};

/// Samples of each second of CPU time.
const HZ: u32 = 100;

/// Samples that are being taken, or why there are none.
pub(super) struct Sampling(Result<Subscription, String>);

/// Samples that were taken.
pub(crate) struct Samples(Result<Stacks, String>);

impl Sampling {
    /// Begins. What stands in its way does not keep a trace from being taken.
    pub(super) fn start() -> Sampling {
        Sampling(sampler::follow(HZ).map_err(|error| not_started(error).chain()))
    }

    pub(super) fn stop(self) -> Samples {
        Samples(self.0.map(Subscription::end))
    }
}

impl Samples {
    /// The samples by the names of functions, which are looked up here.
    pub(super) fn resolve(self) -> Tree {
        let stacks = match self.0 {
            Ok(stacks) => stacks,
            Err(why) => return Tree::new(format!("none: {why}")),
        };
        let missing = stacks.missing.as_ref().map(|missing| format!("; missing: {missing}"));
        let missing = missing.unwrap_or_default();
        let moments = stacks.into_moments();
        let mut tree = Tree::new(format!("{HZ} for each second of CPU time{missing}"));
        tree.lost = moments.lost;
        // A trace's memory is bounded by its buffer; that of line tables is not.
        let mut symbolizer = Symbolizer::of_names();
        let mut known: HashMap<u64, Vec<u32>> = HashMap::new();
        for moment in moments.iter() {
            let name = || moments.name(moment).to_owned();
            tree.threads.entry(moment.thread).or_insert_with(name);
            let mut frame = None;
            for &address in moment.addresses.iter().rev() {
                let names =
                    known.entry(address).or_insert_with(|| match symbolizer.find(address) {
                        Some((object, _)) => symbolizer
                            .frames(object, address)
                            .iter()
                            .rev()
                            .map(|frame| tree.name(&frame.name))
                            .collect(),
                        None => vec![tree.name(&format!("[{address:#x}]"))],
                    });
                for &name in &*names {
                    frame = Some(tree.frame(frame, name));
                }
            }
            if let Some(frame) = frame {
                tree.samples.push(Sample { at: moment.at, thread: moment.thread, frame });
            }
        }
        tree
    }
}
