//! A child of area `heap`, with jemalloc, whose profiling is possible and off.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

profile_core::jemalloc_config!("prof:true,prof_active:false,lg_prof_sample:19");

fn main() -> ExitCode {
    profilez_bench::heap::child()
}
