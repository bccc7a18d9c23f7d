//! Unwinders that were replaced while somebody may be looking at them.

use std::sync::atomic::{AtomicPtr, Ordering};

use crate::stacks::raw::scratch::AtWork;
use crate::stacks::unwind::StackUnwinder;

/// An unwinder that was replaced. Dropping it frees the unwinder, or leaks it where it may still be used.
pub(crate) struct RetiredUnwinder {
    /// The unwinder, from a box.
    unwinder: *mut StackUnwinder,
    readers: AtWork,
}

// SAFETY: an unwinder may be dropped on any thread.
unsafe impl Send for RetiredUnwinder {}

impl RetiredUnwinder {
    /// Puts another unwinder in the place of the present one, which came from a box or is null.
    /// `list_readers` lists those who may have found the old one. Returns `None` where there was none.
    pub(crate) fn replace(
        current: &AtomicPtr<StackUnwinder>,
        new: Box<StackUnwinder>,
        list_readers: fn() -> AtWork,
    ) -> Option<RetiredUnwinder> {
        let unwinder = current.swap(Box::into_raw(new), Ordering::SeqCst);
        (!unwinder.is_null()).then(|| RetiredUnwinder { unwinder, readers: list_readers() })
    }

    /// Frees those of a list that nobody uses any more.
    pub(crate) fn free_unused(retired: &mut Vec<RetiredUnwinder>) {
        retired.retain_mut(|retired| !retired.readers.have_ended());
    }
}

impl Drop for RetiredUnwinder {
    fn drop(&mut self) {
        if self.readers.have_ended() {
            // SAFETY: it came from a box; who looks for an unwinder now finds its successor, and those
            // that may have found it are done.
            drop(unsafe { Box::from_raw(self.unwinder) });
        }
    }
}
