//! Keeps a signal of ours out of the program's handlers that run on alternate stacks.
//!
//! Such a stack may be just large enough for its handler. Where another signal comes there is no room
//! for the kernel's frame, and the kernel ends the process with SIGSEGV (Linux, arch/x86/kernel/signal.c:
//! `get_sigframe`; a frame takes 3.3 KiB with AVX-512). So while our signal may come it is added to those
//! that are blocked in these handlers, and taken out again afterwards. It stays pending meanwhile, and
//! is answered where the handler returns.

use super::arch;

/// What the kernel keeps of a signal's handling (Linux, include/uapi/asm-generic/signal.h).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Action {
    handler: usize,
    flags: usize,
    restorer: usize,
    mask: u64,
}

/// Handlers in which a signal is blocked by us, until dropped.
#[derive(Debug)]
pub(super) struct BlockedInHandlers {
    /// The signal's bit.
    bit: u64,
    /// Signals, and the handlers that they had.
    changed: Vec<(i32, usize)>,
}

impl BlockedInHandlers {
    pub(super) fn new(signal: i32) -> BlockedInHandlers {
        let mut blocked = BlockedInHandlers { bit: 1 << (signal - 1), changed: Vec::new() };
        blocked.look();
        blocked
    }

    /// Takes in the handlers that were installed since.
    pub(super) fn look(&mut self) {
        for signal in 1..=64 {
            let Some(action) = read(signal) else { continue };
            let has_handler = ![libc::SIG_DFL, libc::SIG_IGN].contains(&action.handler);
            let on_stack = action.flags & libc::SA_ONSTACK as usize != 0;
            if has_handler && on_stack && action.mask & self.bit == 0 {
                exchange(signal, action, Action { mask: action.mask | self.bit, ..action });
                self.changed.push((signal, action.handler));
            }
        }
    }
}

impl Drop for BlockedInHandlers {
    fn drop(&mut self) {
        for &(signal, handler) in &self.changed {
            if let Some(action) = read(signal).filter(|action| action.handler == handler) {
                exchange(signal, action, Action { mask: action.mask & !self.bit, ..action });
            }
        }
    }
}

fn read(signal: i32) -> Option<Action> {
    let mut action = Action::default();
    let at = (&raw mut action).expose_provenance();
    // SAFETY: rt_sigaction(2) writes to a structure of the kernel's layout that lives during the call.
    let status = unsafe {
        arch::syscall(libc::SYS_rt_sigaction, [signal as usize, 0, at, size_of::<u64>(), 0, 0])
    };
    (status == 0).then_some(action)
}

/// Puts one in place of the other. Where a third has come in between, that one stays.
fn exchange(signal: i32, old: Action, new: Action) {
    let write = |action: &Action| {
        let mut before = Action::default();
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
    fn masks_are_what_they_were_afterwards() {
        extern "C" fn nothing(_: i32) {}
        let (ours, theirs) = (libc::SIGRTMIN() + 3, libc::SIGRTMIN() + 4);
        // SAFETY: an all-zero `sigaction` is a valid value of this plain C structure.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = nothing as *const () as usize;
        action.sa_flags = libc::SA_ONSTACK;
        // SAFETY: sigaction(2) with a handler that does nothing, for a signal that nobody here uses.
        unsafe { libc::sigaction(theirs, &raw const action, std::ptr::null_mut()) };
        let before = read(theirs).unwrap();
        let blocked = BlockedInHandlers::new(ours);
        let during = read(theirs).unwrap();
        assert_eq!(during, Action { mask: before.mask | 1 << (ours - 1), ..before });
        drop(blocked);
        assert_eq!(read(theirs), Some(before));
    }
}
