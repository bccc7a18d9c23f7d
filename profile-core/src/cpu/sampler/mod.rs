//! The CPU engine: one sampler for any number of subscribers.
//!
//! A controller thread arms a CPU-time timer for every thread of the process, from outside: a remote
//! thread's clock, and a signal directed at that thread. The handler writes raw addresses to a ring;
//! the controller drains it, and hands every subscriber the samples in its own rate. A timer of the
//! whole process stands in for threads that have none yet. Without subscribers there is no thread,
//! no timer and no memory; only the handler stays, and does nothing.

mod account;
mod blocking;
mod budget;
mod commands;
mod controller;
mod controller_thread;
mod foreign;
mod generations;
mod interned_names;
mod missing;
mod places;
#[allow(unsafe_code)]
pub(crate) mod raw;
pub(crate) mod ring;
mod stacks;
mod stand_in;
mod strata;
mod threads;
mod timestamped;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};

use crate::cpu::sampler::controller::{ClosedWindow, SamplerController};
pub(crate) use crate::cpu::sampler::stacks::SampledStacks;

use crate::cpu::raw::sigprof::{self, SigprofOwner};
use crate::cpu::sampler::raw::signals::our_handler;
use crate::stacks::raw::on_stack::block_in_handlers;
use crate::sys::clock;

/// Addresses of a stack that are kept; what is beyond the root's side is cut.
pub(crate) const DEPTH: usize = 128;

/// The one engine of the process.
static ENGINE: Mutex<CpuEngine> = Mutex::new(CpuEngine { controller: None, stuck: None, epoch: 0 });

/// The engine's state: its controller, while it runs.
struct CpuEngine {
    controller: Option<SamplerController>,
    /// A controller that was told to end and hasn't yet.
    stuck: Option<SamplerController>,
    epoch: u32,
}

/// A window over the engine. Dropping it ends it.
pub(crate) struct CpuSubscription {
    stacks: Arc<Mutex<SampledStacks>>,
    ended: bool,
    is_answered: bool,
}

/// The reason why the engine can't run.
#[derive(Debug)]
pub(crate) enum StartError {
    /// Something else uses `SIGPROF`.
    Owned(SigprofOwner),
    /// This process was forked from one with several threads.
    Forked,
    /// There is no timer to sample with.
    NoTimers(String),
    /// The operating system refused.
    Os { what: &'static str, source: std::io::Error },
}

/// Keeps the sampler's signal out of handlers that begin before the first window.
pub(crate) fn prepare() {
    block_in_handlers(libc::SIGPROF);
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Owned(_) => f.write_str("something else uses SIGPROF"),
            StartError::Forked => f.write_str(
                "this process was forked from one with several threads, and can't safely start one of \
                 its own",
            ),
            StartError::NoTimers(reason) => write!(f, "there is no timer to sample with: {reason}"),
            StartError::Os { what, source } => write!(f, "{what}: {source}"),
        }
    }
}

/// Opens a window in which the process is sampled `hz` times for each second of CPU time.
pub(crate) fn subscribe(hz: u32) -> Result<CpuSubscription, StartError> {
    open(SampledStacks::new(hz))
}

/// Opens a window that keeps samples one by one, with the time of each.
pub(crate) fn subscribe_with_timestamps(hz: u32) -> Result<CpuSubscription, StartError> {
    open(SampledStacks::with_timestamps(hz))
}

fn open(stacks: SampledStacks) -> Result<CpuSubscription, StartError> {
    survive_fork();
    // The handler reads the clock, which is looked for the first time it is read.
    clock::precise();
    if FORKED.load(Ordering::Relaxed) {
        return Err(StartError::Forked);
    }
    let stacks = Arc::new(Mutex::new(stacks));
    let mut engine = lock();
    if engine.stuck.as_ref().is_some_and(|controller| !controller.has_ended()) {
        return Err(controller::no_answer_error());
    }
    engine.stuck = None;
    if let Some(controller) = &engine.controller {
        controller.add(&stacks)?;
    } else {
        match sigprof::find_owner(None) {
            SigprofOwner::Free => {}
            owner => return Err(StartError::Owned(owner)),
        }
        engine.epoch = engine.epoch.wrapping_add(1);
        // Its handler stays from now on, whether or not it gets work.
        sigprof::set_idle(our_handler());
        let controller = SamplerController::start(engine.epoch)?;
        if let Err(error) = controller.add(&stacks) {
            engine.stuck = controller.stop().err();
            return Err(error);
        }
        sigprof::set_idle(0);
        engine.controller = Some(controller);
    }
    Ok(CpuSubscription { stacks, ended: false, is_answered: true })
}

impl CpuSubscription {
    /// Closes the window, and returns what was sampled in it.
    pub(crate) fn end(mut self) -> SampledStacks {
        self.leave();
        let (stacks, is_answered) = (Arc::clone(&self.stacks), self.is_answered);
        drop(self);
        let mut stacks = match Arc::try_unwrap(stacks) {
            Ok(stacks) => stacks.into_inner().unwrap_or_else(PoisonError::into_inner),
            // The controller lets go of it before `leave` returns. In a forked child there is no
            // controller, and what it was holding stays held.
            Err(shared) => match shared.try_lock() {
                Ok(mut stacks) => stacks.take_all(),
                Err(_) => SampledStacks::new(1),
            },
        };
        if !is_answered {
            let why = controller::no_answer_error();
            stacks.notes.push(format!("watchdog: {why}: samples are missing"));
        }
        stacks
    }

    fn leave(&mut self) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let mut engine = lock();
        let Some(controller) = &engine.controller else { return };
        let ClosedWindow { is_last, is_answered } = controller.remove(&self.stacks);
        self.is_answered = is_answered;
        if is_last && let Some(controller) = engine.controller.take() {
            // What doesn't end is left alone, and in the way of the next window.
            engine.stuck = controller.stop().err();
            sigprof::set_idle(our_handler());
        }
    }
}

impl Drop for CpuSubscription {
    fn drop(&mut self) {
        self.leave();
    }
}

fn lock() -> MutexGuard<'static, CpuEngine> {
    ENGINE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// True in a process that was forked from one with other threads. They may have held locks of libc
/// and std that nobody here will ever release, and that a new thread needs.
static FORKED: AtomicBool = AtomicBool::new(false);
/// True where the process that is forking now has other threads.
static HAS_OTHERS: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// Held over a fork by the thread that forks.
    static FORKING: std::cell::RefCell<Option<MutexGuard<'static, CpuEngine>>> =
        const { std::cell::RefCell::new(None) };
}

/// Sees to it that a forked child's engine isn't running, whatever its parent's is doing: the child
/// has neither the controller thread nor the timers. It can be started only where the parent had no
/// other thread.
fn survive_fork() {
    extern "C" fn before() {
        let threads = std::fs::read_dir("/proc/self/task").map_or(2, Iterator::count);
        HAS_OTHERS.store(threads > 1, Ordering::Relaxed);
        // Where the thread-local is gone the thread is ending, and the child will not profile.
        let _ = FORKING.try_with(|forking| *forking.borrow_mut() = Some(lock()));
    }
    extern "C" fn parent() {
        let _ = FORKING.try_with(|forking| *forking.borrow_mut() = None);
    }
    extern "C" fn child() {
        FORKED.fetch_or(HAS_OTHERS.load(Ordering::Relaxed), Ordering::Relaxed);
        let _ = FORKING.try_with(|forking| {
            if let Some(mut engine) = forking.borrow_mut().take() {
                // Its thread is not there to be joined, nor its timers to be deleted.
                let engine = &mut *engine;
                for controller in [engine.controller.take(), engine.stuck.take()] {
                    controller.into_iter().for_each(SamplerController::forget);
                }
                raw::handler::forget_after_fork();
                sigprof::set_idle(our_handler());
            }
        });
    }
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        raw::at_fork(before, parent, child);
    });
}
