//! Memory for code inside allocators: words that come from the kernel when they are first used.
//!
//! It does not allocate, lock, panic, call into libc or set `errno`.

use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use crate::stacks::raw::arch;

/// A fixed number of zeroed words that exist from their first use on, for as long as the process.
#[derive(Debug)]
pub(crate) struct LazyWords {
    len: usize,
    at: AtomicPtr<AtomicU64>,
}

impl LazyWords {
    /// Makes words that don't exist yet.
    pub(crate) const fn new(len: usize) -> LazyWords {
        LazyWords { len, at: AtomicPtr::new(ptr::null_mut()) }
    }

    /// Returns the words, if somebody has used them before.
    #[inline]
    pub(crate) fn existing(&self) -> Option<&'static [AtomicU64]> {
        let at = self.at.load(Ordering::Acquire);
        // SAFETY: a mapping of this many words, zeroed, which is never unmapped once it stands here.
        (!at.is_null()).then(|| unsafe { std::slice::from_raw_parts(at, self.len) })
    }

    /// Returns the words. `None` where the kernel gives no memory.
    pub(crate) fn get(&self) -> Option<&'static [AtomicU64]> {
        if let Some(words) = self.existing() {
            return Some(words);
        }
        let bytes = self.len * size_of::<AtomicU64>();
        let protection = (libc::PROT_READ | libc::PROT_WRITE) as usize;
        let flags = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS) as usize;
        // SAFETY: mmap(2), which makes a mapping of its own and touches no other.
        let mapped =
            unsafe { arch::syscall(libc::SYS_mmap, [0, bytes, protection, flags, usize::MAX, 0]) };
        if mapped <= 0 {
            return None;
        }
        let new = mapped as *mut AtomicU64;
        let nothing = ptr::null_mut();
        if self.at.compare_exchange(nothing, new, Ordering::AcqRel, Ordering::Acquire).is_err() {
            // Another thread was faster.
            // SAFETY: munmap(2) of the mapping just made, which nobody else knows.
            unsafe { arch::syscall(libc::SYS_munmap, [mapped as usize, bytes, 0, 0, 0, 0]) };
        }
        self.existing()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_the_same_for_every_thread_and_zeroed() {
        static WORDS: LazyWords = LazyWords::new(3000);
        assert!(WORDS.existing().is_none());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let words = WORDS.get().unwrap();
                    assert_eq!(words.len(), 3000);
                    words[2999].fetch_add(1, Ordering::Relaxed);
                });
            }
        });
        let words = WORDS.existing().unwrap();
        assert_eq!(words[2999].load(Ordering::Relaxed), 4);
        assert!(words[..2999].iter().all(|word| word.load(Ordering::Relaxed) == 0));
    }

    #[test]
    fn the_kernels_no_is_a_none() {
        static TOO_MANY: LazyWords = LazyWords::new(1 << 58);
        assert!(TOO_MANY.get().is_none());
    }
}
