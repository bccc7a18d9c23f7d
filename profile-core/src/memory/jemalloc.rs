//! What jemalloc says of itself.

use crate::heap::raw::jemalloc;
use crate::memory::raw::jemalloc_stats;
use crate::memory::{MemoryStats, Source};

/// Reads jemalloc's numbers. `None` where jemalloc is not the global allocator, or was built
/// without `stats`.
pub(super) fn stats() -> Option<MemoryStats> {
    if !jemalloc::is_global_allocator() {
        return None;
    }
    let sizes = jemalloc_stats::sizes()?;
    let ever = jemalloc_stats::allocation_sums();
    let add = |a: Option<u64>, b: Option<u64>| Some(a? + b?);
    Some(MemoryStats {
        source: Some(Source::Jemalloc),
        alloc: sizes.allocated,
        total_alloc: ever.map(|ever| ever.bytes),
        mallocs: ever.map(|ever| ever.allocated),
        frees: ever.map(|ever| ever.freed),
        heap_objects: ever.map(|ever| ever.allocated.saturating_sub(ever.freed)),
        heap_inuse: sizes.active,
        heap_idle: add(
            sizes.retained,
            sizes.mapped.zip(sizes.active).map(|(mapped, active)| mapped.saturating_sub(active)),
        ),
        heap_released: sizes.retained,
        heap_sys: add(sizes.mapped, sizes.retained),
        ..MemoryStats::default()
    })
}
