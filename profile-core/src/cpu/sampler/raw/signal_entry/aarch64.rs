//! The entry of a signal handler, for aarch64.

/// Defines a signal handler that runs `$work` on a stack of our own and takes nothing of the stack that
/// the kernel put its frame on. It claims the first free slot from one that goes by the thread, as
/// [`crate::stacks::raw::scratch`] does; where none is free, `$missed` is counted up. Registers need not be kept: the
/// kernel restores all of them.
macro_rules! signal_entry {
    ($(#[$attributes:meta])* $name:ident, $work:path, $missed:path) => {
        $(#[$attributes])*
        #[unsafe(naked)]
        pub(crate) unsafe extern "C" fn $name(
            _signal: libc::c_int,
            _info: *const libc::siginfo_t,
            _context: *const libc::c_void,
        ) {
            core::arch::naked_asm!(
                ".cfi_startproc",
                ".cfi_undefined x30",
                // `bti c`, by a name that every assembler knows: the kernel comes here as a call does.
                "hint #34",
                "adrp x9, :got:{table}",
                "ldr x9, [x9, :got_lo12:{table}]",
                "ldr x9, [x9]",
                "cbz x9, 5f",
                "mrs x3, tpidr_el0",
                "lsr x3, x3, #12",
                "mov w4, #{slots}",
                "2:",
                "and x3, x3, #{slots} - 1",
                "add x5, x9, x3, lsl #6",
                "ldaxr x6, [x5]",
                "tbnz x6, #0, 3f",
                "add x7, x6, #1",
                "stlxr w8, x7, [x5]",
                "cbz w8, 4f",
                "3:",
                "clrex",
                "add x3, x3, #1",
                "subs w4, w4, #1",
                "b.ne 2b",
                "5:",
                "adrp x9, :got:{missed}",
                "ldr x9, [x9, :got_lo12:{missed}]",
                "6:",
                "ldxr x6, [x9]",
                "add x6, x6, #1",
                "stxr w8, x6, [x9]",
                "cbnz w8, 6b",
                "ret",
                "4:",
                "dmb ish",
                "mov x7, #{stride}",
                "madd x7, x3, x7, x9",
                "mov x6, #{first_top}",
                "add x7, x7, x6",
                "mov x6, sp",
                "mov sp, x7",
                "stp x6, x5, [sp, #-32]!",
                "str x30, [sp, #16]",
                "mov x0, x1",
                "mov x1, x2",
                "mov x2, x5",
                "bl {work}",
                "ldr x30, [sp, #16]",
                "ldp x6, x5, [sp]",
                "mov sp, x6",
                // Nobody else writes to a slot that is held.
                "ldr x7, [x5]",
                // Counts up above the stack pointer, and takes back the one.
                "mov x8, #{count}",
                "add x7, x7, x8",
                "sub x7, x7, #1",
                "stlr x7, [x5]",
                "ret",
                ".cfi_endproc",
                table = sym $crate::stacks::raw::scratch::TABLE,
                slots = const $crate::stacks::raw::scratch::SLOTS,
                stride = const $crate::stacks::raw::scratch::STRIDE,
                first_top = const $crate::stacks::raw::scratch::FIRST_TOP,
                count = const $crate::stacks::raw::scratch::GIVE_BACK + 1,
                work = sym $work,
                missed = sym $missed,
            )
        }
    };
}
pub(crate) use signal_entry;
