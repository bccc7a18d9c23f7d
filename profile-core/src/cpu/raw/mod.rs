//! The unsafe code of both engines: who has `SIGPROF`.

#[cfg(feature = "pprof-rs")]
pub(super) mod pprof_handler;
#[cfg_attr(not(feature = "sampler"), allow(dead_code))]
pub(super) mod sigprof;
