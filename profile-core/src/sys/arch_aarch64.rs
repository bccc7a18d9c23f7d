//! What differs between processors: aarch64. Written after the ABI's documents, and not tested.

use core::arch::asm;

use super::unwind::Registers;

/// The DWARF number of the stack pointer.
pub(crate) const DWARF_SP: u16 = 31;
/// The DWARF number of the frame pointer.
pub(crate) const DWARF_FP: u16 = 29;
/// The DWARF number of the return address.
pub(crate) const DWARF_RA: u16 = 30;

/// Where a signal frame, seen from its return trampoline, keeps the interrupted registers: offsets
/// from the stack pointer, which points at a `siginfo` of 128 bytes and then a `ucontext` whose
/// registers begin at 176 + 8 (Linux, arch/arm64/include/uapi/asm/ucontext.h and sigcontext.h).
pub(crate) const SIGNAL_FRAME: SignalFrame =
    SignalFrame { pc: REGISTERS + 8 * 32, sp: REGISTERS + 8 * 31, fp: REGISTERS + 8 * 29 };
const REGISTERS: u64 = 128 + 176 + 8;

/// Offsets of registers in a signal frame.
pub(crate) struct SignalFrame {
    pub(crate) pc: u64,
    pub(crate) sp: u64,
    pub(crate) fp: u64,
}

/// The registers that a signal interrupted.
///
/// # Safety
///
/// `context` is the third argument of a signal handler installed with `SA_SIGINFO`.
pub(crate) unsafe fn interrupted(context: *const libc::c_void) -> Registers {
    // SAFETY: the caller's promise; the kernel passes a `ucontext_t` (sigaction(2)).
    let context = unsafe { &(*context.cast::<libc::ucontext_t>()).uc_mcontext };
    Registers { pc: context.pc, sp: context.sp, fp: context.regs[29], lr: strip(context.regs[30]) }
}

/// An address without the pointer authentication code in its upper bits.
pub(crate) fn strip(address: u64) -> u64 {
    address & 0x0000_ffff_ffff_ffff
}

/// The thread's own block at the top of its stack mapping.
pub(crate) fn thread_pointer() -> u64 {
    let pointer: u64;
    // SAFETY: the aarch64 ABI of ELF keeps the thread pointer in `tpidr_el0`.
    unsafe {
        asm!("mrs {}, tpidr_el0", out(reg) pointer, options(nostack, nomem, preserves_flags))
    };
    pointer
}

/// The registers here: of the function that this is inlined into.
#[inline(always)]
pub(crate) fn here() -> Registers {
    let (pc, sp, fp, lr): (u64, u64, u64, u64);
    // SAFETY: reads registers only.
    unsafe {
        asm!(
            "adr {pc}, .", "mov {sp}, sp", "mov {fp}, x29", "mov {lr}, x30",
            pc = out(reg) pc, sp = out(reg) sp, fp = out(reg) fp, lr = out(reg) lr,
            options(nostack, nomem, preserves_flags),
        );
    }
    Registers { pc, sp, fp, lr: strip(lr) }
}

/// A system call that goes around libc, which may be interposed and sets `errno`. The result is the
/// kernel's: an error is `-errno`.
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
