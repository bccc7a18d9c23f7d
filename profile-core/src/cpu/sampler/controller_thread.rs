//! The controller's thread: hands samples from the ring to subscribers, keeps the unwind tables current,
//! and has threads found, armed and accounted for.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::cpu::sampler::account::CpuTimeAccount;
use crate::cpu::sampler::commands::{AnswerOnDrop, CommandState, ControllerCommands};
use crate::cpu::sampler::foreign::ForeignHandler;
use crate::cpu::sampler::generations::UnwinderGenerations;
use crate::cpu::sampler::interned_names::InternedNames;
use crate::cpu::sampler::missing::MissingTime;
use crate::cpu::sampler::places::PLACES;
use crate::cpu::sampler::raw::handler::{self, HandlerPurpose, HandlerState, own_tid};
use crate::cpu::sampler::raw::signals;
use crate::cpu::sampler::ring::SampleRing;
use crate::cpu::sampler::stacks::SampledStacks;
use crate::cpu::sampler::stand_in::StandIn;
use crate::cpu::sampler::strata::SplitMix;
use crate::cpu::sampler::threads::{LOST, ThreadTimers};
use crate::cpu::sampler::{DEPTH, StartError};
use crate::stacks::raw::on_stack::block_in_handlers;
use crate::stacks::raw::task::name_of;
use crate::sys::own_work::{OwnWork, own_threads};

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

/// The controller thread's own state.
pub(super) struct ControllerThread {
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

/// The orders that the controller was given since it last looked.
struct ControllerOrders {
    /// Windows to close.
    leaving: Vec<Arc<Mutex<SampledStacks>>>,
    /// The ticket that is answered once this is done.
    ticket: Option<u64>,
    stop: bool,
}

impl ControllerThread {
    pub(super) fn new(epoch: u32, commands: Arc<ControllerCommands>) -> ControllerThread {
        let _own = OwnWork::begin();
        let (tables, unwinder) = UnwinderGenerations::load();
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
            tables,
            scanned: now,
            named: now,
            account: CpuTimeAccount::new(),
            blocked_at: None,
            foreign: ForeignHandler::default(),
            misses: false,
        }
    }

    pub(super) fn run(mut self) {
        let _own = OwnWork::of_thread();
        let _last_word = AnswerOnDrop(Arc::clone(&self.commands));
        let mut is_first = true;
        loop {
            let ControllerOrders { leaving, ticket, stop } = self.wait();
            self.tables.reload(&self.shared);
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
            self.timers.find_stacks();
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
        self.tables.free_unused();
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
        let enough = 2 * self.period.cast_signed() + LOST;
        self.foreign.look(self.account.used(), enough);
        if self.foreign.is_alone() {
            self.timers.disarm_all();
            self.stand_in.stop(&self.shared);
            self.account.update_missing(0);
            self.account.give_up_missing();
            for stacks in &self.subscribers {
                lock(stacks).foreign = self.foreign.address();
            }
        }
        self.foreign.is_alone()
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
        stacks.close(self.names.all());
    }

    /// Returns whether there is anything that samples could come from.
    fn can_sample(&self) -> bool {
        let has_timers = self.timers.len() > 0 || self.stand_in.has_timer();
        has_timers || self.timers.all_block() || self.foreign.is_alone()
    }

    fn no_timers_error(&mut self) -> StartError {
        let reason = match (self.timers.refusal(), &self.stand_in.refused) {
            (Some(refusal), _) => refusal.reason(),
            (None, Some(error)) => format!("timer_create: {error}"),
            (None, None) => "no thread was found in /proc/self/task".to_owned(),
        };
        StartError::NoTimers(reason)
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
        let own = own_threads();
        shared.ring.drain(|head, stack| {
            self.foreign.note_sample();
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
            if own.contains(&head.tid) {
                let time = Duration::from_nanos(weight.cast_unsigned());
                guards.iter_mut().for_each(|stacks| stacks.own += time);
                return;
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
        if !self.foreign.is_alone() {
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
