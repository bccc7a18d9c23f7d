//! A thread's switch for jemalloc's sampling.

use tikv_jemalloc_ctl::raw;

const THREAD_ACTIVE: &[u8] = b"thread.prof.active\0";

/// Keeps the thread from being sampled from where it is made until it is dropped.
#[derive(Debug)]
pub(crate) struct SamplingOff {
    /// True where the thread was sampled before; `None` where jemalloc has no such switch.
    before: Option<bool>,
}

impl Default for SamplingOff {
    fn default() -> SamplingOff {
        // SAFETY: `thread.prof.active` is a C `bool`, read and written (jemalloc(3)). Where jemalloc
        // runs without profiling the call fails and changes nothing.
        SamplingOff { before: unsafe { raw::update(THREAD_ACTIVE, false) }.ok() }
    }
}

impl Drop for SamplingOff {
    fn drop(&mut self) {
        if let Some(before) = self.before {
            // SAFETY: as above. The same call succeeded before, and there is nobody to tell.
            let _ = unsafe { raw::write(THREAD_ACTIVE, before) };
        }
    }
}
