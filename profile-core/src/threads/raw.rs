//! The stacks of every thread, without disturbing those that wait.
//!
//! A thread that is blocked is read through `/proc` and the kernel's copy of its memory. Only a
//! thread that is running, or whose stack can't be read that way, gets a signal, which it answers
//! from its handler: a signal can make a system call return early.

use std::fs;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::cpu::sampler::raw::handler::{self, HandlerPurpose, HandlerState, own_tid};
use crate::cpu::sampler::raw::signals::{self, SignalMask, SignalReader};
use crate::cpu::sampler::ring::SampleRing;
pub(crate) use crate::stacks::blocked::ThreadState;
use crate::stacks::blocked::{BlockedStack, BlockedThread, StackReader};
use crate::stacks::raw::arch;
use crate::stacks::raw::on_stack::block_in_handlers;
use crate::stacks::raw::task::TaskFolder;
use crate::stacks::unwind::{StackUnwinder, WalkEnd};
use crate::stats::waits::{self, SchedStat};
use crate::sys::own_work::own_threads;
use crate::waits::own_frames::trim_own_frames;

/// A thread and where it is.
#[derive(Clone, Debug)]
pub(crate) struct ThreadStack {
    pub(crate) tid: u32,
    pub(crate) name: String,
    pub(crate) state: ThreadState,
    /// Time for which it has not been running: where there are not too many threads to ask as the
    /// kernel tells, elsewhere as the looks of a statistics collector tell.
    pub(crate) waited: Option<Duration>,
    /// The place of the leaf, then an address inside each caller's call. Empty where unknown.
    pub(crate) addresses: Vec<u64>,
    /// True where the stack goes on beyond its last address.
    pub(crate) truncated: bool,
    /// Address at which the stack's memory begins; 0 where the thread is not blocked.
    pub(crate) sp: u64,
}

/// Addresses of a stack that are kept.
const DEPTH: usize = 512;
/// Time that running threads have to answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// Asking how long a thread has waited costs as much as its stack: beyond so many it is left to the
/// statistics collector.
const WAITS: usize = 256;

/// Returns the stacks of all threads of this process but the profiler's own.
pub(crate) fn read_all_stacks() -> io::Result<Vec<ThreadStack>> {
    static ONE: Mutex<()> = Mutex::new(());
    // Handlers work for one dump at a time.
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let unwinder = Box::new(StackUnwinder::load());
    let mut reading = StackReader::default();
    let tasks = TaskFolder::open()?;
    let ids = TaskFolder::ids()?;
    let mut threads = Vec::with_capacity(ids.len());
    let own = own_threads();
    for tid in ids.into_iter().filter(|tid| !own.contains(tid)) {
        // A thread that has ended meanwhile is left out.
        threads.extend(blocked_or_running(&tasks, tid, &unwinder, &mut reading));
    }
    let running: Vec<u32> = threads
        .iter()
        .filter(|thread| thread.addresses.is_empty())
        .map(|thread| thread.tid)
        .collect();
    if !running.is_empty() {
        for (tid, addresses, truncated) in ask(&running, unwinder)? {
            if let Some(thread) = threads.iter_mut().find(|thread| thread.tid == tid) {
                thread.addresses = addresses;
                thread.truncated = truncated;
            }
        }
    }
    // This thread is running, so that it ran last just now.
    let now = if threads.len() <= WAITS { read_last_run(own_tid()) } else { None };
    let watched = waits::is_watched();
    for thread in &mut threads {
        if thread.addresses.is_empty() && thread.state == ThreadState::Running {
            thread.state = ThreadState::NoAnswer;
        }
        if thread.state != ThreadState::Running {
            thread.waited = match now {
                Some(now) => read_last_run(thread.tid).and_then(|ran| now.checked_sub(ran)),
                None if watched => seen_waiting(&tasks, thread.tid),
                None => None,
            };
        }
    }
    Ok(threads)
}

/// Reads a blocked thread once more. `None` where it is not blocked now.
pub(crate) fn read_blocked_again(tid: u32) -> Option<ThreadStack> {
    let tasks = TaskFolder::open().ok()?;
    let unwinder = Box::new(StackUnwinder::load());
    let thread = blocked_or_running(&tasks, tid, &unwinder, &mut StackReader::default())?;
    let is_blocked = !thread.addresses.is_empty() && thread.state != ThreadState::Running;
    is_blocked.then(|| ThreadStack { waited: time_since_last_run(tid), ..thread })
}

/// Reads a thread as `/proc` shows it; without addresses where only a signal can get them.
fn blocked_or_running(
    tasks: &TaskFolder,
    tid: u32,
    unwinder: &StackUnwinder,
    reading: &mut StackReader,
) -> Option<ThreadStack> {
    let name = tasks.text(tid, "comm")?;
    let name = String::from_utf8_lossy(name.bytes()).trim_end().to_owned();
    let thread = |state, addresses, truncated, sp| {
        Some(ThreadStack { tid, name, state, waited: None, addresses, truncated, sp })
    };
    if tid == own_tid() {
        // It would show as reading a file.
        return thread(ThreadState::Running, Vec::new(), false, 0);
    }
    // Forbidden to a process that may not be traced; a signal works all the same.
    let task = BlockedThread::open(tasks, tid);
    let Some(BlockedStack { at, addresses, end }) =
        task.and_then(|mut task| task.stack(tasks, unwinder, reading, DEPTH))
    else {
        return thread(ThreadState::Running, Vec::new(), false, 0);
    };
    let addresses = trim_own_frames(addresses);
    // A way up that was lost at once says nothing; one that was lost later says most.
    if end == WalkEnd::Lost && addresses.len() < 3 {
        return thread(at.state, Vec::new(), false, 0);
    }
    thread(at.state, addresses, end != WalkEnd::Root, at.sp)
}

/// Returns whether a thread is still blocked where it was.
pub(crate) fn is_still_blocked(thread: &ThreadStack) -> bool {
    let task = TaskFolder::open().ok().and_then(|tasks| BlockedThread::open(&tasks, thread.tid));
    let place = task.and_then(|task| task.place());
    place.is_some_and(|place| place.sp == thread.sp && place.state == thread.state)
}

/// Keeps the signal that dumps ask by out of handlers that begin before the first dump.
pub(crate) fn prepare() {
    // Where there is no signal left the first dump says so.
    if let Ok(number) = AnswerSignal::find() {
        block_in_handlers(number);
    }
}

/// Reads so many words of this process's memory, or fewer where it can't be read.
pub(crate) fn read_words(address: u64, words: usize) -> Vec<u64> {
    crate::stacks::raw::window::words(address, words)
}

/// Returns the time at which a thread last ran, by the scheduler's clock.
fn read_last_run(tid: u32) -> Option<Duration> {
    parse_exec_start(&fs::read_to_string(format!("/proc/self/task/{tid}/sched")).ok()?)
}

/// Returns the time for which a thread has not been running, where the kernel tells.
fn time_since_last_run(tid: u32) -> Option<Duration> {
    // This thread is running, so that it ran last just now.
    read_last_run(own_tid())?.checked_sub(read_last_run(tid)?)
}

/// Returns the time for which a statistics collector has seen a thread wait.
fn seen_waiting(tasks: &TaskFolder, tid: u32) -> Option<Duration> {
    waits::waited(tid, SchedStat::parse(tasks.text(tid, "schedstat")?.str()?)?)
}

/// Reads `se.exec_start : MILLISECONDS.NANOSECONDS`.
fn parse_exec_start(sched: &str) -> Option<Duration> {
    let line = sched.lines().find(|line| line.starts_with("se.exec_start"))?;
    let (millis, nanos) = line.split_once(':')?.1.trim().split_once('.')?;
    Some(Duration::from_millis(millis.parse().ok()?) + Duration::from_nanos(nanos.parse().ok()?))
}

/// Asks threads for their stacks by a signal, and waits for their answers. Those that block it are
/// not asked: it would stay with them, for whoever waits for signals there, or for a program that
/// this one executes in its place.
fn ask(tids: &[u32], unwinder: Box<StackUnwinder>) -> io::Result<Vec<(u32, Vec<u64>, bool)>> {
    let signal = AnswerSignal::take()?;
    let ring = SampleRing::new(tids.len().next_power_of_two(), DEPTH);
    let shared = handler::publish(HandlerPurpose::Dump, HandlerState::new(0, ring, 0, unwinder));
    let mut reader = SignalReader::new(signal.number);
    let reached = |&tid: &u32| {
        matches!(reader.mask(tid), None | Some(SignalMask::Clear)) && send(tid, signal.number)
    };
    let mut waiting: Vec<u32> = tids.iter().copied().filter(reached).collect();
    let began = Instant::now();
    let mut answers = Vec::new();
    while !waiting.is_empty() && began.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_micros(200));
        shared.ring.drain(|head, stack| {
            let addresses = stack.iter().map(|word| word.load(Ordering::Relaxed)).collect();
            answers.push((head.tid, addresses, head.truncated));
            waiting.retain(|&tid| tid != head.tid);
        });
        // A thread that has ended meanwhile will not answer.
        waiting.retain(|&tid| send(tid, 0));
    }
    handler::retract(HandlerPurpose::Dump);
    if !waiting.is_empty() {
        // Some have blocked it since they were asked.
        signals::drop_pending(signal.number, our_handler());
    }
    Ok(answers)
}

/// Sends a thread of this process a signal; 0 sends none, and only asks whether there is such a
/// thread. Returns true where the kernel took it.
fn send(tid: u32, signal: libc::c_int) -> bool {
    let arguments = [std::process::id() as usize, tid as usize, signal as usize, 0, 0, 0];
    // SAFETY: tgkill(2) with a signal whose handler is installed, or none.
    (unsafe { arch::syscall(libc::SYS_tgkill, arguments) }) == 0
}

/// A real-time signal that nobody else uses. Its handler stays: an answer may still be on its way.
struct AnswerSignal {
    number: libc::c_int,
}

impl AnswerSignal {
    fn take() -> io::Result<AnswerSignal> {
        let number = AnswerSignal::find()?;
        signals::install(number, our_handler())?;
        block_in_handlers(number);
        Ok(AnswerSignal { number })
    }

    /// Finds the last signal that has no handler but ours.
    fn find() -> io::Result<libc::c_int> {
        let is_free = |&number: &libc::c_int| {
            // SAFETY: an all-zero `sigaction` is a valid value of this plain C structure.
            let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
            // SAFETY: sigaction(2) with a null new action only reads the present one.
            let read = unsafe { libc::sigaction(number, std::ptr::null(), &raw mut action) };
            read == 0 && [libc::SIG_DFL, our_handler()].contains(&action.sa_sigaction)
        };
        (libc::SIGRTMIN()..=libc::SIGRTMAX())
            .rev()
            .find(is_free)
            .ok_or_else(|| io::Error::other("every real-time signal is in use"))
    }
}

/// Returns the address of our handler.
fn our_handler() -> usize {
    handler::on_dump as *const () as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_when_a_thread_last_ran() {
        let sched = "cat (21969, #threads: 1)\n-----\n\
                     se.exec_start                                :       5114919.197194\n";
        assert_eq!(parse_exec_start(sched), Some(Duration::from_nanos(5_114_919_197_194)));
        assert_eq!(parse_exec_start(""), None);
        // Not every kernel has the file. Each processor has a clock of its own, and where the thread is
        // moved in between two of them are compared.
        let ran = || {
            let before = read_last_run(own_tid())?;
            let began = Instant::now();
            while began.elapsed() < Duration::from_millis(50) {}
            Some(read_last_run(own_tid()).unwrap().saturating_sub(before))
        };
        let enough = |ran: Option<Duration>| ran.is_none_or(|ran| ran >= Duration::from_millis(30));
        assert!((0..5).any(|_| enough(ran())));
    }
}
