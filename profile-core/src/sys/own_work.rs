//! Keeps the profiler's own work out of the profiles.

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::{Mutex, PoisonError};

use crate::sys::raw::this_thread;
#[cfg(all(feature = "jemalloc", target_os = "linux"))]
use crate::sys::raw::thread_switch::SamplingOff;
/// Only jemalloc's own sampling is switched by thread.
#[cfg(not(all(feature = "jemalloc", target_os = "linux")))]
type SamplingOff = ();

thread_local! {
    /// Number of them that live on this thread.
    static UNDER_WAY: Cell<u32> = const { Cell::new(0) };
}

/// Threads of the profiler's own, by the ids that the system has for them.
static THREADS: Mutex<Vec<u32>> = Mutex::new(Vec::new());

/// While one of these lives, what this thread does is left out of the profiles: it allocates and
/// waits for the profiler's own work. To be dropped on the thread that began it.
#[derive(Debug)]
pub struct OwnWork {
    _sampling: SamplingOff,
    is_thread: bool,
    /// Keeps it from being sent to another thread.
    _here: PhantomData<*const ()>,
}

impl OwnWork {
    /// Begins work of the profiler's own on this thread.
    pub fn begin() -> OwnWork {
        UNDER_WAY.set(UNDER_WAY.get() + 1);
        OwnWork { _sampling: SamplingOff::default(), is_thread: false, _here: PhantomData }
    }

    /// Begins work of the profiler's own that lasts as long as this thread: it is none of the program's in
    /// profiles of waits.
    pub fn of_thread() -> OwnWork {
        let mut own = OwnWork::begin();
        own.is_thread = true;
        THREADS.lock().unwrap_or_else(PoisonError::into_inner).push(this_thread::tid());
        own
    }
}

impl Drop for OwnWork {
    fn drop(&mut self) {
        if self.is_thread {
            let tid = this_thread::tid();
            THREADS.lock().unwrap_or_else(PoisonError::into_inner).retain(|&own| own != tid);
        }
        UNDER_WAY.set(UNDER_WAY.get() - 1);
    }
}

/// Returns whether a thread is one of the profiler's own.
pub(crate) fn is_own_thread(tid: u32) -> bool {
    THREADS.lock().unwrap_or_else(PoisonError::into_inner).contains(&tid)
}

/// Returns the ids of the profiler's own threads.
pub(crate) fn own_threads() -> Vec<u32> {
    THREADS.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Returns whether this thread is at work of the profiler's own. It may be asked inside an
/// allocator or an interposed function: the thread-local needs neither an initialiser nor a
/// destructor.
pub(crate) fn is_under_way() -> bool {
    UNDER_WAY.get() != 0
}
