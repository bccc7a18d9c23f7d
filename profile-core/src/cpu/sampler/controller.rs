//! The controller: hands samples from the ring to subscribers, keeps the unwind tables current, and has
//! threads found, armed and accounted for.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::cpu::raw::sigprof;
use crate::cpu::sampler::account::CpuTimeAccount;
use crate::cpu::sampler::commands::{AnswerOnDrop, CommandState, ControllerCommands, NoAnswer};
use crate::cpu::sampler::missing::MissingTime;
use crate::cpu::sampler::places::PLACES;
use crate::cpu::sampler::raw::handler::{self, HandlerPurpose, HandlerState, own_tid};
use crate::cpu::sampler::raw::signals::{self, SigprofBlocked};
use crate::cpu::sampler::ring::SampleRing;
use crate::cpu::sampler::stacks::SampledStacks;
use crate::cpu::sampler::stand_in::StandIn;
use crate::cpu::sampler::strata::SplitMix;
use crate::cpu::sampler::threads::{LOST, ThreadTimers};
use crate::cpu::sampler::{DEPTH, StartError};
use crate::stacks::raw::mapping::StackOf;
use crate::stacks::raw::on_stack::block_in_handlers;
use crate::stacks::raw::retired::RetiredUnwinder;
use crate::stacks::raw::task::name_of;
use crate::stacks::unwind::{self, StackUnwinder, TableGeneration};
use crate::sys::own_work::OwnWork;

/// Samples that may wait to be drained. At 1 KiB each this is 2 MiB.
const RING: usize = 2048;
/// Time between two rounds of the controller, each of which drains the ring.
const TICK: Duration = Duration::from_millis(20);
/// Time between two scans for threads that began and ended.
const SCAN: Duration = Duration::from_millis(100);
/// Time for which threads that block the signal have been idle before the process's timer runs.
const CALM: Duration = Duration::from_secs(1);
/// Time between two looks whether threads were renamed.
const NAMES: Duration = Duration::from_secs(1);

/// A running engine.
pub(crate) struct SamplerController {
    commands: Arc<ControllerCommands>,
    thread: JoinHandle<()>,
}

/// A window that is closed.
pub(crate) struct ClosedWindow {
    /// True where it was the last one.
    pub(crate) is_last: bool,
    /// True where the controller has said in time that it has handed over everything.
    pub(crate) is_answered: bool,
}

impl SamplerController {
    /// Starts the engine, which has nothing to do before it has a subscriber.
    pub(crate) fn start(epoch: u32) -> Result<SamplerController, StartError> {
        signals::install(libc::SIGPROF, signals::our_handler())
            .map_err(|source| StartError::Os { what: "sigaction", source })?;
        let commands = Arc::new(ControllerCommands::default());
        let theirs = Arc::clone(&commands);
        let thread = {
            let _blocked = SigprofBlocked::new();
            thread::Builder::new()
                .name("profilez-cpu".to_owned())
                .spawn(move || ControllerThread::new(epoch, theirs).run())
                .map_err(|source| StartError::Os {
                    what: "starting the CPU engine's thread",
                    source,
                })?
        };
        Ok(SamplerController { commands, thread })
    }

    /// Samples for a subscriber. By the time this returns every thread has its timer.
    pub(crate) fn add(&self, subscriber: &Arc<Mutex<SampledStacks>>) -> Result<(), StartError> {
        let answer = self.commands.ask(|state| state.subscribers.push(Arc::clone(subscriber)));
        match answer.map(|mut state| state.failed.take()) {
            Ok(None) => Ok(()),
            Ok(Some(error)) => Err(error),
            Err(NoAnswer) => {
                self.commands.lock().subscribers.retain(|known| !Arc::ptr_eq(known, subscriber));
                Err(no_answer_error())
            }
        }
    }

    /// Closes a subscriber's window.
    pub(crate) fn remove(&self, subscriber: &Arc<Mutex<SampledStacks>>) -> ClosedWindow {
        let answer = self.commands.ask(|state| {
            let (leaving, staying): (Vec<_>, Vec<_>) = std::mem::take(&mut state.subscribers)
                .into_iter()
                .partition(|known| Arc::ptr_eq(known, subscriber));
            state.subscribers = staying;
            state.leaving.extend(leaving);
        });
        let is_answered = answer.is_ok();
        let state = answer.unwrap_or_else(|NoAnswer| self.commands.lock());
        ClosedWindow { is_last: state.subscribers.is_empty(), is_answered }
    }

    /// Ends the engine. Afterwards nothing of it is left but the handler; where its thread doesn't end in
    /// time, it is left alone and given back.
    pub(crate) fn stop(self) -> Result<(), SamplerController> {
        if self.commands.stop().is_err() {
            return Err(self);
        }
        // A panic of the controller was reported where it happened. What is left of the thread by now
        // waits for nobody.
        let _ = self.thread.join();
        Ok(())
    }

    /// Returns whether its thread has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// Lets go of an engine whose thread is not there, in a forked child.
    pub(crate) fn forget(self) {
        std::mem::forget(self);
    }
}

/// Makes the watchdog's error.
pub(crate) fn no_answer_error() -> StartError {
    let source = io::Error::new(io::ErrorKind::TimedOut, "it has not answered for ten seconds");
    StartError::Os { what: "the CPU engine's thread", source }
}

/// The controller thread's own state.
struct ControllerThread {
    commands: Arc<ControllerCommands>,
    shared: Arc<HandlerState>,
    own_tid: u32,
    subscribers: Vec<Arc<Mutex<SampledStacks>>>,
    /// Nanoseconds of a thread's CPU time for each sample.
    period: u64,
    timers: ThreadTimers,
    stand_in: StandIn,
    names: InternedNames,
    tables: UnwinderGenerations,
    scanned: Instant,
    named: Instant,
    account: CpuTimeAccount,
    /// Time at which threads that block the signal were last found at work.
    blocked_at: Option<Instant>,
    foreign: ForeignHandler,
    /// True while threads come and go too quickly to have timers of their own.
    misses: bool,
}

/// Another handler in the place of ours.
#[derive(Default)]
struct ForeignHandler {
    /// Its address, while it is there.
    address: Option<usize>,
    /// True where ours has run since the last look: then this one passes signals on.
    passes_on: bool,
    /// CPU time that the program had used when ours had last run, in nanoseconds.
    since: i64,
    /// True where it passes nothing on, so that there are no timers.
    is_alone: bool,
}

/// The unwind tables that handlers use, and those that they may still be reading.
struct UnwinderGenerations {
    generation: TableGeneration,
    /// Unwinders that were replaced, each from a box, with the handlers that may be reading it.
    retired: Vec<RetiredUnwinder>,
}

/// The orders that the controller was given since it last looked.
struct ControllerOrders {
    /// Windows to close.
    leaving: Vec<Arc<Mutex<SampledStacks>>>,
    /// The ticket that is answered once this is done.
    ticket: Option<u64>,
    stop: bool,
}

/// Thread names, each once.
#[derive(Default)]
struct InternedNames {
    index: HashMap<String, u64>,
    all: Vec<String>,
}

impl InternedNames {
    fn id(&mut self, name: String) -> u64 {
        *self.index.entry(name).or_insert_with_key(|name| {
            self.all.push(name.clone());
            self.all.len() as u64 - 1
        })
    }
}

impl ControllerThread {
    fn new(epoch: u32, commands: Arc<ControllerCommands>) -> ControllerThread {
        let _own = OwnWork::begin();
        let generation = unwind::generation();
        let unwinder = Box::new(StackUnwinder::load());
        let shared = HandlerState::new(epoch, SampleRing::new(RING, DEPTH), PLACES, unwinder);
        let shared = handler::publish(HandlerPurpose::Sample, shared);
        let now = Instant::now();
        let mut random = SplitMix::new(seed(epoch));
        let timers = ThreadTimers::new(Arc::clone(&shared), epoch, random.word());
        ControllerThread {
            commands,
            shared,
            own_tid: own_tid(),
            subscribers: Vec::new(),
            period: 0,
            timers,
            stand_in: StandIn::new(epoch, random.word()),
            names: InternedNames::default(),
            tables: UnwinderGenerations { generation, retired: Vec::new() },
            scanned: now,
            named: now,
            account: CpuTimeAccount::new(),
            blocked_at: None,
            foreign: ForeignHandler::default(),
            misses: false,
        }
    }

    fn run(mut self) {
        let _own = OwnWork::of_thread();
        let _last_word = AnswerOnDrop(Arc::clone(&self.commands));
        let mut is_first = true;
        loop {
            let ControllerOrders { leaving, ticket, stop } = self.wait();
            self.reload_tables();
            self.drain();
            self.set_period();
            if self.period > 0 {
                if ticket.is_some() || self.scanned.elapsed() >= SCAN {
                    self.scan();
                }
                self.watch_for_misses();
            }
            leaving.iter().for_each(|stacks| self.close_window(&mut lock(stacks)));
            self.open_windows();
            self.find_stacks();
            if let Some(ticket) = ticket {
                if std::mem::take(&mut is_first) && !self.can_sample() {
                    self.commands.lock().failed = Some(self.no_timers_error());
                }
                self.commands.answer(ticket);
            }
            if stop {
                break;
            }
        }
        // A signal that waits for a thread which blocks it would outlive `execve`.
        let is_pending = self.timers.may_be_pending();
        self.timers.disarm_all();
        if self.stand_in.stop(&self.shared) || is_pending {
            signals::drop_pending(libc::SIGPROF, signals::our_handler());
        }
        handler::retract(HandlerPurpose::Sample);
        RetiredUnwinder::free_unused(&mut self.tables.retired);
    }

    /// Waits for the next tick or an order, and takes over the list of subscribers.
    fn wait(&mut self) -> ControllerOrders {
        let mut state = self.commands.wait_for_orders(TICK);
        let mut orders = ControllerOrders { leaving: Vec::new(), ticket: None, stop: state.stop };
        if state.asked != state.done {
            let CommandState { asked, leaving, subscribers, .. } = &mut *state;
            orders.ticket = Some(*asked);
            orders.leaving = std::mem::take(leaving);
            // Samples so far belong to those who were there so far.
            let before = std::mem::replace(&mut self.subscribers, subscribers.clone());
            drop(state);
            self.drain_to(&before);
        }
        orders
    }

    /// Sets the period of all timers to that of the highest rate among the subscribers.
    fn set_period(&mut self) {
        let hz = self.subscribers.iter().map(|stacks| lock(stacks).hz).max();
        let Some(hz) = hz else { return };
        let period = 1_000_000_000 / u64::from(hz);
        if period != self.period {
            self.period = period;
            self.timers.set_period(period, &mut self.account);
            if self.stand_in.has_timer() {
                self.run_stand_in();
            }
        }
    }

    /// Finds the threads to sample, and computes what is missing.
    fn scan(&mut self) {
        self.scanned = Instant::now();
        block_in_handlers(libc::SIGPROF);
        if self.named.elapsed() >= NAMES {
            self.named = self.scanned;
            self.timers.forget_names();
        }
        if self.is_taken_over() {
            return;
        }
        let mut scanned = self.timers.scan(&mut self.account);
        scanned.is_pending |= self.stand_in.renew_if_lost(&self.shared);
        if scanned.is_blocked {
            self.blocked_at = Some(self.scanned);
        }
        let is_blocked = self.blocked_at.is_some_and(|at| at.elapsed() < CALM);
        let is_blocked = is_blocked || scanned.is_unsure || self.timers.all_block();
        if is_blocked || !self.timers.has_room_for_process() {
            scanned.is_pending |= self.stand_in.stop(&self.shared);
        } else {
            self.run_stand_in();
        }
        if scanned.is_pending {
            signals::drop_pending(libc::SIGPROF, signals::our_handler());
        }
        self.account.update_missing(scanned.pending);
    }

    /// Returns whether another handler has taken the place of ours and passes nothing on. It gets
    /// no signals of ours then, and what the program uses is missing.
    fn is_taken_over(&mut self) -> bool {
        let address = sigprof::read_handler().filter(|&handler| handler != signals::our_handler());
        let (foreign, used) = (&mut self.foreign, self.account.used());
        if address != foreign.address || std::mem::take(&mut foreign.passes_on) {
            *foreign = ForeignHandler { address, since: used, ..ForeignHandler::default() };
        }
        let enough = 2 * self.period.cast_signed() + LOST;
        foreign.is_alone |= address.is_some() && used - foreign.since > enough;
        if foreign.is_alone {
            self.timers.disarm_all();
            self.stand_in.stop(&self.shared);
            self.account.update_missing(0);
            self.account.give_up_missing();
            for stacks in &self.subscribers {
                lock(stacks).foreign = address;
            }
        }
        self.foreign.is_alone
    }

    /// Runs the process's timer: slowly while every thread has its own, and at the full rate while
    /// threads come and go too quickly for that.
    fn run_stand_in(&mut self) {
        if self.timers.len() > 0 || self.timers.refusal().is_some() {
            let period = if self.misses { self.period } else { self.period * 16 };
            self.stand_in.run(&self.shared, period);
        }
    }

    /// Looks whether threads come and go too quickly to have timers of their own.
    fn watch_for_misses(&mut self) {
        if let Some(misses) = self.account.judge_misses(self.period.cast_signed() * 20)
            && misses != self.misses
        {
            self.misses = misses;
            if self.stand_in.has_timer() {
                self.run_stand_in();
            }
        }
    }

    /// Opens the windows of those who are new.
    fn open_windows(&mut self) {
        for stacks in &self.subscribers {
            let mut stacks = lock(stacks);
            if stacks.mark.is_none() {
                stacks.mark = Some(self.account.mark());
            }
        }
    }

    /// Closes a window.
    fn close_window(&self, stacks: &mut SampledStacks) {
        if let Some(mark) = stacks.mark {
            let balance = self.account.balance_since(mark);
            stacks.missing =
                MissingTime::new(balance, self.timers.describe_blocking(), stacks.foreign);
        }
        stacks.close(&self.names.all);
    }

    /// Returns whether there is anything that samples could come from.
    fn can_sample(&self) -> bool {
        let has_timers = self.timers.len() > 0 || self.stand_in.has_timer();
        has_timers || self.timers.all_block() || self.foreign.is_alone
    }

    fn no_timers_error(&mut self) -> StartError {
        let reason = match (self.timers.refusal(), &self.stand_in.refused) {
            (Some(refusal), _) => refusal.reason(),
            (None, Some(error)) => format!("timer_create: {error}"),
            (None, None) => "no thread was found in /proc/self/task".to_owned(),
        };
        StartError::NoTimers(reason)
    }

    /// Looks up where the stacks of threads are mapped that were sampled for the first time.
    fn find_stacks(&self) {
        let waiting = || {
            self.timers.iter().filter_map(|(tid, thread)| {
                let pointer = thread.thread_pointer.load(Ordering::Relaxed);
                let unknown = thread.stack_high.load(Ordering::Relaxed) == 0;
                (unknown && pointer != 0).then_some((tid, thread, pointer))
            })
        };
        if waiting().next().is_none() {
            return;
        }
        let Ok(maps) = fs::read_to_string("/proc/self/maps") else { return };
        let pid = std::process::id();
        for (tid, thread, pointer) in waiting() {
            let stack = StackOf::new(tid, pid, pointer);
            let range = maps.lines().find_map(|line| stack.find(line.as_bytes()));
            if let Some((low, high)) = range {
                thread.stack_low.store(low, Ordering::Relaxed);
                thread.stack_high.store(high, Ordering::Release);
            }
        }
    }

    fn reload_tables(&mut self) {
        RetiredUnwinder::free_unused(&mut self.tables.retired);
        let generation = unwind::generation();
        if generation == self.tables.generation {
            return;
        }
        self.tables.generation = generation;
        let retired = self.shared.replace_unwinder(Box::new(StackUnwinder::load()));
        self.tables.retired.extend(retired);
    }

    fn drain(&mut self) {
        let subscribers = std::mem::take(&mut self.subscribers);
        self.drain_to(&subscribers);
        self.subscribers = subscribers;
    }

    fn drain_to(&mut self, subscribers: &[Arc<Mutex<SampledStacks>>]) {
        let mut guards: Vec<MutexGuard<'_, SampledStacks>> =
            subscribers.iter().map(|s| lock(s)).collect();
        let mut key: Vec<u64> = Vec::with_capacity(DEPTH + 1);
        let mut unarmed: Vec<u32> = Vec::new();
        let shared = Arc::clone(&self.shared);
        shared.ring.drain(|head, stack| {
            self.foreign.passes_on = true;
            let name = match self.timers.name_of(head.tid) {
                // Its own timer counts this time.
                Some(_) if head.by_process => return,
                Some(name) => *name.get_or_insert_with(|| self.names.id(name_of(head.tid))),
                // The controller's own work is not the program's.
                None if head.tid == self.own_tid => return,
                None => {
                    unarmed.push(head.tid);
                    self.names.id(name_of(head.tid))
                }
            };
            let mut weight = head.weight.cast_signed();
            self.account.add_sampled(weight);
            if head.by_process {
                weight += self.account.take_owed(weight);
            }
            key.clear();
            key.push(name);
            key.extend(stack.iter().map(|word| word.load(Ordering::Relaxed)));
            for stacks in &mut guards {
                stacks.add(&head, &key, weight.cast_unsigned());
            }
        });
        let dropped = shared.dropped.swap(0, Ordering::Relaxed);
        self.account.add_sampled(dropped.cast_signed());
        for stacks in &mut guards {
            stacks.dropped += Duration::from_nanos(dropped);
            if let Some(refusal) = self.timers.refusal() {
                stacks.note_once(
                    "some threads have no timer of their own, and the process's stands in for them: ",
                    || refusal.reason(),
                );
            }
            if let Some(error) = &self.stand_in.refused {
                stacks.note_once("nothing stands in for threads without a timer: ", || {
                    format!("timer_create: {error}")
                });
            }
        }
        drop(guards);
        if !self.foreign.is_alone {
            unarmed.into_iter().for_each(|tid| self.timers.arm_busy(tid));
        }
    }
}

fn lock(stacks: &Mutex<SampledStacks>) -> MutexGuard<'_, SampledStacks> {
    stacks.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes a seed for random numbers, another one in each window.
fn seed(epoch: u32) -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.unwrap_or_default().as_nanos() as u64 ^ u64::from(epoch) << 32 ^ u64::from(own_tid())
}
