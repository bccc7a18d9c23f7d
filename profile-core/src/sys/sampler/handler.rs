//! The signal handler that takes a sample, and what it works on.
//!
//! What runs here may interrupt anything, the allocator and the dynamic linker included. It may not
//! allocate, lock, wait, panic, format, call into libc, touch a thread-local that is initialised
//! lazily, or lose `errno`. The clock is read without libc, and was read before the first signal, so
//! that the way to it is known. It reads the stack only where it is known to be mapped, and asks the
//! kernel to read it elsewhere.

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use super::ring::{Head, Ring};
use super::strata::SampleClock;
use super::threads::{PROCESS, arming_and_place};
use super::timer::Clock;
use crate::sys::arch;
use crate::sys::clock::precise;
use crate::sys::unwind::{End, Memo, Registers, Scratch, Unwinder};
use crate::sys::window::{Mapped, Window};

/// What handlers see of a running engine and of a dump that is being taken. Null while there is none.
static SHARED: [AtomicPtr<Shared>; 2] = [const { AtomicPtr::new(std::ptr::null_mut()) }; 2];
/// Handlers that may be looking at them.
static IN_FLIGHT: AtomicUsize = AtomicUsize::new(0);

/// What handlers work for.
#[derive(Clone, Copy, Debug)]
pub(in crate::sys) enum Purpose {
    /// CPU samples.
    Sample,
    /// The stacks of threads that are running while a dump is taken.
    Dump,
}

/// What handlers work on.
pub(in crate::sys) struct Shared {
    /// Tells this engine's timers from those of one before it.
    pub(super) epoch: u32,
    pub(in crate::sys) ring: Ring,
    pub(super) threads: Box<[Thread]>,
    pub(super) unwinder: AtomicPtr<Unwinder>,
    shards: Box<[Shard]>,
    /// CPU time of samples that found no room, in nanoseconds.
    pub(super) dropped: AtomicU64,
}

/// What handlers know of a thread, and tell of it.
#[derive(Default)]
pub(super) struct Thread {
    pub(super) tid: AtomicU32,
    /// When it is sampled.
    pub(super) clock: SampleClock,
    /// Where its stack is known to be mapped as long as it lives; 0 where not yet.
    pub(super) stack_low: AtomicU64,
    pub(super) stack_high: AtomicU64,
    /// The thread's own block, from which the controller finds the stack.
    pub(super) thread_pointer: AtomicU64,
}

impl Thread {
    /// Where its stack is known to be mapped. Where it isn't yet, tells the controller how to find it; to
    /// be called by the thread itself.
    fn stack_range(&self) -> StackRange {
        let range = StackRange {
            low: self.stack_low.load(Ordering::Relaxed),
            high: self.stack_high.load(Ordering::Acquire),
        };
        if range.high == 0 {
            self.thread_pointer.store(arch::thread_pointer(), Ordering::Relaxed);
        }
        range
    }
}

/// Working memory for one handler at a time.
struct Shard {
    busy: AtomicBool,
    room: UnsafeCell<Room>,
}

#[derive(Default)]
struct Room {
    scratch: Scratch,
    /// Of the last stack that was sampled here: most often the same thread's.
    memo: Memo,
    window: Window,
}

// SAFETY: `room` is used only by who has set `busy`.
unsafe impl Sync for Shard {}

/// More handlers than this at once are hardly ever running; a further one drops its sample.
const SHARDS: usize = 16;

impl Shared {
    pub(in crate::sys) fn new(
        epoch: u32,
        ring: Ring,
        threads: usize,
        unwinder: Box<Unwinder>,
    ) -> Shared {
        let shard =
            || Shard { busy: AtomicBool::new(false), room: UnsafeCell::new(Room::default()) };
        Shared {
            epoch,
            ring,
            threads: (0..threads).map(|_| Thread::default()).collect(),
            unwinder: AtomicPtr::new(Box::into_raw(unwinder)),
            shards: (0..SHARDS).map(|_| shard()).collect(),
            dropped: AtomicU64::new(0),
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: it came from a box in `new` or in the engine, and no handler sees `self` any more.
        drop(unsafe { Box::from_raw(*self.unwinder.get_mut()) });
    }
}

/// Shows handlers what to work on. There must be nothing for that purpose before.
pub(in crate::sys) fn publish(purpose: Purpose, shared: Box<Shared>) -> &'static Shared {
    let shared = Box::into_raw(shared);
    SHARED[purpose as usize].store(shared, Ordering::SeqCst);
    // SAFETY: it lives until `retract`, which takes the only way to it back.
    unsafe { &*shared }
}

/// Hides from handlers what they worked on, and waits until none can still see it.
///
/// # Safety
///
/// The reference that `publish` gave is not used any more.
pub(in crate::sys) unsafe fn retract(purpose: Purpose) {
    let shared = SHARED[purpose as usize].swap(std::ptr::null_mut(), Ordering::SeqCst);
    wait_for_handlers();
    if !shared.is_null() {
        // SAFETY: `publish` made it from a box; handlers that start now find null, and those that
        // found it are done.
        drop(unsafe { Box::from_raw(shared) });
    }
}

/// Forgets the engine and the handlers of a forked process's parent.
pub(super) fn forget_after_fork() {
    // What it points at is leaked: other threads of the parent may have been at work on it.
    for shared in &SHARED {
        shared.store(std::ptr::null_mut(), Ordering::SeqCst);
    }
    IN_FLIGHT.store(0, Ordering::SeqCst);
}

/// Waits until every handler that is running now has ended. Each takes microseconds.
pub(super) fn wait_for_handlers() {
    while IN_FLIGHT.load(Ordering::SeqCst) != 0 {
        std::thread::yield_now();
    }
}

/// Whether no handler is running, so that nothing retired before can still be in use.
pub(super) fn none_in_flight() -> bool {
    IN_FLIGHT.load(Ordering::SeqCst) == 0
}

/// The handler of `SIGPROF`, installed with `SA_SIGINFO`.
pub(super) extern "C" fn on_sigprof(
    _signal: libc::c_int,
    info: *const libc::siginfo_t,
    context: *const libc::c_void,
) {
    // SAFETY: the kernel passes valid pointers to a handler installed with SA_SIGINFO.
    handle(Purpose::Sample, |shared| unsafe { sample(shared, info, context) });
}

/// The handler of the signal that asks a running thread for its stack.
pub(in crate::sys) extern "C" fn on_dump(
    _signal: libc::c_int,
    _info: *const libc::siginfo_t,
    context: *const libc::c_void,
) {
    handle(Purpose::Dump, |shared| {
        // SAFETY: the kernel passes a valid pointer to a handler installed with SA_SIGINFO.
        let registers = unsafe { arch::interrupted(context) };
        let head = Head { tid: own_tid(), at: 0, weight: 0, truncated: false, by_process: false };
        take(shared, registers, StackRange::default(), head);
    });
}

/// Runs a handler's work, where there is any, and leaves `errno` as it was.
fn handle(purpose: Purpose, work: impl FnOnce(&Shared)) {
    // SAFETY: the address of this thread's `errno`, which always exists.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    let saved = unsafe { *errno };
    IN_FLIGHT.fetch_add(1, Ordering::SeqCst);
    let shared = SHARED[purpose as usize].load(Ordering::SeqCst);
    if !shared.is_null() {
        // SAFETY: not freed while IN_FLIGHT counts us.
        work(unsafe { &*shared });
    }
    IN_FLIGHT.fetch_sub(1, Ordering::SeqCst);
    // SAFETY: as above.
    unsafe { *errno = saved };
}

/// The calling thread's id.
pub(in crate::sys) fn own_tid() -> u32 {
    // SAFETY: gettid(2) has no arguments and no effect.
    (unsafe { arch::syscall(libc::SYS_gettid, [0; 6]) }) as u32
}

/// What a timer's signal says (`siginfo_t` of `SI_TIMER`; Linux, include/uapi/asm-generic/siginfo.h).
#[repr(C)]
struct TimerInfo {
    signal: i32,
    errno: i32,
    code: i32,
    _pad: i32,
    timer: i32,
    overrun: i32,
    value: u64,
}

/// # Safety
///
/// `info` and `context` are those of a signal handler installed with `SA_SIGINFO`.
unsafe fn sample(shared: &Shared, info: *const libc::siginfo_t, context: *const libc::c_void) {
    const SI_TIMER: i32 = -2;
    // SAFETY: the kernel's structure is at least this long, and aligned.
    let info = unsafe { &*info.cast::<TimerInfo>() };
    if info.code != SI_TIMER || (info.value >> 32) as u32 != shared.epoch {
        return;
    }
    let (arming, place) = arming_and_place(info.value as u32);
    let by_process = place == PROCESS;
    let Some(thread) = shared.threads.get(place as usize) else { return };
    let at = precise();
    let weight = if by_process {
        // Threads that run beside each other make it faster than the wall's.
        thread.clock.take_sample(arming, None, || Clock::Process.now())
    } else {
        thread.clock.take_sample(arming, Some(at), || Clock::OwnThread.now())
    };
    let Some(weight) = weight else { return };
    // SAFETY: the caller's promise.
    let registers = unsafe { arch::interrupted(context) };
    let (tid, range) = if by_process {
        (own_tid(), StackRange::default())
    } else {
        (thread.tid.load(Ordering::Relaxed), thread.stack_range())
    };
    let head = Head { tid, at, weight, truncated: false, by_process };
    take(shared, registers, range, head);
}

fn take(shared: &Shared, registers: Registers, range: StackRange, head: Head) {
    let first = head.tid as usize;
    let free = (0..SHARDS).map(|n| &shared.shards[(first + n) % SHARDS]).find(|shard| {
        shard.busy.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_ok()
    });
    let Some(shard) = free else {
        shared.dropped.fetch_add(head.weight, Ordering::Relaxed);
        return;
    };
    // SAFETY: `busy` was not set and is now ours.
    let room = unsafe { &mut *shard.room.get() };
    room.window.forget();
    // SAFETY: replaced only with one that works, and freed only while no handler is in flight.
    let unwinder = unsafe { &*shared.unwinder.load(Ordering::SeqCst) };
    let mut stack = Mapped {
        // Nothing below the stack pointer is the interrupted program's.
        low: range.low.max(registers.sp),
        high: if registers.sp >= range.low { range.high } else { 0 },
        window: &mut room.window,
    };
    let (scratch, memo) = (&mut room.scratch, &mut room.memo);
    let pushed = shared.ring.push(|slot| {
        let (len, end) = unwinder.unwind(scratch, memo, registers, &mut stack, slot);
        (len, Head { truncated: end != End::Root, ..head })
    });
    shard.busy.store(false, Ordering::Release);
    if !pushed {
        shared.dropped.fetch_add(head.weight, Ordering::Relaxed);
    }
}

#[derive(Clone, Copy, Default)]
struct StackRange {
    low: u64,
    high: u64,
}
