//! What takes samples of CPU time while a trace is open: nothing, in a build without a sampler.

#[cfg(all(feature = "sampler", stacks))]
use crate::trace::cpu_samples;
use crate::trace::tree::{SampleTree, StopSampling};

/// The sampler of this build, if it has one.
static SAMPLER: &[fn() -> StopSampling] = &[
    #[cfg(all(feature = "sampler", stacks))]
    cpu_samples::start,
];

const NONE: &str =
    "none: this build has no sampler (feature `sampler`, Linux on x86_64 and aarch64)";

/// Begins to take samples. Returns the function that ends it.
pub(super) fn start() -> StopSampling {
    let none = || -> StopSampling { Box::new(|| Box::new(|| SampleTree::new(NONE))) };
    SAMPLER.first().map_or_else(none, |start| start())
}
