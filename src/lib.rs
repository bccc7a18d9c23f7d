//! Every profile of a running Rust service in one request, and the command that reads them.
//!
//! `profilez` gives a Rust service what Go services take for granted: a debug endpoint that answers
//! one request with one `tar.gz` of CPU, heap and other profiles, in the format that every pprof
//! tool reads.
//!
//! What you do: call [`serve_or_log`], or mount [`http::server::DebugService`] in your own server; for heap
//! profiles make jemalloc the global allocator and add [`jemalloc_config!`]. What it does for you:
//! requests are checked and authorised, one collection runs at a time, everything it switched on is
//! switched back, and a kind that can't be given says why. It is *not* a store for profiles: it
//! serves the one process it is in.
//!
//! ```
//! # #[cfg(feature = "server")]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Loopback only: other addresses need an authorizer.
//! let server = profilez::serve("127.0.0.1:0")?;
//! println!("curl http://{}/debug/profile", server.local_addr().unwrap());
//! # server.shut_down();
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "server"))]
//! # fn main() {}
//! ```
//!
//! # Features
//!
//! - `cli` (default): the `profilez` command. A library user turns it off with
//!   `default-features = false`.
//! - `server`: the debug endpoints.
//! - `client`: collecting from them.
//! - `tls`: https for the client.
//! - `sampler`: CPU profiles and thread dumps by our own sampler (Linux).
//! - `intercept`: exact waits for locks and thread births, by symbols that stand in for libc's `syscall`,
//!   `sched_yield` and `pthread_create` in the whole program (Linux): the binary's choice.
//! - `pprof-rs`: CPU profiles through the `pprof` crate, where they are asked for.
//! - `heap`: heap profiles of any allocator, by a wrapper around it (Linux).
//! - `jemalloc`: heap profiles from jemalloc, and `heap`.
//! - `tokio`: starting named tasks on a tokio runtime, and counting all of its tasks.
//! - `await-tree`: what tasks wait in by the trees of the crate `await-tree`, where a dump is asked for them.
//! - `tracing`: spans and events of `tracing` in traces.
//! - `tower`: a layer that makes each request a task in dumps and traces.
//!
//! # Crates
//!
//! Each crate stands here under one name; a program that wants one of them can depend on it alone.
#![forbid(unsafe_code)]

#[doc(no_inline)]
pub use profile_analysis as analysis;
#[doc(no_inline)]
pub use profile_archive as archive;
#[doc(no_inline)]
pub use profile_core as core;
#[cfg(feature = "heap")]
pub use profile_core::alloc;
pub use profile_core::jemalloc_config;
#[doc(no_inline)]
pub use profile_core::{task, trace};
#[doc(no_inline)]
pub use profile_format as format;
#[cfg(any(feature = "server", feature = "client", feature = "tower"))]
#[doc(no_inline)]
pub use profile_http as http;

#[cfg(any(doc, doctest))]
pub mod docs;
#[cfg(feature = "server")]
mod serve;

#[cfg(feature = "server")]
pub use serve::{serve, serve_or_log};
