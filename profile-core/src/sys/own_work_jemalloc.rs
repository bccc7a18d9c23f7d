//! Keeps the profiler's own work out of the profiles.

use std::marker::PhantomData;

use tikv_jemalloc_ctl::raw;

use super::own;

const THREAD_ACTIVE: &[u8] = b"thread.prof.active\0";

/// While one of these lives, what this thread does is left out of the profiles: it allocates and
/// waits for the profiler's own work. To be dropped on the thread that began it.
#[derive(Debug)]
pub struct OwnWork {
    /// Whether the thread was sampled before; `None` where jemalloc has no such switch.
    before: Option<bool>,
    /// Not to be sent to another thread.
    _here: PhantomData<*const ()>,
}

impl OwnWork {
    /// Begins work of the profiler's own on this thread.
    pub fn begin() -> OwnWork {
        own::enter();
        // SAFETY: `thread.prof.active` is a C `bool`, read and written (jemalloc(3)). Where jemalloc
        // runs without profiling the call fails and changes nothing.
        let before = unsafe { raw::update(THREAD_ACTIVE, false) }.ok();
        OwnWork { before, _here: PhantomData }
    }
}

impl Drop for OwnWork {
    fn drop(&mut self) {
        own::leave();
        if let Some(before) = self.before {
            // SAFETY: as above. The same call succeeded before, and there is nobody to tell.
            let _ = unsafe { raw::write(THREAD_ACTIVE, before) };
        }
    }
}
