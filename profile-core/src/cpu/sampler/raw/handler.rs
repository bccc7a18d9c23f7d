//! The signal handler that takes a sample, and what it works on.
//!
//! What runs here may interrupt anything, the allocator and the dynamic linker included. It may not
//! allocate, lock, wait, panic, format, call into libc, touch a thread-local that is initialised
//! lazily, or lose `errno`. It runs on a stack of our own ([`scratch`]), with every signal blocked. The
//! clock is read without libc, and was read before the first signal, so that the way to it is known. It
//! reads the stack only where it is known to be mapped, and asks the kernel to read it elsewhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use crate::cpu::sampler::places::{PROCESS, arming_and_place};
use crate::cpu::sampler::raw::signal_entry::signal_entry;
use crate::cpu::sampler::raw::timer::CpuClock;
use crate::cpu::sampler::ring::{SampleHead, SampleRing};
use crate::cpu::sampler::strata::SampleClock;
use crate::stacks::raw::arch;
use crate::stacks::raw::mapping::GROWTH;
use crate::stacks::raw::retired::RetiredUnwinder;
use crate::stacks::raw::scratch::{self, AtWork, ScratchRoom, ScratchSlot};
use crate::stacks::raw::window::MappedStack;
use crate::stacks::unwind::{StackUnwinder, UnwindRegisters, WalkEnd};
use crate::sys::clock::precise;

/// The state of a running engine, and of a dump that is being taken, as handlers see it. Null while
/// there is none.
static SHARED: [AtomicPtr<HandlerState>; 2] = [const { AtomicPtr::new(std::ptr::null_mut()) }; 2];
/// Signals that found no stack of ours free.
static MISSED: AtomicU64 = AtomicU64::new(0);
/// Time that handlers have to end. Each takes microseconds, unless a debugger stops its thread.
const MOST: Duration = Duration::from_secs(1);

/// The purpose that a handler works for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum HandlerPurpose {
    /// CPU samples.
    Sample,
    /// The stacks of threads that are running while a dump is taken.
    Dump,
}

/// The state that handlers work on.
pub(crate) struct HandlerState {
    /// Tells this engine's timers from those of one before it.
    pub(crate) epoch: u32,
    /// The thread whose stack grows.
    first_tid: u32,
    pub(crate) ring: SampleRing,
    pub(crate) threads: Box<[SampledThread]>,
    unwinder: AtomicPtr<StackUnwinder>,
    /// CPU time of samples that found no room, in nanoseconds.
    pub(crate) dropped: AtomicU64,
}

/// A thread as handlers know it, and what they tell the controller of it.
#[derive(Default)]
pub(crate) struct SampledThread {
    pub(crate) tid: AtomicU32,
    /// The clock that tells when it is sampled.
    pub(crate) clock: SampleClock,
    /// The range in which its stack is mapped as long as it lives; zeros where that isn't known
    /// yet.
    pub(crate) stack_low: AtomicU64,
    pub(crate) stack_high: AtomicU64,
    /// The thread's own block, from which the controller finds the stack.
    pub(crate) thread_pointer: AtomicU64,
}

impl SampledThread {
    /// Returns the range in which its stack is known to be mapped. Where it isn't known yet, tells
    /// the controller how to find it; to be called by the thread itself, with its stack pointer.
    fn stack_range(&self, sp: u64, is_first: bool) -> StackRange {
        let range = StackRange {
            low: self.stack_low.load(Ordering::Relaxed),
            high: self.stack_high.load(Ordering::Acquire),
        };
        if range.high == 0 {
            self.thread_pointer.store(arch::thread_pointer(), Ordering::Relaxed);
        } else if is_first && range.low.wrapping_sub(sp) < GROWTH {
            // The first thread's stack grows; what it has grown by is read through the kernel until the
            // controller has looked again.
            self.stack_high.store(0, Ordering::Relaxed);
        }
        range
    }
}

impl HandlerState {
    pub(crate) fn new(
        epoch: u32,
        ring: SampleRing,
        threads: usize,
        unwinder: Box<StackUnwinder>,
    ) -> HandlerState {
        scratch::prepare();
        HandlerState {
            epoch,
            first_tid: std::process::id(),
            ring,
            threads: (0..threads).map(|_| SampledThread::default()).collect(),
            unwinder: AtomicPtr::new(Box::into_raw(unwinder)),
            dropped: AtomicU64::new(0),
        }
    }
}

impl HandlerState {
    /// Lets handlers unwind with another unwinder from now on.
    pub(crate) fn replace_unwinder(&self, new: Box<StackUnwinder>) -> Option<RetiredUnwinder> {
        RetiredUnwinder::replace(&self.unwinder, new, AtWork::handlers)
    }
}

impl Drop for HandlerState {
    fn drop(&mut self) {
        // SAFETY: it came from a box in `new` or in the engine, and no handler sees `self` any more.
        drop(unsafe { Box::from_raw(*self.unwinder.get_mut()) });
    }
}

/// Shows handlers what to work on. There must be nothing for that purpose before.
pub(crate) fn publish(purpose: HandlerPurpose, shared: HandlerState) -> Arc<HandlerState> {
    let shared = Arc::new(shared);
    let shown = Arc::into_raw(Arc::clone(&shared)).cast_mut();
    SHARED[purpose as usize].store(shown, Ordering::SeqCst);
    shared
}

/// Hides from handlers what they worked on, and waits until none can still see it. Where one doesn't end
/// within [`MOST`] it is left to that one for good.
pub(crate) fn retract(purpose: HandlerPurpose) {
    let shared = SHARED[purpose as usize].swap(std::ptr::null_mut(), Ordering::SeqCst);
    if AtWork::handlers().wait(MOST) && !shared.is_null() {
        // SAFETY: `publish` made it of an `Arc`; handlers that start now find null, and those that found
        // it are done.
        drop(unsafe { Arc::from_raw(shared) });
    }
}

/// Forgets the engine and the handlers of a forked process's parent.
pub(crate) fn forget_after_fork() {
    // What it points at is leaked: other threads of the parent may have been at work on it.
    for shared in &SHARED {
        shared.store(std::ptr::null_mut(), Ordering::SeqCst);
    }
}

signal_entry! {
    /// The handler of `SIGPROF`.
    on_sigprof, sampled, MISSED
}

signal_entry! {
    /// The handler of the signal that asks a running thread for its stack.
    on_dump, dumped, MISSED
}

/// Takes a CPU sample. The handler's entry calls it on the slot's stack.
extern "C" fn sampled(
    info: *const libc::siginfo_t,
    context: *const libc::c_void,
    slot: *const ScratchSlot,
) {
    let shared = SHARED[HandlerPurpose::Sample as usize].load(Ordering::SeqCst);
    if !shared.is_null() {
        // SAFETY: `shared` is not freed while this slot is held, which is ours with its room; the
        // kernel passes valid pointers to a handler installed with SA_SIGINFO.
        unsafe { sample(&*shared, &mut *(*slot).room(), info, context) };
    }
}

/// Takes the thread's stack for a dump. The handler's entry calls it on the slot's stack.
extern "C" fn dumped(
    _info: *const libc::siginfo_t,
    context: *const libc::c_void,
    slot: *const ScratchSlot,
) {
    let shared = SHARED[HandlerPurpose::Dump as usize].load(Ordering::SeqCst);
    if shared.is_null() {
        return;
    }
    // SAFETY: as in `sampled`.
    let (shared, room, registers) =
        unsafe { (&*shared, &mut *(*slot).room(), arch::interrupted(context)) };
    let head = SampleHead { tid: own_tid(), at: 0, weight: 0, truncated: false, by_process: false };
    take(shared, room, registers, StackRange::default(), head);
}

/// Returns the calling thread's id.
pub(crate) fn own_tid() -> u32 {
    // SAFETY: gettid(2) has no arguments and no effect.
    (unsafe { arch::syscall(libc::SYS_gettid, [0; 6]) }) as u32
}

/// The information that comes with a timer's signal (`siginfo_t` of `SI_TIMER`; Linux,
/// include/uapi/asm-generic/siginfo.h).
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
unsafe fn sample(
    shared: &HandlerState,
    room: &mut ScratchRoom,
    info: *const libc::siginfo_t,
    context: *const libc::c_void,
) {
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
        thread.clock.take_sample(arming, None, || CpuClock::Process.now())
    } else {
        thread.clock.take_sample(arming, Some(at), || CpuClock::OwnThread.now())
    };
    let Some(weight) = weight else { return };
    // SAFETY: the caller's promise.
    let registers = unsafe { arch::interrupted(context) };
    let (tid, range) = if by_process {
        (own_tid(), StackRange::default())
    } else {
        let tid = thread.tid.load(Ordering::Relaxed);
        (tid, thread.stack_range(registers.sp, tid == shared.first_tid))
    };
    let head = SampleHead { tid, at, weight, truncated: false, by_process };
    take(shared, room, registers, range, head);
}

fn take(
    shared: &HandlerState,
    room: &mut ScratchRoom,
    registers: UnwindRegisters,
    range: StackRange,
    head: SampleHead,
) {
    room.window.forget();
    // SAFETY: replaced only with one that works, and freed only when nobody can be at work with it.
    let unwinder = unsafe { &*shared.unwinder.load(Ordering::SeqCst) };
    let mut stack = MappedStack {
        // Nothing below the stack pointer is the interrupted program's.
        low: range.low.max(registers.sp),
        high: if registers.sp >= range.low { range.high } else { 0 },
        window: &mut room.window,
    };
    let (scratch, memo) = (&mut room.scratch, &mut room.memo);
    let pushed = shared.ring.push(|slot| {
        let (len, end) = unwinder.unwind(scratch, memo, registers, &mut stack, slot);
        (len, SampleHead { truncated: end != WalkEnd::Root, ..head })
    });
    if !pushed {
        shared.dropped.fetch_add(head.weight, Ordering::Relaxed);
    }
}

/// The addresses between which a stack is mapped; zeros where they are not known.
#[derive(Clone, Copy, Default)]
struct StackRange {
    low: u64,
    high: u64,
}
