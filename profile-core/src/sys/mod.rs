//! All `unsafe` code of the project, behind safe functions that prove each precondition once.
#![allow(unsafe_code)]

#[cfg_attr(unix, path = "clock_unix.rs")]
#[cfg_attr(not(unix), path = "clock_other.rs")]
pub(crate) mod clock;
#[cfg(target_os = "linux")]
pub(crate) mod directory;
#[cfg_attr(unix, path = "host_unix.rs")]
#[cfg_attr(not(unix), path = "host_other.rs")]
pub(crate) mod host;
#[cfg(all(feature = "jemalloc", target_os = "linux"))]
pub(crate) mod jemalloc;
#[cfg(all(feature = "jemalloc", target_os = "linux"))]
pub(crate) mod jemalloc_stats;
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(crate) mod mallinfo;
#[cfg(all(feature = "jemalloc", target_os = "linux"))]
pub(crate) mod memory_file;
// Without an engine the build id is all that is asked for.
#[cfg_attr(not(feature = "_symbols"), allow(dead_code))]
pub(crate) mod objects;
pub(crate) mod own_work;
pub(crate) mod place;
#[cfg(all(feature = "pprof-rs", target_os = "linux"))]
pub(crate) mod pprof_handler;
#[cfg_attr(unix, path = "region_unix.rs")]
#[cfg_attr(not(unix), path = "region_other.rs")]
pub(crate) mod region;
#[cfg(all(any(feature = "sampler", feature = "pprof-rs"), target_os = "linux"))]
pub(crate) mod sigprof;
#[cfg_attr(target_os = "linux", path = "this_thread_linux.rs")]
#[cfg_attr(not(target_os = "linux"), path = "this_thread_other.rs")]
pub(crate) mod this_thread;
#[cfg_attr(unix, path = "usage_unix.rs")]
#[cfg_attr(not(unix), path = "usage_other.rs")]
pub(crate) mod usage;
pub(crate) mod wakes;

#[cfg(stacks)]
#[cfg_attr(target_arch = "aarch64", path = "arch_aarch64.rs")]
#[cfg_attr(not(target_arch = "aarch64"), path = "arch_x86_64.rs")]
#[cfg_attr(not(feature = "sampler"), allow(dead_code))]
mod arch;
#[cfg(stacks)]
#[allow(dead_code)]
pub(crate) mod blocked;
#[cfg(stacks)]
#[allow(dead_code)]
pub(crate) mod capture;
#[cfg(all(feature = "sampler", stacks))]
pub(crate) mod dump;
#[cfg(all(feature = "heap", stacks))]
pub(crate) mod heap;
#[cfg(all(feature = "heap", not(stacks)))]
mod heap_handed_on;
#[cfg(intercepted)]
pub(crate) mod intercept;
#[cfg(stacks)]
#[allow(dead_code)]
mod mapping;
#[cfg(all(feature = "sampler", stacks))]
mod on_stack;
#[cfg(all(feature = "sampler", stacks))]
pub(crate) mod sampler;
#[cfg(stacks)]
#[allow(dead_code)]
mod scratch;
#[cfg(stacks)]
#[allow(dead_code)]
pub(crate) mod task;
#[cfg(stacks)]
#[allow(dead_code)]
pub(crate) mod unwind;
#[cfg(stacks)]
#[cfg_attr(not(feature = "sampler"), allow(dead_code))]
mod window;
#[cfg(intercepted)]
pub(crate) mod words;
