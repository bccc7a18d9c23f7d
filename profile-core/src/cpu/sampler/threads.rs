//! The threads that are sampled by timers of their own, and those that can't be.

use std::collections::{HashMap, VecDeque};
use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::cpu::sampler::account::CpuTimeAccount;
use crate::cpu::sampler::blocking::BlockingThreads;
use crate::cpu::sampler::budget::TimerBudget;
use crate::cpu::sampler::places::{THREADS, timer_value};
use crate::cpu::sampler::raw::handler::{HandlerState, SampledThread, own_tid};
use crate::cpu::sampler::raw::signals::{SignalMask, SignalReader};
use crate::cpu::sampler::raw::timer::{CpuClock, CpuTimer};
use crate::cpu::sampler::strata::SplitMix;
use crate::stacks::raw::mapping::StackOf;

/// Number of scans from one look at what others have left of the timers to the next.
const BUDGET: u64 = 5;
/// A signal that was sent and not handled while its thread used so much CPU time is lost: more than a few
/// ticks of any kernel.
pub(crate) const LOST: i64 = 50_000_000;

/// The threads of the program and their timers.
pub(crate) struct ThreadTimers {
    shared: Arc<HandlerState>,
    epoch: u32,
    /// The controller's, which is not sampled.
    own_tid: u32,
    /// Length of the strata, in nanoseconds.
    period: u64,
    armed: HashMap<u32, ArmedThread>,
    blocking: BlockingThreads,
    /// Places that are free. The one that has been so for longest is taken: a signal of the thread that had it
    /// before may still be under way.
    free: VecDeque<u32>,
    reader: SignalReader,
    budget: TimerBudget,
    refusal: Option<TimerRefusal>,
    random: SplitMix,
    /// Counts scans.
    turn: u64,
}

/// A thread with a timer of its own.
struct ArmedThread {
    place: u32,
    timer: CpuTimer,
    /// The number of its name, where that was asked for.
    name: Option<u64>,
    seen: bool,
    /// Its CPU time when it was last looked at, and whether it had used any since the time before.
    used: u64,
    is_idle: bool,
    /// Time that its samples stood for when it was found to block the signal although its timer has
    /// sent one.
    silent: Option<u64>,
}

/// The reason why threads have no timer of their own.
#[derive(Debug)]
pub(crate) enum TimerRefusal {
    /// `RLIMIT_SIGPENDING`, and the budget that it leaves.
    Limit(TimerBudget),
    /// There are more threads than the table has places.
    Places,
    /// The kernel has refused.
    Kernel(io::Error),
}

/// The findings of a scan.
#[derive(Debug, Default)]
pub(crate) struct ThreadScan {
    /// Time that timers which are running still account for.
    pub(crate) pending: i64,
    /// True where threads that block the signal are at work.
    pub(crate) is_blocked: bool,
    /// True where that is not known yet of some.
    pub(crate) is_unsure: bool,
    /// True where a signal may be pending for a thread that blocks it.
    pub(crate) is_pending: bool,
}

impl ThreadTimers {
    pub(crate) fn new(shared: Arc<HandlerState>, epoch: u32, seed: u64) -> ThreadTimers {
        ThreadTimers {
            shared,
            epoch,
            own_tid: own_tid(),
            period: 0,
            armed: HashMap::new(),
            blocking: BlockingThreads::default(),
            free: (0..THREADS).collect(),
            reader: SignalReader::new(libc::SIGPROF),
            budget: TimerBudget::UNLIMITED,
            refusal: None,
            random: SplitMix::new(seed),
            turn: 0,
        }
    }

    /// Samples every thread once in so many nanoseconds of its CPU time, from now on.
    pub(crate) fn set_period(&mut self, period: u64, account: &mut CpuTimeAccount) {
        self.period = period;
        for (&tid, armed) in &self.armed {
            // A thread that has ended meanwhile is found by the next scan.
            let Some(now) = CpuClock::Thread(tid).now() else { continue };
            let clock = &self.shared.threads[armed.place as usize].clock;
            account.add_sampled(clock.pending(now));
            let _ = armed.timer.set(clock.begin_anew(now, period, &mut self.random));
        }
    }

    /// Arms threads that are new, retires those that are gone, and looks after the rest.
    pub(crate) fn scan(&mut self, account: &mut CpuTimeAccount) -> ThreadScan {
        let mut scanned = ThreadScan::default();
        let Ok(tasks) = fs::read_dir("/proc/self/task") else { return scanned };
        let tids: Vec<u32> = tasks
            .filter_map(|task| task.ok()?.file_name().to_str()?.parse().ok())
            .filter(|&tid| tid != self.own_tid)
            .collect();
        self.turn += 1;
        if self.turn % BUDGET == 1 {
            self.keep_to_budget(&mut scanned);
        }
        self.armed.values_mut().for_each(|armed| armed.seen = false);
        self.blocking.begin_scan();
        for tid in tids {
            if let Some(armed) = self.armed.get_mut(&tid) {
                armed.seen = true;
            } else if !self.blocking.has_seen(tid) {
                self.arm_new(tid);
            }
        }
        let gone: Vec<u32> =
            self.armed.iter().filter(|(_, armed)| !armed.seen).map(|(&tid, _)| tid).collect();
        for tid in gone {
            self.disarm(tid);
        }
        let seen = self.blocking.look_at_threads(&mut self.reader, account);
        (scanned.is_blocked, scanned.is_unsure) = (seen.is_busy, seen.is_unsure);
        seen.unblocked.into_iter().for_each(|tid| self.arm(tid));
        self.look_at_armed(account, &mut scanned);
        scanned
    }

    /// Arms a thread that was seen at work, at the cost of one that isn't where there is no room.
    pub(crate) fn arm_busy(&mut self, tid: u32) {
        if self.armed.contains_key(&tid) || self.blocking.contains(tid) {
            return;
        }
        if !self.has_room() {
            let idle = self.armed.iter().find(|(_, armed)| armed.is_idle).map(|(&tid, _)| tid);
            if let Some(idle) = idle {
                self.disarm(idle);
            }
        }
        self.arm_new(tid);
    }

    /// Takes every timer away: somebody else handles the signal.
    pub(crate) fn disarm_all(&mut self) {
        let tids: Vec<u32> = self.armed.keys().copied().collect();
        for tid in tids {
            self.disarm(tid);
        }
    }

    /// Returns whether a signal of a timer may be pending somewhere.
    pub(crate) fn may_be_pending(&self) -> bool {
        self.armed.values().any(|armed| !armed.timer.is_running())
    }

    /// Returns the number of threads that have a timer.
    pub(crate) fn len(&self) -> usize {
        self.armed.len()
    }

    /// Returns whether there are threads, and all that are known block the signal.
    pub(crate) fn all_block(&self) -> bool {
        self.armed.is_empty() && !self.blocking.is_empty() && self.refusal.is_none()
    }

    /// Describes the threads that block the signal, for people.
    pub(crate) fn describe_blocking(&self) -> Option<String> {
        self.blocking.describe()
    }

    /// Returns the reason why some have no timer.
    pub(crate) fn refusal(&self) -> Option<&TimerRefusal> {
        self.refusal.as_ref()
    }

    /// Returns whether the budget leaves room for the process's timer.
    pub(crate) fn has_room_for_process(&self) -> bool {
        self.budget.has_room(self.armed.len())
    }

    /// Returns the place for the name of a thread with a timer; `None` for a thread without.
    pub(crate) fn name_of(&mut self, tid: u32) -> Option<&mut Option<u64>> {
        self.armed.get_mut(&tid).map(|armed| &mut armed.name)
    }

    /// Forgets all names, so that they are read anew.
    pub(crate) fn forget_names(&mut self) {
        self.armed.values_mut().for_each(|armed| armed.name = None);
    }

    /// Iterates over the threads that have a timer, each with its place in the table.
    fn iter(&self) -> impl Iterator<Item = (u32, &SampledThread)> {
        let shared = &self.shared;
        self.armed.iter().map(|(&tid, armed)| (tid, &shared.threads[armed.place as usize]))
    }

    /// Returns whether one more thread may have a timer beside the process's.
    fn has_room(&self) -> bool {
        self.budget.has_room(self.armed.len() + 1)
    }

    /// Gives timers back where others have taken of what was free, those of idle threads first.
    fn keep_to_budget(&mut self, scanned: &mut ThreadScan) {
        // With the process's.
        let held = self.armed.len() + 1;
        let Some(status) = self.reader.status(self.own_tid) else { return };
        self.budget = TimerBudget::new(&status, if self.turn == 1 { 0 } else { held });
        let mut surplus = 0;
        while surplus < self.armed.len() && !self.budget.has_room(held - surplus - 1) {
            surplus += 1;
        }
        if surplus == 0 {
            return;
        }
        let mut tids: Vec<(bool, u32)> =
            self.armed.iter().map(|(&tid, armed)| (!armed.is_idle, tid)).collect();
        tids.sort_unstable();
        for &(_, tid) in &tids[..surplus] {
            scanned.is_pending |= self.disarm(tid);
        }
        self.refusal = Some(TimerRefusal::Limit(self.budget));
    }

    /// Looks at threads with a timer: what it is still to account for, whether its signal is lost, and
    /// whether the thread has begun to block it.
    fn look_at_armed(&mut self, account: &mut CpuTimeAccount, scanned: &mut ThreadScan) {
        let most = self.period.cast_signed() + LOST;
        let mut silent = Vec::new();
        for (&tid, armed) in &mut self.armed {
            let Some(now) = CpuClock::Thread(tid).now() else { continue };
            let clock = &self.shared.threads[armed.place as usize].clock;
            let pending = clock.pending(now);
            // What no tick finds at work for long is missing, whatever the timer will make of it.
            scanned.pending += pending.min(most);
            armed.is_idle = armed.used == now;
            armed.used = now;
            if !armed.is_idle && !armed.timer.is_running() {
                silent.push((tid, now, pending));
            }
        }
        for (tid, now, pending) in silent {
            let Some(armed) = self.armed.get_mut(&tid) else { continue };
            match self.reader.mask(tid) {
                Some(SignalMask::Clear) if pending > most => {
                    let _ = armed.timer.set(now + self.random.below(self.period));
                }
                Some(SignalMask::Clear) | None => {}
                Some(mask) => {
                    // A thread that gives birth to another blocks all signals for a moment.
                    let accounted = now.wrapping_sub(pending.cast_unsigned());
                    let before = armed.silent.replace(accounted);
                    if mask == SignalMask::Blocked && before != Some(accounted) {
                        continue;
                    }
                    (scanned.is_pending, scanned.is_blocked) = (true, true);
                    scanned.pending -= pending.min(most);
                    self.disarm(tid);
                    // What its last sample was ahead by is as good as sampled.
                    account.add_sampled(pending.min(0));
                    account.add_blocked(pending.max(0));
                    self.blocking.add(tid, now, true);
                }
            }
        }
    }

    fn arm_new(&mut self, tid: u32) {
        if !self.has_room() {
            self.refusal = Some(TimerRefusal::Limit(self.budget));
            return;
        }
        match self.reader.mask(tid) {
            Some(SignalMask::Clear) | None => self.arm(tid),
            Some(mask) => {
                let used = CpuClock::Thread(tid).now().unwrap_or(0);
                self.blocking.add(tid, used, mask == SignalMask::Awaited);
            }
        }
    }

    fn arm(&mut self, tid: u32) {
        let Some(place) = self.free.pop_front() else {
            self.refusal = Some(TimerRefusal::Places);
            return;
        };
        let shared = Arc::clone(&self.shared);
        let thread = &shared.threads[place as usize];
        clear(thread);
        thread.tid.store(tid, Ordering::Relaxed);
        match self.timer(tid, place, thread) {
            Ok((timer, used)) => {
                let armed = ArmedThread {
                    place,
                    timer,
                    name: None,
                    seen: true,
                    used,
                    is_idle: false,
                    silent: None,
                };
                self.armed.insert(tid, armed);
            }
            Err(error) => {
                thread.clock.end();
                self.free.push_back(place);
                // EINVAL and ESRCH: it has ended meanwhile.
                if !matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ESRCH)) {
                    self.refusal = Some(TimerRefusal::Kernel(error));
                }
            }
        }
    }

    /// Makes a timer for a thread, and reads the thread's CPU time.
    fn timer(
        &mut self,
        tid: u32,
        place: u32,
        thread: &SampledThread,
    ) -> io::Result<(CpuTimer, u64)> {
        let value = timer_value(self.epoch, thread.clock.next_arming(), place);
        let timer = CpuTimer::new(CpuClock::Thread(tid), value)?;
        let gone = || io::Error::from_raw_os_error(libc::ESRCH);
        let now = CpuClock::Thread(tid).now().ok_or_else(gone)?;
        let due = thread.clock.begin(timer.id(), now, self.period, self.random.word());
        timer.set(due)?;
        Ok((timer, now))
    }

    /// Deletes a thread's timer. Returns whether its signal may still be pending.
    fn disarm(&mut self, tid: u32) -> bool {
        let Some(ArmedThread { place, timer, .. }) = self.armed.remove(&tid) else { return false };
        let thread = &self.shared.threads[place as usize];
        thread.clock.end();
        clear(thread);
        self.free.push_back(place);
        !timer.is_running()
    }

    /// Looks up where the stacks of threads are mapped that were sampled for the first time.
    pub(crate) fn find_stacks(&self) {
        let waiting = || {
            self.iter().filter_map(|(tid, thread)| {
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
}

impl TimerRefusal {
    /// Describes the reason, for people.
    pub(crate) fn reason(&self) -> String {
        match self {
            TimerRefusal::Limit(budget) => budget.reason(),
            TimerRefusal::Places => format!("there is room for {THREADS}"),
            TimerRefusal::Kernel(error) if error.raw_os_error() == Some(libc::EAGAIN) => {
                format!("timer_create: {error}: RLIMIT_SIGPENDING or memory")
            }
            TimerRefusal::Kernel(error) => format!("timer_create: {error}"),
        }
    }
}

fn clear(thread: &SampledThread) {
    thread.stack_high.store(0, Ordering::Relaxed);
    thread.stack_low.store(0, Ordering::Relaxed);
    thread.thread_pointer.store(0, Ordering::Relaxed);
    thread.tid.store(0, Ordering::Relaxed);
}
