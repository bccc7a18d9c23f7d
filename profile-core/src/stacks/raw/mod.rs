//! The unsafe code of reading stacks: registers and signals' frames, memory that may not be there, stacks of
//! our own to work on, and the threads of the process.

#[cfg_attr(not(feature = "sampler"), allow(dead_code))]
pub(crate) mod arch;
#[allow(dead_code)]
pub(crate) mod capture;
#[allow(dead_code)]
pub(crate) mod mapping;
#[cfg(feature = "sampler")]
#[cfg_attr(not(intercepted), allow(dead_code))]
pub(crate) mod on_stack;
#[allow(dead_code)]
pub(crate) mod retired;
#[allow(dead_code)]
pub(crate) mod scratch;
#[allow(dead_code)]
pub(crate) mod task;
#[cfg_attr(not(feature = "sampler"), allow(dead_code))]
pub(crate) mod window;
