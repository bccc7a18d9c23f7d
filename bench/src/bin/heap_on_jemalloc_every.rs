//! A child of area `heap`, with jemalloc sampling every block once its profiling is on.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

profile_core::jemalloc_config!("prof:true,prof_active:false,prof_accum:true,lg_prof_sample:0");

fn main() -> ExitCode {
    profilez_bench::heap::child()
}
