//! What a trace says: which tasks were busy, which kept their worker from everything else, which
//! were never polled again, and how long the queue was.
//!
//! [`summarize`] reads Chrome trace events, ours or anyone's, one by one: what it needs beside the
//! bytes, which are unpacked first, does not grow with the trace but with the names in it.
//! [`findings()`] says what somebody should look at.

mod findings;
mod read;
mod render;
mod summary;
#[cfg(test)]
mod tests;

pub use findings::{Finding, findings};
pub use render::{render, render_findings};
pub use summary::{
    Blocked, IdleTasks, Queue, SlowPolls, TaskTime, TraceLimits, TraceSummary, summarize,
};
