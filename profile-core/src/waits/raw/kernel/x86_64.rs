//! A system call of x86_64, as a function of its own.

use core::arch::naked_asm;
use core::ffi::c_long;

/// Makes the same call without any looking, and returns the kernel's own answer. A thread that
/// waits is in here: a function without a frame, so that the way up its stack is known in every
/// build. The compiler writes no unwind table for it, hence the directives.
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
