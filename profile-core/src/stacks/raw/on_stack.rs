//! Keeps a signal of ours out of the program's handlers that run on alternate stacks.
//!
//! Such a stack may be just large enough for its handler. Where another signal comes there is no room for
//! the kernel's frame, and the kernel ends the process with SIGSEGV (Linux, arch/x86/kernel/signal.c:
//! `get_sigframe`; a frame takes 3.3 KiB with AVX-512, and 4.5 KiB and more on aarch64). So our signals are
//! added to those that are blocked in these handlers: they stay pending meanwhile, and are answered where
//! the handler returns. It is not undone: a handler that began between two windows would be without it in
//! the second.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::stacks::raw::arch;

/// The kernel's record of how a signal is handled (Linux, include/uapi/asm-generic/signal.h).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct SignalAction {
    handler: usize,
    flags: usize,
    restorer: usize,
    mask: u64,
}

/// The signals that are kept out of handlers, a bit each.
static KEPT_OUT: AtomicU64 = AtomicU64::new(0);

/// Returns the signals that are to be kept out of handlers which are installed from now on, a bit
/// each.
pub(crate) fn kept_out() -> u64 {
    KEPT_OUT.load(Ordering::Relaxed)
}

/// Sees to it that a signal does not come while a handler of the program's runs on an alternate stack. To be
/// called again where more handlers may have been installed. One that runs already has no use of it.
pub(crate) fn block_in_handlers(ours: i32) {
    let ours = 1 << (ours - 1);
    KEPT_OUT.fetch_or(ours, Ordering::Relaxed);
    for signal in 1..=64 {
        let Some(action) = read(signal) else { continue };
        let has_handler = ![libc::SIG_DFL, libc::SIG_IGN].contains(&action.handler);
        let on_stack = action.flags & libc::SA_ONSTACK as usize != 0;
        if has_handler && on_stack && action.mask & ours == 0 {
            exchange(signal, action, SignalAction { mask: action.mask | ours, ..action });
        }
    }
}

fn read(signal: i32) -> Option<SignalAction> {
    let mut action = SignalAction::default();
    let at = (&raw mut action).expose_provenance();
    // SAFETY: rt_sigaction(2) writes to a structure of the kernel's layout that lives during the call.
    let status = unsafe {
        arch::syscall(libc::SYS_rt_sigaction, [signal as usize, 0, at, size_of::<u64>(), 0, 0])
    };
    (status == 0).then_some(action)
}

/// Puts one action in place of another. Where a third has come in between, that one stays.
fn exchange(signal: i32, old: SignalAction, new: SignalAction) {
    let write = |action: &SignalAction| {
        let mut before = SignalAction::default();
        let at = std::ptr::from_ref(action).expose_provenance();
        let before_at = (&raw mut before).expose_provenance();
        let arguments = [signal as usize, at, before_at, size_of::<u64>(), 0, 0];
        // SAFETY: rt_sigaction(2) with what the kernel said of this signal, a mask apart.
        unsafe { arch::syscall(libc::SYS_rt_sigaction, arguments) };
        before
    };
    let before = write(&new);
    if before != old {
        write(&before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_the_mask_changes() {
        extern "C" fn nothing(_: i32) {}
        let (ours, theirs) = (libc::SIGRTMIN() + 3, libc::SIGRTMIN() + 4);
        // SAFETY: an all-zero `sigaction` is a valid value of this plain C structure.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = nothing as *const () as usize;
        for (flags, mask) in [(0, 0), (libc::SA_ONSTACK, 1 << (ours - 1))] {
            action.sa_flags = flags;
            // SAFETY: sigaction(2) with a handler that does nothing, for a signal nobody here uses.
            unsafe { libc::sigaction(theirs, &raw const action, std::ptr::null_mut()) };
            let before = read(theirs).unwrap();
            block_in_handlers(ours);
            assert_eq!(read(theirs), Some(SignalAction { mask: before.mask | mask, ..before }));
        }
    }
}
