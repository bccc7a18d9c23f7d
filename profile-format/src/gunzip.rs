//! Decompresses gzip within bounds, whoever wrote it.

use std::io::{self, BufRead, Read};
use std::mem;

use flate2::bufread::GzDecoder;

/// The first two bytes of gzip'd data.
pub const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Number of bytes that are decompressed at a time into a vector.
const PIECE: usize = 128 << 10;

/// Tells whether bytes begin as gzip'd data does.
pub fn is_gzip(bytes: &[u8]) -> bool {
    bytes.starts_with(&GZIP_MAGIC)
}

/// Limits on how much is decompressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GunzipLimits {
    /// Decompressed bytes; and as many compressed ones, so that an endless input ends that
    /// decompresses to nothing.
    pub max_bytes: u64,
    /// Decompressed bytes for each compressed one. Deflate gets to 1032.
    pub max_ratio: u64,
    /// Decompressed bytes for which the ratio does not count.
    pub ratio_free_bytes: u64,
}

impl GunzipLimits {
    /// Limits the output to so many bytes, however well they are compressed.
    pub fn bytes(max_bytes: u64) -> GunzipLimits {
        GunzipLimits { max_bytes, max_ratio: u64::MAX, ratio_free_bytes: u64::MAX }
    }
}

/// The reason why there is no more to decompress.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GunzipError {
    /// The input could not be read.
    #[error(transparent)]
    Input(io::Error),
    /// The input ends before the data does.
    #[error(transparent)]
    CutShort(io::Error),
    /// A header, the compressed data or its checksum is wrong.
    #[error(transparent)]
    Damaged(io::Error),
    /// Something that is no gzip'd data follows after it. Everything before it was there.
    #[error("invalid gzip header")]
    Trailing,
    /// There are more bytes than [`GunzipLimits::max_bytes`]. That many have been read.
    #[error("more than {max_bytes} bytes")]
    TooLarge {
        /// The limit.
        max_bytes: u64,
    },
    /// There are more bytes for the compressed ones than [`GunzipLimits::max_ratio`].
    #[error("more than {most} bytes for what it has compressed")]
    TooDense {
        /// Number of bytes that there may be.
        most: u64,
    },
}

/// The decompressed bytes of gzip'd data, members in a row read as one.
#[derive(Debug)]
pub struct Gunzip<R> {
    /// `None` after the last member, and after an error.
    decoder: Option<Box<GzDecoder<CountedInput<R>>>>,
    /// The error that the next read reports.
    failed: Option<GunzipError>,
    limits: GunzipLimits,
    produced: u64,
    members: u64,
}

impl<R: BufRead> Gunzip<R> {
    /// Begins to read the first header. What is wrong with it is said by [`Gunzip::read`].
    pub fn new(input: R, limits: GunzipLimits) -> Gunzip<R> {
        let input =
            CountedInput { inner: input, consumed: 0, most: limits.max_bytes, failure: None };
        let decoder = Some(Box::new(GzDecoder::new(input)));
        Gunzip { decoder, failed: None, limits, produced: 0, members: 1 }
    }

    /// Returns how many members were begun.
    pub fn members(&self) -> u64 {
        self.members
    }

    /// Reads the first header, unless that was done before.
    ///
    /// # Errors
    ///
    /// Where there is none. After an error there is nothing to read.
    pub fn read_header(&mut self) -> Result<(), GunzipError> {
        match &mut self.decoder {
            Some(decoder) if decoder.header().is_none() => match decoder.read(&mut [0]) {
                Ok(_) => Ok(()),
                Err(error) => Err(self.end(error)),
            },
            _ => Ok(()),
        }
    }

    /// Reads some bytes into a buffer that is not empty; 0 says that the data ended well.
    ///
    /// # Errors
    ///
    /// Each is reported once, and after it there is nothing more to read.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, GunzipError> {
        let room = self.limits.max_bytes - self.produced;
        let room = usize::try_from(room).unwrap_or(usize::MAX).min(buffer.len());
        let mut probe = [0];
        loop {
            if let Some(error) = self.failed.take() {
                return Err(error);
            }
            let Some(decoder) = &mut self.decoder else { return Ok(0) };
            // Where no byte more is allowed, one is enough to tell.
            let into = if room == 0 { &mut probe[..] } else { &mut buffer[..room] };
            match decoder.read(into) {
                Ok(0) => self.next_member(),
                Ok(_) if room == 0 => return Err(self.too_large()),
                Ok(read) => {
                    self.produced += read as u64;
                    self.check_ratio()?;
                    return Ok(read);
                }
                Err(error) => return Err(self.end(error)),
            }
        }
    }

    /// Reads until a buffer is full, the data ends or an error comes. Returns the number of bytes
    /// read, and the error.
    pub fn fill(&mut self, buffer: &mut [u8]) -> (usize, Result<(), GunzipError>) {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) => return (filled, Err(error)),
            }
        }
        (filled, Ok(()))
    }

    /// Reads all there is into a vector, up to an error.
    ///
    /// # Errors
    ///
    /// As those of [`Gunzip::read`]. What came before stays in the vector.
    pub fn read_to_end(&mut self, into: &mut Vec<u8>) -> Result<(), GunzipError> {
        loop {
            let length = into.len();
            into.resize(length + PIECE, 0);
            let (filled, end) = self.fill(&mut into[length..]);
            into.truncate(length + filled);
            end?;
            if filled < PIECE {
                return Ok(());
            }
        }
    }

    /// Ends as the decoder's error says.
    fn end(&mut self, error: io::Error) -> GunzipError {
        let failure = self.decoder.take().and_then(|decoder| decoder.get_ref().failure);
        match (failure, error.kind()) {
            (Some(InputFailure::Io), _) => GunzipError::Input(error),
            (Some(InputFailure::TooMuch), _) => self.too_large(),
            (None, io::ErrorKind::UnexpectedEof) => GunzipError::CutShort(error),
            (None, _) => GunzipError::Damaged(error),
        }
    }

    fn too_large(&mut self) -> GunzipError {
        self.decoder = None;
        GunzipError::TooLarge { max_bytes: self.limits.max_bytes }
    }

    /// Looks at what was consumed so far, so that a bomb ends where it begins.
    fn check_ratio(&mut self) -> Result<(), GunzipError> {
        let consumed = self.decoder.as_ref().map_or(0, |decoder| decoder.get_ref().consumed);
        let most = consumed.saturating_mul(self.limits.max_ratio).max(self.limits.ratio_free_bytes);
        if self.produced > most {
            self.decoder = None;
            return Err(GunzipError::TooDense { most });
        }
        Ok(())
    }

    /// Goes on with the member that follows, if one does.
    fn next_member(&mut self) {
        let Some(decoder) = mem::take(&mut self.decoder) else { return };
        let mut input = decoder.into_inner();
        match input.fill_buf().map(<[u8]>::first) {
            Ok(None) => {}
            Ok(Some(&byte)) if byte == GZIP_MAGIC[0] => {
                let decoder = GzDecoder::new(input);
                if decoder.header().is_some() {
                    self.members += 1;
                    self.decoder = Some(Box::new(decoder));
                } else {
                    self.failed = Some(GunzipError::Trailing);
                }
            }
            Ok(Some(_)) => self.failed = Some(GunzipError::Trailing),
            Err(error) => {
                self.failed = Some(match input.failure {
                    Some(InputFailure::TooMuch) => self.too_large(),
                    _ => GunzipError::Input(error),
                });
            }
        }
    }
}

/// The compressed input: counted, bounded, and with its own failures told apart from the decoder's.
#[derive(Debug)]
struct CountedInput<R> {
    inner: R,
    consumed: u64,
    most: u64,
    failure: Option<InputFailure>,
}

#[derive(Clone, Copy, Debug)]
enum InputFailure {
    Io,
    TooMuch,
}

impl<R: BufRead> BufRead for CountedInput<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        // The decoder loops for as long as there is input and no output, which an endless row of
        // empty blocks would make for ever.
        if self.consumed > self.most {
            self.failure = Some(InputFailure::TooMuch);
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let ended = loop {
            match self.inner.fill_buf() {
                Ok(bytes) => break bytes.is_empty(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.failure = Some(InputFailure::Io);
                    return Err(error);
                }
            }
        };
        // What is buffered comes without another read; the end would be asked for again.
        if ended { Ok(&[]) } else { self.inner.fill_buf() }
    }

    fn consume(&mut self, amount: usize) {
        self.consumed += amount as u64;
        self.inner.consume(amount);
    }
}

impl<R: BufRead> Read for CountedInput<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(buffer)?;
        self.consume(read);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    /// Reads all there is, and returns it, how it ended, and the number of members.
    fn read_all(input: &[u8], limits: GunzipLimits) -> (Vec<u8>, String, u64) {
        let mut gunzip = Gunzip::new(input, limits);
        let (mut all, mut buffer) = (Vec::new(), [0; 1000]);
        let end = loop {
            match gunzip.read(&mut buffer) {
                Ok(0) => break String::new(),
                Ok(read) => all.extend_from_slice(&buffer[..read]),
                Err(error) => break error.to_string(),
            }
        };
        assert_eq!(gunzip.read(&mut [0]).unwrap(), 0, "nothing more to say");
        (all, end, gunzip.members())
    }

    #[track_caller]
    fn check(input: &[u8], data: &[u8], end: &str, members: u64) {
        let read = read_all(input, GunzipLimits::bytes(1 << 20));
        assert_eq!(read, (data.to_vec(), end.to_owned(), members));
    }

    #[test]
    fn each_end_has_its_word() {
        let file = gzip(b"abc");
        check(&file, b"abc", "", 1);
        check(&[&file[..], &file].concat(), b"abcabc", "", 2);
        check(&[&file[..], b"\0\0"].concat(), b"abc", "invalid gzip header", 1);
        check(&[&file[..], b"\x1f"].concat(), b"abc", "invalid gzip header", 1);
        check(&file[..file.len() - 1], b"abc", "unexpected end of file", 1);
        check(&file[..5], b"", "unexpected end of file", 1);
        check(b"", b"", "unexpected end of file", 1);
        check(b"abc", b"", "unexpected end of file", 1);
        check(b"\x1f\x8b\x07\0\0\0\0\0\0\0\0", b"", "invalid gzip header", 1);
        let mut damaged = file.clone();
        damaged[file.len() - 5] ^= 1;
        let (data, end, _) = read_all(&damaged, GunzipLimits::bytes(1 << 20));
        assert_eq!((&data[..], end.contains("corrupt")), (&b"abc"[..], true), "{end}");
    }

    #[test]
    fn as_many_bytes_as_are_allowed_are_read() {
        let data = [7; 5000];
        let packed = gzip(&data);
        let end = |max_bytes| read_all(&packed, GunzipLimits::bytes(max_bytes)).1;
        assert_eq!(end(5000), "");
        let (read, end, _) = read_all(&packed, GunzipLimits::bytes(4999));
        assert_eq!((&read[..], &*end), (&data[..4999], "more than 4999 bytes"));
    }

    #[test]
    fn a_bomb_ends_where_it_begins() {
        let packed = gzip(&vec![0; 1 << 20]);
        let limits = GunzipLimits { max_bytes: 1 << 30, max_ratio: 100, ratio_free_bytes: 100_000 };
        let (read, end, _) = read_all(&packed, limits);
        assert!((99_000..=150_000).contains(&read.len()), "{}", read.len());
        assert!(end.ends_with(" bytes for what it has compressed"), "{end}");
    }

    #[test]
    fn an_endless_row_of_nothing_ends() {
        // A header, and then empty stored blocks of which none is the last.
        let nothing = [&gzip(b"")[..10], &[0, 0, 0, 0xff, 0xff].repeat(1000)].concat();
        let (read, end, _) = read_all(&nothing, GunzipLimits::bytes(100));
        assert_eq!((read.len(), &*end), (0, "more than 100 bytes"));
    }
}
