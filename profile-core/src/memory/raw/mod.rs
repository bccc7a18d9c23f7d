//! The unsafe code of asking allocators for their numbers.

#[cfg(feature = "jemalloc")]
pub(super) mod jemalloc_stats;
#[cfg(target_env = "gnu")]
pub(super) mod mallinfo;
