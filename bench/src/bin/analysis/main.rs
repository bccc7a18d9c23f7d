//! Area `analysis`: reading what processes wrote, against its bars.
//!
//! A line is a file; to add one, name it here.

mod dumps;
mod hostile;
mod logged;

mod command;
mod hostile_profiles;
mod packed;
mod profiles;
mod text_heaps;

mod generate;
mod profile;

use std::process::ExitCode;

use profilez_bench::run;

const LINES: &[run::Line] = &[
    dumps::LINE,
    logged::PREFIXED,
    logged::JSON,
    hostile::LINE,
    profiles::LINE,
    packed::LINE,
    text_heaps::LINE,
    command::LINE,
    hostile_profiles::LINE,
];

fn main() -> ExitCode {
    run::area(LINES)
}
