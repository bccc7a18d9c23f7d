//! The process's one record of sampled blocks, which both feeders write to.
//!
//! It runs inside allocators: it does not allocate, lock, wait or call into libc.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::heap::live::{BlockKey, LiveBlock, LiveBlocks};
use crate::heap::sites::{OVERFLOW, SiteArena, SiteView};
use crate::heap::weight::SampleWeight;

static SITES: SiteArena = SiteArena::new();
static LIVE: LiveBlocks = LiveBlocks::new();
/// Blocks that were sampled and found no room.
static DROPPED: AtomicU64 = AtomicU64::new(0);
/// Blocks whose stack found no room.
static STACKLESS: AtomicU64 = AtomicU64::new(0);
/// Blocks whose stack has no beginning: it was cut, or lost its way.
static TRUNCATED: AtomicU64 = AtomicU64::new(0);

/// Frames of a stack that are kept.
pub(crate) const DEPTH: usize = 128;

/// Records a block of `size` bytes that was sampled at one byte of `rate`. `false` where there is
/// no room: nothing is recorded then.
pub(crate) fn record_allocation(
    key: BlockKey,
    size: u64,
    rate: u64,
    stack: &[u64],
    truncated: bool,
) -> bool {
    let site = SITES.intern(stack);
    let weight = SampleWeight::of(size, rate);
    // Once it is in there it can be freed, but not before the allocator has handed it out.
    if !LIVE.insert(key, LiveBlock { site, weight }) {
        DROPPED.fetch_add(1, Relaxed);
        return false;
    }
    if site == OVERFLOW {
        STACKLESS.fetch_add(1, Relaxed);
    } else if truncated {
        TRUNCATED.fetch_add(1, Relaxed);
    }
    SITES.count_alloc(site, weight);
    true
}

/// Records that a block is freed. `false` where it is not a sampled one.
pub(crate) fn record_free(key: BlockKey) -> bool {
    take_out(key).map(count_free).is_some()
}

/// Takes out a block that may be about to move; `None` where it is not a sampled one. It goes on to
/// [`count_free`], or where it stayed to [`put_back`].
pub(crate) fn take_out(key: BlockKey) -> Option<LiveBlock> {
    LIVE.remove(key)
}

/// Counts a block that was taken out as freed.
pub(crate) fn count_free(block: LiveBlock) {
    SITES.count_free(block.site, block.weight);
}

/// Puts back a block that was taken out. `false` where its place was taken meanwhile and there is no
/// other: it is dropped then.
pub(crate) fn put_back(key: BlockKey, block: LiveBlock) -> bool {
    let is_back = LIVE.insert(key, block);
    if !is_back {
        DROPPED.fetch_add(1, Relaxed);
        count_free(block);
    }
    is_back
}

/// Returns whether a block is a sampled one.
pub(crate) fn holds(key: BlockKey) -> bool {
    LIVE.contains(key)
}

/// Returns every site.
pub(crate) fn sites() -> impl Iterator<Item = SiteView> {
    SITES.iter()
}

/// Figures of how the recording went.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RecorderHealth {
    pub(crate) sites: usize,
    pub(crate) live: u64,
    pub(crate) dropped: u64,
    pub(crate) stackless: u64,
    pub(crate) truncated: u64,
}

pub(crate) fn health() -> RecorderHealth {
    RecorderHealth {
        sites: SITES.len(),
        live: LIVE.len(),
        dropped: DROPPED.load(Relaxed),
        stackless: STACKLESS.load(Relaxed),
        truncated: TRUNCATED.load(Relaxed),
    }
}
