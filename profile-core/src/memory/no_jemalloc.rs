//! jemalloc's statistics without jemalloc: none.

use super::MemoryStats;

pub(super) fn stats() -> Option<MemoryStats> {
    None
}
