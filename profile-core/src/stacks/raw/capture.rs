//! The calling thread's own stack, for code inside allocators and interposed functions of libc.
//!
//! [`capture`] does not allocate, lock, wait, panic on purpose, call into libc, set `errno` or touch
//! a thread-local that is initialised lazily. It takes some two hundred bytes of the stack it is called
//! on: the rest happens on one of our own. [`refresh`], which does some of that, is for everywhere
//! else: it tells `capture` what is loaded.

use std::cell::Cell;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use crate::stacks::raw::retired::RetiredUnwinder;
use crate::stacks::raw::scratch::{self, AtWork, OwnStack, ScratchRoom};
use crate::stacks::raw::window::MappedStack;
use crate::stacks::raw::{arch, mapping};
use crate::stacks::unwind::{self, StackUnwinder, TableGeneration, UnwindRegisters, WalkEnd};
use crate::sys::own_work::OwnWork;

/// The unwinder of `capture`; null until the first `refresh`.
static CURRENT: AtomicPtr<StackUnwinder> = AtomicPtr::new(std::ptr::null_mut());
/// The tables that `CURRENT` was made from, and the unwinders before it that a capture may still be
/// using.
static LOADED: Mutex<LoadedTables> =
    Mutex::new(LoadedTables { generation: None, retired: Vec::new() });

/// The generation of the tables in use, and the unwinders that were replaced.
struct LoadedTables {
    generation: Option<TableGeneration>,
    retired: Vec<RetiredUnwinder>,
}

thread_local! {
    /// The range in which this thread's stack is mapped; zeros where nobody has looked yet.
    static STACK: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
}

/// A stack of return addresses, the leaf first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CapturedStack<'a> {
    /// A place in the caller of [`capture`], then of each caller an address inside its call.
    pub(crate) addresses: &'a [u64],
    /// True where the stack goes on beyond its last address.
    pub(crate) truncated: bool,
}

impl<'a> CapturedStack<'a> {
    /// Returns the stack without so many frames of ours at its leaf.
    pub(crate) fn without(self, ours: usize) -> CapturedStack<'a> {
        CapturedStack { addresses: self.addresses.get(ours..).unwrap_or_default(), ..self }
    }
}

/// Addresses that a capture may ask for.
pub(crate) const MOST: usize = 192;

/// Reads the unwind tables of what was loaded since the last call, if anything was. To be called
/// before the first [`capture`] and now and then afterwards: a stack through a library that was
/// loaded since ends there. Not from inside an allocator or an interposed function.
pub(crate) fn refresh() {
    let _own = OwnWork::begin();
    read_tables(LOADED.lock().unwrap_or_else(PoisonError::into_inner));
}

/// Does the same as [`refresh`] from inside an allocator, on a stack of our own: nothing where
/// somebody else is at it, who may be waiting for a lock that this thread holds.
pub(crate) fn refresh_in_allocator() {
    let _own = OwnWork::begin();
    scratch::prepare();
    scratch::run(|_| match LOADED.try_lock() {
        Ok(loaded) => read_tables(loaded),
        Err(TryLockError::Poisoned(poisoned)) => read_tables(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => {}
    });
}

fn read_tables(mut loaded: MutexGuard<'_, LoadedTables>) {
    scratch::prepare();
    let generation = unwind::generation();
    if loaded.generation != Some(generation) {
        let new = Box::new(StackUnwinder::load());
        loaded.retired.extend(RetiredUnwinder::replace(&CURRENT, new, AtWork::now));
        loaded.generation = Some(generation);
    }
    RetiredUnwinder::free_unused(&mut loaded.retired);
}

/// Returns whether [`refresh`] was ever called.
pub(crate) fn is_ready() -> bool {
    !CURRENT.load(Ordering::Relaxed).is_null()
}

/// Hands the calling thread's stack to `work`, at most so many addresses of it and [`MOST`]. `work`
/// runs on a stack of our own with every signal blocked. `None`, and nothing done, before the first
/// [`refresh`] and where there is no stack of ours to be had.
#[inline(never)]
pub(crate) fn capture<R>(most: usize, work: impl FnOnce(CapturedStack<'_>) -> R) -> Option<R> {
    with_signals_blocked(arch::here(), most, work)
}

/// Does the same as [`capture`] with signals as they are where that is as safe, which saves two
/// system calls. `work` may be left in the midst of it, for ever: it holds nothing then.
#[inline(never)]
pub(crate) fn capture_interruptible<R>(
    most: usize,
    work: impl FnOnce(CapturedStack<'_>) -> R,
) -> Option<R> {
    let registers = arch::here();
    let (sp, mapped) = (registers.sp, STACK.get());
    if mapped.0 <= sp && sp < mapped.1 {
        on_own_stack(registers, mapped, most, work)
    } else {
        with_signals_blocked(registers, most, work)
    }
}

// Functions of their own, so that one alone takes room on the stack.

#[inline(never)]
fn with_signals_blocked<R>(
    registers: UnwindRegisters,
    most: usize,
    work: impl FnOnce(CapturedStack<'_>) -> R,
) -> Option<R> {
    scratch::run(|room| capture_in(room, registers, stack_around(registers.sp), most, work))?
}

#[inline(never)]
fn on_own_stack<R>(
    registers: UnwindRegisters,
    mapped: (u64, u64),
    most: usize,
    work: impl FnOnce(CapturedStack<'_>) -> R,
) -> Option<R> {
    let own = OwnStack { sp: registers.sp, mapped };
    scratch::run_on_own_stack(own, |room| capture_in(room, registers, mapped, most, work))?
}

fn capture_in<R>(
    room: &mut ScratchRoom,
    registers: UnwindRegisters,
    mapped: (u64, u64),
    most: usize,
    work: impl FnOnce(CapturedStack<'_>) -> R,
) -> Option<R> {
    let unwinder = CURRENT.load(Ordering::SeqCst);
    if unwinder.is_null() {
        return None;
    }
    let mut out = [0; MOST];
    // SAFETY: freed only when nobody is left who was at work when it was replaced.
    let captured = walk(unsafe { &*unwinder }, registers, mapped, room, &mut out[..most.min(MOST)]);
    Some(work(captured))
}

fn walk<'a>(
    unwinder: &StackUnwinder,
    registers: UnwindRegisters,
    (low, high): (u64, u64),
    room: &mut ScratchRoom,
    out: &'a mut [u64],
) -> CapturedStack<'a> {
    room.window.forget();
    let mut stack = MappedStack { low: low.max(registers.sp), high, window: &mut room.window };
    let (len, end) =
        unwinder.unwind_callers(&mut room.scratch, registers, &mut stack, atomics(out));
    CapturedStack { addresses: &out[..len], truncated: end != WalkEnd::Root }
}

/// Casts words to the atomics that the unwinder writes.
fn atomics(words: &mut [u64]) -> &[AtomicU64] {
    // SAFETY: `AtomicU64` has the size and alignment of `u64` on the processors that this is for,
    // and the borrow is exclusive for as long as the result lives.
    unsafe { std::slice::from_raw_parts(words.as_mut_ptr().cast::<AtomicU64>(), words.len()) }
}

/// Returns the range in which the calling thread's stack is mapped, if its stack pointer is in
/// there. It isn't while a coroutine runs, or a handler on an alternate stack.
fn stack_around(sp: u64) -> (u64, u64) {
    let mut known = STACK.get();
    // The first thread's grows, and is looked for again then; another's has a fixed size.
    let grown = known.0.wrapping_sub(sp) < mapping::GROWTH && mapping::is_first_thread();
    if known == (0, 0) || grown {
        // An empty range is remembered too.
        known = mapping::own_stack().unwrap_or((1, 1));
        STACK.set(known);
    }
    if (known.0..known.1).contains(&sp) { known } else { (0, 0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stacks::gap;
    use crate::stacks::objects;

    #[inline(never)]
    fn captures(depth: usize, most: usize) -> (Vec<u64>, bool) {
        if depth > 0 {
            let captured = captures(depth - 1, most);
            return std::hint::black_box(captured);
        }
        let captured = capture(most, |captured| {
            let mut copy = [0; MOST];
            copy[..captured.addresses.len()].copy_from_slice(captured.addresses);
            (copy, captured.addresses.len(), captured.truncated)
        });
        let (copy, len, truncated) = captured.unwrap();
        std::hint::black_box((copy[..len].to_vec(), truncated))
    }

    #[test]
    fn the_callers_come_first_up_to_the_threads_root() {
        refresh();
        let on_a_thread = || captures(20, 128);
        let (stack, truncated) = std::thread::spawn(on_a_thread).join().unwrap();
        assert!(!truncated, "{stack:x?}");
        assert!(stack.len() > 22, "{stack:x?}");
        let code = objects::loaded();
        for address in &stack {
            let known = code
                .iter()
                .flat_map(|object| &object.segments)
                .any(|segment| (segment.start..segment.limit).contains(address));
            assert!(known, "{address:x} is no code");
        }
        // The recursion is one place, over and over, right from the second on.
        assert!(stack[2..20].iter().all(|address| *address == stack[1]), "{stack:x?}");
        assert_ne!(stack[0], stack[1]);
    }

    #[test]
    fn a_short_buffer_holds_the_leafs_side() {
        refresh();
        let (stack, truncated) = captures(20, 5);
        assert_eq!((stack.len(), truncated), (5, true));
    }

    #[test]
    fn a_deep_stack_has_both_its_ends() {
        refresh();
        let on_a_thread = |depth: usize| move || captures(depth, 128);
        let run = |depth| std::thread::spawn(on_a_thread(depth)).join().unwrap();
        let (shallow, deep) = (run(60), run(300));
        assert!(!shallow.1 && !deep.1, "both come to their roots");
        let gaps: Vec<usize> = (0..128).filter(|&at| gap::is_mark(deep.0[at])).collect();
        assert_eq!((deep.0.len(), gaps.as_slice()), (128, &[128 - gap::ROOTS - 1][..]));
        assert_eq!(deep.0[gaps[0]], gap::mark(shallow.0.len() + 240 - 127));
        // The same frames are at the root.
        let roots = |stack: &[u64]| stack[stack.len() - 8..].to_vec();
        assert_eq!(roots(&deep.0), roots(&shallow.0));
    }

    #[test]
    fn captures_go_on_while_tables_are_renewed() {
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..20_000 {
                        capture(64, |_| ());
                    }
                });
            }
            for _ in 0..20 {
                LOADED.lock().unwrap_or_else(PoisonError::into_inner).generation = None;
                refresh();
            }
        });
    }
}
