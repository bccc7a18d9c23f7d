//! The threads of the process: dumps of all of their stacks, in Go's grammar, with the tasks that
//! they run, and where threads were created.

#[cfg(all(feature = "sampler", stacks))]
mod blocked_workers;
#[cfg(all(feature = "sampler", stacks))]
mod deadlock;
#[cfg(all(feature = "sampler", stacks))]
pub(crate) mod dump;
#[cfg(all(feature = "sampler", stacks))]
#[allow(unsafe_code)]
pub(crate) mod raw;
#[cfg(all(feature = "sampler", stacks))]
mod tasks;
#[cfg(all(feature = "sampler", stacks))]
mod text;
#[cfg(intercepted)]
pub(crate) mod threadcreate;
#[cfg(all(feature = "sampler", stacks, not(intercepted)))]
pub(crate) mod threadcreate_names;
