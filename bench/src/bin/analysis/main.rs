//! Area `analysis`: reading what processes wrote, against its bars.
//!
//! A line is a file; to add one, name it here.

mod dumps;
mod hostile;

mod generate;

use std::process::ExitCode;

use profilez_bench::run;

const LINES: &[run::Line] = &[dumps::LINE, hostile::LINE];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match run::area(LINES, &args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}
