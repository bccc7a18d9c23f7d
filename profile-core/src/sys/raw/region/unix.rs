//! A range of words that costs memory only where it was written to, and can be given back.

use std::sync::atomic::{AtomicU64, Ordering};

/// Reserves zeroed words for the rest of the process's life. They take memory when they are written
/// to. `None` where the system refuses.
pub(crate) fn reserve(words: usize) -> Option<&'static [AtomicU64]> {
    let bytes = words.checked_mul(size_of::<AtomicU64>())?;
    // SAFETY: mmap(2) of new private memory, at an address of the kernel's choice.
    let start = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            bytes,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANON | libc::MAP_NORESERVE,
            -1,
            0,
        )
    };
    if start == libc::MAP_FAILED {
        return None;
    }
    // SAFETY: page-aligned, readable, writable, zeroed memory of this length, which is never unmapped
    // and which nobody else knows; atomics may be shared and written through a shared reference.
    Some(unsafe { std::slice::from_raw_parts(start.cast::<AtomicU64>(), words) })
}

/// Gives the memory of words from [`reserve`] back: all of them become 0.
pub(crate) fn release(words: &'static [AtomicU64]) {
    // SAFETY: madvise(2) makes the pages of a private mapping of ours zeros on Linux, a value of atomics;
    // elsewhere they may keep what they hold. `reserve` gave whole pages, and callers give back whole pages.
    let advised = unsafe {
        let start = words.as_ptr().cast_mut().cast::<libc::c_void>();
        libc::madvise(start, size_of_val(words), libc::MADV_DONTNEED) == 0
    };
    let given_back = advised && cfg!(target_os = "linux");
    if !given_back {
        words.iter().for_each(|word| word.store(0, Ordering::Relaxed));
    }
}

/// Returns the size of a page of memory, in bytes.
pub(crate) fn page_size() -> u64 {
    // SAFETY: sysconf(3) only reads.
    u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}
