//! A thread's switch for jemalloc's sampling.

use tikv_jemalloc_ctl::raw;

const THREAD_ACTIVE: &[u8] = b"thread.prof.active\0";

/// Keeps the thread from being sampled.
#[derive(Debug)]
pub(super) struct Off {
    /// Whether the thread was sampled before; `None` where jemalloc has no such switch.
    before: Option<bool>,
}

impl Off {
    pub(super) fn switch() -> Off {
        // SAFETY: `thread.prof.active` is a C `bool`, read and written (jemalloc(3)). Where jemalloc
        // runs without profiling the call fails and changes nothing.
        Off { before: unsafe { raw::update(THREAD_ACTIVE, false) }.ok() }
    }
}

impl Drop for Off {
    fn drop(&mut self) {
        if let Some(before) = self.before {
            // SAFETY: as above. The same call succeeded before, and there is nobody to tell.
            let _ = unsafe { raw::write(THREAD_ACTIVE, before) };
        }
    }
}
