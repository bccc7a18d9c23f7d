//! CPU profiles: the sampler, the engine of the crate `pprof`, and the collectors on top of them.

#[cfg(all(any(feature = "sampler", feature = "pprof-rs"), target_os = "linux"))]
mod owner;
#[cfg(all(feature = "pprof-rs", target_os = "linux"))]
pub(crate) mod pprof;
#[cfg(all(any(feature = "sampler", feature = "pprof-rs"), target_os = "linux"))]
#[allow(unsafe_code)]
mod raw;
#[cfg(all(feature = "sampler", stacks))]
pub(crate) mod sampled;
#[cfg(all(feature = "sampler", stacks))]
pub(crate) mod sampler;
