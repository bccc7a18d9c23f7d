//! What the process has allocated, by the stack that asked for it, without making a profile.
//!
//! One recorder holds what was sampled: each stack once, with what was allocated and what was freed
//! there, and each sampled block that is in use. Two feeders write to it. One is
//! [`alloc::Sampled`], around any allocator; the other are jemalloc's own
//! sampling hooks, which [`install`] puts in. Kinds `heap` and `allocs` and [`top`] read it, and
//! never make an allocating thread wait.
//!
//! Blocks that were allocated before a feeder was there are not known to it: a program with
//! jemalloc calls [`install`], or makes its [`Collectors`](crate::Collectors), before it allocates
//! much. The hooks stay for as long as the process, because a block's end is seen only with them. A
//! record is bounded: 64 MiB of stacks and five and a half million sampled blocks. What finds no
//! room is counted without its stack, or left out and counted as dropped.

#[cfg(feature = "heap")]
pub mod alloc;
#[cfg(any(all(feature = "heap", stacks), all(feature = "jemalloc", target_os = "linux")))]
pub(crate) mod allocator_frames;
#[cfg(all(feature = "heap", stacks))]
pub(crate) mod countdown;
// What no feed writes nobody reads.
#[cfg_attr(not(all(feature = "heap", stacks)), allow(dead_code))]
mod feed;
#[cfg_attr(not(all(feature = "heap", stacks)), allow(dead_code))]
pub(crate) mod feeds;
#[cfg(all(feature = "jemalloc", stacks))]
mod hooks_feed;
mod jemalloc_config;
#[cfg(all(feature = "heap", stacks))]
#[cfg_attr(not(feature = "jemalloc"), allow(dead_code))]
pub(crate) mod live;
#[cfg(all(feature = "heap", stacks))]
mod names;
#[cfg(any(all(feature = "heap", stacks), all(feature = "jemalloc", target_os = "linux")))]
pub(crate) mod profile;
#[cfg(feature = "heap")]
#[allow(unsafe_code)]
pub(crate) mod raw;
#[cfg(all(feature = "heap", stacks))]
pub(crate) mod recorded;
#[cfg(all(feature = "heap", stacks))]
pub(crate) mod recorder;
#[cfg(all(feature = "heap", stacks))]
pub(crate) mod sites;
#[cfg(all(feature = "heap", stacks))]
pub(crate) mod weight;
#[cfg(feature = "heap")]
pub(crate) mod wrapper;
#[cfg(all(feature = "heap", stacks))]
mod wrapper_feed;

use std::collections::HashMap;
use std::sync::Arc;

use crate::sys::own_work::OwnWork;

/// The part that writes the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Feeder {
    /// [`alloc::Sampled`].
    Sampled,
    /// jemalloc's sampling hooks.
    Jemalloc,
}

/// Amounts that were allocated, and that are in use of them: estimates from samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amounts {
    /// Blocks allocated.
    pub alloc_objects: u64,
    /// Their bytes.
    pub alloc_bytes: u64,
    /// Blocks in use.
    pub inuse_objects: u64,
    /// Their bytes.
    pub inuse_bytes: u64,
}

/// The stacks that allocate most.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Top {
    /// The part that recorded it.
    pub feeder: Feeder,
    /// Bytes between two samples on average; 0 where sampling is off.
    pub rate: u64,
    /// All that was allocated.
    pub total: Amounts,
    /// Stacks that allocated most bytes, the largest first.
    pub by_alloc: Vec<TopSite>,
    /// Stacks with most bytes in use, the largest first.
    pub by_inuse: Vec<TopSite>,
    /// Sampled blocks that found no room in the record.
    pub dropped: u64,
}

/// A stack and what was allocated there.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TopSite {
    /// Identity of the stack, which stays the same as long as the process lives.
    pub id: u64,
    /// The stack, the function that asked for memory first, inlined functions included; without the
    /// allocator's own frames. Empty for all stacks that found no room.
    pub stack: Arc<[Frame]>,
    /// Amounts that were allocated there.
    pub amounts: Amounts,
}

/// A function at a line.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Frame {
    /// The function's name, cut where it is very long.
    pub function: Arc<str>,
    /// Its source file, empty where unknown.
    pub file: Arc<str>,
    /// The line, 0 where unknown.
    pub line: u32,
}

impl Frame {
    /// Makes a frame of these texts.
    pub fn new(function: &str, file: &str, line: u32) -> Frame {
        Frame { function: function.into(), file: file.into(), line }
    }
}

/// Sees to it that allocations are recorded from here on, if they are not already, and says by
/// whom. `None` where the program's allocator is neither wrapped in [`alloc::Sampled`] nor a
/// jemalloc with profiling and hooks; the collectors say what is missing.
///
/// Making [`Collectors`](crate::Collectors) calls it. It changes nothing else: jemalloc samples or
/// doesn't as before.
pub fn install() -> Option<Feeder> {
    let _own = OwnWork::begin();
    feeds::install().map(|feed| feed.feeder)
}

/// Returns the `n` stacks that allocated most, and the `n` with most in use: with the same names,
/// but cheaper than a profile. `None` where nothing is recorded.
///
/// Names are kept for the next call, in 24 MiB at most. With a thousand stacks whose names are
/// known it takes less than a millisecond; new names take as long as in a profile. Names of more than
/// 512 bytes are cut, the types deepest within them first; [`stacks_in_full`] has them whole.
pub fn top(n: usize) -> Option<Top> {
    let feed = feeds::installed()?;
    feeds::RECORD.first().map(|record| (record.top)(n, feed))
}

/// Returns the stacks of sites that the last [`top`] has named, by [`TopSite::id`], with their whole names
/// however long. They are read anew, which takes as long as in a first profile.
pub fn stacks_in_full(ids: &[u64]) -> HashMap<u64, Arc<[Frame]>> {
    feeds::RECORD.first().map_or_else(HashMap::new, |record| (record.stacks_in_full)(ids))
}
