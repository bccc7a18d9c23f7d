//! A child of area `heap`, with ours around the system's allocator.

use std::alloc::System;
use std::process::ExitCode;

use profile_core::alloc::Sampled;

#[global_allocator]
static ALLOCATOR: Sampled<System> = Sampled::new(System);

fn main() -> ExitCode {
    profilez_bench::heap::child()
}
