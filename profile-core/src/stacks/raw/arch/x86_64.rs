//! What differs between processors: x86_64.

use core::arch::{asm, naked_asm};
use core::ffi::c_void;

use crate::stacks::raw::scratch::ScratchSlot;
use crate::stacks::unwind::UnwindRegisters;

/// The DWARF number of the stack pointer.
pub(crate) const DWARF_SP: u16 = 7;
/// The DWARF number of the frame pointer.
pub(crate) const DWARF_FP: u16 = 6;
/// The DWARF number of the return address.
pub(crate) const DWARF_RA: u16 = 16;

/// The system calls that newer processors' kernels don't have, in words.
pub(crate) const OLDER_CALLS: &[(i64, &str)] = &[
    (libc::SYS_epoll_wait, "epoll wait"),
    (libc::SYS_poll, "poll"),
    (libc::SYS_select, "select"),
    (libc::SYS_pause, "signal wait"),
];

/// The places in a signal frame, seen from its return trampoline, of the interrupted registers:
/// offsets from the stack pointer, which points at a `ucontext` (Linux,
/// arch/x86/include/asm/sigframe.h).
pub(crate) const SIGNAL_FRAME: SignalFrame = SignalFrame { pc: 0xa8, sp: 0xa0, fp: 0x78 };

/// Offsets of registers in a signal frame.
pub(crate) struct SignalFrame {
    pub(crate) pc: u64,
    pub(crate) sp: u64,
    pub(crate) fp: u64,
}

/// Reads the registers that a signal interrupted.
///
/// # Safety
///
/// `context` is the third argument of a signal handler installed with `SA_SIGINFO`.
pub(crate) unsafe fn interrupted(context: *const libc::c_void) -> UnwindRegisters {
    // SAFETY: the caller's promise; the kernel passes a `ucontext_t` (sigaction(2)).
    let registers = unsafe { &(*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    UnwindRegisters {
        pc: registers[libc::REG_RIP as usize] as u64,
        sp: registers[libc::REG_RSP as usize] as u64,
        fp: registers[libc::REG_RBP as usize] as u64,
        lr: 0,
    }
}

/// Returns a return address as it is: nothing is mixed into it here.
pub(crate) fn strip(address: u64) -> u64 {
    address
}

/// Returns the address of the thread's own block, at the top of its stack mapping.
pub(crate) fn thread_pointer() -> u64 {
    let pointer: u64;
    // SAFETY: the x86_64 ABI of ELF keeps the thread pointer in the first word at `fs`.
    unsafe { asm!("mov {}, fs:0", out(reg) pointer, options(nostack, readonly, preserves_flags)) };
    pointer
}

/// Returns the registers here: of the function that this is inlined into.
#[inline(always)]
pub(crate) fn here() -> UnwindRegisters {
    let (pc, sp, fp): (u64, u64, u64);
    // SAFETY: reads registers only.
    unsafe {
        asm!(
            "lea {pc}, [rip]", "mov {sp}, rsp", "mov {fp}, rbp",
            pc = out(reg) pc, sp = out(reg) sp, fp = out(reg) fp,
            options(nostack, nomem, preserves_flags),
        );
    }
    UnwindRegisters { pc, sp, fp, lr: 0 }
}

/// Makes a system call that goes around libc, which may be interposed and sets `errno`. The result
/// is the kernel's: an error is `-errno`.
///
/// # Safety
///
/// As the system call says.
pub(crate) unsafe fn syscall(number: libc::c_long, arguments: [usize; 6]) -> isize {
    let result: isize;
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: the x86_64 system call convention; the kernel overwrites rcx and r11 (syscall(2)).
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e, in("r9") f,
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// A function that is called on another stack.
pub(crate) type SlotEntry = extern "C" fn(*mut c_void, *const ScratchSlot);

/// Calls `entry` on the stack below `top`. The way up from there is known to every unwinder.
///
/// # Safety
///
/// `top` is a multiple of 16, the stack is large enough and nobody else's, and `entry` does not unwind.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn call_on(
    argument: *mut c_void,
    slot: *const ScratchSlot,
    top: usize,
    entry: SlotEntry,
) {
    naked_asm!(
        ".cfi_startproc",
        "push rbp",
        ".cfi_def_cfa_offset 16",
        ".cfi_offset rbp, -16",
        "mov rbp, rsp",
        ".cfi_def_cfa_register rbp",
        "mov rsp, rdx",
        "call rcx",
        "mov rsp, rbp",
        "pop rbp",
        ".cfi_def_cfa rsp, 8",
        "ret",
        ".cfi_endproc",
    )
}
