//! The tasks that are alive: a slab of slots.
//!
//! A slot is written by whoever polls its task, with plain stores and no lock, and read by whoever
//! takes a dump. Each thread has some free slots at hand for tasks that begin, and takes those of
//! tasks that end; a lock is taken for a batch of them. Slots are never freed, so that one can be
//! written to without asking whether it is still there; they are used again.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::time::Duration;

use crate::events::KindId;
use crate::events::ring::{self, TraceEvent};
use crate::sys::clock;
use crate::sys::own_work::OwnWork;
use crate::sys::raw::place::AtomicLocation;
use crate::sys::raw::this_thread;
use crate::task::kinds;
use crate::task::raw::{BELOW, FINISHED, POLLED, WOKEN, WakeMark, WakeUp};
use crate::task::status::{State, Status};

/// Slots that are made at a time: 16 KiB.
const PAGE: usize = 256;
/// Task ids begin beyond the ids of threads, so that a dump can have both.
pub(super) const FIRST_ID: u64 = 10_000_000;

/// A live task, 64 bytes. Times are of the coarse clock, or of the precise one while a trace is
/// taken.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(super) struct TaskSlot {
    /// 0 where the slot is free.
    id: AtomicU64,
    kind: AtomicU32,
    /// The thread that is polling it, or the one that did last, with [`POLLED`]; 0 where there was
    /// none, and [`FINISHED`] after the last poll.
    thread: AtomicU32,
    /// Time at which its poll began, or the last one ended; at which the task began, where there
    /// was none.
    since: AtomicU64,
    spawned: AtomicU64,
    busy: AtomicU64,
    /// The longest poll in microseconds; a poll of more than an hour counts as one.
    longest: AtomicU32,
    /// [`NESTED`], and [`WOKEN`] since the last poll began; above them the id's low bits, so that a
    /// waker that outlives its task tells nothing of the next one.
    flags: AtomicU32,
    polls: AtomicU64,
    /// The place where it said that it waits.
    awaits: AtomicLocation,
}

/// Polled inside another task's poll, at least the first time.
const NESTED: u32 = 1;

/// Slots that nobody of the threads has at hand, and the pages of all.
struct SlotPool {
    pages: Vec<&'static [TaskSlot]>,
    free: Vec<&'static TaskSlot>,
}

static POOL: Mutex<SlotPool> = Mutex::new(SlotPool { pages: Vec::new(), free: Vec::new() });

/// Slots and ids that a thread has at hand, so that most tasks begin and end without a lock.
struct ThreadCache {
    /// Slots, as many as `count` says.
    free: [Cell<Option<&'static TaskSlot>>; AT_HAND],
    count: Cell<usize>,
    /// The next of its ids, which nobody else gives out, and how many are left.
    next_id: Cell<u64>,
    ids: Cell<u64>,
}

/// Slots that a thread has at most; half of them are fetched and given back at a time.
const AT_HAND: usize = PAGE / 2;
const BATCH: usize = AT_HAND / 2;
/// Ids that are fetched at a time.
const IDS: u64 = 1024;

static NEXT_ID: AtomicU64 = AtomicU64::new(FIRST_ID);

thread_local! {
    static HERE: ThreadCache = const { ThreadCache::new() };
    /// The task that this thread is polling.
    static CURRENT: Cell<Option<&'static TaskSlot>> = const { Cell::new(None) };
}

fn lock() -> MutexGuard<'static, SlotPool> {
    POOL.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ThreadCache {
    const fn new() -> ThreadCache {
        ThreadCache {
            free: [const { Cell::new(None) }; AT_HAND],
            count: Cell::new(0),
            next_id: Cell::new(0),
            ids: Cell::new(0),
        }
    }

    #[inline]
    fn slot(&self) -> &'static TaskSlot {
        let count = self.count.get();
        match count.checked_sub(1).and_then(|last| self.free.get(last)?.get()) {
            Some(slot) => {
                self.count.set(count - 1);
                slot
            }
            None => self.fetch(),
        }
    }

    #[cold]
    #[inline(never)]
    fn fetch(&self) -> &'static TaskSlot {
        let _own = OwnWork::begin();
        static ONCE: Once = Once::new();
        ONCE.call_once(|| this_thread::in_forks(this_thread::forget));
        let mut slab = lock();
        if slab.free.is_empty() {
            let page: &'static [TaskSlot] =
                Box::leak((0..PAGE).map(|_| TaskSlot::default()).collect());
            slab.pages.push(page);
            slab.free.extend(page.iter().rev());
        }
        let rest = slab.free.len().saturating_sub(BATCH);
        let mut fetched = slab.free.drain(rest..);
        let first = fetched.next().expect("a page has slots");
        let mut count = 0;
        for (place, slot) in self.free.iter().zip(fetched) {
            place.set(Some(slot));
            count += 1;
        }
        self.count.set(count);
        first
    }

    #[inline]
    fn give_back(&self, slot: &'static TaskSlot) {
        if self.count.get() == AT_HAND {
            self.give_back_some(BATCH);
        }
        let count = self.count.get();
        self.free[count % AT_HAND].set(Some(slot));
        self.count.set(count + 1);
    }

    #[cold]
    #[inline(never)]
    fn give_back_some(&self, keep: usize) {
        let _own = OwnWork::begin();
        let given = self.free[keep..self.count.get()].iter().filter_map(Cell::take);
        lock().free.extend(given);
        self.count.set(keep);
    }

    #[inline]
    fn id(&self) -> u64 {
        if self.ids.get() == 0 {
            self.next_id.set(NEXT_ID.fetch_add(IDS, Ordering::Relaxed));
            self.ids.set(IDS);
        }
        self.ids.set(self.ids.get() - 1);
        self.next_id.replace(self.next_id.get() + 1)
    }
}

impl Drop for ThreadCache {
    fn drop(&mut self) {
        self.give_back_some(0);
    }
}

/// Runs with what the thread has at hand; where the thread is ending, with what is there for all.
#[inline]
fn with_thread_cache<R>(run: impl Fn(&ThreadCache) -> R) -> R {
    HERE.try_with(&run).unwrap_or_else(|_| run(&ThreadCache::new()))
}

/// Enters a task of this kind.
#[inline]
pub(super) fn begin(kind: KindId) -> &'static TaskSlot {
    let now = clock::coarse();
    let (slot, id) = with_thread_cache(|cache| (cache.slot(), cache.id()));
    // Who sees any of what follows sees that the slot's last task is gone.
    fence(Ordering::Release);
    slot.kind.store(kind.0, Ordering::Relaxed);
    slot.thread.store(0, Ordering::Relaxed);
    slot.since.store(now, Ordering::Relaxed);
    slot.spawned.store(now, Ordering::Relaxed);
    slot.busy.store(0, Ordering::Relaxed);
    slot.longest.store(0, Ordering::Relaxed);
    slot.flags.store(owner_bits(id) << BELOW, Ordering::Relaxed);
    slot.polls.store(0, Ordering::Relaxed);
    slot.awaits.set(None);
    slot.id.store(id, Ordering::Release);
    slot
}

/// Gives a task's slot back.
#[inline]
pub(super) fn end(slot: &'static TaskSlot) {
    slot.id.store(0, Ordering::Release);
    with_thread_cache(|cache| cache.give_back(slot));
}

/// A poll under way, until [`OpenPoll::end`] or [`OpenPoll::finish`]. Its parts are handed on one
/// by one, so that they stay in registers: by way of memory a poll takes a third longer.
#[derive(Clone, Copy)]
pub(super) struct OpenPoll {
    slot: &'static TaskSlot,
    began: u64,
    outer: Option<&'static TaskSlot>,
    /// True where a wake-up that a trace is to know of came before it.
    due: bool,
}

/// Reads the precise clock, out of the way of polls that nobody traces: those are to have one
/// straight path.
#[cold]
#[inline(never)]
fn read_precise_clock() -> u64 {
    clock::precise()
}

/// Returns the task that this thread is polling; inside of others, the innermost.
pub(super) fn current() -> Option<u64> {
    let id = CURRENT.try_with(Cell::get).ok().flatten()?.id.load(Ordering::Relaxed);
    // One that ends its own task's slot is in none any more.
    (id != 0).then_some(id)
}

/// Returns the first of so many ids that are no other task's.
pub(crate) fn fresh_ids(count: u64) -> u64 {
    NEXT_ID.fetch_add(count, Ordering::Relaxed)
}

/// Returns whether this thread is polling a task.
pub(crate) fn is_polling() -> bool {
    CURRENT.get().is_some()
}

/// Begins a poll.
#[inline(always)]
pub(super) fn enter(slot: &'static TaskSlot) -> OpenPoll {
    let began = if ring::is_on() { read_precise_clock() } else { clock::coarse() };
    slot.awaits.set(None);
    slot.since.store(began, Ordering::Relaxed);
    slot.thread.store(this_thread::tid(), Ordering::Release);
    let outer = CURRENT.replace(Some(slot));
    let flags = slot.flags.load(Ordering::Relaxed);
    let mut due = false;
    if flags & WOKEN != 0 {
        // A wake-up that comes from here on is another poll's. One that was not there is not taken back.
        slot.flags.fetch_and(!WOKEN, Ordering::AcqRel);
        due = ring::is_on();
    }
    if outer.is_some() {
        slot.mark_nested(flags);
    }
    OpenPoll { slot, began, outer, due }
}

/// Returns the place where a task's wakers say that it was woken.
#[inline]
pub(super) fn mark(slot: &'static TaskSlot) -> WakeMark {
    let owner = owner_bits(slot.id.load(Ordering::Relaxed));
    WakeMark { word: &slot.flags, thread: &slot.thread, owner }
}

/// Returns as much of a task's id as there is room for beside the flags.
fn owner_bits(id: u64) -> u32 {
    (id as u32) << BELOW >> BELOW
}

impl OpenPoll {
    /// Returns the time at which it began, if it may be due to a wake-up that a trace is to know
    /// of.
    #[inline]
    pub(super) fn began_if_due(self) -> Option<u64> {
        self.due.then_some(self.began)
    }

    /// Tells the trace of the wake-up that it is due to.
    #[inline]
    pub(super) fn trace_wake_up(self, woken: WakeUp) {
        self.slot.trace_wake_up(self.began, woken);
    }

    /// Ends a poll after which the task goes on.
    #[inline(always)]
    pub(super) fn end(self) {
        self.slot.end_poll(self.began, self.outer);
    }

    /// Ends the last poll of a task: what is known of it is of no use to anybody but a trace.
    #[inline]
    pub(super) fn finish(self) {
        if ring::is_on() {
            self.slot.end_poll_out_of_line(self.began, self.outer);
        } else {
            CURRENT.set(self.outer);
        }
        self.slot.thread.store(FINISHED, Ordering::Release);
    }
}

/// Ends a poll that is left by a panic.
pub(super) struct EndOnUnwind(pub(super) OpenPoll);

impl Drop for EndOnUnwind {
    #[inline]
    fn drop(&mut self) {
        let OpenPoll { slot, began, outer, .. } = self.0;
        slot.end_poll_out_of_line(began, outer);
    }
}

/// Says where the task that this thread is polling waits, unless it was said in this poll already.
#[inline]
pub(super) fn awaits(place: &'static std::panic::Location<'static>) {
    if let Some(slot) = CURRENT.get()
        && slot.awaits.get().is_none()
    {
        slot.awaits.set(Some(place));
    }
}

/// Shows every live task to `each`, in no order. Tasks begin and end meanwhile.
pub(super) fn each(now: u64, each: &mut dyn FnMut(&Status)) {
    let mut known = KnownKinds::default();
    for slot in slots() {
        if let Some(status) = slot.status(now, &mut known) {
            each(&status);
        }
    }
}

/// Returns every slot, free or not.
fn slots() -> impl Iterator<Item = &'static TaskSlot> {
    let pages = lock().pages.clone();
    pages.into_iter().flatten()
}

/// Returns whether there has ever been a task.
#[inline]
pub(super) fn is_used() -> bool {
    NEXT_ID.load(Ordering::Relaxed) != FIRST_ID
}

/// Counts the tasks, and those of them that are inside others.
pub(super) fn count() -> (usize, usize) {
    let (mut all, mut nested) = (0, 0);
    for slot in slots() {
        let is_finished = slot.thread.load(Ordering::Relaxed) == FINISHED;
        if slot.id.load(Ordering::Relaxed) != 0 && !is_finished {
            all += 1;
            nested += usize::from(slot.flags.load(Ordering::Relaxed) & NESTED != 0);
        }
    }
    (all, nested)
}

/// Kinds that were looked up for one dump.
#[derive(Default)]
struct KnownKinds(Vec<Option<std::sync::Arc<crate::task::TaskKind>>>);

impl KnownKinds {
    fn get(&mut self, id: u32) -> std::sync::Arc<crate::task::TaskKind> {
        let index = id as usize;
        if self.0.len() <= index {
            self.0.resize(index + 1, None);
        }
        std::sync::Arc::clone(self.0[index].get_or_insert_with(|| kinds::find(KindId(id))))
    }
}

impl TaskSlot {
    /// Ends a poll.
    #[inline(always)]
    fn end_poll(&'static self, began: u64, outer: Option<&'static TaskSlot>) {
        if ring::is_on() {
            return self.end_poll_out_of_line(began, outer);
        }
        let ended = clock::coarse();
        if ended > began {
            self.count_ticked(ended - began);
        }
        self.count_poll(ended, outer);
    }

    /// Does the same where a trace may be taken. Not cold, which would be slow code: only off the
    /// path of polls that are not traced.
    #[inline(never)]
    fn end_poll_out_of_line(&'static self, began: u64, outer: Option<&'static TaskSlot>) {
        let traced = ring::is_on();
        let ended = if traced { clock::precise() } else { clock::coarse() };
        self.count_time(ended.saturating_sub(began));
        self.count_poll(ended, outer);
        if traced {
            ring::record_poll(self.kind(), began, ended, self.id.load(Ordering::Relaxed));
        }
    }

    /// Ends a poll whose time is counted. Nobody else writes while the task is being polled.
    #[inline(always)]
    fn count_poll(&'static self, ended: u64, outer: Option<&'static TaskSlot>) {
        self.polls.store(self.polls.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        self.since.store(ended, Ordering::Relaxed);
        self.thread.store(self.thread.load(Ordering::Relaxed) | POLLED, Ordering::Release);
        CURRENT.set(outer);
    }

    /// Counts the time that a poll took.
    #[inline]
    fn count_time(&self, took: u64) {
        self.busy.store(self.busy.load(Ordering::Relaxed) + took, Ordering::Relaxed);
        let micros = u32::try_from(took / 1000).unwrap_or(u32::MAX);
        if micros > self.longest.load(Ordering::Relaxed) {
            self.longest.store(micros, Ordering::Relaxed);
        }
    }

    /// Counts a poll during which the coarse clock has ticked: there are few of these.
    #[cold]
    #[inline(never)]
    fn count_ticked(&self, took: u64) {
        self.count_time(took);
    }

    /// Marks the task as one that is polled inside another task's poll.
    #[cold]
    #[inline(never)]
    fn mark_nested(&self, flags: u32) {
        if flags & NESTED == 0 {
            self.flags.fetch_or(NESTED, Ordering::Relaxed);
        }
    }

    /// Hands the wake-up that a poll was due to, which began then, to the trace.
    #[cold]
    fn trace_wake_up(&self, began: u64, WakeUp { at, by }: WakeUp) {
        let (kind, task) = (self.kind(), self.id.load(Ordering::Relaxed));
        ring::record(TraceEvent::Woken { kind, by, at, began, task });
    }

    fn kind(&self) -> KindId {
        KindId(self.kind.load(Ordering::Relaxed))
    }

    /// Reads the task's status. `None` where the slot is free, or changed hands while it was read,
    /// and of a task that is finished, and only kept.
    fn status(&self, now: u64, known: &mut KnownKinds) -> Option<Status> {
        let id = self.id.load(Ordering::Acquire);
        if id == 0 {
            return None;
        }
        let nanos = |then: u64| Duration::from_nanos(now.saturating_sub(then));
        let thread = match self.thread.load(Ordering::Acquire) {
            FINISHED => return None,
            polled if polled & POLLED != 0 => 0,
            thread => thread,
        };
        // Not before: the end of the first poll counts it, and then tells of the thread.
        let polls = self.polls.load(Ordering::Relaxed);
        let since = nanos(self.since.load(Ordering::Relaxed));
        let flags = self.flags.load(Ordering::Acquire);
        let state = match (thread, polls) {
            (0, 0) => State::New,
            (0, _) if flags & WOKEN != 0 => State::Woken,
            (0, _) => State::Idle,
            (thread, _) => State::Running { thread },
        };
        let status = Status {
            id,
            kind: known.get(self.kind().0),
            state,
            since,
            age: nanos(self.spawned.load(Ordering::Relaxed)),
            polls,
            busy: Duration::from_nanos(self.busy.load(Ordering::Relaxed)),
            longest: Duration::from_micros(self.longest.load(Ordering::Relaxed).into()),
            awaits: self.awaits.get().map(|place| (place.file(), place.line())),
            nested: flags & NESTED != 0,
        };
        fence(Ordering::Acquire);
        (self.id.load(Ordering::Relaxed) == id).then_some(status)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::future::Future;
    use std::panic::Location;
    use std::pin::{Pin, pin};
    use std::task::{Context, Poll, Waker};

    use super::*;
    use crate::task::{self, Category, Instrument as _};

    /// Returns the tasks of this name.
    fn named(name: &str) -> Vec<Status> {
        let mut found = Vec::new();
        task::all(&mut |status| {
            if status.kind.name() == name {
                found.push(status.clone());
            }
        });
        found
    }

    #[test]
    fn a_task_that_is_finished_and_kept_is_none_any_more() {
        let mut kept = pin!(async {}.instrument(task::named("kept")));
        assert_eq!(named("kept").len(), 1);
        assert!(poll(kept.as_mut()).is_ready());
        assert!(named("kept").is_empty());
        let _turn = ring::turn();
        let window = ring::open(0).unwrap();
        let mut traced = pin!(async {}.instrument(task::named("traced and kept")));
        assert!(poll(traced.as_mut()).is_ready());
        assert!(named("traced and kept").is_empty());
        drop(window);
    }

    fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_task_is_known_from_its_start_to_its_end() {
        let line = line!() + 1;
        let place = Location::caller();
        let task = task::named("from start to end").started_at(place).per_request();
        let mut future = Box::pin(std::future::pending::<()>().await_point().instrument(task));
        let [new] = named("from start to end").try_into().unwrap();
        assert_eq!((new.state, new.polls, new.awaits), (State::New, 0, None));
        assert_eq!(new.kind.category(), Category::PerRequest);
        assert_eq!((new.kind.file(), new.kind.line()), (file!(), line));
        assert!(poll(future.as_mut()).is_pending());
        let [idle] = named("from start to end").try_into().unwrap();
        assert_eq!((idle.id, idle.state, idle.polls), (new.id, State::Idle, 1));
        assert_eq!(idle.awaits, Some((file!(), line + 2)));
        drop(future);
        assert!(named("from start to end").is_empty());
    }

    #[test]
    fn a_poll_shows_its_thread_and_what_is_inside_is_nested() {
        let inner = async {
            let [outer] = named("an outer task").try_into().unwrap();
            assert_eq!(outer.state, State::Running { thread: this_thread::tid() });
            let [inner] = named("an inner task").try_into().unwrap();
            assert!(inner.nested && !outer.nested);
        };
        let outer = async { inner.instrument(task::named("an inner task")).await };
        let outer = pin!(outer.instrument(task::named("an outer task")));
        assert!(poll(outer).is_ready());
    }

    #[test]
    fn a_task_is_woken_until_its_next_poll() {
        let kept = std::sync::Mutex::new(None);
        let keeps = std::future::poll_fn(|cx: &mut Context<'_>| -> Poll<()> {
            *kept.lock().unwrap() = Some(cx.waker().clone());
            Poll::Pending
        });
        let task = || task::named("waits to be woken").following_wakes();
        let mut future = Box::pin(keeps.instrument(task()));
        let state = || named("waits to be woken").iter().map(|s| s.state).collect::<Vec<_>>();
        assert!(poll(future.as_mut()).is_pending());
        assert_eq!(state(), [State::Idle]);
        let waker = kept.lock().unwrap().take().unwrap();
        waker.wake_by_ref();
        assert_eq!(state(), [State::Woken]);
        assert!(poll(future.as_mut()).is_pending());
        assert_eq!(state(), [State::Idle]);
        drop(future);
        // Its slot is used again, by this thread's next task; the waker is of the last one still.
        let mut next = Box::pin(std::future::pending::<()>().instrument(task()));
        assert!(poll(next.as_mut()).is_pending());
        waker.wake();
        assert_eq!(state(), [State::Idle]);
    }

    #[test]
    fn a_wake_during_a_poll_is_of_the_next_one() {
        let wakes_itself = std::future::poll_fn(|cx: &mut Context<'_>| -> Poll<()> {
            cx.waker().wake_by_ref();
            Poll::Pending
        });
        let task = task::named("wakes itself").following_wakes();
        let mut future = Box::pin(wakes_itself.instrument(task));
        for _ in 0..2 {
            assert!(poll(future.as_mut()).is_pending());
            assert_eq!(named("wakes itself")[0].state, State::Woken);
        }
    }

    #[test]
    fn a_poll_that_panics_has_ended() {
        let mut future = Box::pin(async { panic!("expected") }.instrument(task::named("panics")));
        let polled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _: Poll<()> = poll(future.as_mut());
        }));
        assert!(polled.is_err());
        assert_eq!(named("panics")[0].state, State::Idle);
        assert!(CURRENT.get().is_none());
    }

    #[test]
    fn busy_time_and_the_longest_poll_add_up() {
        let work = async {
            std::thread::sleep(Duration::from_millis(60));
            std::future::pending::<()>().await;
        };
        let mut future = Box::pin(work.instrument(task::named("sleeps in its poll")));
        assert!(poll(future.as_mut()).is_pending());
        let [status] = named("sleeps in its poll").try_into().unwrap();
        // The coarse clock is up to 10 ms behind at either end.
        assert!(status.busy >= Duration::from_millis(45), "{status:?}");
        assert!(status.longest.abs_diff(status.busy) < Duration::from_millis(1), "{status:?}");
    }

    #[test]
    fn ids_are_of_one_task_and_slots_are_used_again() {
        let pages = || lock().pages.len();
        let tasks =
            || -> Vec<_> { (0..2000).map(|_| async {}.instrument(task::named("many"))).collect() };
        let mut ids = HashSet::new();
        drop(tasks());
        let before = pages();
        for _ in 0..20 {
            std::thread::spawn(move || {
                let tasks = tasks();
                assert!(named("many").len() >= 2000);
                // What one thread began another may end.
                std::thread::spawn(move || drop(tasks)).join().unwrap();
            })
            .join()
            .unwrap();
            let tasks = tasks();
            for status in named("many") {
                assert!(ids.insert(status.id), "an id was used twice");
            }
            drop(tasks);
        }
        // Other tests have tasks as well.
        assert!(pages() <= before + 2, "{} pages, {before} before", pages());
        assert!(named("many").is_empty());
        assert_eq!(size_of::<TaskSlot>(), 64);
    }
}
