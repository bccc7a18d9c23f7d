//! Keeps the profiler's own allocations out of the heap profile: nothing to do without one.

use std::marker::PhantomData;

/// While one of these lives, what this thread allocates is left out of heap profiles: it is the
/// profiler's own. To be dropped on the thread that began it.
#[derive(Debug)]
pub struct OwnWork {
    /// Not to be sent to another thread.
    _here: PhantomData<*const ()>,
}

impl OwnWork {
    /// Begins work of the profiler's own on this thread.
    pub fn begin() -> OwnWork {
        OwnWork { _here: PhantomData }
    }
}
