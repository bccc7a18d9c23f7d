//! The words, the plan, the session, the collectors and the profile.proto model of `profilez`.
//!
//! This crate takes profiles of the process it runs in and hands them over as bytes. What you do:
//! build a [`Plan`], enter the [`Gate`], [start](session::start) a [`Recording`](session::Recording),
//! wait for its window, and take the [`Artifact`](session::Artifact)s one by one. What it does for
//! you: everything that was switched on is switched back, whichever way the session ends.
//!
//! It is *not* for serving or storing profiles (`profile-http`, `profile-archive`) nor for reading
//! what they say (`profile-analysis`). It never sleeps for its caller and knows no async runtime,
//! no HTTP and no tar.
//!
//! ```
//! use std::time::Duration;
//!
//! use profile_core::{Collectors, Gate, Plan, session};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let collectors = Collectors::new();
//! let request = Plan::request().window(Duration::from_millis(20));
//! let plan = request.check(&collectors.available())?;
//! let permit = Gate::process().try_enter(plan.window())?;
//! let recording = session::start(&plan, &collectors, permit)?;
//! std::thread::sleep(recording.window());
//! for artifact in recording.stop() {
//!     println!("{}: {:?}", artifact.name, artifact.data.map(|bytes| bytes.len()));
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Features
//!
//! - `sampler` (default): CPU profiles and thread dumps by our own sampler (Linux).
//! - `intercept`: exact waits for locks and thread births, by symbols that stand in for libc's `syscall`,
//!   `sched_yield` and `pthread_create` in the whole program (Linux): the binary's choice.
//! - `pprof-rs`: CPU profiles through the `pprof` crate, where they are asked for.
//! - `heap`: heap profiles of any allocator, where the program wraps it in [`alloc::Sampled`].
//! - `jemalloc`: the same, and heap profiles from jemalloc, where it is the process's allocator.
//! - `tokio`: starting named tasks on a tokio runtime, and counting all of its tasks.
//! - `await-tree`: what tasks wait in by the trees of the crate `await-tree`, where a dump is asked for them.
//! - `tracing`: spans and events of `tracing` in traces.
//!
//! A kind whose source is not built in stays in the API and answers with an [`Unavailable`] that
//! says what to switch on.
#![deny(unsafe_code)]

mod available;
pub mod collect;
mod collector;
mod cpu;
mod empty;
mod error;
mod events;
mod gate;
pub mod heap;
pub mod memory;
mod plan;
mod process;
mod rate;
pub mod session;
pub mod single;
mod stacks;
pub mod stats;
mod sys;
pub mod task;
mod threads;
pub mod trace;
pub mod waits;

pub use crate::available::{Available, DEFAULT_MAX_WINDOW};
pub use crate::collect::Collectors;
pub use crate::collector::Collector;
pub use crate::error::Error;
pub use crate::gate::{Busy, Gate, Permit};
pub use crate::plan::{DEFAULT_WINDOW, MIN_WINDOW, Plan, PlanError, PlanRequest};
pub use crate::process::Process;
pub use crate::rate::{CpuRate, InvalidRate};
pub use crate::stacks::names::Symbol;
pub use crate::stacks::symbols::symbols;
// What stands in the signatures here; a collector of one's own builds a profile.
#[cfg(feature = "heap")]
pub use crate::heap::alloc;
pub use crate::sys::own_work::OwnWork;
#[doc(no_inline)]
pub use profile_format::{BoxError, DurationError, Kind, Unavailable, UnknownKind, profile};
