//! A range of words that lives as long as the process: from the allocator.

use std::sync::atomic::{AtomicU64, Ordering};

/// Allocates zeroed words for the rest of the process's life.
pub(crate) fn reserve(words: usize) -> Option<&'static [AtomicU64]> {
    Some(Box::leak((0..words).map(|_| AtomicU64::new(0)).collect()))
}

/// Sets all of them to 0.
pub(crate) fn release(words: &'static [AtomicU64]) {
    words.iter().for_each(|word| word.store(0, Ordering::Relaxed));
}

/// Returns the size of a page of memory, in bytes.
pub(crate) fn page_size() -> u64 {
    4096
}
