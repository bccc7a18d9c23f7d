//! `goroutine`: every OS thread, what it waits for, and its stack; and every task that is known.
//!
//! What is measured: one sample for each thread, with labels `thread` (its name), `state` and
//! `category`; and the same as text in the grammar of Go's `debug=2` dumps. Cost: about 20 µs of
//! CPU for each thread. Threads that wait are not disturbed: they are read through `/proc`. A
//! thread that is running gets one signal and answers it from a handler; one that does not answer
//! within a second is listed as such.
//!
//! Threads that seem to wait for each other's locks are a `DEADLOCK?` among the comments, and have
//! the label `deadlock`. Workers of an async runtime that are blocked inside a task's poll stand there
//! too, and have the label `blocks`.
//!
//! Where it is blind: the stacks are not of one instant; how long a thread has been waiting is
//! known only where the kernel tells (`/proc/…/sched`), and for up to 256 threads, or as long as a
//! [`Stats`](crate::stats::Stats) collector has seen them wait; and async tasks that nobody named
//! are only counted, where anybody counts them.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use profile_format::owner::find_idle_word;
use profile_format::profile::{Builder, Profile};
use profile_format::{DUMP_FILE_NAME, Kind, ProfileShape, Unavailable};

use crate::collector::{Collector, File, Pending, Window};
use crate::error::Error;
use crate::stacks::locate::{AddressLocator, Symbols, unix_nanos};
use crate::stacks::raw::arch;
use crate::task::Detail;
use crate::threads::blocked_workers;
use crate::threads::deadlock::{self, AwaitedLock, LockCycle};
use crate::threads::raw::{self, ThreadStack, ThreadState};
use crate::threads::tasks::{ListedTasks, ThreadText};
use crate::threads::text::{format_label, format_wait};
use crate::waits::encode::StackFrames;

/// Thread dumps, with what tasks wait in where that is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ThreadDump {
    tasks: Option<Detail>,
}

impl Collector for ThreadDump {
    fn kind(&self) -> Kind {
        Kind::Goroutine
    }

    fn check(&self) -> Result<(), Unavailable> {
        Ok(())
    }

    fn start(&self) -> Result<Box<dyn Window>, Error> {
        Ok(Box::new(*self))
    }

    fn with_tasks(&self, detail: Detail) -> Result<Arc<dyn Collector>, Unavailable> {
        detail.check()?;
        Ok(Arc::new(ThreadDump { tasks: Some(detail) }))
    }
}

impl Window for ThreadDump {
    fn close(self: Box<Self>) -> Pending {
        let taken = SystemTime::now();
        let tasks = self.tasks.map_or_else(ListedTasks::now, ListedTasks::in_detail);
        let threads = raw::read_all_stacks();
        Box::new(move || {
            let threads = threads.map_err(|source| Error::Collect {
                kind: Kind::Goroutine,
                source: source.into(),
            })?;
            let dump = ResolvedThreads::new(threads, &tasks, taken);
            let mut text = dump.text();
            text.push_str(&tasks.text(|tid| dump.stack_of(tid)));
            Ok(vec![
                File { name: Kind::Goroutine.file_name(), bytes: dump.profile.into() },
                File { name: DUMP_FILE_NAME, bytes: text.into_bytes().into() },
            ])
        })
    }
}

/// Bytes of a header, more or less.
const HEADER: usize = 80;

/// Threads with their stacks resolved, each distinct stack once.
struct ResolvedThreads {
    threads: Vec<ThreadStack>,
    profile: Profile,
    /// The index of each thread's stack.
    stacks: Vec<usize>,
    /// Locations of each stack, and its frames as text.
    locations: Vec<Vec<u32>>,
    frames: Vec<String>,
    findings: ThreadFindings,
}

/// Notes how many stacks have no way up to their root, if any have none.
fn note_truncated(builder: &mut Builder, threads: &[ThreadStack]) {
    let truncated = threads.iter().filter(|thread| thread.truncated).count();
    if truncated > 0 {
        builder.comment(&format!("truncated: {truncated} stacks without a way up to their root"));
    }
}

/// The findings about threads.
struct ThreadFindings {
    /// Threads that seem to wait for each other.
    cycles: Vec<LockCycle>,
    /// Workers that are blocked in the poll of a task without a name, and for how long at least.
    blocked: Vec<(u32, Duration)>,
}

impl ThreadFindings {
    /// Returns the labels of a thread beyond those that all have, as keys and values.
    fn labels(&self, tid: u32) -> Vec<(&'static str, String)> {
        let cycle = self.cycles.iter().position(|cycle| cycle.tids.contains(&tid));
        let blocks = self.blocked.iter().any(|&(blocked, _)| blocked == tid);
        let cycle = cycle.map(|at| ("deadlock", cycle_word(at)));
        let blocks = blocks.then(|| ("blocks", "worker".to_owned()));
        cycle.into_iter().chain(blocks).collect()
    }
}

/// Threads that are one sample.
#[derive(Clone, PartialEq, Eq, Hash)]
struct SampleKey<'a> {
    name: &'a str,
    state: &'static str,
    stack: usize,
    labels: Vec<(&'static str, String)>,
}

/// The stacks of threads, each distinct one once.
struct DistinctStacks {
    /// The index of each thread's stack.
    of_threads: Vec<usize>,
    locations: Vec<Vec<u32>>,
    facts: Vec<StackFacts>,
}

impl DistinctStacks {
    fn new(threads: &[ThreadStack], builder: &mut Builder, locator: &mut AddressLocator) -> Self {
        let mut known: HashMap<&[u64], usize> = HashMap::new();
        let mut locations: Vec<Vec<u32>> = Vec::new();
        let mut of_threads = Vec::with_capacity(threads.len());
        for thread in threads {
            of_threads.push(*known.entry(&thread.addresses).or_insert_with(|| {
                locations.push(locator.stack(builder, thread.addresses.iter().copied()));
                locations.len() - 1
            }));
        }
        let facts = locations.iter().map(|stack| StackFacts::of(builder, stack)).collect();
        DistinctStacks { of_threads, locations, facts }
    }

    fn with_facts<'a>(
        &'a self,
        threads: &'a [ThreadStack],
    ) -> impl Iterator<Item = (&'a ThreadStack, &'a StackFacts)> {
        threads.iter().zip(self.of_threads.iter().map(|&at| &self.facts[at]))
    }
}

/// Looks again at workers that may be blocked. Returns whether any was found to be.
fn look_again_at_workers(
    threads: &mut [ThreadStack],
    stacks: &DistinctStacks,
    tasks: &ListedTasks,
) -> bool {
    let may_be_blocked = |(thread, facts): &(&ThreadStack, &StackFacts)| match thread.state {
        ThreadState::Running => facts.is_worker && !tasks.is_polled_by(thread.tid),
        _ => facts.polls_task && !blocked_workers::is_long_blocked(thread),
    };
    let unsure = stacks.with_facts(threads).filter(may_be_blocked);
    let unsure: Vec<u32> = unsure.map(|(thread, _)| thread.tid).collect();
    let found = blocked_workers::look_again(&unsure);
    let is_any = !found.is_empty();
    for again in found {
        if let Some(thread) = threads.iter_mut().find(|thread| thread.tid == again.tid) {
            *thread = again;
        }
    }
    is_any
}

impl ResolvedThreads {
    fn new(mut threads: Vec<ThreadStack>, tasks: &ListedTasks, taken: SystemTime) -> Self {
        let mut builder = ProfileShape::GOROUTINE.builder(ProfileShape::GOROUTINE.period);
        let mut locator = AddressLocator::new(&mut builder, Symbols::Resolved);
        let mut stacks = DistinctStacks::new(&threads, &mut builder, &mut locator);
        if look_again_at_workers(&mut threads, &stacks, tasks) {
            stacks = DistinctStacks::new(&threads, &mut builder, &mut locator);
        }
        let waiting = stacks.with_facts(&threads).map(|(thread, facts)| (thread, facts.lock));
        let cycles = deadlock::find(waiting);
        let blocked = stacks.with_facts(&threads).filter(|(thread, facts)| {
            facts.polls_task
                && blocked_workers::is_long_blocked(thread)
                && !tasks.is_blocked_by_named(thread.tid)
        });
        let blocked = blocked.map(|(thread, _)| (thread.tid, thread.waited.unwrap_or_default()));
        let findings = ThreadFindings { cycles, blocked: blocked.collect() };
        add_samples(&mut builder, &threads, &stacks, &findings);
        let DistinctStacks { of_threads: stacks, locations, .. } = stacks;
        let locations_of = |tid: u32| {
            let index = threads.iter().position(|thread| thread.tid == tid)?;
            Some((locations[stacks[index]].as_slice(), ""))
        };
        tasks.add_to(&mut builder, locations_of);
        builder
            .comment("engine: profilez, /proc for threads that wait, a signal for those that run");
        findings.describe(&threads).iter().for_each(|finding| builder.comment(finding));
        note_truncated(&mut builder, &threads);
        builder.profile_mut().time_nanos = unix_nanos(taken);
        let profile = builder.finish();
        let frames = locations.iter().map(|stack| format_frames(&profile, stack)).collect();
        ResolvedThreads { threads, profile, stacks, locations, frames, findings }
    }

    /// Returns the stack of a thread.
    fn stack_of(&self, tid: u32) -> Option<ThreadText<'_>> {
        let index = self.threads.iter().position(|thread| thread.tid == tid)?;
        let stack = self.stacks[index];
        Some((&self.locations[stack], &self.frames[stack]))
    }

    /// Writes `goroutine TID [state] {thread: name}:` and the frames, thread by thread.
    fn text(&self) -> String {
        // Growing by and by would copy all of it again.
        let mut text = String::with_capacity(
            self.stacks.iter().map(|&at| HEADER + self.frames[at].len()).sum(),
        );
        for (thread, &stack) in self.threads.iter().zip(&self.stacks) {
            if !text.is_empty() {
                text.push('\n');
            }
            // Writing to a string can't fail.
            let (state, name) = (state_word(thread.state), format_label(&thread.name));
            let wait = format_wait(thread.waited);
            let _ = write!(text, "goroutine {} [{state}{wait}] {{thread: {name}", thread.tid);
            for (key, value) in self.findings.labels(thread.tid) {
                let _ = write!(text, ", {key}: {value}");
            }
            text.push_str("}:\n");
            text.push_str(&self.frames[stack]);
            if thread.addresses.is_empty() {
                text.push_str("\tgoroutine running on other thread; stack unavailable\n");
            }
        }
        text
    }
}

/// Facts that a stack alone tells of the threads that are in it.
struct StackFacts {
    lock: Option<AwaitedLock>,
    is_idle: bool,
    is_worker: bool,
    /// True in the poll of a task that a worker runs.
    polls_task: bool,
}

impl StackFacts {
    fn of(builder: &Builder, stack: &[u32]) -> StackFacts {
        let stack = StackFrames::of(builder, stack);
        StackFacts {
            lock: AwaitedLock::of(&stack.frames),
            is_idle: find_idle_word(&stack.frames).is_some(),
            is_worker: blocked_workers::is_worker(&stack.frames),
            polls_task: blocked_workers::polls_task(&stack.frames),
        }
    }

    /// Returns the category of a thread: a worker that waits for something to do, or one of the
    /// profiler's own, is in the background. More is for who has rules to ask.
    fn category(&self, name: &str) -> &'static str {
        if self.is_idle || name.starts_with("profilez-") { "background" } else { "unknown" }
    }
}

/// Returns the name of a cycle in labels.
fn cycle_word(index: usize) -> String {
    format!("cycle_{}", index + 1)
}

impl ThreadFindings {
    /// Describes each in a sentence.
    fn describe(&self, threads: &[ThreadStack]) -> Vec<String> {
        let name = |tid: u32| {
            let thread = threads.iter().find(|thread| thread.tid == tid);
            format!("{} {tid}", thread.map_or("", |thread| &thread.name))
        };
        let cycles = self.cycles.iter().map(|cycle| {
            let names: Vec<String> = cycle.tids.iter().map(|&tid| name(tid)).collect();
            match &names[..] {
                [one] => format!("DEADLOCK? {one} waits for a lock that it holds itself"),
                several => format!(
                    "DEADLOCK? each waits for a lock that the next seems to hold, the last for the \
                     first's: {}",
                    several.join(", ")
                ),
            }
        });
        let blocked = self.blocked.iter().map(|&(tid, time)| {
            format!("worker {} has been blocked in a task's poll for {time:.1?}", name(tid))
        });
        cycles.chain(blocked).collect()
    }
}

/// Adds a sample for the threads of the same name, state, stack and findings, in the order they come.
fn add_samples<'a>(
    builder: &mut Builder,
    threads: &'a [ThreadStack],
    stacks: &DistinctStacks,
    findings: &ThreadFindings,
) {
    let mut samples: Vec<(SampleKey<'a>, i64)> = Vec::new();
    let mut known: HashMap<SampleKey<'a>, usize> = HashMap::new();
    for (thread, &stack) in threads.iter().zip(&stacks.of_threads) {
        let (state, labels) = (state_word(thread.state), findings.labels(thread.tid));
        let key = SampleKey { name: &thread.name, state, stack, labels };
        let sample = *known.entry(key.clone()).or_insert_with(|| {
            samples.push((key, 0));
            samples.len() - 1
        });
        samples[sample].1 += 1;
    }
    for (key, count) in samples {
        let category = stacks.facts[key.stack].category(key.name);
        let mut labels = vec![
            builder.text_label("thread", key.name),
            builder.text_label("state", key.state),
            builder.text_label("category", category),
        ];
        let more = key.labels.iter().map(|(name, value)| builder.text_label(name, value));
        labels.extend(more);
        builder.sample(&stacks.locations[key.stack], &[count], &labels);
    }
}

/// Writes the frames of a stack in Go's grammar: a line for the function, and one for its place.
fn format_frames(profile: &Profile, stack: &[u32]) -> String {
    let mut text = String::new();
    for &index in stack {
        let lines = profile.lines_of(&profile.locations[index as usize]);
        for (depth, line) in lines.iter().enumerate() {
            let function = profile.functions[line.function as usize];
            let name = profile.str(function.name).replace(['\n', '\r', '\t'], " ");
            let arguments = if depth + 1 < lines.len() { "(...)" } else { "()" };
            let file = match profile.str(function.filename) {
                "" => "?",
                file => file,
            };
            // Writing to a string can't fail.
            let _ = writeln!(text, "{name}{arguments}\n\t{file}:{}", line.line);
        }
    }
    text
}

/// Returns the word for what a thread does; of a thread that waits, the word for its system call.
fn state_word(state: ThreadState) -> &'static str {
    match state {
        ThreadState::Running => "running",
        ThreadState::NoAnswer => "no response",
        ThreadState::Faulting => "page fault",
        ThreadState::Blocked { call, arguments } => call_word(call, arguments),
    }
}

fn call_word(call: i64, [_, operation]: [u64; 2]) -> &'static str {
    const FUTEX_COMMAND: u64 = 0x7f;
    match call {
        libc::SYS_futex => match operation & FUTEX_COMMAND {
            0 | 9 => "futex wait",
            6 | 11 | 13 => "futex lock",
            _ => "futex",
        },
        libc::SYS_epoll_pwait | libc::SYS_epoll_pwait2 => "epoll wait",
        libc::SYS_nanosleep | libc::SYS_clock_nanosleep => "sleep",
        libc::SYS_ppoll => "poll",
        libc::SYS_pselect6 => "select",
        libc::SYS_read | libc::SYS_readv | libc::SYS_pread64 | libc::SYS_preadv => "read",
        libc::SYS_write | libc::SYS_writev | libc::SYS_pwrite64 | libc::SYS_pwritev => "write",
        libc::SYS_recvfrom | libc::SYS_recvmsg | libc::SYS_recvmmsg => "receive",
        libc::SYS_sendto | libc::SYS_sendmsg | libc::SYS_sendmmsg => "send",
        libc::SYS_accept | libc::SYS_accept4 => "accept",
        libc::SYS_connect => "connect",
        libc::SYS_wait4 | libc::SYS_waitid => "wait for child",
        libc::SYS_fsync | libc::SYS_fdatasync | libc::SYS_sync => "sync to disk",
        libc::SYS_flock => "file lock",
        libc::SYS_rt_sigtimedwait | libc::SYS_rt_sigsuspend => "signal wait",
        libc::SYS_io_uring_enter => "io_uring wait",
        call => {
            let older = arch::OLDER_CALLS.iter().find(|(older, _)| *older == call);
            older.map_or("syscall", |(_, word)| word)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dump_shows_every_thread_with_its_place() {
        use std::sync::mpsc;
        use std::thread;

        #[inline(never)]
        fn waits_for_the_test(done: &mpsc::Receiver<()>) {
            let _ = done.recv();
            std::hint::black_box(());
        }
        let senders: Vec<_> = (0..20)
            .map(|n| {
                let (sender, receiver) = mpsc::channel();
                let name = format!("waiter-{n}");
                let thread = thread::Builder::new()
                    .name(name)
                    .spawn(move || waits_for_the_test(&receiver))
                    .unwrap();
                (sender, thread)
            })
            .collect();
        let waiting = || {
            let threads = raw::read_all_stacks().unwrap();
            let text = {
                let dump =
                    ResolvedThreads::new(threads.clone(), &ListedTasks::now(), SystemTime::now());
                dump.profile.check().unwrap();
                for sample in dump.profile.samples.iter() {
                    let keys: Vec<_> =
                        sample.labels.iter().map(|l| dump.profile.str(l.key)).collect();
                    assert!(keys.contains(&"state") && keys.contains(&"category"), "{keys:?}");
                }
                dump.text()
            };
            (text, threads)
        };
        // Threads take a moment to get where they wait.
        let (dumped, threads) = loop {
            let (dumped, threads) = waiting();
            let waiting = dumped.matches("[futex wait] {thread: \"waiter-").count();
            if waiting == 20 && dumped.matches("waits_for_the_test()").count() == 20 {
                break (dumped, threads);
            }
            thread::yield_now();
        };
        for n in 0..20 {
            let header = format!("[futex wait] {{thread: \"waiter-{n}\"}}:\n");
            assert!(dumped.contains(&header), "{header} is not in\n{dumped}");
        }
        let waiters = threads.iter().filter(|thread| thread.name.starts_with("waiter-"));
        for waiter in waiters {
            assert!(!waiter.truncated, "{waiter:?}\n{dumped}");
        }
        // The thread that takes the dump is running, and answers itself.
        assert!(dumped.contains("[running]"), "{dumped}");
        for (sender, thread) in senders {
            drop(sender);
            thread.join().unwrap();
        }
    }
}
