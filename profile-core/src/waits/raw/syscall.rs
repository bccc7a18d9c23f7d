//! `syscall` as the program calls it: futex waits and wakes are looked at, everything else goes
//! straight to the kernel.
//!
//! Runs in place of libc's function: in any thread, at its start and its end, in forked children,
//! in signal handlers, and while the program holds any lock. Until it is known that a wait or a
//! wake is to be recorded nothing here may allocate, lock, wait for anything else, panic, format,
//! or touch a thread-local that is initialised lazily; recording may do none of that either.
//! `errno` is what the kernel's answer makes it, and untouched where there was no error.

use libc::{c_int, c_long};

use crate::events::{ring, waits as event_waits};
use crate::stacks::raw::capture::capture_interruptible;
use crate::sys::own_work;
use crate::waits::raw::kernel::kernel;
use crate::waits::recorded::WaitWeight;
use crate::waits::{DEPTH, SITE, WaitTable, record};

/// A number that no system call has. Our `syscall` answers it itself; see [`present`].
pub(super) const PRESENT: c_long = -0x7072_6f66;

/// Returns whether the program's `syscall` is this one, and not that of another library which
/// interposes it.
pub(crate) fn present() -> bool {
    // SAFETY: a system call that doesn't exist: the kernel refuses it with ENOSYS.
    unsafe { libc::syscall(PRESENT, 0, 0, 0, 0, 0, 0) == PRESENT }
}

/// Counts our frames at the leaf of a stack, where it waits in [`kernel`].
pub(crate) fn own_frames(stack: &[u64]) -> usize {
    // It is some ten instructions long.
    let begin = kernel as *const () as u64;
    let waits_in_kernel = stack.first().is_some_and(|leaf| (begin..begin + 48).contains(leaf));
    if waits_in_kernel { OURS.min(stack.len()) } else { 0 }
}

/// Returns the kernel's error as libc's functions return it.
pub(super) unsafe extern "C" fn fail(answer: c_long) -> c_long {
    // SAFETY: the address of this thread's `errno`, which always exists.
    unsafe { *libc::__errno_location() = -answer as c_int };
    -1
}

pub(crate) fn returned(answer: c_long) -> c_long {
    // SAFETY: `fail` asks for nothing but an error number.
    if (-4095..0).contains(&answer) { unsafe { fail(answer) } } else { answer }
}

/// Makes a futex call: waits are timed, and wakes charged with what others have waited.
///
/// Calls [`kernel`] and [`save`] from its own frame, never from one in between: the stacks that
/// they are in begin with ours by count. An asynchronous cancellation unwinds it while it waits.
#[inline(never)]
pub(super) unsafe extern "C-unwind" fn futex(
    number: c_long,
    address: usize,
    operation: usize,
    value: usize,
    timeout: usize,
    address2: usize,
    value3: usize,
) -> c_long {
    macro_rules! call {
        () => {
            // SAFETY: what the program asked for, handed on as it is.
            unsafe { kernel(number, address, operation, value, timeout, address2, value3) }
        };
    }
    let waits = is_wait(operation);
    let _traced = traced(waits, operation, address as u64);
    let since = record::since();
    if since == 0 || own_work::is_under_way() {
        let answer = call!();
        // A wait that was under way when recording was switched on counts from then.
        if waits
            && since == 0
            && record::since() != 0
            && !own_work::is_under_way()
            && let Some((table, weighed)) = record::weigh_late_wait(answer)
        {
            save(table, weighed, &[]);
        }
        return returned(answer);
    }
    let answer;
    if waits {
        // What it waits for can't be had by now, so that the time below is part of the wait.
        let mut wait = record::FutexWait::new(address as u64, &raw const waits as u64);
        // Our own frame is the first. The thread is about to sleep: nobody is held up by this.
        let site = SITE + 1;
        let listed =
            capture_interruptible(site, |captured| wait.list(captured.without(1).addresses));
        if listed.is_none() {
            wait.list(&[]);
        }
        answer = call!();
        if let Some((table, weighed)) = wait.weigh_end(answer) {
            save(table, weighed, &[]);
        }
        drop(wait);
    } else if is_wake(operation) {
        // What others have waited up to now, before they run and before the stack is looked at.
        let charged = record::charge_wake(address as u64);
        answer = call!();
        if let Some((table, weighed, site)) = charged {
            save(table, weighed, &site);
        }
    } else {
        answer = call!();
    }
    returned(answer)
}

/// Tells an open trace of a wake; of a wait when the result is dropped.
#[inline(always)]
fn traced(waits: bool, operation: usize, address: u64) -> Option<event_waits::WaitInProgress> {
    if !ring::is_on() || own_work::is_under_way() {
        return None;
    }
    if is_wake(operation) {
        event_waits::record_wake(address);
    }
    if waits { event_waits::begin_wait(address) } else { None }
}

/// Our frames in what [`save`] captures, and in a stack that waits in [`kernel`]: theirs and
/// [`futex`]'s.
const OURS: usize = 2;

/// Adds to the caller's stack, behind a site where it belongs to one. The stack is the program's
/// from `syscall`'s caller on.
#[inline(never)]
fn save(table: &WaitTable, weighed: WaitWeight, site: &[u64]) {
    let saved = capture_interruptible(DEPTH - site.len() + OURS, |captured| {
        let program = captured.without(OURS);
        if site.is_empty() {
            table.add(program.addresses, program.truncated, weighed);
            return;
        }
        let mut both = [0; DEPTH];
        let (before, after) = both.split_at_mut(site.len());
        let kept = program.addresses.len().min(after.len());
        before.copy_from_slice(site);
        after[..kept].copy_from_slice(&program.addresses[..kept]);
        let truncated = program.truncated || kept < program.addresses.len();
        table.add(&both[..site.len() + kept], truncated, weighed);
    });
    if saved.is_none() {
        table.add(site, true, weighed);
    }
}

fn is_wait(operation: usize) -> bool {
    matches!(operation as c_int & COMMAND, libc::FUTEX_WAIT | libc::FUTEX_WAIT_BITSET)
}

fn is_wake(operation: usize) -> bool {
    matches!(operation as c_int & COMMAND, libc::FUTEX_WAKE | libc::FUTEX_WAKE_BITSET)
}

/// The operation without its flags (Linux, include/uapi/linux/futex.h: `FUTEX_CMD_MASK`).
const COMMAND: c_int = !(libc::FUTEX_PRIVATE_FLAG | libc::FUTEX_CLOCK_REALTIME);
