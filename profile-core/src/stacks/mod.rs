//! Stacks of this process: unwinding them from any place, and naming what is in them.

#[cfg(stacks)]
#[allow(dead_code)]
pub(crate) mod blocked;
#[cfg(all(feature = "_symbols", target_os = "linux"))]
#[cfg_attr(not(stacks), allow(dead_code))]
pub(crate) mod gap;
#[cfg(all(feature = "_symbols", target_os = "linux"))]
pub(crate) mod locate;
pub(crate) mod names;
// Without an engine the build id is all that is asked for.
#[cfg_attr(not(feature = "_symbols"), allow(dead_code))]
pub(crate) mod objects;
#[cfg(all(feature = "_symbols", target_os = "linux"))]
#[cfg_attr(not(feature = "sampler"), allow(dead_code))]
pub(crate) mod own_frames;
#[cfg(stacks)]
#[allow(unsafe_code)]
pub(crate) mod raw;
#[cfg(all(feature = "_symbols", target_os = "linux"))]
#[cfg_attr(not(all(feature = "sampler", stacks)), allow(dead_code))]
pub(crate) mod symbol;
pub(crate) mod symbols;
#[cfg(stacks)]
#[allow(dead_code)]
pub(crate) mod unwind;
