//! The guides of `docs/` and the README, so that the code in them is compiled and run.

/// How to put the endpoints into a service.
#[cfg(all(feature = "server", feature = "client"))]
#[doc = include_str!("../docs/embedding.md")]
pub mod embedding {}

/// What each kind of profile holds.
#[doc = include_str!("../docs/profiles.md")]
pub mod profiles {}

/// What a bundle is, and how to read one.
#[doc = include_str!("../docs/bundles.md")]
pub mod bundles {}

/// Reading, comparing and drawing profiles.
#[doc = include_str!("../docs/analysis.md")]
pub mod analysis {}

/// How dumps of goroutines and threads are read, grouped and judged.
#[doc = include_str!("../docs/dumps.md")]
pub mod dumps {}

/// How to set up jemalloc for heap profiles.
#[cfg(all(feature = "jemalloc", target_os = "linux"))]
#[doc = include_str!("../docs/jemalloc.md")]
pub mod jemalloc {}

#[cfg(all(doctest, feature = "server", target_os = "linux"))]
#[doc = include_str!("../README.md")]
struct Readme;
