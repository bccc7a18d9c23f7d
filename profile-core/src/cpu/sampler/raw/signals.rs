//! What threads do about our signals: who blocks them, who waits for them, and for whom one is pending.
//!
//! A signal that its thread blocks stays pending: `sigwait` and `signalfd` on all signals would find
//! it, and it outlives `execve` (signal(7)), where it ends a program that has no handler yet.

use std::io;
use std::os::unix::fs::FileExt as _;

use crate::cpu::sampler::raw::handler;
use crate::stacks::raw::task::TaskFolder;
use crate::stacks::raw::window;

/// The part about signals of a `status` file of `/proc` (proc_pid_status(5)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SignalStatus {
    /// Signals and timers of this user that are counted against `RLIMIT_SIGPENDING`, and the limit.
    pub(crate) queued: u64,
    pub(crate) limit: u64,
    /// True where the thread blocks the signal that was asked for.
    pub(crate) blocks: bool,
}

impl SignalStatus {
    fn parse(text: &str, signal: libc::c_int) -> SignalStatus {
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
                status.blocks = has(u64::from_str_radix(mask.trim(), 16).unwrap_or(0), signal);
            }
        }
        status
    }
}

/// Returns whether a mask of the kernel's, a bit for each signal from 1 on, has a signal.
fn has(mask: u64, signal: libc::c_int) -> bool {
    mask >> (signal - 1) & 1 == 1
}

/// The way in which a thread treats a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SignalMask {
    /// It takes the signal in its handler.
    Clear,
    Blocked,
    /// It blocks the signal and waits to take it by itself.
    Awaited,
}

/// Reads what threads do about a signal.
pub(crate) struct SignalReader {
    signal: libc::c_int,
    tasks: Option<TaskFolder>,
    text: Vec<u8>,
}

impl SignalReader {
    pub(crate) fn new(signal: libc::c_int) -> SignalReader {
        // A status file has one and a half KiB; the list of groups makes it longer.
        let text = vec![0; 8 << 10];
        SignalReader { signal, tasks: TaskFolder::open().ok(), text }
    }

    /// Reads how a thread treats the signal; `None` where it is gone, or can't be read.
    pub(crate) fn mask(&mut self, tid: u32) -> Option<SignalMask> {
        if self.status(tid)?.blocks {
            return Some(SignalMask::Blocked);
        }
        let call = self.tasks.as_ref().and_then(|tasks| tasks.text(tid, "syscall"));
        let call = call.as_ref().and_then(|call| call.str()).unwrap_or_default();
        if let Some(set) = awaited_set(call) {
            // The kernel shows what a thread waits for as not blocked meanwhile (kernel/signal.c,
            // `do_sigtimedwait`).
            let set = window::words(set, 1);
            let awaits = set.first().is_some_and(|&mask| has(mask, self.signal));
            return Some(if awaits { SignalMask::Awaited } else { SignalMask::Clear });
        }
        // One that is at work now may just have ended such a wait.
        let blocks = call.starts_with("running") && self.status(tid)?.blocks;
        Some(if blocks { SignalMask::Blocked } else { SignalMask::Clear })
    }

    /// Reads a thread's status file.
    pub(crate) fn status(&mut self, tid: u32) -> Option<SignalStatus> {
        let file = self.tasks.as_ref()?.file(tid, "status")?;
        let len = file.read_at(&mut self.text, 0).ok()?;
        Some(SignalStatus::parse(&String::from_utf8_lossy(&self.text[..len]), self.signal))
    }
}

/// Reads from a thread's `syscall` file the address of the set of signals that it waits for.
fn awaited_set(call: &str) -> Option<u64> {
    let mut words = call.split_ascii_whitespace();
    let number: libc::c_long = words.next()?.parse().ok()?;
    let set = words.next()?.strip_prefix("0x")?;
    let awaits = number == libc::SYS_rt_sigtimedwait;
    u64::from_str_radix(set, 16).ok().filter(|set| awaits && set.is_multiple_of(8))
}

/// Returns the address of our handler.
pub(crate) fn our_handler() -> usize {
    handler::on_sigprof as *const () as usize
}

/// Installs one of our handlers for a signal. It stays for good: a signal that is still on its way when
/// nothing works for it any more would otherwise end the process.
///
/// Every signal is blocked while it runs, those that libc keeps for itself included. It runs on the
/// thread's alternate stack where there is one, as a coroutine's may have no room for the kernel's
/// frame, and takes nothing of either beyond that.
pub(crate) fn install(signal: libc::c_int, handler: usize) -> io::Result<()> {
    // SAFETY: an all-zero `sigaction` is a valid value of this plain C structure.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART | libc::SA_ONSTACK;
    // SAFETY: any bytes are a set of signals (sigfillset(3) leaves out those of libc).
    unsafe { (&raw mut action.sa_mask).write_bytes(0xff, 1) };
    // SAFETY: sigaction(2) with a handler of the type that SA_SIGINFO asks for.
    let status = unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Drops a signal of ours wherever in the process it is pending, for threads that block it and for the
/// process, and leaves the handler as it was. Does nothing where the handler isn't the one of ours: the
/// signals may not be either.
///
/// To ignore a signal for a moment is the one way to take it back from other threads: whatever is pending
/// of it is discarded then (POSIX.1-2017, 2.4.3; Linux, kernel/signal.c, `do_sigaction`).
pub(crate) fn drop_pending(signal: libc::c_int, handler: usize) {
    // SAFETY: an all-zero `sigaction` is a valid value of this plain C structure.
    let mut ignore: libc::sigaction = unsafe { std::mem::zeroed() };
    ignore.sa_sigaction = libc::SIG_IGN;
    let (mut before, mut meanwhile) = (ignore, ignore);
    // SAFETY: sigaction(2) with structures that live during the calls; what is put back is what was there.
    unsafe {
        let read = libc::sigaction(signal, std::ptr::null(), &raw mut before);
        if read == 0
            && before.sa_sigaction == handler
            && libc::sigaction(signal, &raw const ignore, &raw mut before) == 0
            && libc::sigaction(signal, &raw const before, &raw mut meanwhile) == 0
            && meanwhile.sa_sigaction != libc::SIG_IGN
        {
            // Somebody has put a handler there between the two.
            libc::sigaction(signal, &raw const meanwhile, std::ptr::null_mut());
        }
    }
}

/// Blocks `SIGPROF` in this thread, so that one it starts begins with it blocked.
pub(crate) struct SigprofBlocked {
    before: libc::sigset_t,
}

impl SigprofBlocked {
    pub(crate) fn new() -> SigprofBlocked {
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
        let status = SignalStatus::parse(text, libc::SIGPROF);
        assert_eq!(status, SignalStatus { queued: 17, limit: 31000, blocks: false });
        let blocks = SignalStatus::parse("SigBlk:\t0000000004000000\n", libc::SIGPROF);
        assert_eq!(blocks, SignalStatus { queued: 0, limit: u64::MAX, blocks: true });
        assert_eq!(SignalStatus::parse("SigQ:\tmany\nSigBlk:\tz", libc::SIGPROF).limit, u64::MAX);
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
        let mut reader = SignalReader::new(libc::SIGPROF);
        assert_eq!(reader.mask(handler::own_tid()), Some(SignalMask::Clear));
        let (tell, told) = mpsc::channel();
        let blocker = thread::spawn({
            let tell = tell.clone();
            move || {
                let _blocked = SigprofBlocked::new();
                tell.send(handler::own_tid()).unwrap();
                thread::park();
            }
        });
        assert_eq!(reader.mask(told.recv().unwrap()), Some(SignalMask::Blocked));
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
        assert_eq!(reader.mask(tid), Some(SignalMask::Awaited));
        waiter.join().unwrap();
    }
}
