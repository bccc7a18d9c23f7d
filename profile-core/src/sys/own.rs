//! Which threads are at the profiler's own work just now.

use std::cell::Cell;

thread_local! {
    /// How many pieces of the profiler's own work this thread is in.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// Whether the calling thread is. Safe to ask from inside interposed functions: the thread-local
/// needs neither an initialiser nor a destructor.
#[cfg_attr(not(intercepted), allow(dead_code))]
pub(super) fn is_own() -> bool {
    DEPTH.get() != 0
}

/// The calling thread is, until `leave`.
pub(super) fn enter() {
    DEPTH.set(DEPTH.get() + 1);
}

/// The counterpart of `enter`, on the same thread.
pub(super) fn leave() {
    DEPTH.set(DEPTH.get().saturating_sub(1));
}
