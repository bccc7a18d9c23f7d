//! The symbol `syscall`, for aarch64.

use core::arch::naked_asm;
use core::ffi::c_long;

use crate::waits::raw::syscall::{PRESENT, fail, futex};

/// Does the same as libc's function of the same name; see the one for x86_64.
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
