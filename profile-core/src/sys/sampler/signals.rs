//! What threads do about `SIGPROF`: who blocks it, who waits for it, and for whom one is pending.
//!
//! A signal that its thread blocks stays pending: `sigwait` and `signalfd` on all signals would find
//! it, and it outlives `execve` (signal(7)), where it ends a program that has no handler yet.

use std::io;
use std::os::unix::fs::FileExt as _;

use super::handler;
use crate::sys::sigprof;
use crate::sys::task::Tasks;
use crate::sys::window;

/// What a `status` file of `/proc` says about signals (proc_pid_status(5)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct SignalStatus {
    /// Signals and timers of this user that are counted against `RLIMIT_SIGPENDING`, and the limit.
    pub(super) queued: u64,
    pub(super) limit: u64,
    /// Whether the thread blocks `SIGPROF`.
    pub(super) blocks: bool,
}

impl SignalStatus {
    fn parse(text: &str) -> SignalStatus {
        let mut status = SignalStatus { limit: u64::MAX, ..SignalStatus::default() };
        for line in text.lines() {
            if let Some(queue) = line.strip_prefix("SigQ:") {
                let numbers = queue.trim().split_once('/');
                if let Some((Ok(queued), Ok(limit))) =
                    numbers.map(|(queued, limit)| (queued.parse(), limit.parse()))
                {
                    (status.queued, status.limit) = (queued, limit);
                }
            } else if let Some(mask) = line.strip_prefix("SigBlk:") {
                status.blocks = has_sigprof(u64::from_str_radix(mask.trim(), 16).unwrap_or(0));
            }
        }
        status
    }
}

/// Whether a mask of the kernel's, a bit for each signal from 1 on, has `SIGPROF`.
fn has_sigprof(mask: u64) -> bool {
    mask >> (libc::SIGPROF - 1) & 1 == 1
}

/// What a thread does about `SIGPROF`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SigprofMask {
    /// It takes the signal in its handler.
    Clear,
    Blocked,
    /// It blocks the signal and waits to take it by itself.
    Awaited,
}

/// Reads what threads do about signals.
pub(super) struct SignalReader {
    tasks: Option<Tasks>,
    text: Vec<u8>,
}

impl SignalReader {
    pub(super) fn new() -> SignalReader {
        // A status file has one and a half KiB; the list of groups makes it longer.
        let text = vec![0; 8 << 10];
        SignalReader { tasks: Tasks::open().ok(), text }
    }

    /// What a thread does about `SIGPROF`; `None` where it is gone, or can't be read.
    pub(super) fn mask(&mut self, tid: u32) -> Option<SigprofMask> {
        if self.status(tid)?.blocks {
            return Some(SigprofMask::Blocked);
        }
        let call = self.tasks.as_ref().and_then(|tasks| tasks.text(tid, "syscall"));
        let call = call.as_ref().and_then(|call| call.str()).unwrap_or_default();
        if let Some(set) = awaited_set(call) {
            // The kernel shows what a thread waits for as not blocked meanwhile (kernel/signal.c,
            // `do_sigtimedwait`).
            let awaits = window::words(set, 1).first().is_some_and(|&mask| has_sigprof(mask));
            return Some(if awaits { SigprofMask::Awaited } else { SigprofMask::Clear });
        }
        // One that is at work now may just have ended such a wait.
        let blocks = call.starts_with("running") && self.status(tid)?.blocks;
        Some(if blocks { SigprofMask::Blocked } else { SigprofMask::Clear })
    }

    /// What a thread's status file says.
    pub(super) fn status(&mut self, tid: u32) -> Option<SignalStatus> {
        let file = self.tasks.as_ref()?.file(tid, "status")?;
        let len = file.read_at(&mut self.text, 0).ok()?;
        Some(SignalStatus::parse(&String::from_utf8_lossy(&self.text[..len])))
    }
}

/// Where the set of signals lies that a thread waits for, by its `syscall` file.
fn awaited_set(call: &str) -> Option<u64> {
    let mut words = call.split_ascii_whitespace();
    let number: libc::c_long = words.next()?.parse().ok()?;
    let set = words.next()?.strip_prefix("0x")?;
    let awaits = number == libc::SYS_rt_sigtimedwait;
    u64::from_str_radix(set, 16).ok().filter(|set| awaits && set.is_multiple_of(8))
}

/// The address of our handler.
pub(super) fn our_handler() -> usize {
    handler::on_sigprof as *const () as usize
}

/// Installs the handler. It stays for good: a signal that is still on its way when sampling stops
/// would otherwise end the process.
pub(super) fn install_handler() -> io::Result<()> {
    // SAFETY: an all-zero `sigaction` is a valid value of this plain C structure.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = our_handler();
    // Not on an alternate stack: those are small, and the program's own handlers use them.
    action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
    // SAFETY: sigaction(2) with a handler of the type that SA_SIGINFO asks for.
    let status = unsafe { libc::sigaction(libc::SIGPROF, &raw const action, std::ptr::null_mut()) };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Drops `SIGPROF` wherever in the process it is pending, for threads that block it and for the process,
/// and leaves the handler as it was. Does nothing where the handler isn't ours: the signals may not be
/// either.
///
/// To ignore a signal for a moment is the one way to take it back from other threads: whatever is pending
/// of it is discarded then (POSIX.1-2017, 2.4.3; Linux, kernel/signal.c, `do_sigaction`).
pub(super) fn drop_pending() {
    if sigprof::handler() != Some(our_handler()) {
        return;
    }
    // SAFETY: an all-zero `sigaction` is a valid value of this plain C structure.
    let mut ignore: libc::sigaction = unsafe { std::mem::zeroed() };
    ignore.sa_sigaction = libc::SIG_IGN;
    let (mut before, mut meanwhile) = (ignore, ignore);
    // SAFETY: sigaction(2) with structures that live during the calls; what is put back is what was there.
    unsafe {
        if libc::sigaction(libc::SIGPROF, &raw const ignore, &raw mut before) == 0
            && libc::sigaction(libc::SIGPROF, &raw const before, &raw mut meanwhile) == 0
            && meanwhile.sa_sigaction != libc::SIG_IGN
        {
            // Somebody has put a handler there between the two.
            libc::sigaction(libc::SIGPROF, &raw const meanwhile, std::ptr::null_mut());
        }
    }
}

/// Blocks `SIGPROF` in this thread, so that one it starts begins with it blocked.
pub(super) struct SigprofBlocked {
    before: libc::sigset_t,
}

impl SigprofBlocked {
    pub(super) fn new() -> SigprofBlocked {
        // SAFETY: sigset_t is a plain C structure; these functions initialise and read it
        // (sigsetops(3), pthread_sigmask(3)).
        unsafe {
            let mut set: libc::sigset_t = std::mem::zeroed();
            let mut before: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&raw mut set);
            libc::sigaddset(&raw mut set, libc::SIGPROF);
            libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, &raw mut before);
            SigprofBlocked { before }
        }
    }
}

impl Drop for SigprofBlocked {
    fn drop(&mut self) {
        // SAFETY: restores the set that `new` found.
        unsafe {
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.before, std::ptr::null_mut());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_status_is_read() {
        let text = "Name:\tx\nThreads:\t3\nSigQ:\t17/31000\nSigPnd:\t0000000000000000\n\
                    ShdPnd:\t0000000004000000\nSigBlk:\tfffffffc7bfbb8ff\nSigIgn:\t0\n";
        let status = SignalStatus::parse(text);
        assert_eq!(status, SignalStatus { queued: 17, limit: 31000, blocks: false });
        let blocks = SignalStatus::parse("SigBlk:\t0000000004000000\n");
        assert_eq!(blocks, SignalStatus { queued: 0, limit: u64::MAX, blocks: true });
        assert_eq!(SignalStatus::parse("SigQ:\tmany\nSigBlk:\tz").limit, u64::MAX);
    }

    #[test]
    fn a_call_that_waits_for_signals_tells_which() {
        let number = libc::SYS_rt_sigtimedwait;
        let set = awaited_set(&format!("{number} 0x7ffe10 0x0 0x0 0x8 0x0 0x0 0x7ffe00 0x7f12\n"));
        assert_eq!(set, Some(0x7ffe10));
        assert_eq!(awaited_set(&format!("{} 0x7ffe10 0x0\n", number + 1)), None);
        assert_eq!(awaited_set("running\n"), None);
    }

    #[test]
    fn threads_that_block_or_await_the_signal_are_told() {
        let mut reader = SignalReader::new();
        assert_eq!(reader.mask(handler::own_tid()), Some(SigprofMask::Clear));
        let (tell, told) = mpsc::channel();
        let blocker = thread::spawn({
            let tell = tell.clone();
            move || {
                let _blocked = SigprofBlocked::new();
                tell.send(handler::own_tid()).unwrap();
                thread::park();
            }
        });
        assert_eq!(reader.mask(told.recv().unwrap()), Some(SigprofMask::Blocked));
        blocker.thread().unpark();
        blocker.join().unwrap();

        let waiter = thread::spawn(move || {
            let _blocked = SigprofBlocked::new();
            // SAFETY: sigsetops(3) and sigtimedwait(2) with structures that live during the calls.
            unsafe {
                let mut set: libc::sigset_t = std::mem::zeroed();
                libc::sigaddset(&raw mut set, libc::SIGPROF);
                tell.send(handler::own_tid()).unwrap();
                let time = libc::timespec { tv_sec: 1, tv_nsec: 0 };
                libc::sigtimedwait(&raw const set, std::ptr::null_mut(), &raw const time);
            }
        });
        let tid = told.recv().unwrap();
        thread::sleep(Duration::from_millis(100));
        assert_eq!(reader.status(tid).map(|status| status.blocks), Some(false));
        assert_eq!(reader.mask(tid), Some(SigprofMask::Awaited));
        waiter.join().unwrap();
    }
}
