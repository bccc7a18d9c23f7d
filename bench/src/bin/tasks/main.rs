//! Area `tasks`: named tasks and the trace against their bars, with plain tokio beside them.
//!
//! A line is a file; to add one, name it here. In this area [`Engine::Ours`] is a named task and
//! [`Engine::None`] a plain one.
//!
//! [`Engine::Ours`]: profilez_bench::engine::Engine::Ours
//! [`Engine::None`]: profilez_bench::engine::Engine::None

mod dump;
mod memory;
mod poll;
mod spawn;
mod trace;

use std::process::ExitCode;

use profilez_bench::run;

const LINES: &[run::Line] = &[spawn::LINE, poll::LINE, memory::LINE, dump::LINE, trace::LINE];

fn main() -> ExitCode {
    run::area(LINES)
}
