//! Waiting as a sampler sees it that looks at the threads through `/proc`, some fifteen times a
//! second.
//!
//! A look at a thread that hasn't run since the last one costs one short read, and says that it has
//! waited all the time: the longer it has, the longer it is left alone.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use crate::stacks::blocked::{BlockedStack, BlockedThread, StackReader, ThreadState};
use crate::stacks::raw::task::{ShortFile, TaskFolder, spare_files};
use crate::stacks::unwind::{self, StackUnwinder, WalkEnd};
use crate::stats::waits::SchedStat;
use crate::sys::own_work::{OwnWork, is_own_thread};
use crate::waits::own_frames::trim_own_frames;
use crate::waits::recorded::{RecordedWaits, WaitStack, WaitWeight};

/// The time between two looks, on average: 15 a second.
const PERIOD: Duration = Duration::from_micros(66_667);
/// Times after which the list of threads is read again: when there are more or fewer, and else.
const LIST: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3));
/// The longest that a thread is left alone.
const ALONE: Duration = Duration::from_secs(3);
/// Addresses of a stack that are kept.
const DEPTH: usize = 128;

/// A sampler at work. Dropping it ends it.
pub(crate) struct WaitSampler {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<RecordedWaits>>,
}

impl WaitSampler {
    /// Starts a sampler with a thread of its own.
    ///
    /// # Errors
    ///
    /// There is no thread to be had.
    pub(crate) fn start() -> io::Result<WaitSampler> {
        let (stop, stopped) = mpsc::channel();
        let thread = thread::Builder::new().name("profilez-block".to_owned()).spawn(move || {
            let _own = OwnWork::of_thread();
            let mut looking = SamplingState::new();
            loop {
                let wait = looking.jitter(PERIOD);
                match stopped.recv_timeout(wait) {
                    Err(RecvTimeoutError::Timeout) => looking.tick(false),
                    Ok(()) | Err(RecvTimeoutError::Disconnected) => break,
                }
            }
            looking.tick(true);
            looking.recorded()
        })?;
        Ok(WaitSampler { stop: Some(stop), thread: Some(thread) })
    }

    /// Ends it, and returns what it saw. `None` where its thread panicked.
    pub(crate) fn end(mut self) -> Option<RecordedWaits> {
        self.stop = None;
        self.thread.take()?.join().ok()
    }
}

impl Drop for WaitSampler {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was reported where it happened.
            let _ = thread.join();
        }
    }
}

/// A thread that is looked at.
struct FollowedThread {
    /// Kept open where there are not too many.
    schedule: Option<File>,
    ran: Option<SchedStat>,
    looked: Instant,
    /// Time since which it is known not to have run.
    still_since: Instant,
    next: Instant,
    /// The stack at which it waits.
    at: Option<usize>,
    seen: bool,
}

/// Sum of the times that threads have waited at a stack.
struct StackSum {
    waited: WaitWeight,
    /// True for a stack of the profiler's own, which no thread of the program can have.
    own: bool,
}

/// The state that the sampler's thread works on.
struct SamplingState {
    from: SystemTime,
    tasks: Option<TaskFolder>,
    threads: HashMap<u32, FollowedThread>,
    /// The time at which the list was read, and the number of threads then.
    listed: Option<(Instant, u64)>,
    unwinder: StackUnwinder,
    generation: unwind::TableGeneration,
    reading: StackReader,
    index: HashMap<WaitStack, usize>,
    sums: Vec<StackSum>,
    random: u64,
    files: usize,
}

impl SamplingState {
    fn new() -> SamplingState {
        let from = SystemTime::now();
        let seed = from.duration_since(SystemTime::UNIX_EPOCH).map_or(1, |d| d.as_nanos() as u64);
        let generation = unwind::generation();
        let mut looking = SamplingState {
            from,
            tasks: TaskFolder::open().ok(),
            threads: HashMap::new(),
            listed: None,
            unwinder: StackUnwinder::load(),
            generation,
            reading: StackReader::default(),
            index: HashMap::new(),
            sums: Vec::new(),
            random: seed | 1,
            files: spare_files(),
        };
        looking.tick(false);
        looking
    }

    /// Returns from half to one and a half of a time, so that nothing in the program keeps step.
    fn jitter(&mut self, time: Duration) -> Duration {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        time / 2 + time.mul_f64((self.random >> 11) as f64 / (1u64 << 53) as f64)
    }

    /// Looks at the threads whose turn it is; at the end, at all of them.
    fn tick(&mut self, is_last: bool) {
        let Some(tasks) = self.tasks.take() else { return };
        let now = Instant::now();
        if self.is_list_old(&tasks, now) {
            self.listed = Some((now, tasks.count().unwrap_or(0)));
            self.list(&tasks, now);
            let generation = unwind::generation();
            if generation != self.generation {
                self.generation = generation;
                self.unwinder = StackUnwinder::load();
            }
        }
        let mut threads = std::mem::take(&mut self.threads);
        for (&tid, thread) in &mut threads {
            if is_last || thread.next <= now {
                self.look(&tasks, tid, thread);
            }
        }
        self.threads = threads;
        self.tasks = Some(tasks);
    }

    fn is_list_old(&self, tasks: &TaskFolder, now: Instant) -> bool {
        self.listed.is_none_or(|(listed, count)| {
            let since = now - listed;
            since >= LIST.1 || since >= LIST.0 && tasks.count().is_ok_and(|now| now != count)
        })
    }

    /// Follows threads that are new, and forgets those that are gone.
    fn list(&mut self, tasks: &TaskFolder, now: Instant) {
        self.threads.values_mut().for_each(|thread| thread.seen = false);
        for tid in TaskFolder::ids().unwrap_or_default() {
            let files = &mut self.files;
            let thread = self.threads.entry(tid).or_insert_with(|| {
                let schedule = (*files > 0).then(|| tasks.file(tid, "schedstat")).flatten();
                *files -= usize::from(schedule.is_some());
                FollowedThread {
                    schedule,
                    ran: None,
                    looked: now,
                    still_since: now,
                    next: now,
                    at: None,
                    seen: true,
                }
            });
            thread.seen = true;
        }
        let files = &mut self.files;
        self.threads.retain(|_, thread| {
            *files += usize::from(!thread.seen && thread.schedule.is_some());
            thread.seen
        });
    }

    /// Looks at a thread. The time between two looks counts half for what it did at the first, and
    /// half for what it does at the second; as a whole where it hasn't run in between.
    fn look(&mut self, tasks: &TaskFolder, tid: u32, thread: &mut FollowedThread) {
        let now = Instant::now();
        let gap = now - thread.looked;
        thread.looked = now;
        let ran = match &thread.schedule {
            Some(file) => Some(ShortFile::read(file)),
            None => tasks.text(tid, "schedstat"),
        };
        let ran = ran.and_then(|ran| SchedStat::parse(ran.str()?));
        if ran.is_some() && ran == thread.ran {
            self.wait_at(thread.at, gap, false);
        } else {
            thread.ran = ran;
            thread.still_since = now;
            self.wait_at(thread.at, gap / 2, false);
            thread.at = self.stack(tasks, tid);
            self.wait_at(thread.at, gap / 2, true);
        }
        // Half of a gap counts for what was before: no wait is off by more than 3/8 of its length.
        thread.next = now + ((now - thread.still_since) * 3 / 4).min(ALONE);
    }

    fn wait_at(&mut self, at: Option<usize>, time: Duration, is_new: bool) {
        if let Some(sum) = at.and_then(|at| self.sums.get_mut(at)) {
            let count = if is_new { WaitWeight::ONE } else { 0 };
            sum.waited.add(WaitWeight { count, nanos: time.as_nanos() as u64 });
        }
    }

    /// Returns the index of the stack of a thread that waits on a futex; `None` for any other.
    fn stack(&mut self, tasks: &TaskFolder, tid: u32) -> Option<usize> {
        let waits = |state| match state {
            ThreadState::Blocked { call: libc::SYS_futex, arguments: [_, operation] } => {
                matches!(operation & 0x7f, 0 | 9)
            }
            _ => false,
        };
        let mut blocked = BlockedThread::open(tasks, tid)?;
        let BlockedStack { addresses, end, .. } =
            blocked.stack_where(waits, tasks, &self.unwinder, &mut self.reading, DEPTH)?;
        let truncated = end != WalkEnd::Root;
        // What is left of such a stack of ours may be the same as of one of the program's.
        if truncated && is_own_thread(tid) {
            return None;
        }
        let stack = (trim_own_frames(addresses), truncated);
        if let Some(&index) = self.index.get(&stack) {
            return Some(index);
        }
        let own = !truncated && is_own_thread(tid);
        self.sums.push(StackSum { waited: WaitWeight::default(), own });
        self.index.insert(stack, self.sums.len() - 1);
        Some(self.sums.len() - 1)
    }

    fn recorded(self) -> RecordedWaits {
        let waits = |thread: &&FollowedThread| thread.at.is_some_and(|at| !self.sums[at].own);
        let open = self.threads.values().filter(waits).count() as u64;
        let stacks = self
            .index
            .into_iter()
            .map(|(stack, index)| (stack, &self.sums[index]))
            .filter(|(_, sum)| !sum.own && sum.waited.nanos != 0)
            .map(|(stack, sum)| (stack, sum.waited))
            .collect();
        RecordedWaits {
            from: Some(self.from),
            to: SystemTime::now(),
            stacks,
            open,
            lost: WaitWeight::default(),
            unlisted: 0,
        }
    }
}
