//! The guides of `docs/` and the README, so that the code in them is compiled and run.

/// Putting the endpoints into a service.
#[cfg(all(feature = "server", feature = "client"))]
#[doc = include_str!("../docs/embedding.md")]
pub mod embedding {}

/// Go's tools and scrapers, and what they see of a service.
#[doc = include_str!("../docs/pprof.md")]
pub mod pprof {}

/// Collecting from running services, Go's too.
#[cfg(feature = "client")]
#[doc = include_str!("../docs/collecting.md")]
pub mod collecting {}

/// The live page and its data.
#[cfg(feature = "server")]
#[doc = include_str!("../docs/page.md")]
pub mod page {}

/// The kinds of profiles, and what each of them holds.
#[doc = include_str!("../docs/profiles.md")]
pub mod profiles {}

/// The format of bundles, and reading one.
#[doc = include_str!("../docs/bundles.md")]
pub mod bundles {}

/// Heap profiles of any allocator.
#[cfg(all(feature = "heap", target_os = "linux"))]
#[doc = include_str!("../docs/heap.md")]
pub mod heap {}

/// Naming async tasks, and what dumps and traces show of them.
#[doc = include_str!("../docs/tasks.md")]
pub mod tasks {}

/// Reading, comparing and drawing profiles.
#[doc = include_str!("../docs/analysis.md")]
pub mod analysis {}

/// Reading, grouping and judging dumps of goroutines and threads.
#[doc = include_str!("../docs/dumps.md")]
pub mod dumps {}

/// Setting up jemalloc for heap profiles.
#[cfg(all(feature = "jemalloc", target_os = "linux"))]
#[doc = include_str!("../docs/jemalloc.md")]
pub mod jemalloc {}

#[cfg(all(doctest, feature = "server", target_os = "linux"))]
#[doc = include_str!("../README.md")]
struct ReadmeExamples;
