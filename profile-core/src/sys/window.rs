//! Reads stacks without faulting: directly where memory is known to be mapped, through the kernel
//! elsewhere.
//!
//! Runs inside signal handlers and allocators: it does not allocate, lock, call into libc or set
//! `errno`.

use super::arch;
use super::unwind::Stack;

/// A stack, read directly where it is known to be mapped and through the kernel elsewhere.
pub(super) struct Mapped<'a> {
    pub(super) low: u64,
    pub(super) high: u64,
    pub(super) window: &'a mut Window,
}

impl Stack for Mapped<'_> {
    fn read(&mut self, address: u64) -> Option<u64> {
        if !address.is_multiple_of(8) {
            return None;
        }
        if address >= self.low && address < self.high.saturating_sub(7) {
            // SAFETY: between the interrupted stack pointer and the end of the thread's stack
            // mapping, which lasts as long as the thread.
            return Some(unsafe {
                std::ptr::with_exposed_provenance::<u64>(address as usize).read_volatile()
            });
        }
        self.window.word_at(address)
    }
}

impl Stack for Window {
    fn read(&mut self, address: u64) -> Option<u64> {
        if address.is_multiple_of(8) { self.word_at(address) } else { None }
    }
}

/// A copy of a piece of memory that the kernel made, so that a bad address is an error and no fault.
pub(super) struct Window {
    start: u64,
    words: usize,
    copy: [u64; WORDS],
}

/// Half a page: most stacks below which nothing is known yet are short.
const WORDS: usize = 256;

impl Default for Window {
    fn default() -> Window {
        Window { start: 0, words: 0, copy: [0; WORDS] }
    }
}

impl Window {
    /// Another stack is going to be read.
    pub(super) fn forget(&mut self) {
        self.words = 0;
    }

    fn word_at(&mut self, address: u64) -> Option<u64> {
        if let Some(word) = self.word(address) {
            return Some(word);
        }
        const PAGE: u64 = 4096;
        let whole = (WORDS * 8) as u64;
        // The next page may not be there.
        let in_page = PAGE - address % PAGE;
        self.fill(address, whole).or_else(|| self.fill(address, whole.min(in_page)))?;
        self.word(address)
    }

    fn word(&self, address: u64) -> Option<u64> {
        let index = usize::try_from(address.checked_sub(self.start)? / 8).ok()?;
        self.copy.get(..self.words)?.get(index).copied()
    }

    fn fill(&mut self, address: u64, len: u64) -> Option<()> {
        self.words = 0;
        let local = libc::iovec { iov_base: self.copy.as_mut_ptr().cast(), iov_len: len as usize };
        let remote = libc::iovec { iov_base: address as *mut libc::c_void, iov_len: len as usize };
        // SAFETY: getpid(2) and process_vm_readv(2). The kernel writes at most `iov_len` bytes to
        // the copy, which has that room, and fails where the remote memory can't be read.
        let read = unsafe {
            let pid = arch::syscall(libc::SYS_getpid, [0; 6]) as usize;
            let (local, remote) = (&raw const local as usize, &raw const remote as usize);
            arch::syscall(libc::SYS_process_vm_readv, [pid, local, 1, remote, 1, 0])
        };
        if read <= 0 {
            return None;
        }
        self.start = address;
        self.words = read as usize / 8;
        Some(())
    }
}
