//! The unsafe code of both engines: who has `SIGPROF`.

#[cfg(feature = "pprof-rs")]
pub(super) mod pprof_handler;
pub(super) mod sigprof;
