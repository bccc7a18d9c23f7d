//! The calling thread's own stack, for code inside allocators and interposed functions of libc.
//!
//! [`capture`] does not allocate, lock, wait, panic on purpose, call into libc, set `errno` or touch
//! a thread-local that is initialised lazily. It needs about eight kilobytes of stack. [`refresh`],
//! which does some of that, is for everywhere else: it tells `capture` what is loaded.

use std::cell::Cell;
use std::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::arch;
use super::mapping;
use super::own_work::OwnWork;
use super::unwind::{self, End, Generation, Scratch, Unwinder};
use super::window::{Mapped, Window};

/// What `capture` unwinds with; null until the first `refresh`.
static CURRENT: AtomicPtr<Unwinder> = AtomicPtr::new(std::ptr::null_mut());
/// Captures that may be looking at it, or at one before it.
static READERS: AtomicUsize = AtomicUsize::new(0);
/// What `CURRENT` was made from, and those before it that a capture may still be looking at.
static LOADED: Mutex<Loaded> = Mutex::new(Loaded { generation: None, retired: Vec::new() });

struct Loaded {
    generation: Option<Generation>,
    /// Addresses of boxes.
    retired: Vec<usize>,
}

thread_local! {
    /// Where this thread's stack is mapped; zeros where nobody has looked yet.
    static STACK: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
}

/// A stack of return addresses, the leaf first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Captured {
    /// How many addresses were written.
    pub(crate) len: usize,
    /// Whether the stack goes on beyond its last address.
    pub(crate) truncated: bool,
}

/// Reads the unwind tables of what was loaded since the last call, if anything was. To be called
/// before the first [`capture`] and now and then afterwards: a stack through a library that was
/// loaded since ends there. Not from inside an allocator or an interposed function.
pub(crate) fn refresh() {
    let _own = OwnWork::begin();
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    let generation = unwind::generation();
    if loaded.generation != Some(generation) {
        let new = Box::into_raw(Box::new(Unwinder::load()));
        let old = CURRENT.swap(new, Ordering::SeqCst);
        loaded.generation = Some(generation);
        if !old.is_null() {
            loaded.retired.push(old as usize);
        }
    }
    if READERS.load(Ordering::SeqCst) == 0 {
        for old in loaded.retired.drain(..) {
            // SAFETY: it came from a box. Captures that begin now find its successor, and there was
            // a moment since with none under way.
            drop(unsafe { Box::from_raw(old as *mut Unwinder) });
        }
    }
}

/// Whether [`refresh`] was ever called.
pub(crate) fn is_ready() -> bool {
    !CURRENT.load(Ordering::Relaxed).is_null()
}

/// Writes the calling thread's stack to `out`: a place in the caller of this function, then of each
/// caller an address inside its call. Nothing before the first [`refresh`].
#[inline(never)]
pub(crate) fn capture(out: &mut [u64]) -> Captured {
    READERS.fetch_add(1, Ordering::SeqCst);
    let unwinder = CURRENT.load(Ordering::SeqCst);
    let captured = if unwinder.is_null() {
        Captured { len: 0, truncated: true }
    } else {
        // SAFETY: freed only when `READERS` was 0 after it had been replaced.
        walk(unsafe { &*unwinder }, out)
    };
    READERS.fetch_sub(1, Ordering::SeqCst);
    captured
}

#[inline(always)]
fn walk(unwinder: &Unwinder, out: &mut [u64]) -> Captured {
    let registers = arch::here();
    let (low, high) = stack_around(registers.sp);
    let mut scratch = Scratch::new();
    let mut window = Window::default();
    let mut stack = Mapped { low: low.max(registers.sp), high, window: &mut window };
    let (len, end) = unwinder.unwind_callers(&mut scratch, registers, &mut stack, atomics(out));
    Captured { len, truncated: end != End::Root }
}

/// The words as the unwinder writes them.
fn atomics(words: &mut [u64]) -> &[AtomicU64] {
    // SAFETY: `AtomicU64` has the size and alignment of `u64` on the processors that this is for,
    // and the borrow is exclusive for as long as the result lives.
    unsafe { std::slice::from_raw_parts(words.as_mut_ptr().cast::<AtomicU64>(), words.len()) }
}

/// Where the calling thread's stack is mapped, if that is where its stack pointer is. It isn't while
/// a coroutine runs, or a handler on an alternate stack.
fn stack_around(sp: u64) -> (u64, u64) {
    let known = STACK.get();
    let (low, high) = if known == (0, 0) {
        // An empty range is remembered too.
        let found = mapping::own_stack().unwrap_or((1, 1));
        STACK.set(found);
        found
    } else {
        known
    };
    if (low..high).contains(&sp) { (low, high) } else { (0, 0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::objects;

    #[inline(never)]
    fn captures(depth: usize, out: &mut [u64]) -> Captured {
        if depth > 0 {
            let captured = captures(depth - 1, out);
            return std::hint::black_box(captured);
        }
        std::hint::black_box(capture(out))
    }

    #[test]
    fn the_callers_come_first_up_to_the_threads_root() {
        refresh();
        let on_a_thread = || {
            let mut stack = [0; 128];
            let captured = captures(20, &mut stack);
            (captured, stack)
        };
        let (captured, stack) = std::thread::spawn(on_a_thread).join().unwrap();
        assert!(!captured.truncated, "{captured:?}");
        assert!(captured.len > 22, "{captured:?}");
        let code = objects::loaded();
        for address in &stack[..captured.len] {
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
        let mut stack = [0; 5];
        let captured = captures(20, &mut stack);
        assert_eq!(captured, Captured { len: 5, truncated: true });
    }

    #[test]
    fn captures_go_on_while_tables_are_renewed() {
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut stack = [0; 64];
                    for _ in 0..20_000 {
                        capture(&mut stack);
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
