//! A short file of the kernel's, read from its beginning into the stack.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

/// The first `N` bytes of a file.
pub(super) struct FileText<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> FileText<N> {
    /// Reads the beginning of a file. Empty where the file can't be read.
    pub(super) fn read(file: Option<&File>) -> FileText<N> {
        let mut bytes = [0; N];
        let len = file.and_then(|file| file.read_at(&mut bytes, 0).ok()).unwrap_or(0);
        FileText { bytes, len }
    }

    /// Returns the text up to the first byte that is not UTF-8.
    pub(super) fn as_str(&self) -> &str {
        let bytes = &self.bytes[..self.len];
        match std::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or(""),
        }
    }
}
