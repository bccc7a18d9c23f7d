//! The unsafe code of asking the operating system.

#[cfg(target_os = "linux")]
pub(crate) mod directory;
pub(crate) mod host;
#[cfg(intercepted)]
pub(crate) mod monotonic;
pub(crate) mod place;
pub(crate) mod region;
pub(crate) mod this_thread;
#[cfg(all(feature = "jemalloc", target_os = "linux"))]
pub(crate) mod thread_switch;
#[cfg_attr(not(target_os = "linux"), allow(dead_code))]
pub(crate) mod usage;
