//! Where a thread's stack is mapped, by `/proc/self/maps`.
//!
//! [`own_stack`] runs inside allocators: it does not allocate, lock, call into libc or set `errno`.

use crate::stacks::raw::arch;

/// The thread whose stack is looked for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum StackOf {
    /// The process's first thread.
    Main,
    /// Another thread, by its own block, which libc puts at the top of the thread's stack.
    Thread { pointer: u64 },
}

impl StackOf {
    pub(crate) fn new(tid: u32, pid: u32, pointer: u64) -> StackOf {
        if tid == pid { StackOf::Main } else { StackOf::Thread { pointer } }
    }

    /// Returns the addresses between which the stack is now, if this line of the map tells: all of
    /// it stays mapped as long as the thread lives. The first thread's grows downwards.
    pub(crate) fn find(self, line: &[u8]) -> Option<(u64, u64)> {
        match self {
            StackOf::Main => line.ends_with(b"[stack]").then(|| range(line))?,
            StackOf::Thread { pointer } => {
                let (low, high) = range(line)?;
                let writable = || line.windows(3).any(|three| three == b" rw");
                // What is above the block may be another mapping that the kernel shows as one.
                ((low..high).contains(&pointer) && writable()).then_some((low, pointer))
            }
        }
    }
}

/// Reads the range of addresses that a line begins with.
fn range(line: &[u8]) -> Option<(u64, u64)> {
    let dash = line.iter().position(|&byte| byte == b'-')?;
    let space = line.iter().position(|&byte| byte == b' ')?;
    Some((hex(&line[..dash])?, hex(line.get(dash + 1..space)?)?))
}

fn hex(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0u64, |number, &digit| {
        let digit = char::from(digit).to_digit(16)?;
        Some(number.checked_mul(16)? | u64::from(digit))
    })
}

/// Bytes by which the first thread's stack pointer may be below its stack as that was last seen.
/// The kernel keeps at least 128 MiB there free of other mappings (Linux, arch/x86/mm/mmap.c:
/// `SIZE_128M`).
pub(crate) const GROWTH: u64 = 64 << 20;

/// Returns whether this is the process's first thread.
pub(crate) fn is_first_thread() -> bool {
    // SAFETY: getpid(2) and gettid(2) have no arguments and no effect.
    let id = |number| unsafe { arch::syscall(number, [0; 6]) };
    id(libc::SYS_gettid) == id(libc::SYS_getpid)
}

/// Finds the calling thread's stack. It takes tens of microseconds: remember the answer.
pub(crate) fn own_stack() -> Option<(u64, u64)> {
    let call = |number, arguments| {
        // SAFETY: openat(2), read(2) and close(2), on a descriptor of our own and a buffer that
        // lives on.
        unsafe { arch::syscall(number, arguments) }
    };
    let pointer = arch::thread_pointer();
    let stack = if is_first_thread() { StackOf::Main } else { StackOf::Thread { pointer } };
    let path = c"/proc/self/maps".as_ptr() as usize;
    let flags = (libc::O_RDONLY | libc::O_CLOEXEC) as usize;
    let file = call(libc::SYS_openat, [libc::AT_FDCWD as usize, path, flags, 0, 0, 0]);
    if file < 0 {
        return None;
    }
    let mut buffer = [0u8; 1024];
    let mut kept = 0;
    let found = loop {
        let room = &mut buffer[kept..];
        let (at, len) = (room.as_mut_ptr() as usize, room.len());
        let read = call(libc::SYS_read, [file as usize, at, len, 0, 0, 0]);
        let Some(read) = usize::try_from(read).ok().filter(|&read| read > 0) else { break None };
        let filled = &buffer[..kept + read];
        let whole = filled.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        let mut lines = filled[..whole].split(|&byte| byte == b'\n');
        if let Some(range) = lines.find_map(|line| stack.find(line)) {
            break Some(range);
        }
        kept = filled.len() - whole;
        buffer.copy_within(whole..whole + kept, 0);
        if kept == buffer.len() {
            // A line with a path that long names no stack.
            kept = 0;
        }
    };
    call(libc::SYS_close, [file as usize, 0, 0, 0, 0, 0]);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_proc_writes_them() {
        let stack = b"7ffc1000-7ffc3000 rw-p 00000000 00:00 0                [stack]";
        let other = b"7f001000-7f003000 rw-p 00000000 00:00 0 ";
        let code = b"7f001000-7f003000 r-xp 00000000 00:00 0 ";
        assert_eq!(StackOf::Main.find(stack), Some((0x7ffc_1000, 0x7ffc_3000)));
        assert_eq!(StackOf::Main.find(other), None);
        let thread = StackOf::Thread { pointer: 0x7f00_2f00 };
        assert_eq!(thread.find(other), Some((0x7f00_1000, 0x7f00_2f00)));
        assert_eq!(thread.find(code), None);
        assert_eq!(thread.find(stack), None);
        assert_eq!(thread.find(b""), None);
        assert_eq!(thread.find(b"x-y z"), None);
    }

    #[test]
    fn this_threads_stack_holds_its_variables() {
        let on_it = || {
            let local = 0u8;
            let at = &raw const local as u64;
            own_stack().is_some_and(|(low, high)| (low..high).contains(&at))
        };
        assert!(on_it());
        assert!(std::thread::spawn(on_it).join().unwrap());
    }
}
