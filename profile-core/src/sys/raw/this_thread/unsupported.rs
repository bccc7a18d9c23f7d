//! The calling thread's id and name, where the system has no small numbers for threads: they are
//! counted as they ask.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering};

thread_local! {
    static TID: Cell<u32> = const { Cell::new(0) };
}

/// Returns a number of the thread's own.
pub(crate) fn tid() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    if TID.get() == 0 {
        TID.set(NEXT.fetch_add(1, Ordering::Relaxed));
    }
    TID.get()
}

/// Returns zeros: the name is not known here.
pub(crate) fn name() -> [u64; 2] {
    [0; 2]
}

/// Returns false: it is not known here.
pub(crate) fn has_ended(_tid: u32) -> bool {
    false
}

/// Does nothing: forks are as they are here.
pub(crate) fn in_forks(_child: extern "C" fn()) {}

/// Does nothing: the thread that forks keeps its number.
pub(crate) extern "C" fn forget() {}
