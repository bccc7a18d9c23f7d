//! The numbers in a directory of `/proc`, again and again, without allocating.

use std::fs::File;
use std::io::{self, Seek as _, SeekFrom};
use std::os::fd::AsRawFd as _;

/// A directory whose names are numbers, such as `/proc/self/task`.
#[derive(Debug)]
pub(crate) struct NumberedDirectory {
    file: File,
}

/// `struct linux_dirent64` up to its name: inode, offset, length, type (getdents64(2)).
const HEAD: usize = 8 + 8 + 2 + 1;

impl NumberedDirectory {
    pub(crate) fn open(path: &str) -> io::Result<NumberedDirectory> {
        Ok(NumberedDirectory { file: File::open(path)? })
    }

    /// Calls `each` for every name that is a number, and returns how many there were.
    pub(crate) fn numbers(&self, mut each: impl FnMut(u32)) -> io::Result<u64> {
        let mut file = &self.file;
        file.seek(SeekFrom::Start(0))?;
        let mut buffer = [0u8; 4096];
        let mut count = 0;
        loop {
            // SAFETY: getdents64(2) writes at most as many bytes as it is told, which is the length
            // of the buffer.
            let filled = unsafe {
                libc::syscall(
                    libc::SYS_getdents64,
                    file.as_raw_fd(),
                    buffer.as_mut_ptr(),
                    buffer.len(),
                )
            };
            if filled < 0 {
                return Err(io::Error::last_os_error());
            }
            let Some(mut entries) = buffer.get(..filled as usize).filter(|rest| !rest.is_empty())
            else {
                return Ok(count);
            };
            while entries.len() > HEAD {
                let len = usize::from(u16::from_ne_bytes([entries[16], entries[17]]));
                let Some(entry) = entries.get(..len).filter(|entry| entry.len() > HEAD) else {
                    break;
                };
                if let Some(number) = number(&entry[HEAD..]) {
                    count += 1;
                    each(number);
                }
                entries = &entries[len..];
            }
        }
    }
}

/// Parses a name that is a number; the name ends in NUL.
fn number(name: &[u8]) -> Option<u32> {
    let end = name.iter().position(|&byte| byte == 0)?;
    std::str::from_utf8(&name[..end]).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_what_read_dir_lists() {
        // Enough descriptors that one buffer does not hold them.
        let kept: Vec<File> = (0..300).map(|_| File::open("/dev/null").unwrap()).collect();
        let directory = NumberedDirectory::open("/proc/self/fd").unwrap();
        let mut found = Vec::new();
        for _ in 0..2 {
            found.clear();
            let count = directory.numbers(|number| found.push(number)).unwrap();
            assert_eq!(count as usize, found.len());
        }
        for file in &kept {
            assert!(found.contains(&(file.as_raw_fd() as u32)));
        }
        found.sort_unstable();
        found.dedup();
        assert!(found.len() >= 300);
        let tasks = NumberedDirectory::open("/proc/self/task").unwrap();
        let mut own = false;
        tasks.numbers(|tid| own |= tid == std::process::id()).unwrap();
        assert!(own);
    }
}
