//! Threads that block the signal, or seem to: they have no timer.

use std::collections::HashMap;

use crate::cpu::sampler::account::CpuTimeAccount;
use crate::cpu::sampler::raw::signals::{SignalMask, SignalReader};
use crate::cpu::sampler::raw::timer::CpuClock;
use crate::stacks::raw::task::name_of;

/// Threads whose masks are read in a scan, at most.
const LOOKS: usize = 16;
/// A thread that blocks the signal for good doesn't any more when it was so often seen not to in a row: one
/// that waits for signals by turns seems not to for moments.
const SURE: u32 = 3;
/// A thread that blocked it twice and used so much in between, in nanoseconds, blocks it for good. libc blocks
/// all signals for microseconds around a thread's birth, in both threads.
const FOR_GOOD: u64 = 1_000_000;
/// A thread that used more since the last scan is at work: less than any tick.
const BUSY: i64 = 500_000;
/// One that has used as much in all is not newborn.
const OLD: u64 = 5_000_000;

/// The threads that block the signal, by their ids.
#[derive(Default)]
pub(crate) struct BlockingThreads {
    threads: HashMap<u32, BlockingThread>,
    /// Counts scans.
    turn: u64,
    /// Number of threads that were found to block it for good, and the name of one that was at
    /// work.
    count: usize,
    example: String,
}

/// A thread that blocks the signal, or seems to.
struct BlockingThread {
    /// Its CPU time when it was found, and when it was last looked at, in nanoseconds.
    first: u64,
    used: u64,
    seen: bool,
    /// The scan in which it was found, and the one in which its mask was read.
    found: u64,
    read: u64,
    /// True where it blocks the signal for good.
    for_good: bool,
    /// Number of times in a row that it did not seem to block it.
    unblocked: u32,
}

/// The findings of a scan about such threads.
#[derive(Debug, Default)]
pub(crate) struct BlockingSeen {
    /// True where some that block the signal for good are at work.
    pub(crate) is_busy: bool,
    /// True where of some that are not newborn it is not known yet.
    pub(crate) is_unsure: bool,
    /// Threads that don't block it any more.
    pub(crate) unblocked: Vec<u32>,
}

impl BlockingThreads {
    /// Begins a scan.
    pub(crate) fn begin_scan(&mut self) {
        self.turn += 1;
        self.threads.values_mut().for_each(|thread| thread.seen = false);
    }

    /// Notes that a thread is still there. Returns false if it is none of these.
    pub(crate) fn has_seen(&mut self, tid: u32) -> bool {
        self.threads.get_mut(&tid).is_some_and(|thread| {
            thread.seen = true;
            true
        })
    }

    pub(crate) fn contains(&self, tid: u32) -> bool {
        self.threads.contains_key(&tid)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.threads.is_empty()
    }

    /// Adds a thread that has used so much CPU time.
    pub(crate) fn add(&mut self, tid: u32, used: u64, for_good: bool) {
        self.count += usize::from(for_good);
        let turn = self.turn;
        let thread = BlockingThread {
            first: used,
            used,
            seen: true,
            found: turn,
            read: turn,
            for_good,
            unblocked: 0,
        };
        self.threads.insert(tid, thread);
    }

    /// Drops the threads that are gone, and looks at the rest: what they have used, and whether
    /// they still block the signal.
    pub(crate) fn look_at_threads(
        &mut self,
        reader: &mut SignalReader,
        account: &mut CpuTimeAccount,
    ) -> BlockingSeen {
        self.threads.retain(|_, thread| thread.seen);
        let mut seen = BlockingSeen::default();
        for (&tid, thread) in &mut self.threads {
            let Some(now) = CpuClock::Thread(tid).now() else { continue };
            let used = now.saturating_sub(thread.used).cast_signed();
            thread.used = now;
            if thread.for_good {
                account.add_blocked(used);
                seen.is_busy |= used > BUSY;
                if used > 0 && self.example.is_empty() {
                    self.example = name_of(tid);
                }
            }
        }
        let mut next: Vec<(bool, u64, u32)> =
            self.threads.iter().map(BlockingThread::turn_key).collect();
        next.sort_unstable();
        for (_, _, tid) in next.into_iter().take(LOOKS) {
            let Some(thread) = self.threads.get_mut(&tid) else { continue };
            if thread.found == self.turn {
                continue;
            }
            thread.read = self.turn;
            match reader.mask(tid) {
                Some(SignalMask::Clear) => {
                    thread.unblocked += 1;
                    if !thread.for_good || thread.unblocked == SURE {
                        self.threads.remove(&tid);
                        seen.unblocked.push(tid);
                    }
                }
                Some(mask) => {
                    thread.unblocked = 0;
                    let used = thread.used.saturating_sub(thread.first);
                    if !thread.for_good && (mask == SignalMask::Awaited || used >= FOR_GOOD) {
                        thread.for_good = true;
                        account.add_blocked(used.cast_signed());
                        seen.is_busy = true;
                        self.count += 1;
                        if self.example.is_empty() {
                            self.example = name_of(tid);
                        }
                    }
                }
                None => {}
            }
        }
        seen.is_unsure = self.threads.values().any(|thread| !thread.for_good && thread.used >= OLD);
        seen
    }

    /// Describes the threads that block it, for people; `None` where none was found that does so
    /// for good.
    pub(crate) fn describe(&self) -> Option<String> {
        match self.count {
            0 => None,
            1 => Some(format!("a thread blocks SIGPROF ({})", self.example)),
            n => Some(format!("{n} threads block SIGPROF ({} is one)", self.example)),
        }
    }
}

impl BlockingThread {
    /// Returns the key by which threads are looked at in turn: those first of which it is not known
    /// whether they block it for good, then those whose mask was read longest ago.
    fn turn_key((&tid, thread): (&u32, &BlockingThread)) -> (bool, u64, u32) {
        (thread.for_good, thread.read, tid)
    }
}
