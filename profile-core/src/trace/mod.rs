//! The execution trace: what happened when, on one time line, as Chrome trace events.
//!
//! While a window is open, threads write events to chunks of a bounded buffer (`ring`); when it
//! closes they are written as JSON, straight from there to whoever reads it. Without one, each place
//! that could record looks at one word and goes on.

pub(crate) mod collector;
mod counters;
#[cfg(all(feature = "sampler", stacks))]
mod cpu_samples;
mod encode;
mod json;
#[cfg(feature = "tracing")]
mod layer;
mod outline;
mod samples;
#[cfg_attr(not(all(feature = "sampler", stacks)), allow(dead_code))]
mod tree;
mod window;

pub(crate) use crate::trace::encode::encode;
#[cfg(feature = "tracing")]
pub use crate::trace::layer::{TraceLayer, WhileOpen, layer};
pub(crate) use crate::trace::window::{StartError, TraceRecording};
