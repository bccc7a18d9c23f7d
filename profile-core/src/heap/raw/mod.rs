//! The heap recorder's dealings with the system and with allocators. Everything here but
//! [`hooks`]'s and [`sampled`]'s set-up runs inside an allocator.

#[cfg(not(stacks))]
mod handed_on;
#[cfg(all(feature = "jemalloc", stacks))]
pub(crate) mod hooks;
#[cfg(all(feature = "jemalloc", target_os = "linux"))]
pub(crate) mod jemalloc;
#[cfg(all(feature = "jemalloc", target_os = "linux"))]
pub(crate) mod memory_file;
#[cfg(stacks)]
pub(crate) mod sampled;
#[cfg(stacks)]
pub(crate) mod words;
