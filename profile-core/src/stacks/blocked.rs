//! A thread that is blocked in the kernel: what in, and its stack, without disturbing it.

use std::fs::File;

use crate::stacks::raw::task::{ShortFile, TaskFolder};
use crate::stacks::raw::window::MemoryWindow;
use crate::stacks::unwind::{PrologueCache, StackUnwinder, UnwindScratch, WalkEnd};

/// The state that a thread was in.
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

/// The system call and the registers of a blocked thread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BlockedPlace {
    pub(crate) state: ThreadState,
    pub(crate) pc: u64,
    pub(crate) sp: u64,
}

/// A blocked thread's stack.
#[derive(Debug)]
pub(crate) struct BlockedStack {
    pub(crate) at: BlockedPlace,
    /// The place of the leaf, then an address inside each caller's call.
    pub(crate) addresses: Vec<u64>,
    pub(crate) end: WalkEnd,
}

/// Working memory for reading the stacks of blocked threads, one after the other.
#[derive(Default)]
pub(crate) struct StackReader {
    scratch: UnwindScratch,
    prologues: PrologueCache,
    window: MemoryWindow,
}

/// A thread that may be blocked, by its files. They can be read as long as it lives.
#[derive(Debug)]
pub(crate) struct BlockedThread {
    tid: u32,
    call: File,
    /// Opened where it is needed.
    schedule: Option<File>,
}

impl BlockedThread {
    /// Opens a thread's files; `None` where the thread has ended, or the process may not be traced.
    pub(crate) fn open(tasks: &TaskFolder, tid: u32) -> Option<BlockedThread> {
        Some(BlockedThread { tid, call: tasks.file(tid, "syscall")?, schedule: None })
    }

    /// Reads where the thread is, if it is blocked.
    pub(crate) fn place(&self) -> Option<BlockedPlace> {
        ShortFile::read(&self.call).str().and_then(parse)
    }

    /// Reads how often and how long the thread has run; `None` where the kernel doesn't count it.
    pub(crate) fn ran(&mut self, tasks: &TaskFolder) -> Option<ShortFile> {
        if self.schedule.is_none() {
            self.schedule = tasks.file(self.tid, "schedstat");
        }
        self.schedule.as_ref().map(ShortFile::read).filter(|ran| !ran.bytes().is_empty())
    }

    /// Reads its stack, at most `depth` addresses of it, if it is blocked and was so all the time.
    pub(crate) fn stack(
        &mut self,
        tasks: &TaskFolder,
        unwinder: &StackUnwinder,
        reading: &mut StackReader,
        depth: usize,
    ) -> Option<BlockedStack> {
        self.stack_where(|_| true, tasks, unwinder, reading, depth)
    }

    /// Reads the stack of a thread that is blocked in a state that `wanted` accepts; see
    /// [`stack`](Self::stack).
    pub(crate) fn stack_where(
        &mut self,
        wanted: impl Fn(ThreadState) -> bool,
        tasks: &TaskFolder,
        unwinder: &StackUnwinder,
        reading: &mut StackReader,
        depth: usize,
    ) -> Option<BlockedStack> {
        const TRIES: usize = 4;
        for _ in 0..TRIES {
            // Whenever a thread begins to run the kernel counts it.
            let before = self.schedule.as_ref().map(ShortFile::read);
            let blocked = ShortFile::read(&self.call);
            let at = blocked.str().and_then(parse).filter(|at| wanted(at.state))?;
            let StackReader { scratch, prologues, window } = reading;
            window.forget();
            let (addresses, end) =
                unwinder.unwind_blocked(scratch, prologues, (at.pc, at.sp), window, depth);
            let stayed = match &before {
                Some(before) => {
                    self.schedule.as_ref().map(ShortFile::read).as_ref() == Some(before)
                }
                // One copy takes less than it takes a thread to run and to wait again. Most stacks
                // fit into one, and the count costs a fifth of all this.
                None => window.copies() <= 1 && ShortFile::read(&self.call) == blocked,
            };
            if stayed {
                return Some(BlockedStack { at, addresses, end });
            }
            self.schedule = self.schedule.take().or_else(|| tasks.file(self.tid, "schedstat"));
        }
        None
    }
}

/// Reads `NUMBER ARGUMENTS SP PC`, or `-1 SP PC` outside a system call. None where it is running.
fn parse(text: &str) -> Option<BlockedPlace> {
    let mut words = text.split_ascii_whitespace();
    let call: i64 = words.next()?.parse().ok()?;
    let mut hex = words.map(|word| u64::from_str_radix(word.trim_start_matches("0x"), 16).ok());
    if call < 0 {
        let (sp, pc) = (hex.next()??, hex.next()??);
        return Some(BlockedPlace { state: ThreadState::Faulting, pc, sp });
    }
    let arguments = [hex.next()??, hex.next()??];
    let mut rest = hex.skip(4);
    let (sp, pc) = (rest.next()??, rest.next()??);
    Some(BlockedPlace { state: ThreadState::Blocked { call, arguments }, pc, sp })
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
