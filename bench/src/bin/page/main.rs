//! Area `page`: what the live page costs the process that it shows. There is no peer: nothing else
//! answers a Rust process's page from inside.
//!
//! A line is a file; to add one, name it here.

mod answers;
mod collector;

use std::alloc::System;
use std::process::ExitCode;

use profile_core::alloc::Sampled;
use profilez_bench::run;

#[global_allocator]
static ALLOCATOR: Sampled<System> = Sampled::new(System);

const LINES: &[run::Line] = &[collector::LINE, answers::STATS, answers::GOROUTINES];

fn main() -> ExitCode {
    run::area(LINES)
}
