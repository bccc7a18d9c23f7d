//! Leaving frames out of stacks: those of libraries are charged to who called them.

use profile_format::owner::FrameOwner;
use profile_format::profile::Stacks;

use crate::frames::FrameTable;

/// The frames that are left out of stacks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Folding {
    /// None.
    #[default]
    Nothing,
    /// Those of the standard library, of allocators, of locks and of runtimes.
    Plumbing,
    /// All that are not the program's own.
    Libraries,
}

/// The frames of stacks that are shown. A stack without any of the wanted ones shows the next best,
/// and where all is plumbing its leaf.
pub(crate) struct ShownFrames<'a> {
    frames: &'a FrameTable<'a>,
    /// The worth of each frame; empty where all are shown.
    worths: Vec<u8>,
    least: u8,
}

impl Folding {
    /// Returns the least worth of a frame that is shown.
    fn least(self) -> u8 {
        match self {
            Folding::Nothing => 0,
            Folding::Plumbing => LIBRARY,
            Folding::Libraries => PROGRAM,
        }
    }
}

const RUNTIME: u8 = 1;
const LIBRARY: u8 = 2;
const PROGRAM: u8 = 3;

fn worth(owner: FrameOwner) -> u8 {
    match owner {
        FrameOwner::Program => PROGRAM,
        FrameOwner::Library => LIBRARY,
        FrameOwner::Runtime => RUNTIME,
        _ => 0,
    }
}

impl<'a> ShownFrames<'a> {
    pub(crate) fn new(frames: &'a FrameTable<'a>, folding: Folding) -> ShownFrames<'a> {
        let least = folding.least();
        if least == 0 {
            return ShownFrames { frames, worths: Vec::new(), least };
        }
        let of_function: Vec<u8> =
            frames.functions.iter().map(|named| worth(named.owner())).collect();
        let worths = frames.frames.iter().map(|frame| of_function[frame.function as usize]);
        ShownFrames { frames, worths: worths.collect(), least }
    }

    /// Returns the frames of a stack that are shown, the leaf first: one at least.
    pub(crate) fn path<'s>(
        &'s self,
        stacks: &'s Stacks<'_>,
        stack: usize,
    ) -> impl Iterator<Item = usize> + 's {
        let all = || self.frames.frames_or_none(stacks.locations(stack));
        let least = match self.least {
            0 => 0,
            least => all().map(|frame| self.worths[frame]).max().unwrap_or(0).min(least),
        };
        let most = if least == 0 && self.least > 0 { 1 } else { usize::MAX };
        all().filter(move |&frame| least == 0 || self.worths[frame] >= least).take(most)
    }
}
