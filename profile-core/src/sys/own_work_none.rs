//! Keeps the profiler's own allocations out of the heap profile: nothing to do without one.

/// While one of these lives, nothing that this thread allocates is sampled.
pub(crate) struct OwnWork;

impl OwnWork {
    /// Begins work of the profiler's own on this thread.
    pub(crate) fn begin() -> OwnWork {
        OwnWork
    }
}
