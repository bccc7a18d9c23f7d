//! A waker that leaves a mark where it is used, and costs an allocation only for a task that waits.
//!
//! The first time, a future is polled with a waker that is lent to it. Where the future clones it,
//! to be woken later, or is polled again, an owned one is made, once; later polls are given that
//! one, so that the future finds it unchanged and clones nothing.

use std::mem::ManuallyDrop;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};
use std::task::{Context, RawWaker, RawWakerVTable, Waker};

use crate::events::ring;
use crate::sys::clock;
use crate::sys::raw::this_thread;
use crate::task;

/// The place in which a waker leaves its mark: [`WOKEN`] in a word, as long as the word is this
/// owner's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WakeMark {
    pub(crate) word: &'static AtomicU32,
    /// The thread that polls the owner, or did last, with [`POLLED`].
    pub(crate) thread: &'static AtomicU32,
    /// The bits that the word has above its two lowest.
    pub(crate) owner: u32,
}

/// The bit that is set.
pub(crate) const WOKEN: u32 = 2;
/// The bit of a thread's id that says that its poll is over.
pub(crate) const POLLED: u32 = 1 << 31;
/// Instead of a thread's id: the last poll is over.
pub(crate) const FINISHED: u32 = u32::MAX;
/// Number of bits that a word has below its owner.
pub(crate) const BELOW: u32 = 2;

impl WakeMark {
    /// Sets the mark. Returns false if it was already set, or the word is another owner's.
    fn set(self) -> bool {
        let mut known = self.word.load(Ordering::Relaxed);
        while known >> BELOW == self.owner && known & WOKEN == 0 {
            let (woken, word) = (known | WOKEN, self.word);
            match word.compare_exchange_weak(known, woken, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(changed) => known = changed,
            }
        }
        false
    }
}

/// The part that a future's wakers share, once there are any.
#[derive(Debug)]
pub(crate) struct FutureWakers {
    /// The shared part, from an `Arc`; null where there is none, [`UNUSED`] where there was no
    /// poll, [`IGNORED`] where wakers are left as they are.
    owned: AtomicPtr<OwnedWaker>,
}

/// The part that owned wakers share: 48 bytes, and 16 for its counts.
#[derive(Debug)]
struct OwnedWaker {
    inner: Waker,
    /// The parts of a [`WakeMark`].
    word: &'static AtomicU32,
    thread: &'static AtomicU32,
    owner: u32,
    /// While a trace is taken, by which thread and when the mark was left, until the poll that is
    /// due to it begins; else 0. Whoever leaves the mark writes both, the time last.
    woken_by: AtomicU32,
    woken_at: AtomicU64,
}

impl OwnedWaker {
    fn new(inner: Waker, WakeMark { word, thread, owner }: WakeMark) -> OwnedWaker {
        let (woken_by, woken_at) = (AtomicU32::new(0), AtomicU64::new(0));
        OwnedWaker { inner, word, thread, owner, woken_by, woken_at }
    }

    #[inline(always)]
    fn wake(&self) {
        let OwnedWaker { word, thread, owner, .. } = *self;
        if (WakeMark { word, thread, owner }).set() && ring::is_on() {
            self.note();
        }
        self.inner.wake_by_ref();
    }

    /// Notes a wake-up for the trace. That a task wakes itself is no news, and neither is that the
    /// worker does which polled it last and is in no task now: of one that yields, which may be
    /// every poll. What was noted before is of an earlier mark, and taken back.
    #[cold]
    #[inline(never)]
    fn note(&self) {
        let (own, thread) = (this_thread::tid(), self.thread.load(Ordering::Relaxed));
        if thread != own && (thread != own | POLLED || task::is_polling()) {
            self.woken_by.store(own, Ordering::Relaxed);
            self.woken_at.store(clock::precise(), Ordering::Release);
        } else {
            self.woken_at.store(0, Ordering::Relaxed);
        }
    }

    /// Takes the wake-up that was noted for a poll that began then. One noted since is the next
    /// poll's.
    #[inline]
    fn take_wake_up(&self, began: u64) -> Option<WakeUp> {
        let at = self.woken_at.load(Ordering::Acquire);
        if at == 0 || at > began {
            return None;
        }
        self.woken_at.store(0, Ordering::Relaxed);
        Some(WakeUp { at, by: self.woken_by.load(Ordering::Relaxed) })
    }
}

/// The state that a lent waker points at, for the time of one poll.
struct LentWaker<'a> {
    inner: &'a Waker,
    mark: WakeMark,
    kept: &'a FutureWakers,
}

/// Addresses that are no `OwnedWaker`'s.
const UNUSED: *mut OwnedWaker = ptr::without_provenance_mut(1);
/// The largest of them.
const IGNORED: *mut OwnedWaker = ptr::without_provenance_mut(2);

/// Returns the shared part, if there is one: from an `Arc` that is given up by nobody who has only
/// a reference to what is kept.
#[inline]
fn owned(kept: *mut OwnedWaker) -> Option<*const OwnedWaker> {
    (kept.addr() > IGNORED.addr()).then_some(kept.cast_const())
}

impl FutureWakers {
    /// Makes the state of a future that was not polled yet.
    pub(crate) fn new() -> FutureWakers {
        FutureWakers { owned: AtomicPtr::new(UNUSED) }
    }

    /// Makes the state of a future that is polled with the wakers that come.
    pub(crate) fn ignored() -> FutureWakers {
        FutureWakers { owned: AtomicPtr::new(IGNORED) }
    }

    /// Returns the shared part of a future that is polled by somebody else than before, or for a
    /// second time.
    #[cold]
    fn make_anew(&mut self, inner: &Waker, mark: WakeMark) -> *const OwnedWaker {
        *self = FutureWakers::new();
        self.get_or_make(inner, mark)
    }

    /// Returns the shared part, made where there is none.
    fn get_or_make(&self, inner: &Waker, mark: WakeMark) -> *const OwnedWaker {
        let known = self.owned.load(Ordering::Acquire);
        if let Some(owned) = owned(known) {
            return owned;
        }
        let made = Arc::into_raw(Arc::new(OwnedWaker::new(inner.clone(), mark))).cast_mut();
        match self.owned.compare_exchange(known, made, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => made,
            Err(other) => {
                // SAFETY: made just now, and nobody else has it.
                drop(unsafe { Arc::from_raw(made) });
                other
            }
        }
    }
}

impl Drop for FutureWakers {
    fn drop(&mut self) {
        if let Some(owned) = owned(*self.owned.get_mut()) {
            // SAFETY: `get_or_make` took it out of an `Arc`, once.
            drop(unsafe { Arc::from_raw(owned) });
        }
    }
}

/// A wake-up while a trace was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WakeUp {
    /// Time of the wake-up, by the precise clock.
    pub(crate) at: u64,
    /// The thread.
    pub(crate) by: u32,
}

/// Polls with a waker that leaves a mark when it is used, and then uses that of `cx`; where wakers
/// are ignored, with `cx` itself. A future's mark is the same each time. Tells `woken` of the
/// wake-up that a poll is due to which began at `due`, where a trace is taken.
#[inline]
pub(crate) fn poll<R>(
    kept: &mut FutureWakers,
    cx: &mut Context<'_>,
    mark: impl FnOnce() -> WakeMark,
    due: Option<u64>,
    woken: impl FnOnce(WakeUp),
    poll: impl FnOnce(&mut Context<'_>) -> R,
) -> R {
    let known = *kept.owned.get_mut();
    let inner = cx.waker();
    let lent;
    let raw = if let Some(owned) = owned(known)
        // SAFETY: `kept` has a count of it.
        && unsafe { &(*owned).inner }.will_wake(inner)
    {
        if let Some(began) = due
            // SAFETY: as above.
            && let Some(due_to) = unsafe { &*owned }.take_wake_up(began)
        {
            woken(due_to);
        }
        RawWaker::new(owned.cast(), &OWNED)
    } else if known == IGNORED {
        return poll(cx);
    } else if known == UNUSED {
        *kept.owned.get_mut() = ptr::null_mut();
        lent = LentWaker { inner, mark: mark(), kept };
        RawWaker::new(ptr::from_ref(&lent).cast(), &LENT)
    } else {
        RawWaker::new(kept.make_anew(inner, mark()).cast(), &OWNED)
    };
    // SAFETY: the tables keep to the contract of `RawWakerVTable`, on any thread: what they use is `Sync`.
    // The waker stands for no count of an `Arc` and is dropped by nobody; `kept` has a count, and `lent`
    // lives, for as long as it is borrowed.
    let waker = ManuallyDrop::new(unsafe { Waker::from_raw(raw) });
    poll(&mut Context::from_waker(&waker))
}

/// Functions of wakers that nobody owns, so that the second and the last are never called.
static LENT: RawWakerVTable = RawWakerVTable::new(keep, wake_lent, wake_lent, |_| {});
static OWNED: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, drop_owned);

/// # Safety
///
/// `data` is that of a lent waker whose poll is under way.
unsafe fn keep(data: *const ()) -> RawWaker {
    // SAFETY: `poll` made it of a reference to this type, which outlives the poll.
    let lent = unsafe { &*data.cast::<LentWaker<'_>>() };
    let owned = lent.kept.get_or_make(lent.inner, lent.mark);
    // SAFETY: `kept` has a count of it.
    unsafe { clone(owned.cast()) }
}

/// # Safety
///
/// As that of [`keep`].
unsafe fn wake_lent(data: *const ()) {
    // SAFETY: as in `keep`.
    let lent = unsafe { &*data.cast::<LentWaker<'_>>() };
    lent.mark.set();
    lent.inner.wake_by_ref();
}

/// # Safety
///
/// `data` is of an `Arc<OwnedWaker>` of which somebody has a count.
unsafe fn clone(data: *const ()) -> RawWaker {
    // SAFETY: the caller's promise.
    unsafe { Arc::increment_strong_count(data.cast::<OwnedWaker>()) };
    RawWaker::new(data, &OWNED)
}

/// # Safety
///
/// As that of [`clone`].
unsafe fn wake_by_ref(data: *const ()) {
    // SAFETY: the caller's promise.
    let owned = unsafe { &*data.cast::<OwnedWaker>() };
    owned.wake();
}

/// # Safety
///
/// `data` is a count of an `Arc<OwnedWaker>`, which is the caller's and is given up.
unsafe fn wake(data: *const ()) {
    // SAFETY: the caller's promise.
    unsafe {
        wake_by_ref(data);
        drop_owned(data);
    }
}

/// # Safety
///
/// As that of [`wake`].
unsafe fn drop_owned(data: *const ()) {
    // SAFETY: the caller's promise.
    drop(unsafe { Arc::from_raw(data.cast::<OwnedWaker>()) });
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;
    use std::thread;

    use super::*;

    fn poll<R>(
        kept: &mut FutureWakers,
        inner: &Waker,
        mark: impl FnOnce() -> WakeMark,
        polled: impl FnOnce(&mut Context<'_>) -> R,
    ) -> R {
        crate::task::raw::poll(kept, &mut Context::from_waker(inner), mark, None, |_| (), polled)
    }

    struct CountingWaker(AtomicUsize);

    impl Wake for CountingWaker {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn mark() -> WakeMark {
        let word = Box::leak(Box::new(AtomicU32::new(7 << BELOW)));
        WakeMark { word, thread: Box::leak(Box::default()), owner: 7 }
    }

    /// Returns the number of uses of the inner waker since the last look, and whether the mark is
    /// there, which is taken away.
    fn seen(inner: &CountingWaker, mark: WakeMark) -> (usize, bool) {
        let word = mark.word.swap(7 << BELOW, Ordering::Relaxed);
        (inner.0.swap(0, Ordering::Relaxed), word == 7 << BELOW | WOKEN)
    }

    #[test]
    fn every_way_to_wake_leaves_a_mark_and_is_handed_on() {
        let (counts, mark) = (Arc::new(CountingWaker(AtomicUsize::new(0))), mark());
        let inner = Waker::from(Arc::clone(&counts));
        let mut kept = FutureWakers::new();
        poll(&mut kept, &inner, || mark, |cx| cx.waker().wake_by_ref());
        assert_eq!(seen(&counts, mark), (1, true));
        assert_eq!(Arc::strong_count(&counts), 2, "nobody kept it");
        let wakers: Vec<Waker> =
            (0..3).map(|_| poll(&mut kept, &inner, || mark, |cx| cx.waker().clone())).collect();
        assert_eq!(Arc::strong_count(&counts), 3, "all of them are one");
        let [first, second, third] = wakers.try_into().unwrap();
        first.wake_by_ref();
        assert_eq!(seen(&counts, mark), (1, true));
        first.wake();
        assert_eq!(seen(&counts, mark), (1, true));
        drop(second);
        drop(kept);
        // It goes on without the future.
        thread::spawn(|| third.wake()).join().unwrap();
        assert_eq!(seen(&counts, mark), (1, true));
        drop(inner);
        assert_eq!(Arc::strong_count(&counts), 1, "nothing keeps it");
    }

    #[test]
    fn a_mark_that_is_no_news_takes_back_what_was_noted() {
        let mark = mark();
        let owned = OwnedWaker::new(Waker::noop().clone(), mark);
        owned.note();
        assert_eq!(owned.take_wake_up(u64::MAX).map(|woken| woken.by), Some(this_thread::tid()));
        owned.note();
        mark.thread.store(this_thread::tid(), Ordering::Relaxed);
        owned.note();
        assert_eq!(owned.take_wake_up(u64::MAX), None);
    }

    #[test]
    fn a_word_of_another_owner_is_left_alone() {
        let (counts, mark) = (Arc::new(CountingWaker(AtomicUsize::new(0))), mark());
        let inner = Waker::from(Arc::clone(&counts));
        let waker = poll(&mut FutureWakers::new(), &inner, || mark, |cx| cx.waker().clone());
        mark.word.store(8 << BELOW, Ordering::Relaxed);
        waker.wake();
        assert_eq!(mark.word.load(Ordering::Relaxed), 8 << BELOW);
        assert_eq!(counts.0.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_future_finds_the_waker_that_it_kept() {
        let (counts, mark) = (Arc::new(CountingWaker(AtomicUsize::new(0))), mark());
        let inner = Waker::from(Arc::clone(&counts));
        let mut kept = FutureWakers::new();
        let mine = poll(&mut kept, &inner, || mark, |cx| cx.waker().clone());
        assert!(poll(&mut kept, &inner, || mark, |cx| cx.waker().will_wake(&mine)));
        // Elsewhere it is another one.
        let others = Arc::new(CountingWaker(AtomicUsize::new(0)));
        let other = Waker::from(Arc::clone(&others));
        let elsewhere = poll(&mut kept, &other, || mark, |cx| cx.waker().clone());
        assert!(!elsewhere.will_wake(&mine));
        elsewhere.wake();
        assert_eq!((seen(&counts, mark).0, seen(&others, mark).0), (0, 1));
        mine.wake();
        assert_eq!((seen(&counts, mark).0, seen(&others, mark).0), (1, 0));
    }

    #[test]
    fn threads_may_keep_it_during_a_poll() {
        let (counts, mark) = (Arc::new(CountingWaker(AtomicUsize::new(0))), mark());
        let inner = Waker::from(Arc::clone(&counts));
        let mut kept = FutureWakers::new();
        poll(
            &mut kept,
            &inner,
            || mark,
            |cx| {
                let waker = cx.waker();
                thread::scope(|scope| {
                    for _ in 0..4 {
                        scope.spawn(|| {
                            waker.wake_by_ref();
                            let clone = waker.clone();
                            clone.wake();
                        });
                    }
                });
            },
        );
        assert_eq!(seen(&counts, mark), (8, true));
        drop((inner, kept));
        assert_eq!(Arc::strong_count(&counts), 1, "nothing keeps it");
    }
}
