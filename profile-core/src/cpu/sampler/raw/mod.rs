//! The sampler's unsafe code: timers, signals and their handler.

pub(crate) mod handler;
mod signal_entry;
pub(crate) mod signals;
pub(super) mod timer;

/// Runs functions around every fork of the process: before it, and after it in the parent and in the child.
pub(super) fn at_fork(before: extern "C" fn(), parent: extern "C" fn(), child: extern "C" fn()) {
    // SAFETY: pthread_atfork(3) with functions that don't unwind. A failure for lack of memory leaves a
    // child that can't profile, and nothing else.
    unsafe { libc::pthread_atfork(Some(before), Some(parent), Some(child)) };
}
