//! Large tables of atomic words that take memory only where they are used.

use std::sync::atomic::AtomicU64;

/// Makes so many words, all zero. The kernel gives pages to what is written first, so that a table
/// is as large as what is in it.
pub(crate) fn zeroed(count: usize) -> Box<[AtomicU64]> {
    let words = vec![0u64; count].into_boxed_slice();
    // SAFETY: `AtomicU64` has the size and the bit validity of `u64`, and on the processors that this
    // is for its alignment; the box is the only owner of the words.
    unsafe { Box::from_raw(Box::into_raw(words) as *mut [AtomicU64]) }
}
