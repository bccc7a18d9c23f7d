//! The entry of a signal handler, for x86_64.

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
                ".cfi_undefined rip",
                "mov r8, qword ptr [rip + {table}@GOTPCREL]",
                "mov r8, qword ptr [r8]",
                "test r8, r8",
                "jz 5f",
                "mov rdi, qword ptr fs:[0]",
                "shr rdi, 12",
                "mov ecx, {slots}",
                "2:",
                "and edi, {slots} - 1",
                "mov r11d, edi",
                "shl r11, 6",
                "add r11, r8",
                "mov rax, qword ptr [r11]",
                "test al, 1",
                "jnz 3f",
                "lea r10, [rax + 1]",
                "lock cmpxchg qword ptr [r11], r10",
                "je 4f",
                "3:",
                "inc edi",
                "dec ecx",
                "jnz 2b",
                "5:",
                "mov r8, qword ptr [rip + {missed}@GOTPCREL]",
                "lock inc qword ptr [r8]",
                "ret",
                "4:",
                "imul rdi, rdi, {stride}",
                "lea rax, [r8 + rdi + {first_top}]",
                "mov r9, rsp",
                "mov rsp, rax",
                "push r9",
                "push r11",
                "mov rdi, rsi",
                "mov rsi, rdx",
                "mov rdx, r11",
                "call {work}",
                "pop r11",
                "mov rsp, qword ptr [rsp]",
                "mov rax, {give_back}",
                "add qword ptr [r11], rax",
                "ret",
                ".cfi_endproc",
                table = sym $crate::stacks::raw::scratch::TABLE,
                slots = const $crate::stacks::raw::scratch::SLOTS,
                stride = const $crate::stacks::raw::scratch::STRIDE,
                first_top = const $crate::stacks::raw::scratch::FIRST_TOP,
                give_back = const $crate::stacks::raw::scratch::GIVE_BACK,
                work = sym $work,
                missed = sym $missed,
            )
        }
    };
}
pub(crate) use signal_entry;
