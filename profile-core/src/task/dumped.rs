//! tokio's own task dump as what tasks wait in, of runtimes that are watched.
//!
//! tokio stops all workers of the runtime, and one of them polls every idle task in a mode in which whatever
//! waits takes its stack and stays pending; afterwards each task is woken, and so polled once more. What
//! version 1.54.1 gets wrong about it decides what is done here:
//!
//! - A worker that waits for the others and gives up after 250 ms stays counted as one that has come (tokio
//!   pull request 8370). That happens where a worker is blocked, and by chance after any dump, to one that has not seen yet
//!   that it is over. The next dump then begins before all workers have stopped, and may leave one of them
//!   waiting for good: seen on two cores in one of thirty. So nothing is begun where a worker seems
//!   blocked, and a runtime is dumped once.
//! - A dump can't be called off. One that doesn't end goes on after its time, without us.
//! - Of a runtime with one thread there is no dump: a task that is woken in it panics in the scheduler (tokio
//!   issue 8391).

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::dump::{Backtrace, BacktraceSymbol, Task};
use tokio::runtime::{self, Handle, RuntimeFlavor};
use tokio::task::Id;

use crate::Unavailable;
use crate::sys::clock;
use crate::task::detail::{Awaited, Awaits, DETAIL_TIMEOUT, Detail, MOST_PLACES};
use crate::task::{TaskId, hooks};

/// Runtimes that were dumped, or are about to be.
static DUMPED: Mutex<Vec<runtime::Id>> = Mutex::new(Vec::new());

/// Whether a runtime's tasks can be dumped.
pub(super) fn offers(runtime: &Handle) -> Option<Result<(), Unavailable>> {
    Some(match runtime.runtime_flavor() {
        RuntimeFlavor::MultiThread if !dumped().contains(&runtime.id()) => Ok(()),
        RuntimeFlavor::MultiThread => Err(again()),
        _ => Err(Detail::TaskDump.unavailable(
            "only tasks of a multi-threaded runtime can be dumped",
            "build the runtime with `Builder::new_multi_thread`",
        )),
    })
}

fn dumped() -> MutexGuard<'static, Vec<runtime::Id>> {
    DUMPED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn again() -> Unavailable {
    Detail::TaskDump.unavailable(
        "the runtime was dumped before, and with tokio 1.54.1 another dump may leave a worker waiting for good",
        "restart the process",
    )
}

/// Dumps the tasks of a runtime.
pub(super) fn awaits(
    runtime: &Handle,
    tell: &mut dyn FnMut(Awaits) -> ControlFlow<()>,
) -> Result<(), Unavailable> {
    if let Some(worker) = blocked_worker(runtime) {
        let reason = format!(
            "worker {worker} has been in one poll for {BLOCKED:?} or more, and tokio would stop the others to \
             wait for it"
        );
        return Err(Detail::TaskDump.unavailable(&reason, ""));
    }
    let mut before = dumped();
    if before.contains(&runtime.id()) {
        return Err(again());
    }
    before.push(runtime.id());
    drop(before);
    let noting = Noting::begin();
    let dump = runtime.block_on(runtime.dump());
    let known = noting.end();
    for task in dump.tasks().iter() {
        let id = known.get(&task.id()).copied().or_else(|| hooks::id_of(task.id()));
        if tell(awaits_of(task, id)).is_break() {
            return Err(Detail::TaskDump.unavailable("not all stacks in time", ""));
        }
    }
    Ok(())
}

/// For how long a worker must have shown no sign of life. A worker looks up after 61 polls.
const BLOCKED: Duration = Duration::from_millis(500);

/// A worker that neither sleeps nor comes back from what it does.
fn blocked_worker(runtime: &Handle) -> Option<usize> {
    let metrics = runtime.metrics();
    let look =
        |worker| (metrics.worker_park_unpark_count(worker), metrics.worker_poll_count(worker));
    let before: Vec<(u64, u64)> = (0..metrics.num_workers()).map(look).collect();
    let deadline = Instant::now() + BLOCKED;
    let mut busy: Vec<usize> = (0..before.len()).collect();
    loop {
        // An odd number of parkings and unparkings is of one that is parked.
        busy.retain(|&worker| look(worker).0 % 2 == 0 && look(worker) == before[worker]);
        if busy.is_empty() || Instant::now() >= deadline {
            return busy.first().copied();
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Our ids of tasks that were polled while a dump was under way, by tokio's: nowhere else do both meet.
static POLLED: Mutex<Option<HashMap<Id, TaskId>>> = Mutex::new(None);
/// Dumps under way.
static DUMPS: AtomicUsize = AtomicUsize::new(0);
/// Until when tasks are noted, by the coarse clock: some dumps don't end.
static UNTIL: AtomicU64 = AtomicU64::new(0);
/// Tasks that are noted at most.
const MOST: usize = 1 << 20;

/// A known task is polled.
#[inline]
pub(super) fn polled(id: impl FnOnce() -> u64) {
    if DUMPS.load(Ordering::Relaxed) != 0 {
        note(TaskId(id()));
    }
}

#[cold]
fn note(id: TaskId) {
    if clock::coarse() < UNTIL.load(Ordering::Relaxed)
        && let Some(task) = tokio::task::try_id()
    {
        let mut polled = lock();
        let polled = polled.get_or_insert_with(HashMap::new);
        if polled.len() < MOST {
            // What is polled first is the outermost.
            polled.entry(task).or_insert(id);
        }
    }
}

fn lock() -> MutexGuard<'static, Option<HashMap<Id, TaskId>>> {
    POLLED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// While one of these lives, tasks are noted.
struct Noting;

impl Noting {
    fn begin() -> Noting {
        let until = clock::coarse() + DETAIL_TIMEOUT.as_nanos() as u64;
        UNTIL.fetch_max(until, Ordering::Relaxed);
        DUMPS.fetch_add(1, Ordering::Relaxed);
        Noting
    }

    fn end(self) -> HashMap<Id, TaskId> {
        lock().clone().unwrap_or_default()
    }
}

impl Drop for Noting {
    fn drop(&mut self) {
        if DUMPS.fetch_sub(1, Ordering::Relaxed) == 1 {
            *lock() = None;
        }
    }
}

fn awaits_of(task: &Task, id: Option<TaskId>) -> Awaits {
    let mut places: Vec<Awaited> = Vec::new();
    let mut before: Vec<Awaited> = Vec::new();
    for backtrace in task.trace().resolve_backtraces() {
        let stack = stack(&backtrace);
        // Stacks of one task part where it waits for several things at once.
        let same = |(a, b): &(&Awaited, &Awaited)| (&a.name, a.line) == (&b.name, b.line);
        let common = before.iter().zip(&stack).take_while(same).count();
        places.extend_from_slice(&stack[common..]);
        before = stack;
    }
    let key = task.id().to_string();
    Awaits { task: id, name: "(unnamed)".to_owned(), key, running: false, places }
}

/// The functions of a stack, the outermost first: the innermost so many, without those of ours.
fn stack(backtrace: &Backtrace) -> Vec<Awaited> {
    let symbols = backtrace.frames().flat_map(tokio::runtime::dump::BacktraceFrame::symbols);
    let mut stack: Vec<Awaited> =
        symbols.map(place).filter(|place| !is_ours(&place.name)).take(MOST_PLACES).collect();
    stack.reverse();
    for (depth, place) in stack.iter_mut().enumerate() {
        place.depth = depth as u32;
    }
    stack
}

fn place(symbol: &BacktraceSymbol) -> Awaited {
    let raw = symbol.name_raw().map(String::from_utf8_lossy).unwrap_or_default();
    let name = format!("{:#}", rustc_demangle::demangle(&raw));
    let file = symbol.filename().map(|file| file.display().to_string()).unwrap_or_default();
    let name = if name.is_empty() { "(unknown)".to_owned() } else { name };
    Awaited { name, file, line: symbol.lineno().unwrap_or(0), ..Awaited::default() }
}

/// What stands around a future that is known.
fn is_ours(name: &str) -> bool {
    ["profile_core::sys::pinned::", "profile_core::sys::wakes::", "profile_core::task::future::"]
        .iter()
        .any(|ours| name.contains(ours))
}
