//! `syscall` as the program calls it: futex waits and wakes are looked at, everything else goes
//! straight to the kernel.
//!
//! Runs in place of libc's function: in any thread, at its start and its end, in forked children,
//! in signal handlers, and while the program holds any lock. Until it is known that a wait or a
//! wake is to be recorded nothing here may allocate, lock, wait for anything else, panic, format,
//! or touch a thread-local that is initialised lazily; recording may do none of that either.
//! `errno` is what the kernel's answer makes it, and untouched where there was no error.

use core::arch::naked_asm;

use libc::{c_int, c_long};

use crate::events::{ring, waits as event_waits};
use crate::stacks::raw::capture::capture_interruptible;
use crate::sys::own_work;
use crate::waits::recorded::WaitWeight;
use crate::waits::{DEPTH, SITE, WaitTable, record};

/// A number that no system call has. Our `syscall` answers it itself; see [`present`].
const PRESENT: c_long = -0x7072_6f66;

/// Returns whether the program's `syscall` is this one, and not that of another library which
/// interposes it.
pub(crate) fn present() -> bool {
    // SAFETY: a system call that doesn't exist: the kernel refuses it with ENOSYS.
    unsafe { libc::syscall(PRESENT, 0, 0, 0, 0, 0, 0) == PRESENT }
}

/// Does the same as libc's function of the same name. It is variadic in C; what isn't passed is
/// read all the same, as libc reads it, and ignored by the kernel.
///
/// It has no frame of its own, so that a call which returns on another stack, or twice, works.
#[cfg(target_arch = "x86_64")]
#[unsafe(no_mangle)]
#[unsafe(naked)]
unsafe extern "C" fn syscall(
    number: c_long,
    a: usize,
    b: usize,
    c: usize,
    d: usize,
    e: usize,
    f: usize,
) -> c_long {
    naked_asm!(
        ".cfi_startproc",
        "cmp rdi, {futex_number}",
        "je {futex}",
        "cmp rdi, {present}",
        "je 3f",
        "mov rax, rdi",
        "mov rdi, rsi",
        "mov rsi, rdx",
        "mov rdx, rcx",
        "mov r10, r8",
        "mov r8, r9",
        "mov r9, [rsp + 8]",
        "syscall",
        "cmp rax, -4095",
        "jae 2f",
        "ret",
        "2:",
        "mov rdi, rax",
        "jmp {fail}",
        "3:",
        "mov rax, rdi",
        "ret",
        ".cfi_endproc",
        futex_number = const libc::SYS_futex,
        present = const PRESENT,
        futex = sym futex,
        fail = sym fail,
    )
}

/// Makes the same call without any looking, and returns the kernel's own answer. A thread that
/// waits is in here: a function without a frame, so that the way up its stack is known in every
/// build. The compiler writes no unwind table for it, hence the directives.
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
pub(crate) unsafe extern "C-unwind" fn kernel(
    number: c_long,
    a: usize,
    b: usize,
    c: usize,
    d: usize,
    e: usize,
    f: usize,
) -> c_long {
    naked_asm!(
        ".cfi_startproc",
        "mov rax, rdi",
        "mov rdi, rsi",
        "mov rsi, rdx",
        "mov rdx, rcx",
        "mov r10, r8",
        "mov r8, r9",
        "mov r9, [rsp + 8]",
        "syscall",
        "ret",
        ".cfi_endproc",
    )
}

/// Does the same as libc's function of the same name; see the one for x86_64.
#[cfg(target_arch = "aarch64")]
#[unsafe(no_mangle)]
#[unsafe(naked)]
unsafe extern "C" fn syscall(
    number: c_long,
    a: usize,
    b: usize,
    c: usize,
    d: usize,
    e: usize,
    f: usize,
) -> c_long {
    naked_asm!(
        ".cfi_startproc",
        "cmp x0, #{futex_number}",
        "b.ne 2f",
        "b {futex}",
        "2:",
        "ldr x9, 4f",
        "cmp x0, x9",
        "b.eq 3f",
        "mov x8, x0",
        "mov x0, x1",
        "mov x1, x2",
        "mov x2, x3",
        "mov x3, x4",
        "mov x4, x5",
        "mov x5, x6",
        "svc #0",
        "cmn x0, #4095",
        "b.lo 3f",
        "b {fail}",
        "3:",
        "ret",
        ".balign 8",
        "4:",
        ".quad {present}",
        ".cfi_endproc",
        futex_number = const libc::SYS_futex,
        present = const PRESENT,
        futex = sym futex,
        fail = sym fail,
    )
}

/// Makes the same call without any looking; see the one for x86_64.
#[cfg(target_arch = "aarch64")]
#[unsafe(naked)]
pub(crate) unsafe extern "C-unwind" fn kernel(
    number: c_long,
    a: usize,
    b: usize,
    c: usize,
    d: usize,
    e: usize,
    f: usize,
) -> c_long {
    naked_asm!(
        ".cfi_startproc",
        "mov x8, x0",
        "mov x0, x1",
        "mov x1, x2",
        "mov x2, x3",
        "mov x3, x4",
        "mov x4, x5",
        "mov x5, x6",
        "svc #0",
        "ret",
        ".cfi_endproc",
    )
}

/// Counts our frames at the leaf of a stack, where it waits in [`kernel`].
pub(crate) fn own_frames(stack: &[u64]) -> usize {
    // It is some ten instructions long.
    let begin = kernel as *const () as u64;
    let waits_in_kernel = stack.first().is_some_and(|leaf| (begin..begin + 48).contains(leaf));
    if waits_in_kernel { OURS.min(stack.len()) } else { 0 }
}

/// Returns the kernel's error as libc's functions return it.
unsafe extern "C" fn fail(answer: c_long) -> c_long {
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
unsafe extern "C-unwind" fn futex(
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
    let saved = capture_interruptible(DEPTH + OURS, |captured| {
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
