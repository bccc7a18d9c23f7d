//! `sigaction` as the program calls it: handlers that run on alternate stacks are kept free of our
//! signals from their first moment on; see [`on_stack`].
//!
//! Runs in place of libc's function, in signal handlers too: nothing here may allocate, lock, wait,
//! panic, format, or touch a thread-local.

use libc::{c_int, sigaction as Action};

use crate::stacks::raw::on_stack;

unsafe extern "C" {
    /// libc's own name for its function.
    fn __sigaction(signal: c_int, new: *const Action, old: *mut Action) -> c_int;
}

/// Does the same as libc's function of the same name, and adds the profiler's signals to the mask
/// of handlers that run on alternate stacks.
///
/// # Safety
///
/// As sigaction(2) says.
#[unsafe(no_mangle)]
unsafe extern "C" fn sigaction(signal: c_int, new: *const Action, old: *mut Action) -> c_int {
    // SAFETY: the caller's promise.
    let Some(asked) = (unsafe { new.as_ref() }) else {
        // SAFETY: as above.
        return unsafe { __sigaction(signal, new, old) };
    };
    let mut action = *asked;
    if action.sa_flags & libc::SA_ONSTACK != 0 {
        let kept_out = on_stack::kept_out().to_ne_bytes();
        // SAFETY: the first eight bytes of a set of signals are the kernel's, and any bytes are a set.
        let mask = unsafe { &mut *(&raw mut action.sa_mask).cast::<[u8; 8]>() };
        mask.iter_mut().zip(kept_out).for_each(|(byte, more)| *byte |= more);
    }
    // SAFETY: as above.
    unsafe { __sigaction(signal, &raw const action, old) }
}
