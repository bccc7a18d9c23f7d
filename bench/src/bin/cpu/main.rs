//! Area `cpu`: the sampler against its bars, with the `pprof` crate beside it.
//!
//! A line is a file; to add one, name it here.

mod capture;
mod lockstep;
mod shares;

mod cost;
mod dump;
mod memory;

mod short_lived;
mod subscribers;

use std::process::ExitCode;

use profilez_bench::run;

const LINES: &[run::Line] = &[
    capture::LINE,
    shares::LINE,
    lockstep::LINE,
    cost::LINE,
    memory::LINE,
    short_lived::LINE,
    dump::LINE,
    subscribers::LINE,
];

fn main() -> ExitCode {
    run::area(LINES)
}
