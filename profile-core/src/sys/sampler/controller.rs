//! The controller: arms and retires timers, drains the ring, keeps the unwind tables current.

use std::collections::HashMap;
use std::fs;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::handler::{self, PROCESS, Purpose, Shared, Thread, own_tid};
use super::ring::Ring;
use super::stacks::Stacks;
use super::timer::{Clock, Timer};
use super::{DEPTH, StartError};
use crate::sys::mapping::StackOf;
use crate::sys::on_stack::block_in_handlers;
use crate::sys::own_work::OwnWork;
use crate::sys::scratch::AtWork;
use crate::sys::unwind::{self, Generation, Unwinder};

/// Samples that may wait to be drained. At 1 KiB each this is 2 MiB.
const RING: usize = 2048;
/// Threads that can have a timer of their own; the process's timer stands in for more.
const THREADS: usize = 8192;
/// How often the ring is drained and the controller looks around.
const TICK: Duration = Duration::from_millis(20);
/// How often it looks for threads that began and ended.
const SCAN: Duration = Duration::from_millis(100);
/// How often it looks whether threads were renamed.
const NAMES: Duration = Duration::from_secs(1);

/// A running engine.
pub(super) struct Controller {
    commands: Arc<Commands>,
    thread: JoinHandle<()>,
}

/// What the controller is told.
#[derive(Default)]
struct Commands {
    state: Mutex<State>,
    /// Told when the state changes.
    changed: Condvar,
    /// Told when the controller has taken notice.
    noticed: Condvar,
}

#[derive(Default)]
struct State {
    subscribers: Vec<Arc<Mutex<Stacks>>>,
    /// Windows that are to be closed.
    leaving: Vec<Arc<Mutex<Stacks>>>,
    /// Counts what was asked, and how much of it is done.
    asked: u64,
    done: u64,
    stop: bool,
}

impl Commands {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state, and waits until the controller has acted on it. Whether any subscriber is
    /// left.
    fn ask(&self, change: impl FnOnce(&mut State)) -> bool {
        let mut state = self.lock();
        change(&mut state);
        state.asked += 1;
        let ticket = state.asked;
        self.changed.notify_all();
        let state = self
            .noticed
            .wait_while(state, |state| state.done < ticket)
            .unwrap_or_else(PoisonError::into_inner);
        !state.subscribers.is_empty()
    }
}

impl Controller {
    /// Starts sampling for a first subscriber. By the time this returns every thread has its timer.
    pub(super) fn start(
        epoch: u32,
        subscriber: Arc<Mutex<Stacks>>,
    ) -> Result<Controller, StartError> {
        handler::install(libc::SIGPROF, handler::on_sigprof as *const () as usize)
            .map_err(|source| StartError::Os { what: "sigaction", source })?;
        let commands = Arc::new(Commands::default());
        let theirs = Arc::clone(&commands);
        let thread = {
            let _blocked = SigprofBlocked::new();
            thread::Builder::new()
                .name("profilez-cpu".to_owned())
                .spawn(move || Running::new(epoch, theirs).run())
                .map_err(|source| StartError::Os {
                    what: "starting the CPU engine's thread",
                    source,
                })?
        };
        let controller = Controller { commands, thread };
        controller.add(subscriber);
        Ok(controller)
    }

    pub(super) fn add(&self, subscriber: Arc<Mutex<Stacks>>) {
        self.commands.ask(|state| state.subscribers.push(subscriber));
    }

    /// Closes a subscriber's window. Whether it was the last one.
    pub(super) fn remove(&self, subscriber: &Arc<Mutex<Stacks>>) -> bool {
        let some_left = self.commands.ask(|state| {
            let (leaving, staying): (Vec<_>, Vec<_>) = std::mem::take(&mut state.subscribers)
                .into_iter()
                .partition(|known| Arc::ptr_eq(known, subscriber));
            state.subscribers = staying;
            state.leaving.extend(leaving);
        });
        !some_left
    }

    /// Ends the engine. Afterwards nothing of it is left but the handler.
    pub(super) fn stop(self) {
        {
            let mut state = self.commands.lock();
            state.stop = true;
            self.commands.changed.notify_all();
        }
        // A panic of the controller was reported where it happened.
        let _ = self.thread.join();
    }

    /// Lets go of an engine whose thread is not there, in a forked child.
    pub(super) fn forget(self) {
        std::mem::forget(self);
    }
}

/// Answers everybody who waits, now and later, when the controller ends: even by a panic.
struct LastWord(Arc<Commands>);

impl Drop for LastWord {
    fn drop(&mut self) {
        self.0.lock().done = u64::MAX;
        self.0.noticed.notify_all();
    }
}

/// The controller thread's own state.
struct Running {
    commands: Arc<Commands>,
    shared: &'static Shared,
    epoch: u32,
    own_tid: u32,
    subscribers: Vec<Arc<Mutex<Stacks>>>,
    interval: Duration,
    /// The armed threads.
    armed: HashMap<u32, Armed>,
    free: Vec<u32>,
    process_timer: Option<Timer>,
    names: Names,
    generation: Generation,
    /// Unwinders that were replaced, each from a box, and the handlers that may be reading them.
    retired: Vec<(*mut Unwinder, AtWork)>,
    scanned: Instant,
    named: Instant,
    random: u64,
    account: Account,
    misses: bool,
    refused: bool,
}

/// What the process has used, against what samples account for.
///
/// A thread that ends takes its timer with it, and with the timer up to a tick of its time. Over
/// threads that live for milliseconds that adds up; it is charged to samples of threads as young.
struct Account {
    /// The program's CPU time when counting began, in nanoseconds like all of these.
    from: i64,
    /// What samples were worth, those that found no room included.
    sampled: i64,
    /// What was added to samples of young threads.
    added: i64,
    /// What is still to be added.
    owed: i64,
    /// What had been used and what had been missing when threads were last found to be missed or not.
    judged: (i64, i64),
}

impl Account {
    fn new() -> Account {
        Account { from: Account::program(), sampled: 0, added: 0, owed: 0, judged: (0, 0) }
    }

    /// CPU time that the program has used so far, without this thread.
    fn program() -> i64 {
        let used = |clock: Clock| nanos(clock.used().unwrap_or_default());
        used(Clock::Process) - used(Clock::OwnThread)
    }

    /// Looks what is owed. Threads that have a timer still account for their own time up to now.
    fn look(&mut self, armed: &HashMap<u32, Armed>, threads: &[Thread]) {
        let used = Account::program() - self.from;
        let pending: i64 = armed
            .iter()
            .filter_map(|(&tid, armed)| {
                let accounted = threads[armed.slot as usize].accounted.load(Ordering::Relaxed);
                Some(nanos(Clock::Thread(tid).used()?) - accounted.cast_signed())
            })
            .sum();
        self.owed = (used - self.sampled - self.added - pending).max(0);
    }

    /// What a young thread's sample is worth beyond its own time: not so much that one stack gets all.
    fn take(&mut self, weight: i64) -> i64 {
        let extra = self.owed.min(4 * weight);
        self.owed -= extra;
        self.added += extra;
        extra
    }

    /// Whether more than a fiftieth of the time was missed since this was last judged; `None` where
    /// too little has been used to tell.
    fn misses(&mut self, enough: i64) -> Option<bool> {
        let (used, missing) = (Account::program() - self.from, self.added + self.owed);
        let (used_before, missing_before) = self.judged;
        if used - used_before < enough {
            return None;
        }
        self.judged = (used, missing);
        Some(50 * (missing - missing_before) > used - used_before)
    }
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// What the controller was told since it last looked.
struct Orders {
    /// Windows to close.
    leaving: Vec<Arc<Mutex<Stacks>>>,
    /// What to call done once this is acted on.
    ticket: Option<u64>,
    stop: bool,
}

/// A thread with a timer of its own.
struct Armed {
    slot: u32,
    timer: Timer,
    name: Option<u64>,
    seen: bool,
}

/// Thread names, each once.
#[derive(Default)]
struct Names {
    index: HashMap<String, u64>,
    all: Vec<String>,
}

impl Names {
    fn id(&mut self, name: String) -> u64 {
        *self.index.entry(name).or_insert_with_key(|name| {
            self.all.push(name.clone());
            self.all.len() as u64 - 1
        })
    }
}

impl Running {
    fn new(epoch: u32, commands: Arc<Commands>) -> Running {
        let _own = OwnWork::begin();
        let generation = unwind::generation();
        let unwinder = Box::new(Unwinder::load());
        let shared = Shared::new(epoch, Ring::new(RING, DEPTH), THREADS, unwinder);
        let now = Instant::now();
        Running {
            commands,
            shared: handler::publish(Purpose::Sample, Box::new(shared)),
            epoch,
            own_tid: own_tid(),
            subscribers: Vec::new(),
            interval: Duration::ZERO,
            armed: HashMap::new(),
            free: (0..THREADS as u32).rev().collect(),
            process_timer: None,
            names: Names::default(),
            generation,
            retired: Vec::new(),
            scanned: now,
            named: now,
            random: 0x9e37_79b9_7f4a_7c15 ^ u64::from(epoch) << 32 ^ u64::from(own_tid()),
            account: Account::new(),
            misses: false,
            refused: false,
        }
    }

    fn run(mut self) {
        let _own = OwnWork::begin();
        let _last_word = LastWord(Arc::clone(&self.commands));
        loop {
            let Orders { leaving, ticket, stop } = self.wait();
            self.reload_tables();
            self.drain();
            for stacks in leaving {
                lock(&stacks).close(&self.names.all);
            }
            self.set_interval();
            if ticket.is_some() || self.scanned.elapsed() >= SCAN {
                self.scan();
            }
            self.find_stacks();
            self.watch_for_misses();
            if let Some(ticket) = ticket {
                self.commands.lock().done = ticket;
                self.commands.noticed.notify_all();
            }
            if stop {
                break;
            }
        }
        self.armed.clear();
        self.process_timer = None;
        // SAFETY: `self.shared` is not used after this, and nobody else has the reference.
        unsafe { handler::retract(Purpose::Sample) };
        self.free_retired();
    }

    /// Waits for the next tick or an order, and takes over the list of subscribers.
    fn wait(&mut self) -> Orders {
        let state = self.commands.lock();
        let idle = |state: &mut State| state.asked == state.done && !state.stop;
        let (mut state, _) = self
            .commands
            .changed
            .wait_timeout_while(state, TICK, idle)
            .unwrap_or_else(PoisonError::into_inner);
        let mut orders = Orders { leaving: Vec::new(), ticket: None, stop: state.stop };
        if state.asked != state.done {
            orders.ticket = Some(state.asked);
            orders.leaving = std::mem::take(&mut state.leaving);
            // Samples so far belong to those who were there so far.
            let before = std::mem::replace(&mut self.subscribers, state.subscribers.clone());
            drop(state);
            self.drain_to(&before);
        }
        orders
    }

    /// All subscribers' samples come from timers of the highest rate among them.
    fn set_interval(&mut self) {
        let hz = self.subscribers.iter().map(|stacks| lock(stacks).hz).max();
        let Some(hz) = hz else { return };
        let interval = Duration::from_nanos(1_000_000_000 / u64::from(hz));
        if interval == self.interval {
            return;
        }
        self.interval = interval;
        let tids: Vec<u32> = self.armed.keys().copied().collect();
        for tid in tids {
            let first = self.first();
            if let Some(armed) = self.armed.get(&tid) {
                // A thread that has ended meanwhile is found by the next scan.
                let _ = armed.timer.run(first, interval);
            }
        }
        self.run_process_timer();
    }

    /// A random first expiry, so that threads don't tick together and none is counted short.
    fn first(&mut self) -> Duration {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        Duration::from_nanos(1 + self.random % self.interval.as_nanos().max(1) as u64)
    }

    /// The process's timer runs slowly while every thread has its own, and at the full rate while
    /// threads come and go too quickly for that.
    fn run_process_timer(&mut self) {
        let interval = if self.misses { self.interval } else { self.interval * 16 };
        self.shared.process_interval.store(interval.as_nanos() as u64, Ordering::Relaxed);
        if self.process_timer.is_none() {
            let value = u64::from(self.epoch) << 32 | u64::from(PROCESS);
            self.process_timer = Timer::new(Clock::Process, value).ok();
        }
        if let Some(timer) = &self.process_timer {
            let _ = timer.run(interval, interval);
        }
    }

    /// Looks whether threads come and go too quickly to have timers of their own.
    fn watch_for_misses(&mut self) {
        let enough = nanos(self.interval) * 20;
        if let Some(misses) = self.account.misses(enough)
            && misses != self.misses
        {
            self.misses = misses;
            self.run_process_timer();
        }
    }

    /// Arms threads that are new, and retires those that are gone.
    fn scan(&mut self) {
        self.scanned = Instant::now();
        block_in_handlers(libc::SIGPROF);
        let rename = self.named.elapsed() >= NAMES;
        if rename {
            self.named = self.scanned;
        }
        for armed in self.armed.values_mut() {
            armed.seen = false;
            if rename {
                armed.name = None;
            }
        }
        let Ok(tasks) = fs::read_dir("/proc/self/task") else { return };
        let tids: Vec<u32> = tasks
            .filter_map(|task| task.ok()?.file_name().to_str()?.parse().ok())
            .filter(|&tid| tid != self.own_tid)
            .collect();
        for tid in tids {
            match self.armed.get_mut(&tid) {
                Some(armed) => armed.seen = true,
                None => self.arm(tid),
            }
        }
        let gone: Vec<u32> =
            self.armed.iter().filter(|(_, armed)| !armed.seen).map(|(&tid, _)| tid).collect();
        for tid in gone {
            if let Some(Armed { slot, .. }) = self.armed.remove(&tid) {
                clear(&self.shared.threads[slot as usize]);
                self.free.push(slot);
            }
        }
        self.account.look(&self.armed, &self.shared.threads);
    }

    fn arm(&mut self, tid: u32) {
        let Some(slot) = self.free.pop() else {
            self.refused = true;
            return;
        };
        let thread = &self.shared.threads[slot as usize];
        clear(thread);
        thread.tid.store(tid, Ordering::Relaxed);
        let value = u64::from(self.epoch) << 32 | u64::from(slot);
        let first = self.first();
        let armed = Timer::new(Clock::Thread(tid), value).and_then(|timer| {
            // As if its last sample had been a whole interval before its first one.
            let used = nanos(Clock::Thread(tid).used().unwrap_or_default());
            let last = used - nanos(self.interval.saturating_sub(first));
            thread.accounted.store(last.cast_unsigned(), Ordering::Relaxed);
            timer.run(first, self.interval).map(|()| timer)
        });
        match armed {
            Ok(timer) => {
                self.armed.insert(tid, Armed { slot, timer, name: None, seen: true });
            }
            Err(error) => {
                // EINVAL and ESRCH: it has ended meanwhile. Anything else is a limit; the process's
                // timer stands in for the thread.
                self.refused |= error.raw_os_error() == Some(libc::EAGAIN);
                self.free.push(slot);
            }
        }
    }

    /// Looks up where the stacks of threads are mapped that were sampled for the first time.
    fn find_stacks(&self) {
        let waiting = || {
            self.armed.iter().filter_map(|(&tid, armed)| {
                let thread = &self.shared.threads[armed.slot as usize];
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
        self.free_retired();
        let generation = unwind::generation();
        if generation == self.generation {
            return;
        }
        self.generation = generation;
        let new = Box::into_raw(Box::new(Unwinder::load()));
        let old = self.shared.unwinder.swap(new, Ordering::SeqCst);
        self.retired.push((old, AtWork::now()));
    }

    fn free_retired(&mut self) {
        self.retired.retain_mut(|(unwinder, readers)| {
            let free = readers.have_ended();
            if free {
                // SAFETY: it came from a box, and no handler can reach it any more.
                drop(unsafe { Box::from_raw(*unwinder) });
            }
            !free
        });
    }

    fn drain(&mut self) {
        let subscribers = std::mem::take(&mut self.subscribers);
        self.drain_to(&subscribers);
        self.subscribers = subscribers;
    }

    fn drain_to(&mut self, subscribers: &[Arc<Mutex<Stacks>>]) {
        let mut guards: Vec<MutexGuard<'_, Stacks>> = subscribers.iter().map(|s| lock(s)).collect();
        let mut key: Vec<u64> = Vec::with_capacity(DEPTH + 1);
        let mut unarmed: Vec<u32> = Vec::new();
        let shared = self.shared;
        shared.ring.drain(|head, stack| {
            let name = match self.armed.get_mut(&head.tid) {
                // Its own timer counts this time.
                Some(_) if head.by_process => return,
                Some(armed) => *armed.name.get_or_insert_with(|| self.names.id(name_of(head.tid))),
                // The controller's own work is not the program's.
                None if head.tid == self.own_tid => return,
                None => {
                    unarmed.push(head.tid);
                    self.names.id(name_of(head.tid))
                }
            };
            let mut weight = head.weight as i64;
            self.account.sampled += weight;
            if head.by_process {
                weight += self.account.take(weight);
            }
            key.clear();
            key.push(name);
            key.extend(stack.iter().map(|word| word.load(Ordering::Relaxed)));
            for stacks in &mut guards {
                stacks.add(&head, &key, weight as u64);
            }
        });
        let dropped = Duration::from_nanos(shared.dropped.swap(0, Ordering::Relaxed));
        self.account.sampled += nanos(dropped);
        for stacks in &mut guards {
            stacks.dropped += dropped;
            if self.refused && stacks.notes.is_empty() {
                stacks.notes.push(
                    "some threads have no timer of their own (RLIMIT_SIGPENDING); \
                     the process's timer stands in for them"
                        .to_owned(),
                );
            }
        }
        drop(guards);
        for tid in unarmed {
            if !self.armed.contains_key(&tid) {
                self.arm(tid);
            }
        }
    }
}

fn lock(stacks: &Mutex<Stacks>) -> MutexGuard<'_, Stacks> {
    stacks.lock().unwrap_or_else(PoisonError::into_inner)
}

fn clear(thread: &Thread) {
    thread.stack_high.store(0, Ordering::Relaxed);
    thread.stack_low.store(0, Ordering::Relaxed);
    thread.thread_pointer.store(0, Ordering::Relaxed);
    thread.accounted.store(0, Ordering::Relaxed);
    thread.tid.store(0, Ordering::Relaxed);
}

/// A thread's name; its id where it has ended.
fn name_of(tid: u32) -> String {
    fs::read_to_string(format!("/proc/self/task/{tid}/comm"))
        .map_or_else(|_| "(ended)".to_owned(), |name| name.trim_end().to_owned())
}

/// Blocks `SIGPROF` in this thread, so that one it starts begins with it blocked.
struct SigprofBlocked {
    before: libc::sigset_t,
}

impl SigprofBlocked {
    fn new() -> SigprofBlocked {
        // SAFETY: sigset_t is a plain C structure; these functions initialise and read it
        // (sigsetops(3), pthread_sigmask(3)).
        unsafe {
            let mut set: libc::sigset_t = std::mem::zeroed();
            let mut before: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&raw mut set);
            libc::sigaddset(&raw mut set, libc::SIGPROF);
            libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, &raw mut before);
            SigprofBlocked { before }
        }
    }
}

impl Drop for SigprofBlocked {
    fn drop(&mut self) {
        // SAFETY: restores the set that `new` found.
        unsafe {
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.before, std::ptr::null_mut());
        }
    }
}
