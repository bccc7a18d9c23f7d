//! The symbol `syscall`, for x86_64.

use core::arch::naked_asm;
use core::ffi::c_long;

use crate::waits::raw::syscall::{PRESENT, fail, futex};

/// Does the same as libc's function of the same name. It is variadic in C; what isn't passed is
/// read all the same, as libc reads it, and ignored by the kernel.
///
/// It has no frame of its own, so that a call which returns on another stack, or twice, works.
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
