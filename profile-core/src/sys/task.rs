//! A thread as `/proc` shows it: what it is blocked in, and its stack, without disturbing it.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;

use super::unwind::{End, Scratch, Unwinder};
use super::window::Window;

/// What a thread was doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ThreadState {
    /// Running, or ready to.
    Running,
    /// Blocked in a system call of this number, with its first arguments.
    Blocked { call: i64, arguments: [u64; 2] },
    /// Blocked outside a system call, as in a page fault.
    Faulting,
    /// Neither blocked nor answering: the signal is blocked, or the thread can't be interrupted.
    NoAnswer,
}

/// A thread's files. They stay readable as long as it lives.
#[derive(Debug)]
pub(crate) struct Task {
    call: File,
    /// Not every kernel has it.
    schedule: Option<File>,
}

/// Where a blocked thread is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Where {
    pub(crate) state: ThreadState,
    pub(crate) pc: u64,
    pub(crate) sp: u64,
}

/// A blocked thread's stack.
#[derive(Debug)]
pub(crate) struct BlockedStack {
    pub(crate) at: Where,
    pub(crate) addresses: Vec<u64>,
    pub(crate) end: End,
}

/// What unwinding works with.
pub(crate) struct Reader<'a> {
    pub(crate) unwinder: &'a Unwinder,
    scratch: Scratch,
    window: Window,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(unwinder: &'a Unwinder) -> Reader<'a> {
        Reader { unwinder, scratch: Scratch::new(), window: Window::default() }
    }
}

/// What changes when a thread runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Snapshot {
    call: Text,
    schedule: Text,
}

/// A short file of `/proc`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Text {
    bytes: [u8; 192],
    len: usize,
}

impl Task {
    /// # Errors
    ///
    /// The thread has ended, or the process may not be traced.
    pub(crate) fn open(tid: u32) -> io::Result<Task> {
        let call = File::open(format!("/proc/self/task/{tid}/syscall"))?;
        let schedule = File::open(format!("/proc/self/task/{tid}/schedstat")).ok();
        Ok(Task { call, schedule })
    }

    /// The thread as it is now.
    pub(crate) fn look(&self) -> Snapshot {
        Snapshot { call: Text::read(Some(&self.call)), schedule: self.schedule() }
    }

    /// How often and how long it has run.
    pub(crate) fn schedule(&self) -> Text {
        Text::read(self.schedule.as_ref())
    }

    /// Its stack, at most `depth` addresses of it, if it is blocked and was so all the time.
    pub(crate) fn stack(&self, reader: &mut Reader<'_>, depth: usize) -> Option<BlockedStack> {
        const TRIES: usize = 3;
        let mut before = self.look();
        for _ in 0..TRIES {
            let at = before.blocked()?;
            let Reader { unwinder, scratch, window } = reader;
            window.forget();
            let (addresses, end) = unwinder.unwind_blocked(scratch, at.pc, at.sp, window, depth);
            let after = self.look();
            if after == before {
                return Some(BlockedStack { at, addresses: programs(addresses), end });
            }
            before = after;
        }
        None
    }
}

/// A stack without our own frames at its leaf, where the thread came to wait through them.
fn programs(#[allow(unused_mut)] mut addresses: Vec<u64>) -> Vec<u64> {
    #[cfg(intercepted)]
    if addresses.first().is_some_and(|&leaf| super::intercept::syscall::is_kernel(leaf)) {
        addresses.drain(..addresses.len().min(super::intercept::syscall::OURS));
    }
    addresses
}

impl Snapshot {
    /// Where the thread is, if it is blocked.
    pub(crate) fn blocked(&self) -> Option<Where> {
        self.call.text().and_then(parse)
    }
}

impl Text {
    fn read(file: Option<&File>) -> Text {
        let mut bytes = [0; 192];
        let len = file.and_then(|file| file.read_at(&mut bytes, 0).ok()).unwrap_or(0);
        Text { bytes, len }
    }

    fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.bytes[..self.len]).ok()
    }

    /// Whether there was nothing to read.
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// The ids of this process's threads.
pub(crate) fn tids() -> io::Result<Vec<u32>> {
    let tasks = fs::read_dir("/proc/self/task")?;
    Ok(tasks.filter_map(|task| task.ok()?.file_name().to_str()?.parse().ok()).collect())
}

/// A thread's name; `None` where it has ended.
pub(crate) fn name(tid: u32) -> Option<String> {
    let name = fs::read_to_string(format!("/proc/self/task/{tid}/comm")).ok()?;
    Some(name.trim_end().to_owned())
}

/// Reads `NUMBER ARGUMENTS SP PC`, or `-1 SP PC` outside a system call. None where it is running.
fn parse(text: &str) -> Option<Where> {
    let mut words = text.split_ascii_whitespace();
    let call: i64 = words.next()?.parse().ok()?;
    let mut hex = words.map(|word| u64::from_str_radix(word.trim_start_matches("0x"), 16).ok());
    if call < 0 {
        let (sp, pc) = (hex.next()??, hex.next()??);
        return Some(Where { state: ThreadState::Faulting, pc, sp });
    }
    let arguments = [hex.next()??, hex.next()??];
    let mut rest = hex.skip(4);
    let (sp, pc) = (rest.next()??, rest.next()??);
    Some(Where { state: ThreadState::Blocked { call, arguments }, pc, sp })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_kernel_says_of_a_thread() {
        let blocked = parse("202 0x7f01 0x80 0x2 0x0 0x0 0xffffffff 0x7ffe10 0x7f20\n").unwrap();
        assert_eq!(blocked.state, ThreadState::Blocked { call: 202, arguments: [0x7f01, 0x80] });
        assert_eq!((blocked.sp, blocked.pc), (0x7ffe10, 0x7f20));
        let faulting = parse("-1 0x7ffe10 0x7f20\n").unwrap();
        assert_eq!(faulting.state, ThreadState::Faulting);
        for text in ["running\n", "", "202 0x1", "x y z"] {
            assert!(parse(text).is_none(), "{text:?}");
        }
    }
}
