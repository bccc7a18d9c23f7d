//! Files of a folder, or of an archive of another form, as the stream of a tar archive: so all that
//! holds for bundles holds for them.

use std::io::{self, Read};

use crate::tar_reader::{BLOCK, padding};

/// A file on its way into a [`TarStream`].
pub struct StreamedFile {
    /// The name, with `/` between folders.
    pub name: String,
    /// The number of bytes. What is missing of them are zeros, and what is more is left out.
    pub size: u64,
    /// The bytes.
    pub content: Box<dyn Read>,
}

/// The bytes of a tar archive, made as they are read.
///
/// ```
/// use profile_archive::{Bundle, Limits, StreamedFile, TarStream};
///
/// let name = "server/heap.prof".to_owned();
/// let file = StreamedFile { name, size: 3, content: Box::new(&b"abc"[..]) };
/// let bundle = Bundle::read(TarStream::new([Ok(file)].into_iter()), &Limits::default())?;
/// assert_eq!(bundle.entry("server/heap.prof").map(|entry| &entry.data[..]), Some(&b"abc"[..]));
/// assert!(!bundle.truncated);
/// # Ok::<(), profile_archive::Error>(())
/// ```
pub struct TarStream<I> {
    files: I,
    /// Bytes of headers and padding that are to be read next, and how far they were.
    ready: Vec<u8>,
    read: usize,
    /// The file that comes after them, and how much of it is left.
    content: Option<(Box<dyn Read>, u64)>,
    /// The padding behind it.
    padding: u64,
    ended: bool,
}

impl<I: Iterator<Item = io::Result<StreamedFile>>> TarStream<I> {
    /// Makes a stream of files.
    pub fn new(files: I) -> TarStream<I> {
        let (ready, content) = (Vec::new(), None);
        TarStream { files, ready, read: 0, content, padding: 0, ended: false }
    }

    /// Gets the next header ready, or the end.
    fn advance(&mut self) -> io::Result<()> {
        (self.ready, self.read) = (vec![0; std::mem::take(&mut self.padding) as usize], 0);
        match self.files.next().transpose()? {
            Some(StreamedFile { name, size, content }) => {
                self.ready.extend(headers(&name, size));
                self.content = Some((content, size));
                self.padding = padding(size);
            }
            None => {
                self.ready.extend([0; 2 * BLOCK]);
                self.ended = true;
            }
        }
        Ok(())
    }
}

/// Returns the headers of a file: the one of its name where it is long, and its own.
fn headers(name: &str, size: u64) -> Vec<u8> {
    let header = |name: &[u8], size: u64, kind: tar::EntryType| {
        let mut header = tar::Header::new_gnu();
        let length = name.len().min(100);
        header.as_mut_bytes()[..length].copy_from_slice(&name[..length]);
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_cksum();
        header.as_bytes().to_vec()
    };
    let mut bytes = Vec::new();
    if name.len() > 100 {
        let length = name.len() as u64;
        bytes.extend(header(b"././@LongLink", length, tar::EntryType::GNULongName));
        bytes.extend(name.as_bytes());
        bytes.resize(bytes.len() + padding(length) as usize, 0);
    }
    bytes.extend(header(name.as_bytes(), size, tar::EntryType::Regular));
    bytes
}

impl<I: Iterator<Item = io::Result<StreamedFile>>> Read for TarStream<I> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let mut ready = &self.ready[self.read..];
            if !ready.is_empty() {
                let read = ready.read(buffer)?;
                self.read += read;
                return Ok(read);
            }
            match &mut self.content {
                Some((content, left)) if *left > 0 => {
                    let most = usize::try_from(*left).unwrap_or(usize::MAX).min(buffer.len());
                    let mut read = content.read(&mut buffer[..most])?;
                    if read == 0 {
                        // A file that has become shorter.
                        buffer[..most].fill(0);
                        read = most;
                    }
                    *left -= read as u64;
                    return Ok(read);
                }
                _ if self.ended => return Ok(0),
                _ => {
                    self.content = None;
                    self.advance()?;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Bundle, Limits};

    #[test]
    fn files_come_back_by_their_names() {
        let long = format!("{}/heap.prof", "a-folder-of-a-server".repeat(8));
        let names = ["heap.prof", "a/b/cpu.prof", &long];
        let files = names.into_iter().zip([0_usize, 512, 1000]).map(|(name, size)| {
            let content = Box::new(io::Cursor::new(vec![7; size]));
            Ok(StreamedFile { name: name.to_owned(), size: size as u64, content })
        });
        let bundle = Bundle::read(TarStream::new(files), &Limits::default()).unwrap();
        assert!(!bundle.truncated);
        let found: Vec<_> =
            bundle.entries.iter().map(|entry| (entry.name.as_str(), entry.data.len())).collect();
        assert_eq!(found, [("heap.prof", 0), ("a/b/cpu.prof", 512), (&*long, 1000)]);
    }

    #[test]
    fn what_fails_is_told() {
        let files = [Err(io::Error::other("no such luck"))].into_iter();
        assert!(Bundle::read(TarStream::new(files), &Limits::default()).is_err());
        let content = Box::new(&b"ab"[..]);
        let file = StreamedFile { name: "a".to_owned(), size: 4, content };
        let bundle =
            Bundle::read(TarStream::new([Ok(file)].into_iter()), &Limits::default()).unwrap();
        assert_eq!(bundle.entries[0].data, b"ab\0\0");
    }
}
