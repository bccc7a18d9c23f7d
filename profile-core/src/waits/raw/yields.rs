//! `sched_yield` as the program calls it: locks that yield before they sleep have begun to wait by
//! then.
//!
//! Runs in place of libc's function: in any thread, at its start and its end, in forked children,
//! in signal handlers, and while the program holds any lock. Nothing here may allocate, lock, wait
//! for anything else, panic, format, or touch a thread-local that is initialised lazily. `errno` is
//! what the kernel's answer makes it.

use libc::{SYS_sched_yield, c_int};

use crate::sys::own_work;
use crate::sys::raw::monotonic::now;
use crate::waits::raw::kernel::kernel;
use crate::waits::raw::syscall::returned;
use crate::waits::{record, yields};

/// Does the same as libc's function of the same name, and notes the yield while waits are recorded.
#[unsafe(no_mangle)]
extern "C" fn sched_yield() -> c_int {
    // SAFETY: sched_yield(2) takes no arguments.
    let call = || unsafe { kernel(SYS_sched_yield, 0, 0, 0, 0, 0, 0) };
    if record::since() == 0 || own_work::is_under_way() {
        return returned(call()) as c_int;
    }
    let began = now();
    let answer = call();
    yields::note(began, now());
    returned(answer) as c_int
}
