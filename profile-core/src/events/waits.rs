//! Waits and wakes, as the functions that stand in for libc's tell of them.

use crate::events::ring::{Event, is_on, record};
use crate::sys::raw::monotonic::now;

/// A thread's wait for a word of memory, which is over when this is dropped.
pub(crate) struct Wait {
    began: u64,
    address: u64,
}

/// Begins a wait of the calling thread; `None` where no window is open.
#[inline]
pub(crate) fn wait(address: u64) -> Option<Wait> {
    is_on().then(|| Wait { began: now(), address })
}

impl Drop for Wait {
    fn drop(&mut self) {
        let Wait { began, address } = *self;
        record(Event::Wait { began, ended: now(), address });
    }
}

/// Records that the calling thread is about to wake those that wait for a word of memory.
#[inline]
pub(crate) fn wake(address: u64) {
    if is_on() {
        record(Event::Wake { at: now(), address });
    }
}
