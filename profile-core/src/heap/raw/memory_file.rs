//! A file that lives in memory only, for C code that insists on writing to a path.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::PathBuf;

use memmap2::Mmap;

/// An anonymous file in memory, reachable by a path while it is open.
pub(crate) struct MemoryFile {
    file: File,
}

impl MemoryFile {
    /// Makes an empty file. `name` shows in `/proc/self/fd` only.
    ///
    /// Where `memfd_create` is forbidden (an old kernel, a seccomp filter), an unlinked file in the
    /// temporary directory takes its place.
    pub(crate) fn new(name: &std::ffi::CStr) -> io::Result<MemoryFile> {
        // SAFETY: memfd_create(2) reads a NUL-terminated name, which a CStr is.
        let fd = unsafe { libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC) };
        if fd < 0 {
            return unlinked_temporary().map(|file| MemoryFile { file });
        }
        // SAFETY: the descriptor was just opened and belongs to nobody else.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(MemoryFile { file: fd.into() })
    }

    /// Returns a path under which this process can open the file for writing.
    pub(crate) fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.file.as_raw_fd()))
    }

    /// Maps the content. The file is owned and its path known to no one else, so that nobody writes
    /// while it is read.
    pub(crate) fn map(self) -> io::Result<Mmap> {
        // SAFETY: the contract of a file mapping is that the file doesn't change while mapped. It
        // has no name in any directory and its descriptor is consumed here.
        unsafe { Mmap::map(&self.file) }
    }
}

fn unlinked_temporary() -> io::Result<File> {
    let directory = std::env::temp_dir();
    let path = directory.join(format!("profilez-{}-{:p}", std::process::id(), &directory));
    let file = File::options().read(true).write(true).create_new(true).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_to_the_path_is_mapped() {
        let file = MemoryFile::new(c"test").unwrap();
        std::fs::write(file.path(), b"heap_v2/1\n").unwrap();
        assert_eq!(&file.map().unwrap()[..], b"heap_v2/1\n");
        let file = MemoryFile { file: unlinked_temporary().unwrap() };
        std::fs::write(file.path(), b"x").unwrap();
        assert_eq!(&file.map().unwrap()[..], b"x");
    }
}
