//! Reads stacks without faulting: directly where memory is known to be mapped, through the kernel
//! elsewhere.
//!
//! Runs inside signal handlers and allocators: it does not allocate, lock, call into libc or set
//! `errno`.

use crate::stacks::raw::arch;
use crate::stacks::unwind::StackMemory;

/// A stack, read directly where it is known to be mapped and through the kernel elsewhere.
pub(crate) struct MappedStack<'a> {
    pub(crate) low: u64,
    pub(crate) high: u64,
    pub(crate) window: &'a mut MemoryWindow,
}

impl StackMemory for MappedStack<'_> {
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

impl StackMemory for MemoryWindow {
    fn read(&mut self, address: u64) -> Option<u64> {
        if address.is_multiple_of(8) { self.word_at(address) } else { None }
    }
}

/// A copy of a piece of memory that the kernel made, so that a bad address is an error and no fault.
pub(crate) struct MemoryWindow {
    start: u64,
    words: usize,
    copies: u32,
    copy: [u64; WORDS],
}

/// Half a page: most stacks below which nothing is known yet are short.
const WORDS: usize = 512;
/// Bytes that may be read below what is asked for: a power of two that divides a page, so that they
/// are in the same one.
const BELOW: u64 = 512;

impl Default for MemoryWindow {
    fn default() -> MemoryWindow {
        MemoryWindow { start: 0, words: 0, copies: 0, copy: [0; WORDS] }
    }
}

impl MemoryWindow {
    /// Forgets the copy: another stack is going to be read.
    pub(crate) fn forget(&mut self) {
        self.words = 0;
        self.copies = 0;
    }

    /// Returns the number of times that memory was copied since the last [`MemoryWindow::forget`].
    pub(crate) fn copies(&self) -> u32 {
        self.copies
    }

    fn word_at(&mut self, address: u64) -> Option<u64> {
        if let Some(word) = self.word(address) {
            return Some(word);
        }
        // What is read next is often just below: a frame pointer under a return address.
        let start = address & !(BELOW - 1);
        // Less is read where the next page isn't there.
        self.fill(start, (WORDS * 8) as u64)?;
        self.word(address)
    }

    fn word(&self, address: u64) -> Option<u64> {
        let index = usize::try_from(address.checked_sub(self.start)? / 8).ok()?;
        self.copy.get(..self.words)?.get(index).copied()
    }

    fn fill(&mut self, address: u64, len: u64) -> Option<()> {
        self.words = 0;
        self.copies += 1;
        let copy = &mut bytes(&mut self.copy)[..len as usize];
        let read = match read_by_vm(address, copy) {
            // A seccomp filter that forbids the call may leave files alone.
            error if error == -libc::EPERM as isize || error == -libc::ENOSYS as isize => {
                read_by_file(address, copy)
            }
            read => read,
        };
        if read <= 0 {
            return None;
        }
        self.start = address;
        self.words = read as usize / 8;
        Some(())
    }
}

/// Reads so many words of memory, or fewer where it can't be read.
pub(crate) fn words(address: u64, count: usize) -> Vec<u64> {
    let mut copy = vec![0u8; count * 8];
    let mut have = 0;
    while have < copy.len() {
        // Up to the next page: it may not be there.
        let at = address + have as u64;
        let room = (4096 - at % 4096).min((copy.len() - have) as u64) as usize;
        let read = read_by_vm(at, &mut copy[have..have + room]);
        if read <= 0 {
            break;
        }
        have += read as usize;
    }
    let whole = copy[..have].chunks_exact(8);
    whole.map(|word| u64::from_ne_bytes(word.try_into().expect("8 bytes"))).collect()
}

fn bytes(words: &mut [u64; WORDS]) -> &mut [u8; WORDS * 8] {
    // SAFETY: the same memory, of which any bytes are valid words and any words valid bytes.
    unsafe { &mut *words.as_mut_ptr().cast() }
}

/// Reads memory by process_vm_readv(2). Returns the number of bytes that could be read, or a
/// negative error number.
fn read_by_vm(address: u64, copy: &mut [u8]) -> isize {
    let local = libc::iovec { iov_base: copy.as_mut_ptr().cast(), iov_len: copy.len() };
    let remote = libc::iovec { iov_base: address as *mut libc::c_void, iov_len: copy.len() };
    // SAFETY: getpid(2) and process_vm_readv(2). The kernel writes at most `iov_len` bytes to the
    // copy, which has that room, and fails where the remote memory can't be read.
    unsafe {
        let pid = arch::syscall(libc::SYS_getpid, [0; 6]) as usize;
        let (local, remote) = (&raw const local as usize, &raw const remote as usize);
        arch::syscall(libc::SYS_process_vm_readv, [pid, local, 1, remote, 1, 0])
    }
}

/// Reads memory through `/proc/self/mem`, opened anew each time: a forked child's would be its
/// parent's.
fn read_by_file(address: u64, copy: &mut [u8]) -> isize {
    let path = c"/proc/self/mem".as_ptr() as usize;
    let flags = (libc::O_RDONLY | libc::O_CLOEXEC) as usize;
    let (to, len) = (copy.as_mut_ptr() as usize, copy.len());
    // SAFETY: openat(2), pread64(2) of at most `len` bytes into the copy, and close(2) of what was
    // opened here. Memory that can't be read is an error.
    unsafe {
        let open = [libc::AT_FDCWD as usize, path, flags, 0, 0, 0];
        let file = arch::syscall(libc::SYS_openat, open);
        if file < 0 {
            return file;
        }
        let file = file as usize;
        let read = arch::syscall(libc::SYS_pread64, [file, to, len, address as usize, 0, 0]);
        arch::syscall(libc::SYS_close, [file, 0, 0, 0, 0, 0]);
        read
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_read_the_same_and_fail_where_nothing_is() {
        let words: Vec<u64> = (0..64).map(|n| n * 0x0101_0101).collect();
        let at = words.as_ptr() as u64;
        for read in [read_by_vm, read_by_file] {
            let mut copy = [0; 512];
            assert_eq!(read(at, &mut copy), 512);
            for (chunk, word) in copy.chunks(8).zip(&words) {
                assert_eq!(chunk, word.to_ne_bytes());
            }
            assert!(read(8, &mut copy) <= 0);
        }
    }
}
