//! Area `contention`: waits, releases and thread births against the workload's own clocks.
//!
//! A line is a file; to add one, name it here.

mod profile;
mod sites;

mod holders;
mod truth;

mod bare;
mod births;
mod idle;
mod throughput;

use std::process::ExitCode;

use profilez_bench::run;

const LINES: &[run::Line] = &[
    truth::LINE,
    truth::SHORT,
    truth::SAMPLED,
    holders::LINE,
    throughput::UNCONTENDED,
    throughput::CONTENDED,
    births::LINE,
    idle::LINE,
];

fn main() -> ExitCode {
    run::area(LINES)
}
