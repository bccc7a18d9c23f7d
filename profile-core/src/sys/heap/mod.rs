//! The heap recorder's dealings with the system and with allocators. Everything here but [`hooks`]'s
//! and [`sampled`]'s set-up runs inside an allocator.

#[cfg(feature = "jemalloc")]
pub(crate) mod hooks;
pub(crate) mod sampled;
pub(crate) mod words;
