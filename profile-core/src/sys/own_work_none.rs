//! Keeps the profiler's own work out of the profiles: of heap profiles there are none.

use std::marker::PhantomData;

use super::own;

/// While one of these lives, what this thread does is left out of the profiles: it allocates and
/// waits for the profiler's own work. To be dropped on the thread that began it.
#[derive(Debug)]
pub struct OwnWork {
    /// Not to be sent to another thread.
    _here: PhantomData<*const ()>,
}

impl OwnWork {
    /// Begins work of the profiler's own on this thread.
    pub fn begin() -> OwnWork {
        own::enter();
        OwnWork { _here: PhantomData }
    }
}

impl Drop for OwnWork {
    fn drop(&mut self) {
        own::leave();
    }
}
