//! Who owns `SIGPROF` and its timer, and where the `pprof` crate's handler is.

unsafe extern "C" {
    /// The `pprof` crate's signal handler, exported by it under this name.
    fn perf_signal_handler(
        signal: libc::c_int,
        info: *mut libc::siginfo_t,
        context: *mut libc::c_void,
    );
}

/// Where the `pprof` crate's signal handler begins.
pub(crate) fn pprof_handler() -> usize {
    perf_signal_handler as *const () as usize
}

/// What stands in the way of using `SIGPROF`.
pub(crate) enum Owner {
    /// Nobody.
    Free,
    /// Another handler, at this address.
    Handler(usize),
    /// Somebody runs `ITIMER_PROF` without a handler that could be named.
    Timer,
}

/// Who uses `SIGPROF` or `ITIMER_PROF` now. The `pprof` crate itself tells when it is running.
pub(crate) fn owner() -> Owner {
    // SAFETY: an all-zero `sigaction` is a valid value of this plain C structure.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: sigaction(2) with a null new action only reads the present one into `action`.
    let known = unsafe { libc::sigaction(libc::SIGPROF, std::ptr::null(), &raw mut action) } == 0;
    let handler = action.sa_sigaction;
    let ours = handler == pprof_handler();
    if known && handler != libc::SIG_DFL && handler != libc::SIG_IGN && !ours {
        return Owner::Handler(handler);
    }
    // SAFETY: as above, for a plain C structure.
    let mut timer: libc::itimerval = unsafe { std::mem::zeroed() };
    // SAFETY: getitimer(2) writes the timer's state into the structure.
    let known = unsafe { libc::getitimer(libc::ITIMER_PROF, &raw mut timer) } == 0;
    let armed = timer.it_value.tv_sec != 0 || timer.it_value.tv_usec != 0;
    if known && armed && !ours { Owner::Timer } else { Owner::Free }
}
