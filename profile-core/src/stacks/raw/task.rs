//! The threads of this process as the kernel shows them under `/proc/self/task`.
//!
//! Files are opened from the folder's descriptor: a path from the root would be walked anew each
//! time, which costs as much as what is read.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::fd::{AsRawFd as _, FromRawFd as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};

/// The folder of threads.
pub(crate) struct TaskFolder {
    folder: File,
}

/// The beginning of a short file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ShortFile {
    bytes: [u8; 192],
    len: usize,
}

impl TaskFolder {
    pub(crate) fn open() -> io::Result<TaskFolder> {
        Ok(TaskFolder { folder: File::open("/proc/self/task")? })
    }

    /// Lists the ids of all threads there are now.
    pub(crate) fn ids() -> io::Result<Vec<u32>> {
        let mut ids = Vec::new();
        for task in fs::read_dir("/proc/self/task")? {
            ids.extend(task?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()));
        }
        Ok(ids)
    }

    /// Returns the number of threads there are now plus a constant: much less work than a list of
    /// them.
    pub(crate) fn count(&self) -> io::Result<u64> {
        // The kernel counts each thread's folder as a link to this one.
        Ok(self.folder.metadata()?.nlink())
    }

    /// Opens a file of a thread; `None` where the thread has ended, or the file is not to be read.
    pub(crate) fn file(&self, tid: u32, name: &str) -> Option<File> {
        let mut path = [0u8; 32];
        // The last byte stays 0.
        let room = path.len() - 1;
        write!(&mut path[..room], "{tid}/{name}").ok()?;
        let flags = libc::O_RDONLY | libc::O_CLOEXEC;
        // SAFETY: openat(2) with a path that ends in NUL.
        let file = unsafe { libc::openat(self.folder.as_raw_fd(), path.as_ptr().cast(), flags) };
        // SAFETY: a descriptor that was opened just now and belongs to nobody else.
        (file >= 0).then(|| unsafe { File::from_raw_fd(file) })
    }

    /// Reads a short file of a thread.
    pub(crate) fn text(&self, tid: u32, name: &str) -> Option<ShortFile> {
        Some(ShortFile::read(&self.file(tid, name)?))
    }
}

impl ShortFile {
    /// Reads from the file's beginning, so that a file can be read again.
    pub(crate) fn read(file: &File) -> ShortFile {
        let mut bytes = [0; 192];
        let len = file.read_at(&mut bytes, 0).unwrap_or(0);
        ShortFile { bytes, len }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Returns it as text; `None` where it is none.
    pub(crate) fn str(&self) -> Option<&str> {
        std::str::from_utf8(self.bytes()).ok()
    }
}

/// Returns the number of files that may be kept open without taking a noticeable part of those that
/// the process can have.
pub(crate) fn spare_files() -> usize {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: getrlimit(2) writes to a structure that lives during the call.
    let known = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } == 0;
    if known { (limit.rlim_cur / 8).min(4096) as usize } else { 0 }
}

/// Reads a thread's name; "(ended)" where it has ended.
pub(crate) fn name_of(tid: u32) -> String {
    std::fs::read_to_string(format!("/proc/self/task/{tid}/comm"))
        .map_or_else(|_| "(ended)".to_owned(), |name| name.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threads_files_are_read_by_its_id() {
        let named = std::thread::Builder::new().name("reads-itself".to_owned());
        let read = || {
            // SAFETY: gettid(2) has no arguments and no effect.
            let tid = unsafe { libc::gettid() } as u32;
            let tasks = TaskFolder::open().unwrap();
            assert!(TaskFolder::ids().unwrap().contains(&tid));
            // Other tests' threads come and go.
            let one_more = || {
                let before = tasks.count().unwrap();
                let during = std::thread::scope(|scope| {
                    scope.spawn(|| tasks.count().unwrap()).join().unwrap()
                });
                during == before + 1
            };
            assert!((0..1000).any(|_| one_more()));
            let name = tasks.text(tid, "comm").unwrap();
            assert_eq!(name.str(), Some("reads-itself\n"));
            assert!(tasks.file(tid, "no such file").is_none());
            assert!(tasks.file(tid, "a name that has no room in the path").is_none());
        };
        named.spawn(read).unwrap().join().unwrap();
    }
}
