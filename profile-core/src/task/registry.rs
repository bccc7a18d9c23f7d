//! The tasks that are alive: a slab of slots in shards.
//!
//! A slot is written by whoever polls its task, with plain stores and no lock, and read by whoever
//! takes a dump. A lock is taken when a task begins and ends, of one shard of many. Slots are never
//! freed, so that one can be written to without asking whether it is still there; they are used again.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::kinds::{self, KindId};
use super::source::{State, Status};
use crate::sys::clock;
use crate::sys::own_work::OwnWork;
use crate::sys::place::Place;
use crate::sys::this_thread;
use crate::trace::ring;

const SHARDS: usize = 32;
/// Slots that are made at a time: 16 KiB.
const PAGE: usize = 256;
/// Task ids begin beyond the ids of threads, so that a dump can have both.
pub(super) const FIRST_ID: u64 = 10_000_000;

/// A live task, 64 bytes. Times are of the coarse clock, or of the precise one while a trace is taken.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(super) struct Slot {
    /// 0 where the slot is free.
    id: AtomicU64,
    kind: AtomicU32,
    /// The thread that is polling it; 0 while nobody does.
    thread: AtomicU32,
    /// When its poll began, or the last one ended; when the task began, where there was none.
    since: AtomicU64,
    spawned: AtomicU64,
    busy: AtomicU64,
    /// The longest poll in microseconds; a poll of more than an hour counts as one.
    longest: AtomicU32,
    flags: AtomicU32,
    polls: AtomicU64,
    /// Where it said that it waits.
    awaits: Place,
}

/// Polled inside another task's poll, at least the first time.
const NESTED: u32 = 1;

#[derive(Default)]
struct Shard {
    pages: Vec<&'static [Slot]>,
    free: Vec<&'static Slot>,
    next: u64,
}

static SLAB: [Mutex<Shard>; SHARDS] =
    [const { Mutex::new(Shard { pages: Vec::new(), free: Vec::new(), next: 0 }) }; SHARDS];

thread_local! {
    static SHARD: Cell<usize> = const { Cell::new(usize::MAX) };
    /// The task that this thread is polling.
    static CURRENT: Cell<Option<&'static Slot>> = const { Cell::new(None) };
}

fn lock(shard: usize) -> MutexGuard<'static, Shard> {
    SLAB[shard].lock().unwrap_or_else(PoisonError::into_inner)
}

/// The calling thread's shard.
#[inline]
fn own_shard() -> usize {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    match SHARD.get() {
        usize::MAX => {
            let shard = NEXT.fetch_add(1, Ordering::Relaxed) as usize % SHARDS;
            SHARD.set(shard);
            shard
        }
        shard => shard,
    }
}

/// Enters a task of this kind.
pub(super) fn begin(kind: KindId) -> &'static Slot {
    let index = own_shard();
    let now = clock::coarse();
    let mut shard = lock(index);
    let slot = shard.free.pop().unwrap_or_else(|| grow(&mut shard));
    let id = FIRST_ID + shard.next * SHARDS as u64 + index as u64;
    shard.next += 1;
    drop(shard);
    slot.kind.store(kind.0, Ordering::Relaxed);
    slot.thread.store(0, Ordering::Relaxed);
    slot.since.store(now, Ordering::Relaxed);
    slot.spawned.store(now, Ordering::Relaxed);
    slot.busy.store(0, Ordering::Relaxed);
    slot.longest.store(0, Ordering::Relaxed);
    slot.flags.store(0, Ordering::Relaxed);
    slot.polls.store(0, Ordering::Relaxed);
    slot.awaits.set(None);
    slot.id.store(id, Ordering::Release);
    slot
}

#[cold]
fn grow(shard: &mut Shard) -> &'static Slot {
    let _own = OwnWork::begin();
    let page: &'static [Slot] = Box::leak((0..PAGE).map(|_| Slot::default()).collect());
    shard.pages.push(page);
    shard.free.extend(page.iter().rev());
    shard.free.pop().expect("a page has slots")
}

/// Gives a task's slot back.
pub(super) fn end(slot: &'static Slot) {
    let id = slot.id.swap(0, Ordering::AcqRel);
    let index = (id - FIRST_ID) as usize % SHARDS;
    lock(index).free.push(slot);
}

/// A poll under way.
pub(super) struct Polling {
    slot: &'static Slot,
    began: u64,
    outer: Option<&'static Slot>,
}

#[inline]
fn now() -> u64 {
    if ring::is_on() { clock::precise() } else { clock::coarse() }
}

/// Begins a poll.
#[inline]
pub(super) fn enter(slot: &'static Slot) -> Polling {
    let began = now();
    slot.awaits.set(None);
    slot.since.store(began, Ordering::Relaxed);
    slot.thread.store(this_thread::tid(), Ordering::Release);
    let outer = CURRENT.replace(Some(slot));
    if outer.is_some() {
        slot.flags.store(NESTED, Ordering::Relaxed);
    }
    Polling { slot, began, outer }
}

impl Drop for Polling {
    #[inline]
    fn drop(&mut self) {
        let Polling { slot, began, outer } = *self;
        let ended = now();
        let took = ended.saturating_sub(began);
        // Nobody else writes while the task is being polled.
        slot.polls.store(slot.polls.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        if took > 0 {
            slot.busy.store(slot.busy.load(Ordering::Relaxed) + took, Ordering::Relaxed);
            let micros = u32::try_from(took / 1000).unwrap_or(u32::MAX);
            if micros > slot.longest.load(Ordering::Relaxed) {
                slot.longest.store(micros, Ordering::Relaxed);
            }
        }
        slot.since.store(ended, Ordering::Relaxed);
        slot.thread.store(0, Ordering::Release);
        CURRENT.set(outer);
        if ring::is_on() {
            let kind = KindId(slot.kind.load(Ordering::Relaxed));
            ring::poll(kind, began, ended, slot.id.load(Ordering::Relaxed));
        }
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
pub(super) fn each(each: &mut dyn FnMut(&Status)) {
    let mut known = KnownKinds::default();
    let now = clock::precise();
    for index in 0..SHARDS {
        let pages = lock(index).pages.clone();
        for slot in pages.into_iter().flatten() {
            if let Some(status) = slot.status(now, &mut known) {
                each(&status);
            }
        }
    }
}

/// How many tasks there are, and how many of them are inside others.
pub(super) fn count() -> (usize, usize) {
    let (mut all, mut nested) = (0, 0);
    for index in 0..SHARDS {
        let pages = lock(index).pages.clone();
        for slot in pages.into_iter().flatten() {
            if slot.id.load(Ordering::Relaxed) != 0 {
                all += 1;
                nested += usize::from(slot.flags.load(Ordering::Relaxed) & NESTED != 0);
            }
        }
    }
    (all, nested)
}

/// Kinds that were looked up for one dump.
#[derive(Default)]
struct KnownKinds(Vec<Option<std::sync::Arc<super::TaskKind>>>);

impl KnownKinds {
    fn get(&mut self, id: u32) -> std::sync::Arc<super::TaskKind> {
        let index = id as usize;
        if self.0.len() <= index {
            self.0.resize(index + 1, None);
        }
        std::sync::Arc::clone(self.0[index].get_or_insert_with(|| kinds::find(KindId(id))))
    }
}

impl Slot {
    /// What the task is doing. `None` where the slot is free, or changed hands while it was read.
    fn status(&self, now: u64, known: &mut KnownKinds) -> Option<Status> {
        let id = self.id.load(Ordering::Acquire);
        if id == 0 {
            return None;
        }
        let nanos = |then: u64| Duration::from_nanos(now.saturating_sub(then));
        let polls = self.polls.load(Ordering::Relaxed);
        let thread = self.thread.load(Ordering::Acquire);
        let since = nanos(self.since.load(Ordering::Relaxed));
        let state = match (thread, polls) {
            (0, 0) => State::New,
            (0, _) => State::Idle,
            (thread, _) => State::Running { thread },
        };
        let status = Status {
            id,
            kind: known.get(self.kind.load(Ordering::Relaxed)),
            state,
            since,
            age: nanos(self.spawned.load(Ordering::Relaxed)),
            polls,
            busy: Duration::from_nanos(self.busy.load(Ordering::Relaxed)),
            longest: Duration::from_micros(self.longest.load(Ordering::Relaxed).into()),
            awaits: self.awaits.get().map(|place| (place.file(), place.line())),
            nested: self.flags.load(Ordering::Relaxed) & NESTED != 0,
        };
        (self.id.load(Ordering::Acquire) == id).then_some(status)
    }
}
