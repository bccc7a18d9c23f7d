//! The product from outside: over real sockets with the real collectors, and as a command.

mod access;
mod attach;
mod browser;
mod bundles;
mod collection;
mod command;
mod confined;
mod crowds;
#[cfg(feature = "await-tree")]
mod details;
mod disconnect;
mod dumps;
mod faults;
mod field;
mod filters;
mod go_service;
mod heap;
mod live;
mod memory;
mod mounting;
mod odd_dumps;
mod parity;
mod pprof;
mod refusals;
mod sampling;
mod scrape;
mod services;
mod single;
mod speedscope;
mod stores;
mod sums;
mod tasks;
mod threads;
mod traces;
mod waits;

mod support;

#[path = "../heap/sites.rs"]
mod sites;

// The allocator and its options are the program's choice, as in a user's own service. Sampling is
// off, so that a collection has something to switch on and to switch back.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

profilez::jemalloc_config!("prof:true,prof_active:false,prof_accum:true,lg_prof_sample:16");
