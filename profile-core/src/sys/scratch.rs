//! Stacks of our own, for what runs in the program's place: signal handlers, hooks of allocators and
//! interposed functions. A program's stack may have a few hundred bytes left, be a coroutine's of four
//! kilobytes, or an alternate one of the least size there is; unwinding takes seven and more.
//!
//! Claiming one does not allocate, lock, wait, panic, call into libc, set `errno` or touch a
//! thread-local. Whoever holds one has every signal blocked, those that libc keeps for itself
//! included, so that no handler of the program's that is left by `siglongjmp`, no asynchronous
//! cancellation and no other handler of ours can begin there: what was claimed is given back. A forked
//! child finds all of them free. Nothing that runs there calls back into the program, but for the
//! allocator where unwind tables are read for the first time.

use std::ffi::c_void;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::sync::atomic::{AtomicPtr, AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::arch;
use super::unwind::{Memo, Scratch};
use super::window::Window;

/// Stacks there are. One is held for microseconds, so that more than there are processors are in use
/// only where their holders were preempted.
pub(super) const SLOTS: usize = 64;
/// Bytes of a stack: a debug build makes a [`Room`] on it, and the allocator may run there.
const STACK: usize = 256 << 10;
/// Bytes between two stacks that nobody may touch.
const GUARD: usize = 64 << 10;
/// Bytes from one stack's top to the next's. Pages of all sizes there are divide it.
pub(super) const STRIDE: usize = STACK + GUARD + ROOM;
/// Bytes for a [`Room`], above its stack.
const ROOM: usize = 64 << 10;
/// Bytes from the table's beginning to the first stack's top.
pub(super) const FIRST_TOP: usize = GUARD + GUARD + STACK;

/// The slots, in memory of their own that a forked child finds zeroed; null until [`prepare`].
pub(super) static TABLE: AtomicPtr<Slot> = AtomicPtr::new(std::ptr::null_mut());

/// One stack's word. The layout is known to the entry of signal handlers, in [`arch`].
#[repr(C, align(64))]
pub(super) struct Slot {
    /// Counts what begins and ends here: odd while somebody is at it.
    state: AtomicU64,
    /// 0 until the room is made.
    made: AtomicU8,
}

/// Working memory beside a stack.
#[derive(Default)]
pub(super) struct Room {
    pub(super) scratch: Scratch,
    /// Of the last stack that was sampled here: most often the same thread's.
    pub(super) memo: Memo,
    pub(super) window: Window,
}

const _: () = assert!(size_of::<Room>() <= ROOM && size_of::<Slot>() == 64);

/// Makes the stacks, where that was not done. They take memory when they are used. Where the system
/// refuses there are none.
pub(super) fn prepare() {
    static STATE: AtomicU8 = AtomicU8::new(0);
    if STATE.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).is_err() {
        return;
    }
    if let Some(table) = map() {
        TABLE.store(table, Ordering::SeqCst);
    }
}

/// The table of slots, and after it the stacks, in one mapping.
fn map() -> Option<*mut Slot> {
    // By system call: an allocator may be on its first allocation.
    let call = |number, arguments| {
        // SAFETY: mmap(2) of new private memory at an address of the kernel's choice, and mprotect(2)
        // and madvise(2) of parts of it, which nobody knows yet.
        unsafe { arch::syscall(number, arguments) }
    };
    let (read_write, private) =
        (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANON);
    let length = GUARD + SLOTS * STRIDE;
    let flags = (private | libc::MAP_NORESERVE) as usize;
    let start =
        call(libc::SYS_mmap, [0, length, read_write as usize, flags, usize::MAX, 0]) as usize;
    if start as isize <= 0 && start as isize >= -4095 {
        return None;
    }
    // Kernels before 4.14 can't: there a child may find stacks taken that nobody holds.
    call(libc::SYS_madvise, [start, GUARD, libc::MADV_WIPEONFORK as usize, 0, 0, 0]);
    for slot in 0..SLOTS {
        let guard = start + GUARD + slot * STRIDE;
        call(libc::SYS_mprotect, [guard, GUARD, libc::PROT_NONE as usize, 0, 0, 0]);
    }
    Some(std::ptr::with_exposed_provenance_mut(start))
}

impl Slot {
    /// The upper end of this slot's stack, where its room begins.
    fn top(&self) -> usize {
        let table = TABLE.load(Ordering::Relaxed).addr();
        let number = (std::ptr::from_ref(self).addr() - table) / size_of::<Slot>();
        table + FIRST_TOP + number * STRIDE
    }

    /// The slot's room, which is its holder's.
    ///
    /// # Safety
    ///
    /// The caller holds the slot, and runs on the slot's stack or one as large.
    pub(super) unsafe fn room(&self) -> *mut Room {
        let room = std::ptr::with_exposed_provenance_mut::<Room>(self.top());
        if self.made.load(Ordering::Relaxed) == 0 {
            // SAFETY: memory of our own, large enough and aligned to a page.
            unsafe { room.write(Room::default()) };
            self.made.store(1, Ordering::Relaxed);
        }
        room
    }
}

/// The slots; none before [`prepare`].
fn slots() -> &'static [Slot] {
    let table = TABLE.load(Ordering::SeqCst);
    if table.is_null() {
        return &[];
    }
    // SAFETY: the beginning of a mapping that stays: zeroed memory, or what was stored through shared
    // references to atomics.
    unsafe { std::slice::from_raw_parts(table, SLOTS) }
}

/// A slot that this thread holds.
struct Held(&'static Slot);

impl Held {
    fn claim() -> Option<Held> {
        let slots = slots();
        // Threads begin at different ones, and at the same one again.
        let first = arch::thread_pointer() as usize >> 12;
        (0..slots.len()).map(|n| &slots[(first + n) % SLOTS]).find_map(|slot| {
            let state = slot.state.load(Ordering::Relaxed);
            let claimed = state.is_multiple_of(2)
                && slot
                    .state
                    .compare_exchange(state, state + 1, Ordering::SeqCst, Ordering::Relaxed)
                    .is_ok();
            // Only what was claimed is given back.
            claimed.then(|| Held(slot))
        })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let state = self.0.state.load(Ordering::Relaxed);
        self.0.state.store(state + 1, Ordering::Release);
    }
}

/// Every signal of this thread blocked, until dropped.
struct AllBlocked {
    before: u64,
}

impl AllBlocked {
    #[inline(always)]
    fn new() -> AllBlocked {
        let (all, mut before) = (u64::MAX, 0u64);
        mask(&raw const all, &raw mut before);
        AllBlocked { before }
    }
}

impl Drop for AllBlocked {
    #[inline(always)]
    fn drop(&mut self) {
        mask(&raw const self.before, std::ptr::null_mut());
    }
}

/// Sets this thread's signal mask as the kernel has it. libc's function keeps some signals back.
#[inline(always)]
fn mask(new: *const u64, before: *mut u64) {
    let how = libc::SIG_SETMASK as usize;
    let arguments = [how, new.expose_provenance(), before.expose_provenance(), 8, 0, 0];
    // SAFETY: rt_sigprocmask(2) with masks of the kernel's size, 8 bytes, that live during the call.
    unsafe { arch::syscall(libc::SYS_rt_sigprocmask, arguments) };
}

/// Runs `work` on a stack of our own with its room. `None`, and nothing done, where none is free.
#[inline(always)]
pub(super) fn run<R>(work: impl FnOnce(&mut Room) -> R) -> Option<R> {
    struct Call<F, R> {
        work: ManuallyDrop<F>,
        result: MaybeUninit<R>,
    }

    extern "C" fn begin<R, F: FnOnce(&mut Room) -> R>(call: *mut c_void, slot: *const Slot) {
        // SAFETY: `run` passes these pointers and waits; it holds the slot, and this is its stack.
        let (call, room) = unsafe { (&mut *call.cast::<Call<F, R>>(), &mut *(*slot).room()) };
        // SAFETY: taken this once.
        let work = unsafe { ManuallyDrop::take(&mut call.work) };
        call.result.write(work(room));
    }

    fn entry<R, F: FnOnce(&mut Room) -> R>(_: &F) -> arch::Entry {
        begin::<R, F>
    }

    let _blocked = AllBlocked::new();
    let held = Held::claim()?;
    let begin = entry(&work);
    let mut call = Call { work: ManuallyDrop::new(work), result: MaybeUninit::uninit() };
    // SAFETY: the stack's top is aligned to pages, nobody else uses the stack, and `begin` does not
    // unwind: it is `extern "C"`.
    unsafe { arch::call_on(held.0.top(), begin, (&raw mut call).cast(), held.0) };
    // SAFETY: `begin` wrote it.
    Some(unsafe { call.result.assume_init() })
}

/// Those who were at work at one moment, and may be using what they found then.
#[derive(Debug, Default)]
pub(super) struct AtWork {
    /// Slots and their states.
    slots: Vec<(usize, u64)>,
}

impl AtWork {
    /// Those who are at work now.
    pub(super) fn now() -> AtWork {
        let state = |slot: &Slot| slot.state.load(Ordering::SeqCst);
        let slots = slots().iter().map(state).enumerate();
        AtWork { slots: slots.filter(|(_, state)| !state.is_multiple_of(2)).collect() }
    }

    /// Returns whether all of them have ended since.
    pub(super) fn have_ended(&mut self) -> bool {
        let now = slots();
        self.slots.retain(|&(slot, state)| now[slot].state.load(Ordering::SeqCst) == state);
        self.slots.is_empty()
    }

    /// Waits until all of them have ended, which takes microseconds; but no longer than `most`, where
    /// one of them is stopped by a debugger. Returns whether they have.
    pub(super) fn wait(mut self, most: Duration) -> bool {
        let began = Instant::now();
        while !self.have_ended() {
            if began.elapsed() > most {
                return false;
            }
            std::thread::sleep(Duration::from_micros(20));
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A run's own stack pointer, and what it was given.
    fn place() -> u64 {
        arch::here().sp
    }

    #[test]
    fn work_runs_elsewhere_and_comes_back() {
        prepare();
        let here = place();
        let numbers = [1, 2, 3];
        let (there, sum) = run(|room| {
            room.window.forget();
            (place(), numbers.iter().sum::<i32>())
        })
        .unwrap();
        assert_eq!(sum, 6);
        assert!(here.abs_diff(there) > 64 << 10, "{here:x} and {there:x}");
        assert!(here.abs_diff(place()) < 4096);
    }

    #[test]
    fn stacks_are_given_back_and_signals_let_in_again() {
        prepare();
        let mask = || {
            let mut now = 0u64;
            // An empty set more is blocked.
            let arguments =
                [libc::SIG_BLOCK as usize, 0, (&raw mut now).expose_provenance(), 8, 0, 0];
            // SAFETY: rt_sigprocmask(2) writes the present mask to a word that lives during the call.
            unsafe { arch::syscall(libc::SYS_rt_sigprocmask, arguments) };
            now
        };
        let before = mask();
        for _ in 0..10 * SLOTS {
            // Signals 9 and 19 can't be blocked.
            let blocked = run(|_| mask()).expect("a free stack");
            assert_eq!(blocked | 1 << 8 | 1 << 18, u64::MAX);
        }
        assert_eq!(mask(), before);
    }

    #[test]
    fn nobody_else_is_on_a_stack_that_is_held() {
        prepare();
        let threads = |number: u64| {
            move || {
                for _ in 0..2000 {
                    let stays = run(|_| {
                        let mut words = [0; 64];
                        words.fill(std::hint::black_box(number));
                        for _ in 0..20 {
                            std::thread::yield_now();
                        }
                        std::hint::black_box(&words).iter().all(|&word| word == number)
                    });
                    assert_ne!(stays, Some(false));
                }
            }
        };
        std::thread::scope(|scope| {
            (0..8).for_each(|number| drop(scope.spawn(threads(number))));
        });
    }

    #[test]
    fn those_at_work_are_waited_for_and_no_longer_than_said() {
        prepare();
        let (begun, end) = (std::sync::Barrier::new(2), std::sync::Barrier::new(2));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                run(|_| {
                    begun.wait();
                    end.wait();
                })
            });
            begun.wait();
            let mut at_work = AtWork::now();
            assert!(!at_work.have_ended());
            assert!(!AtWork::now().wait(Duration::from_millis(5)));
            end.wait();
            assert!(at_work.wait(Duration::from_secs(60)));
        });
    }
}
