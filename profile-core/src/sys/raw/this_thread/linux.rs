//! The calling thread's id and name, for code that may not allocate or lock.

use std::cell::Cell;

thread_local! {
    /// 0 until it was first asked for. Constant and without a destructor, so that it can be read anywhere.
    static TID: Cell<u32> = const { Cell::new(0) };
}

/// Returns the thread's id, as `/proc` has it.
#[inline]
pub(crate) fn tid() -> u32 {
    match TID.get() {
        0 => look_up(),
        tid => tid,
    }
}

#[cold]
fn look_up() -> u32 {
    // SAFETY: gettid(2) has no arguments and no effect.
    let tid = unsafe { libc::gettid() } as u32;
    TID.set(tid);
    tid
}

/// Returns whether there is no thread of this id in the process any more. It makes two system
/// calls, and leaves `errno` as it is.
pub(crate) fn has_ended(tid: u32) -> bool {
    // SAFETY: the address of this thread's `errno`, which always exists; getpid(2) has no arguments and
    // no effect; tgkill(2) without a signal only looks whether there is such a thread.
    unsafe {
        let errno = libc::__errno_location();
        let before = *errno;
        let found = libc::syscall(libc::SYS_tgkill, libc::getpid(), tid, 0);
        let has_ended = found == -1 && *errno == libc::ESRCH;
        *errno = before;
        has_ended
    }
}

/// Runs `child` in every process that is forked from now on, by the one thread that it has.
pub(crate) fn in_forks(child: extern "C" fn()) {
    // SAFETY: pthread_atfork(3) keeps the pointer, to a function that is there for good. Where it fails for
    // want of memory, forks are as they were.
    unsafe { libc::pthread_atfork(None, None, Some(child)) };
}

/// Forgets the id: the thread that forks has another one in the new process.
pub(crate) extern "C" fn forget() {
    TID.set(0);
}

/// Reads the thread's name, padded with zeros, as two words of its bytes.
pub(crate) fn name() -> [u64; 2] {
    let mut name = [0_u8; 16];
    // SAFETY: prctl(2): PR_GET_NAME writes at most 16 bytes.
    unsafe { libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()) };
    let (low, high) = name.split_at(8);
    [low, high].map(|half| half.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte)))
}
