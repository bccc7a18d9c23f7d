//! The frames of an allocation's stack that lie between the program and the sample of it: the
//! allocator's, ours, and the standard library's way there.
//!
//! Left in, they would take all of the flat value: every allocation happens in `malloc`.

use std::ops::Range;

use profile_format::owner::{FrameOwner, OwnFrame, is_allocating};

#[cfg(all(feature = "jemalloc", target_os = "linux"))]
use crate::heap::raw::jemalloc;

/// The most places in the code that an allocator, the wrapper and Rust's own functions around them
/// take.
pub(crate) const ALLOCATOR_DEPTH: usize = 12;

/// The part that a frame has in an allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AllocationFrame {
    /// The allocator's, or ours inside it. Whatever is nearer to the leaf is the allocator's too,
    /// though its static functions have names that say nothing.
    Allocator,
    /// The standard library's way to it.
    Way,
    /// Ours, somewhere in the program's stack.
    Passing,
    /// The program's, or that of a library it calls.
    Caller,
}

/// Ranges of allocators' code, for programs that were stripped of its names.
static RANGES: &[fn() -> Range<u64>] = &[
    #[cfg(all(feature = "jemalloc", target_os = "linux"))]
    jemalloc::code_range,
];

impl AllocationFrame {
    /// Tells the part of a function by its name and file, and where it has none by its address.
    pub(crate) fn of(address: u64, function: &str, file: &str) -> AllocationFrame {
        if function.starts_with('[') && RANGES.iter().any(|range| range().contains(&address)) {
            return AllocationFrame::Allocator;
        }
        match FrameOwner::of(function, file) {
            FrameOwner::Allocator | FrameOwner::Profiler(OwnFrame::Allocating) => {
                AllocationFrame::Allocator
            }
            FrameOwner::Profiler(OwnFrame::Passing | OwnFrame::Around) => AllocationFrame::Passing,
            FrameOwner::Standard if is_allocating(function, file) => AllocationFrame::Way,
            _ => AllocationFrame::Caller,
        }
    }
}

/// Finds the first of a stack's frames that is the caller's, the first `low` of which may be the
/// allocator's. `None` where there is no caller.
pub(crate) fn find_caller(
    frames: impl ExactSizeIterator<Item = AllocationFrame> + DoubleEndedIterator + Clone,
    low: usize,
) -> Option<usize> {
    let entry = frames.clone().take(low).rposition(|frame| frame == AllocationFrame::Allocator);
    let above = entry.map_or(0, |at| at + 1);
    let caller = frames.skip(above).position(|frame| frame == AllocationFrame::Caller)?;
    Some(above + caller)
}
