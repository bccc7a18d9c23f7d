//! Estimates from what was sampled.

use crate::heap::{Feeder, feeds, recorded};
use crate::memory::{MemoryStats, Source};

/// Estimates the numbers from the wrapper's samples. Only these are complete: it has sampled from
/// the first allocation on.
pub(super) fn stats() -> Option<MemoryStats> {
    feeds::installed().filter(|feed| feed.feeder == Feeder::Sampled)?;
    let total = recorded::total();
    Some(MemoryStats {
        source: Some(Source::Sampled),
        alloc: Some(total.inuse_bytes),
        total_alloc: Some(total.alloc_bytes),
        mallocs: Some(total.alloc_objects),
        frees: Some(total.alloc_objects.saturating_sub(total.inuse_objects)),
        heap_objects: Some(total.inuse_objects),
        ..MemoryStats::default()
    })
}
