//! The calling thread's id and name, for code that may not allocate or lock.

use std::cell::Cell;

thread_local! {
    /// 0 until it was first asked for. Constant and without a destructor, so that it can be read anywhere.
    static TID: Cell<u32> = const { Cell::new(0) };
}

/// The thread's id, as `/proc` has it.
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

/// The thread's name, padded with zeros, as two words of its bytes.
pub(crate) fn name() -> [u64; 2] {
    let mut name = [0_u8; 16];
    // SAFETY: prctl(2): PR_GET_NAME writes at most 16 bytes.
    unsafe { libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()) };
    let (low, high) = name.split_at(8);
    [low, high].map(|half| half.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte)))
}
