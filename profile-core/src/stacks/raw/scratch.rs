//! Stacks of our own, for what runs in the program's place: signal handlers, hooks of allocators and
//! interposed functions. A program's stack may have a few hundred bytes left, be a coroutine's of four
//! kilobytes, or an alternate one of the least size there is; unwinding takes seven and more.
//!
//! Claiming one does not allocate, lock, wait, panic, call into libc, set `errno` or touch a
//! thread-local. A forked child finds all of them free. Nothing that runs there calls back into the
//! program, but for the allocator where unwind tables are read for the first time.
//!
//! Whoever holds one has every signal blocked, those that libc keeps for itself included, so that no
//! handler of the program's that is left by `siglongjmp`, no asynchronous cancellation and no other
//! handler of ours can begin there: what was claimed is given back. Blocking takes two system calls,
//! which is more than all the rest where a system call takes a microsecond. [`run_on_own_stack`] does
//! without: a handler may begin there, and where it doesn't come back the thread finds by its stack
//! pointer what it has left behind, the next time it claims one.

use std::ffi::c_void;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::sync::atomic::{AtomicPtr, AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::stacks::raw::arch;
use crate::stacks::raw::window::MemoryWindow;
use crate::stacks::unwind::{StackMemo, UnwindScratch};

/// Stacks there are. One is held for microseconds, so that more than there are processors are in use
/// only where their holders were preempted.
pub(crate) const SLOTS: usize = 64;
/// Bytes of a stack: a debug build makes a [`ScratchRoom`] on it, and the allocator may run there.
const STACK: usize = 256 << 10;
/// Bytes between two stacks that nobody may touch.
const GUARD: usize = 64 << 10;
/// Bytes from one stack's top to the next's. Pages of all sizes there are divide it.
pub(crate) const STRIDE: usize = STACK + GUARD + ROOM;
/// Bytes for a [`ScratchRoom`], above its stack.
const ROOM: usize = 64 << 10;
/// Bytes from the table's beginning to the first stack's top.
pub(crate) const FIRST_TOP: usize = GUARD + GUARD + STACK;

/// The slots, in memory of their own that a forked child finds zeroed; null until [`prepare`].
pub(crate) static TABLE: AtomicPtr<ScratchSlot> = AtomicPtr::new(std::ptr::null_mut());

/// One stack's word. The layout is known to the entry of signal handlers, in [`arch`].
#[repr(C, align(64))]
pub(crate) struct ScratchSlot {
    /// Odd while somebody holds the slot, with their stack pointer where signals are not blocked;
    /// the bits above count how often somebody did.
    state: AtomicU64,
    /// 0 until the room is made.
    made: AtomicU8,
}

/// The part of a state that counts. Below it is room for a stack pointer without its last four bits,
/// which are always zero.
const ONE: u64 = 1 << 45;
/// Added to the state of a slot that is given back, where it was claimed by adding one.
pub(crate) const GIVE_BACK: u64 = ONE - 1;

/// Returns the state of a slot while a thread with this stack pointer holds it; 0 for one whose
/// signals are blocked.
fn held_state(state: u64, sp: u64) -> u64 {
    state & !(ONE - 1) | sp >> 3 & (ONE - 1) | 1
}

/// Returns the stack pointer of a slot's holder, with its last bits cleared, where signals are not
/// blocked.
fn holder_sp(state: u64) -> Option<u64> {
    let sp = (state & (ONE - 2)) << 3;
    if state & 1 != 0 && sp != 0 { Some(sp) } else { None }
}

/// Working memory beside a stack.
#[derive(Default)]
pub(crate) struct ScratchRoom {
    pub(crate) scratch: UnwindScratch,
    /// The memo of the last stack that was sampled here: most often the same thread's.
    pub(crate) memo: StackMemo,
    pub(crate) window: MemoryWindow,
}

const _: () = assert!(size_of::<ScratchRoom>() <= ROOM && size_of::<ScratchSlot>() == 64);

/// Makes the stacks, where that was not done. They take memory when they are used. Where the system
/// refuses there are none.
pub(crate) fn prepare() {
    static STATE: AtomicU8 = AtomicU8::new(0);
    if STATE.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).is_err() {
        return;
    }
    if let Some(table) = map_table() {
        TABLE.store(table, Ordering::SeqCst);
    }
}

/// Maps the table of slots, and after it the stacks, in one mapping.
fn map_table() -> Option<*mut ScratchSlot> {
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

impl ScratchSlot {
    /// Gives the slot back if it is still held in this state: a handler may have forked, and then a
    /// child is here whose slots were all given back.
    fn give_back(&self, held: u64) {
        let free = (held & !(ONE - 1)).wrapping_add(ONE);
        let _ = self.state.compare_exchange(held, free, Ordering::Release, Ordering::Relaxed);
    }

    /// Returns the upper end of this slot's stack, where its room begins.
    fn top(&self) -> usize {
        let table = TABLE.load(Ordering::Relaxed).addr();
        let number = (std::ptr::from_ref(self).addr() - table) / size_of::<ScratchSlot>();
        table + FIRST_TOP + number * STRIDE
    }

    /// Returns whether a stack pointer is in this slot's stack.
    #[inline(always)]
    fn is_under(&self, sp: u64) -> bool {
        let top = self.top() as u64;
        sp <= top && top - STACK as u64 <= sp
    }

    fn claim(&self, free: u64, held: u64) -> bool {
        self.state.compare_exchange(free, held, Ordering::SeqCst, Ordering::Relaxed).is_ok()
    }

    /// Returns the slot's room, which is its holder's.
    ///
    /// # Safety
    ///
    /// The caller holds the slot, and runs on the slot's stack or one as large.
    pub(crate) unsafe fn room(&self) -> *mut ScratchRoom {
        let room = std::ptr::with_exposed_provenance_mut::<ScratchRoom>(self.top());
        if self.made.load(Ordering::Relaxed) == 0 {
            // SAFETY: memory of our own, large enough and aligned to a page.
            unsafe { room.write(ScratchRoom::default()) };
            self.made.store(1, Ordering::Relaxed);
        }
        room
    }
}

/// Returns the slots; none before [`prepare`].
fn slots() -> &'static [ScratchSlot] {
    let table = TABLE.load(Ordering::SeqCst);
    if table.is_null() {
        return &[];
    }
    // SAFETY: the beginning of a mapping that stays: zeroed memory, or what was stored through shared
    // references to atomics.
    unsafe { std::slice::from_raw_parts(table, SLOTS) }
}

/// A slot that this thread holds, and its state.
struct HeldSlot(&'static ScratchSlot, u64);

/// A thread's stack as it claims a slot with its signals not blocked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OwnStack {
    pub(crate) sp: u64,
    /// The range in which it is mapped. `sp` is in there.
    pub(crate) mapped: (u64, u64),
}

impl OwnStack {
    /// Returns whether the holder of a slot was this thread, further down its stack than it is now:
    /// then the slot was left for good.
    #[inline(always)]
    fn has_left(&self, state: u64) -> bool {
        let Some(sp) = holder_sp(state) else { return false };
        // A handler may run on an alternate stack that is a part of this one, above what it interrupts.
        self.mapped.0 <= sp && sp <= self.sp && !on_alternate_stack()
    }
}

/// Returns whether this thread runs on its alternate stack for signals.
#[cold]
fn on_alternate_stack() -> bool {
    let mut now = MaybeUninit::<libc::stack_t>::uninit();
    let arguments = [0, now.as_mut_ptr().expose_provenance(), 0, 0, 0, 0];
    // SAFETY: sigaltstack(2) writes the present one to room that lives during the call.
    let failed = unsafe { arch::syscall(libc::SYS_sigaltstack, arguments) } != 0;
    // SAFETY: written where the call did not fail.
    failed || unsafe { now.assume_init() }.ss_flags & libc::SS_ONSTACK != 0
}

impl HeldSlot {
    /// Claims a slot; with `own` where this thread's signals are not blocked.
    fn claim(own: Option<OwnStack>) -> Option<HeldSlot> {
        let slots = slots();
        // Threads begin at different ones, and at the same one again.
        let first = arch::thread_pointer() as usize >> 12;
        let (sp, mark) = match own {
            Some(own) => (own.sp, own.sp),
            None => (arch::here().sp, 0),
        };
        // No iterators: where nothing is optimised each takes some hundred bytes of the stack.
        let mut n = 0;
        while n < slots.len() {
            let slot = &slots[(first + n) % SLOTS];
            n += 1;
            // In a child that was forked by a handler in the midst of a run the run's own slot is free.
            if slot.is_under(sp) {
                continue;
            }
            let mut state = slot.state.load(Ordering::Relaxed);
            if let Some(own) = &own
                && own.has_left(state)
            {
                slot.give_back(state);
                state = slot.state.load(Ordering::Relaxed);
            }
            // Only what was claimed is given back.
            if state & 1 == 0 && slot.claim(state, held_state(state, mark)) {
                return Some(HeldSlot(slot, held_state(state, mark)));
            }
        }
        None
    }
}

impl Drop for HeldSlot {
    fn drop(&mut self) {
        self.0.give_back(self.1);
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
        set_signal_mask(&raw const all, &raw mut before);
        AllBlocked { before }
    }
}

impl Drop for AllBlocked {
    #[inline(always)]
    fn drop(&mut self) {
        set_signal_mask(&raw const self.before, std::ptr::null_mut());
    }
}

/// Sets this thread's signal mask as the kernel has it. libc's function keeps some signals back.
#[inline(always)]
fn set_signal_mask(new: *const u64, before: *mut u64) {
    let how = libc::SIG_SETMASK as usize;
    let arguments = [how, new.expose_provenance(), before.expose_provenance(), 8, 0, 0];
    // SAFETY: rt_sigprocmask(2) with masks of the kernel's size, 8 bytes, that live during the call.
    unsafe { arch::syscall(libc::SYS_rt_sigprocmask, arguments) };
}

/// Runs `work` on a stack of our own with its room, with every signal blocked. `None`, and nothing
/// done, where none is free.
#[inline(always)]
pub(crate) fn run<R>(work: impl FnOnce(&mut ScratchRoom) -> R) -> Option<R> {
    let _blocked = AllBlocked::new();
    run_in(&HeldSlot::claim(None)?, work)
}

/// Does the same as [`run`] with signals as they are, for a thread that is on a stack of its own.
/// `work` may be left in the midst of it, for ever.
#[inline(always)]
pub(crate) fn run_on_own_stack<R>(
    own: OwnStack,
    work: impl FnOnce(&mut ScratchRoom) -> R,
) -> Option<R> {
    run_in(&HeldSlot::claim(Some(own))?, work)
}

/// Runs `work` in a slot. It is not part of its callers' frames, so that no more than one of them
/// and of what claims takes room on the stack at a time.
#[inline(never)]
fn run_in<R, F: FnOnce(&mut ScratchRoom) -> R>(held: &HeldSlot, work: F) -> Option<R> {
    struct SlotCall<F, R> {
        work: ManuallyDrop<F>,
        result: MaybeUninit<R>,
    }

    extern "C" fn begin<R, F: FnOnce(&mut ScratchRoom) -> R>(
        call: *mut c_void,
        slot: *const ScratchSlot,
    ) {
        // SAFETY: `run_in` passes these pointers and waits; it holds the slot, and this is its stack.
        let (call, room) = unsafe { (&mut *call.cast::<SlotCall<F, R>>(), &mut *(*slot).room()) };
        // SAFETY: taken this once.
        let work = unsafe { ManuallyDrop::take(&mut call.work) };
        call.result.write(work(room));
    }

    let mut call = SlotCall { work: ManuallyDrop::new(work), result: MaybeUninit::uninit() };
    // SAFETY: the stack's top is aligned to pages, nobody else uses the stack, and `begin` does not
    // unwind: it is `extern "C"`.
    unsafe { arch::call_on((&raw mut call).cast(), held.0, held.0.top(), begin::<R, F>) };
    // SAFETY: `begin` wrote it.
    Some(unsafe { call.result.assume_init() })
}

/// The holders of slots at one moment, who may be using what they found then.
#[derive(Debug, Default)]
pub(crate) struct AtWork {
    /// Slots and their states.
    slots: Vec<(usize, u64)>,
}

impl AtWork {
    /// Lists those who are at work now.
    pub(crate) fn now() -> AtWork {
        AtWork::list(|state| state & 1 != 0)
    }

    /// Lists those who are at work now with every signal blocked, as handlers are. None of these is ever
    /// left for good, as others are by a handler that ends by `siglongjmp`.
    pub(crate) fn handlers() -> AtWork {
        AtWork::list(|state| state & 1 != 0 && holder_sp(state).is_none())
    }

    fn list(is_meant: impl Fn(u64) -> bool) -> AtWork {
        let states = slots().iter().map(|slot| slot.state.load(Ordering::SeqCst));
        AtWork { slots: states.enumerate().filter(|&(_, state)| is_meant(state)).collect() }
    }

    /// Returns whether all of them have ended since.
    pub(crate) fn have_ended(&mut self) -> bool {
        let now = slots();
        self.slots.retain(|&(slot, state)| now[slot].state.load(Ordering::SeqCst) == state);
        self.slots.is_empty()
    }

    /// Waits until all of them have ended, which takes microseconds; but no longer than `most`, where
    /// one of them is stopped by a debugger. Returns whether they have.
    pub(crate) fn wait(mut self, most: Duration) -> bool {
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

    /// Returns the stack pointer of a run.
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

    /// Runs something and never comes back from it, as a handler that ends by `siglongjmp` does.
    fn leave(own: OwnStack) {
        std::mem::forget(HeldSlot::claim(Some(own)).expect("a free stack"));
    }

    /// Slots that are held with a stack pointer between two addresses.
    fn slots_of((low, high): (u64, u64)) -> usize {
        let holders = slots().iter().map(|slot| holder_sp(slot.state.load(Ordering::Relaxed)));
        holders.flatten().filter(|sp| (low..high).contains(sp)).count()
    }

    fn held_with(sp: u64) -> usize {
        slots_of((sp, sp + 1))
    }

    #[test]
    fn what_a_thread_has_left_behind_is_found_and_what_it_is_in_is_not() {
        prepare();
        // Nobody's stack, so that no other test's threads are met.
        let mapped = (0x10_0000, 0x20_0000);
        let own = |sp| OwnStack { sp, mapped };
        // Left at one depth, over and over: one slot at a time, and another one each time that some other
        // test's thread holds that one for a moment.
        for _ in 0..10 * SLOTS {
            leave(own(0x18_0000));
        }
        let above = held_with(0x18_0000);
        assert!((1..SLOTS / 4).contains(&above), "{above}");
        // Further down, as in a handler: the one above may be waiting for it to return.
        leave(own(0x17_0000));
        assert_eq!((held_with(0x18_0000), held_with(0x17_0000)), (above, 1));
        // No end of a window waits for those.
        assert!(AtWork::now().slots.len() >= 2);
        assert!(AtWork::handlers().slots.iter().all(|&(_, state)| holder_sp(state).is_none()));
        // Another thread's stack.
        let other = OwnStack { sp: 0x30_0000, mapped: (0x20_0000, 0x30_1000) };
        drop(HeldSlot::claim(Some(other)));
        assert_eq!((held_with(0x18_0000), held_with(0x17_0000)), (above, 1));
        // Further up what is met is taken back: no slot is used up by what was left.
        for _ in 0..10 * SLOTS {
            leave(own(0x18_8000));
        }
        let after = slots_of(mapped);
        assert!((1..SLOTS / 4).contains(&after), "{above}, then {after}");
    }

    #[test]
    fn a_state_tells_its_holder_and_counts() {
        for sp in [0x7fff_ffff_fff0, 0xffff_ffff_fff0, 0x10] {
            for times in [0, 1, (1 << 19) - 1] {
                let free = ONE.wrapping_mul(times);
                assert_eq!(holder_sp(held_state(free, sp)), Some(sp));
                assert_eq!(holder_sp(free), None);
                assert_eq!(holder_sp(held_state(free, 0)), None);
                let slot = ScratchSlot {
                    state: AtomicU64::new(held_state(free, sp)),
                    made: AtomicU8::new(0),
                };
                slot.give_back(held_state(free, sp));
                assert_eq!(slot.state.into_inner(), free.wrapping_add(ONE));
                assert_eq!(held_state(free, 0).wrapping_add(GIVE_BACK), free.wrapping_add(ONE));
            }
        }
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
