//! A child of area `heap`, with the system's allocator.

use std::process::ExitCode;

fn main() -> ExitCode {
    profilez_bench::heap::child()
}
