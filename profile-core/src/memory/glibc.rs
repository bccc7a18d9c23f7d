//! What glibc's malloc says of itself.

use std::hint::black_box;
use std::sync::OnceLock;

use crate::memory::raw::mallinfo::{self, MallocSizes};
use crate::memory::{MemoryStats, Source};

/// Reads glibc's numbers. `None` where glibc is too old, or its malloc is not what Rust code
/// allocates with.
pub(super) fn stats() -> Option<MemoryStats> {
    static IS_GLOBAL: OnceLock<bool> = OnceLock::new();
    let info = mallinfo::read()?;
    if !*IS_GLOBAL.get_or_init(is_global_allocator) {
        return None;
    }
    let MallocSizes { arena, mapped, in_use, free } = info;
    Some(MemoryStats {
        source: Some(Source::Glibc),
        alloc: Some(in_use + mapped),
        heap_inuse: Some((arena + mapped).saturating_sub(free)),
        heap_idle: Some(free),
        heap_sys: Some(arena + mapped),
        ..MemoryStats::default()
    })
}

/// Returns whether an allocation moves glibc's count. Other threads may free meanwhile: one of some
/// tries is enough.
fn is_global_allocator() -> bool {
    const SIZE: usize = 64 << 10;
    (0..5).any(|_| {
        let before = mallinfo::read();
        let block = black_box(Vec::<u8>::with_capacity(black_box(SIZE)));
        let after = mallinfo::read();
        drop(block);
        before.zip(after).is_some_and(|(before, after)| after.in_use >= before.in_use + SIZE as u64)
    })
}
