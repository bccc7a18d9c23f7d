//! Stacks of samples as a tree of frames, each of which is written once.

use std::collections::HashMap;

/// Ends the taking of samples.
pub(crate) type StopSampling = Box<dyn FnOnce() -> ResolveSamples + Send>;
/// Looks up the functions of samples that were taken.
pub(crate) type ResolveSamples = Box<dyn FnOnce() -> SampleTree + Send>;

/// The samples of a trace, with their stacks as a tree of frames.
#[derive(Debug, Default)]
pub(crate) struct SampleTree {
    /// The source of the samples, or the reason why there are none.
    pub(super) source: String,
    /// Older samples that there was no room for.
    pub(super) lost: u64,
    pub(super) samples: Vec<TreeSample>,
    /// The names of the threads that were sampled, by their ids.
    pub(super) threads: HashMap<u32, String>,
    /// Each frame's caller and name.
    frames: Vec<(Option<u32>, u32)>,
    names: Vec<String>,
    known_frames: HashMap<(Option<u32>, u32), u32>,
    known_names: HashMap<String, u32>,
}

/// A thread was at work at this moment, in this frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TreeSample {
    pub(super) at: u64,
    pub(super) thread: u32,
    pub(super) frame: u32,
}

impl SampleTree {
    /// Makes a tree without samples; `source` says where they come from, or why there are none.
    pub(super) fn new(source: impl Into<String>) -> SampleTree {
        SampleTree { source: source.into(), ..SampleTree::default() }
    }
}

impl SampleTree {
    /// Returns the number of a name.
    pub(super) fn intern_name(&mut self, name: &str) -> u32 {
        if let Some(&known) = self.known_names.get(name) {
            return known;
        }
        let number = self.names.len() as u32;
        self.names.push(name.to_owned());
        self.known_names.insert(name.to_owned(), number);
        number
    }

    /// Returns the number of the frame of a function that was called from another frame.
    pub(super) fn intern_frame(&mut self, caller: Option<u32>, name: u32) -> u32 {
        let next = self.frames.len() as u32;
        let number = *self.known_frames.entry((caller, name)).or_insert(next);
        if number == next {
            self.frames.push((caller, name));
        }
        number
    }
}

impl SampleTree {
    /// Iterates over the frames: each one's caller's number, and its name.
    pub(super) fn frames(&self) -> impl Iterator<Item = (Option<u32>, &str)> {
        self.frames.iter().map(|&(caller, name)| (caller, self.names[name as usize].as_str()))
    }

    /// Iterates over the names of a frame and of its callers.
    pub(super) fn stack(&self, frame: u32) -> impl Iterator<Item = &str> {
        let callers = std::iter::successors(Some(frame), |&at| self.frames[at as usize].0);
        callers.map(|at| self.names[self.frames[at as usize].1 as usize].as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_kept_once_for_each_caller() {
        let mut tree = SampleTree::default();
        let (main, work) = (tree.intern_name("main"), tree.intern_name("work"));
        assert_eq!(tree.intern_name("main"), main);
        let root = tree.intern_frame(None, main);
        let leaf = tree.intern_frame(Some(root), work);
        assert_eq!(
            (tree.intern_frame(Some(root), work), tree.intern_frame(None, main)),
            (leaf, root)
        );
        assert_ne!(tree.intern_frame(None, work), leaf);
        assert_eq!(tree.stack(leaf).collect::<Vec<_>>(), ["work", "main"]);
        let frames: Vec<_> = tree.frames().collect();
        assert_eq!(frames, [(None, "main"), (Some(0), "work"), (None, "work")]);
    }
}
