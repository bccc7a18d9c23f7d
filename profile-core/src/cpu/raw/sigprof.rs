//! Who owns `SIGPROF` and its timer.

use std::sync::atomic::{AtomicUsize, Ordering};

/// A handler that stays installed although nothing uses it; 0 for none.
static IDLE: AtomicUsize = AtomicUsize::new(0);

/// Notes that the handler at an address is installed and does nothing; 0 takes that back.
pub(crate) fn set_idle(handler: usize) {
    IDLE.store(handler, Ordering::Relaxed);
}

/// A user of `SIGPROF` or of its timer, who stands in the way of an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SigprofOwner {
    /// Nobody.
    Free,
    /// Another handler, at this address.
    Handler(usize),
    /// Somebody runs `ITIMER_PROF` without a handler that could be named.
    Timer,
}

/// Reads the handler of `SIGPROF`; `None` where it can't be read.
pub(crate) fn read_handler() -> Option<usize> {
    // SAFETY: an all-zero `sigaction` is a valid value of this plain C structure.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: sigaction(2) with a null new action only reads the present one into `action`.
    let known = unsafe { libc::sigaction(libc::SIGPROF, std::ptr::null(), &raw mut action) } == 0;
    known.then_some(action.sa_sigaction)
}

/// Finds out who uses `SIGPROF` or `ITIMER_PROF` now. The handler `ours` counts as nobody: its
/// owner knows whether it is in use.
pub(crate) fn find_owner(ours: Option<usize>) -> SigprofOwner {
    let handler = read_handler();
    if handler.is_some() && handler == ours {
        return SigprofOwner::Free;
    }
    let unused = [libc::SIG_DFL, libc::SIG_IGN, IDLE.load(Ordering::Relaxed)];
    if let Some(handler) = handler
        && !unused.contains(&handler)
    {
        return SigprofOwner::Handler(handler);
    }
    // SAFETY: an all-zero `itimerval` is a valid value of this plain C structure.
    let mut timer: libc::itimerval = unsafe { std::mem::zeroed() };
    // SAFETY: getitimer(2) writes the timer's state into the structure.
    let known = unsafe { libc::getitimer(libc::ITIMER_PROF, &raw mut timer) } == 0;
    let armed = timer.it_value.tv_sec != 0 || timer.it_value.tv_usec != 0;
    if known && armed { SigprofOwner::Timer } else { SigprofOwner::Free }
}
