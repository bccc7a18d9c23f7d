//! Where threads were at work, as the CPU engine saw them while the window was open: it is shared, so
//! that any profile can be taken at the same time.

use std::collections::HashMap;

use crate::cpu::sampled::not_started;
use crate::cpu::sampler::{self, CpuSubscription, SampledStacks};
use crate::stacks::gap::name_outside;
use crate::stacks::own_frames::is_own_frame;
use crate::stacks::symbol::AddressSymbolizer;
use crate::trace::tree::{SampleTree, StopSampling, TreeSample};

/// Samples of each second of CPU time.
const HZ: u32 = 100;

/// Begins to take samples. Returns the function that ends it; an error does not keep a trace from
/// being taken.
pub(super) fn start() -> StopSampling {
    let sampling =
        sampler::subscribe_with_timestamps(HZ).map_err(|error| not_started(error).chain());
    Box::new(|| match sampling.map(CpuSubscription::end) {
        Ok(stacks) => Box::new(|| resolve(stacks)),
        Err(why) => Box::new(move || SampleTree::new(format!("none: {why}"))),
    })
}

/// Resolves the samples: looks up the names of their functions.
fn resolve(stacks: SampledStacks) -> SampleTree {
    let missing = stacks.missing.as_ref().map(|missing| format!("; missing: {missing}"));
    let missing = missing.unwrap_or_default();
    let samples = stacks.into_timestamped();
    let mut tree = SampleTree::new(format!("{HZ} for each second of CPU time{missing}"));
    tree.lost = samples.lost;
    // A trace's memory is bounded by its buffer; that of line tables is not.
    let mut symbolizer = AddressSymbolizer::of_names();
    let mut known: HashMap<u64, Vec<u32>> = HashMap::new();
    for sample in samples.iter() {
        let name = || samples.name(sample).to_owned();
        tree.threads.entry(sample.thread).or_insert_with(name);
        let mut frame = None;
        for &address in sample.addresses.iter().rev() {
            let names = known.entry(address).or_insert_with(|| match symbolizer.find(address) {
                Some((object, _)) => symbolizer
                    .frames(object, address)
                    .iter()
                    .rev()
                    .filter(|frame| !is_own_frame(&frame.name, &frame.file))
                    .map(|frame| tree.intern_name(&frame.name))
                    .collect(),
                None => vec![tree.intern_name(&name_outside(address))],
            });
            for &name in &*names {
                frame = Some(tree.intern_frame(frame, name));
            }
        }
        if let Some(frame) = frame {
            tree.samples.push(TreeSample { at: sample.at, thread: sample.thread, frame });
        }
    }
    tree
}
