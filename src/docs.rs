//! The guides of `docs/` and the README, so that the code in them is compiled and run.

/// Tells how to put the endpoints into a service.
#[cfg(all(feature = "server", feature = "client"))]
#[doc = include_str!("../docs/embedding.md")]
pub mod embedding {}

/// Tells how Go's tools and scrapers see a service.
#[doc = include_str!("../docs/pprof.md")]
pub mod pprof {}

/// Tells how to collect from running services, Go's too.
#[cfg(feature = "client")]
#[doc = include_str!("../docs/collecting.md")]
pub mod collecting {}

/// The live page and its data.
#[cfg(feature = "server")]
#[doc = include_str!("../docs/page.md")]
pub mod page {}

/// Holds what each kind of profile holds.
#[doc = include_str!("../docs/profiles.md")]
pub mod profiles {}

/// Holds what a bundle is, and how to read one.
#[doc = include_str!("../docs/bundles.md")]
pub mod bundles {}

/// Tells how to have heap profiles of any allocator.
#[cfg(all(feature = "heap", target_os = "linux"))]
#[doc = include_str!("../docs/heap.md")]
pub mod heap {}

/// Naming async tasks, and what dumps and traces show of them.
#[doc = include_str!("../docs/tasks.md")]
pub mod tasks {}

/// Reading, comparing and drawing profiles.
#[doc = include_str!("../docs/analysis.md")]
pub mod analysis {}

/// Tells how dumps of goroutines and threads are read, grouped and judged.
#[doc = include_str!("../docs/dumps.md")]
pub mod dumps {}

/// Tells how to set up jemalloc for heap profiles.
#[cfg(all(feature = "jemalloc", target_os = "linux"))]
#[doc = include_str!("../docs/jemalloc.md")]
pub mod jemalloc {}

#[cfg(all(doctest, feature = "server", target_os = "linux"))]
#[doc = include_str!("../README.md")]
struct Readme;
