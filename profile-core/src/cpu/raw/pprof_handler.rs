//! Where the `pprof` crate's signal handler is.

unsafe extern "C" {
    /// The `pprof` crate's signal handler, exported by it under this name.
    fn perf_signal_handler(
        signal: libc::c_int,
        info: *mut libc::siginfo_t,
        context: *mut libc::c_void,
    );
}

/// Returns the address of the handler's first instruction.
pub(crate) fn address() -> usize {
    perf_signal_handler as *const () as usize
}
