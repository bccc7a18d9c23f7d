//! A system call of aarch64, as a function of its own.

use core::arch::naked_asm;
use core::ffi::c_long;

/// Makes the same call without any looking; see the one for x86_64.
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
