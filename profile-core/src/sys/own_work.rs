//! Keeps the profiler's own work out of the profiles.

use std::cell::Cell;
use std::marker::PhantomData;

#[cfg(all(feature = "jemalloc", target_os = "linux"))]
use crate::sys::raw::thread_switch::SamplingOff;
/// Only jemalloc's own sampling is switched by thread.
#[cfg(not(all(feature = "jemalloc", target_os = "linux")))]
type SamplingOff = ();

thread_local! {
    /// How many of them live on this thread.
    static UNDER_WAY: Cell<u32> = const { Cell::new(0) };
}

/// While one of these lives, what this thread does is left out of the profiles: it allocates and
/// waits for the profiler's own work. To be dropped on the thread that began it.
#[derive(Debug)]
pub struct OwnWork {
    _sampling: SamplingOff,
    /// Not to be sent to another thread.
    _here: PhantomData<*const ()>,
}

impl OwnWork {
    /// Begins work of the profiler's own on this thread.
    pub fn begin() -> OwnWork {
        UNDER_WAY.set(UNDER_WAY.get() + 1);
        OwnWork { _sampling: SamplingOff::default(), _here: PhantomData }
    }
}

impl Drop for OwnWork {
    fn drop(&mut self) {
        UNDER_WAY.set(UNDER_WAY.get() - 1);
    }
}

/// Whether this thread is at work of the profiler's own. It may be asked inside an allocator or an
/// interposed function: the thread-local needs neither an initialiser nor a destructor.
#[cfg_attr(not(any(intercepted, all(feature = "heap", stacks))), allow(dead_code))]
pub(crate) fn is_under_way() -> bool {
    UNDER_WAY.get() != 0
}
