//! Waits and wakes, as the functions that stand in for libc's tell of them.

use crate::events::ring::{TraceEvent, is_on, record};
use crate::sys::raw::monotonic::now;

/// A thread's wait for a word of memory, which is over when this is dropped.
pub(crate) struct WaitInProgress {
    began: u64,
    address: u64,
}

/// Begins a wait of the calling thread; `None` where no window is open.
#[inline]
pub(crate) fn begin_wait(address: u64) -> Option<WaitInProgress> {
    is_on().then(|| WaitInProgress { began: now(), address })
}

impl Drop for WaitInProgress {
    fn drop(&mut self) {
        let WaitInProgress { began, address } = *self;
        record(TraceEvent::Wait { began, ended: now(), address });
    }
}

/// Records that the calling thread is about to wake those that wait for a word of memory.
#[inline]
pub(crate) fn record_wake(address: u64) {
    if is_on() {
        record(TraceEvent::Wake { at: now(), address });
    }
}
