//! What differs between processors: aarch64.

use core::arch::{asm, naked_asm};
use core::ffi::c_void;

use crate::stacks::raw::scratch::ScratchSlot;
use crate::stacks::unwind::UnwindRegisters;

/// The DWARF number of the stack pointer.
pub(crate) const DWARF_SP: u16 = 31;
/// The DWARF number of the frame pointer.
pub(crate) const DWARF_FP: u16 = 29;
/// The DWARF number of the return address.
pub(crate) const DWARF_RA: u16 = 30;

/// The system calls that newer processors' kernels don't have, in words.
pub(crate) const OLDER_CALLS: &[(i64, &str)] = &[];

/// The places in a signal frame, seen from its return trampoline, of the interrupted registers:
/// offsets from the stack pointer, which points at a `siginfo` of 128 bytes and then a `ucontext`
/// whose registers begin at 176 + 8 (Linux, arch/arm64/include/uapi/asm/ucontext.h and
/// sigcontext.h).
pub(crate) const SIGNAL_FRAME: SignalFrame =
    SignalFrame { pc: REGISTERS + 8 * 32, sp: REGISTERS + 8 * 31, fp: REGISTERS + 8 * 29 };
const REGISTERS: u64 = 128 + 176 + 8;

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
    let context = unsafe { &(*context.cast::<libc::ucontext_t>()).uc_mcontext };
    UnwindRegisters {
        pc: context.pc,
        sp: context.sp,
        fp: context.regs[29],
        lr: strip(context.regs[30]),
    }
}

/// Returns an address without the pointer authentication code in its upper bits.
pub(crate) fn strip(address: u64) -> u64 {
    address & 0x0000_ffff_ffff_ffff
}

/// Returns the address of the thread's own block, at the top of its stack mapping.
pub(crate) fn thread_pointer() -> u64 {
    let pointer: u64;
    // SAFETY: the aarch64 ABI of ELF keeps the thread pointer in `tpidr_el0`.
    unsafe {
        asm!("mrs {}, tpidr_el0", out(reg) pointer, options(nostack, nomem, preserves_flags))
    };
    pointer
}

/// Returns the registers here: of the function that this is inlined into.
#[inline(always)]
pub(crate) fn here() -> UnwindRegisters {
    let (pc, sp, fp, lr): (u64, u64, u64, u64);
    // SAFETY: reads registers only.
    unsafe {
        asm!(
            "adr {pc}, .", "mov {sp}, sp", "mov {fp}, x29", "mov {lr}, x30",
            pc = out(reg) pc, sp = out(reg) sp, fp = out(reg) fp, lr = out(reg) lr,
            options(nostack, nomem, preserves_flags),
        );
    }
    UnwindRegisters { pc, sp, fp, lr: strip(lr) }
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
    // SAFETY: the aarch64 system call convention (syscall(2)).
    unsafe {
        asm!(
            "svc 0",
            inlateout("x0") a as isize => result,
            in("x1") b, in("x2") c, in("x3") d, in("x4") e, in("x5") f, in("x8") number,
            options(nostack),
        );
    }
    result
}

/// A function that is called on another stack.
pub(crate) type SlotEntry = extern "C" fn(*mut c_void, *const ScratchSlot);

/// Calls `entry` on the stack below `top`; see the one for x86_64.
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
        "stp x29, x30, [sp, #-16]!",
        ".cfi_def_cfa_offset 16",
        ".cfi_offset x29, -16",
        ".cfi_offset x30, -8",
        "mov x29, sp",
        ".cfi_def_cfa_register x29",
        "mov sp, x2",
        "blr x3",
        "mov sp, x29",
        ".cfi_def_cfa sp, 16",
        "ldp x29, x30, [sp], #16",
        ".cfi_def_cfa_offset 0",
        ".cfi_restore x29",
        ".cfi_restore x30",
        "ret",
        ".cfi_endproc",
    )
}
