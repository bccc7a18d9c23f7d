//! Decompresses an input that may be anything, or is not compressed at all, within bounds.

use std::io::{self, BufRead, BufReader, Read};

use profile_format::gunzip::{GZIP_MAGIC, Gunzip as Members, GunzipError, GunzipLimits};

use crate::{Error, Limits, Problem, Result};

/// Number of decompressed bytes that the ratio is not applied to: the first few kilobytes are
/// mostly headers and padding, which are zeros.
const RATIO_FREE: u64 = 1 << 20;

/// The most bytes that are decompressed before the bounds are looked at.
const STEP: usize = 64 * 1024;

/// The decompressed bytes of an input, gzip members in a row read as one.
pub(crate) struct GunzipReader<R> {
    from: GunzipBody<R>,
    /// The problem that the next read reports.
    failed: Option<Problem>,
    max_total_bytes: u64,
    max_ratio: u64,
    /// Number of members that were begun; none where the input is not compressed.
    pub(crate) members: u64,
    /// True if something that is no member follows the last one.
    pub(crate) trailing: bool,
}

enum GunzipBody<R> {
    Packed(Members<BufReader<R>>),
    /// The input as it is, and how much of it was read.
    Plain(BufReader<R>, u64),
}

impl<R: Read> GunzipReader<R> {
    /// Reads the first header; what has none is taken as it is. An input that ends before it can be
    /// told what it is counts as broken off, not as something else.
    pub(crate) fn open(input: R, limits: &Limits) -> Result<GunzipReader<R>> {
        let &Limits { max_total_bytes, max_ratio, .. } = limits;
        let new = |from, members, failed| {
            let trailing = false;
            GunzipReader { from, failed, max_total_bytes, max_ratio, members, trailing }
        };
        let mut input = BufReader::with_capacity(32 * 1024, input);
        if first_byte(&mut input).map_err(Error::Read)?.is_some_and(|byte| byte != GZIP_MAGIC[0]) {
            return Ok(new(GunzipBody::Plain(input, 0), 0, None));
        }
        let bounds =
            GunzipLimits { max_bytes: max_total_bytes, max_ratio, ratio_free_bytes: RATIO_FREE };
        let mut packed = Members::new(input, bounds);
        let failed = match packed.read_header() {
            Ok(()) => None,
            Err(GunzipError::Input(error)) => return Err(Error::Read(error)),
            Err(GunzipError::CutShort(_)) => Some(Problem::BreaksOff),
            Err(GunzipError::TooLarge { .. }) => Some(too_much(max_total_bytes)),
            Err(_) => return Err(Error::NotGzip),
        };
        Ok(new(GunzipBody::Packed(packed), 1, failed))
    }

    /// Reads some bytes into a buffer that is not empty, and returns how many; 0 where the input
    /// ended well.
    ///
    /// After a problem there is nothing more to read.
    pub(crate) fn read(&mut self, buf: &mut [u8]) -> Result<usize, Problem> {
        if let Some(problem) = self.failed.take() {
            return Err(problem);
        }
        let step = buf.len().min(STEP);
        match &mut self.from {
            GunzipBody::Packed(packed) => {
                let read = packed.read(&mut buf[..step]);
                self.members = packed.members();
                read.or_else(|error| self.map_error(error))
            }
            GunzipBody::Plain(input, produced) => {
                let read = uninterrupted(|| input.read(&mut buf[..step]));
                let read = read.map_err(|error| Problem::Unreadable(error.to_string()))?;
                *produced += read as u64;
                if *produced > self.max_total_bytes {
                    return Err(too_much(self.max_total_bytes));
                }
                Ok(read)
            }
        }
    }

    /// Turns an error of the decoder into a problem. Data that follows the last member is only
    /// noted, and ends the input.
    fn map_error(&mut self, error: GunzipError) -> Result<usize, Problem> {
        Err(match error {
            GunzipError::Trailing => {
                self.trailing = true;
                return Ok(0);
            }
            GunzipError::Input(error) => Problem::Unreadable(error.to_string()),
            GunzipError::CutShort(_) => Problem::BreaksOff,
            GunzipError::TooLarge { .. } => too_much(self.max_total_bytes),
            GunzipError::TooDense { .. } => {
                Problem::Limit { limit: "max_ratio", value: self.max_ratio }
            }
            error => Problem::Damaged(error.to_string()),
        })
    }
}

fn too_much(max_total_bytes: u64) -> Problem {
    Problem::Limit { limit: "max_total_bytes", value: max_total_bytes }
}

/// Returns the first byte, which stays to be read; `None` where there is none.
fn first_byte(input: &mut impl BufRead) -> io::Result<Option<u8>> {
    uninterrupted(|| Ok(input.fill_buf()?.first().copied()))
}

fn uninterrupted<T>(mut read: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match read() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn read_all<R: Read>(gunzip: &mut GunzipReader<R>) -> (Vec<u8>, Result<(), Problem>) {
        let (mut all, mut buf) = (Vec::new(), [0; 1000]);
        loop {
            match gunzip.read(&mut buf) {
                Ok(0) => return (all, Ok(())),
                Ok(read) => all.extend_from_slice(&buf[..read]),
                Err(problem) => return (all, Err(problem)),
            }
        }
    }

    #[track_caller]
    fn check(input: &[u8], data: &[u8], end: Result<(), Problem>) -> (u64, bool) {
        let mut gunzip = GunzipReader::open(input, &Limits::default()).unwrap();
        assert_eq!(read_all(&mut gunzip), (data.to_vec(), end));
        assert_eq!(gunzip.read(&mut [0]), Ok(0), "nothing more to say");
        (gunzip.members, gunzip.trailing)
    }

    #[test]
    fn tells_the_ends_apart() {
        let file = gzip(b"abc");
        assert_eq!(check(&file, b"abc", Ok(())), (1, false));
        assert_eq!(check(&[&file[..], b"\0\0"].concat(), b"abc", Ok(())), (1, true));
        assert_eq!(check(&[&file[..], b"\x1f"].concat(), b"abc", Ok(())), (1, true));
        assert_eq!(check(&[&file[..], &file].concat(), b"abcabc", Ok(())), (2, false));
    }

    #[test]
    fn only_what_can_be_told_is_refused() {
        let open = |input: &[u8]| GunzipReader::open(input, &Limits::default()).err();
        assert!(matches!(open(b"\x1f\x9d\x08\0\0\0\0\0\0\0\0"), Some(Error::NotGzip)));
        assert!(matches!(open(b"\x1f\x8b\x07\0\0\0\0\0\0\0\0"), Some(Error::NotGzip)));
        assert!(open(b"").is_none());
        assert!(open(b"\x1f\x8b\x08").is_none());
    }

    #[test]
    fn what_is_not_compressed_is_read_as_it_is() {
        assert_eq!(check(b"abc", b"abc", Ok(())), (0, false));
        let limits = Limits { max_total_bytes: 2, ..Limits::default() };
        let (_, end) = read_all(&mut GunzipReader::open(&b"abc"[..], &limits).unwrap());
        assert_eq!(end, Err(too_much(2)));
    }

    /// A reader that fails as told, once, after some bytes.
    struct FailingReader<'a>(&'a [u8], Option<io::ErrorKind>);

    impl Read for FailingReader<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            match (self.0.read(buf)?, self.1.take()) {
                (0, Some(kind)) => Err(kind.into()),
                (read, kind) => {
                    self.1 = kind;
                    Ok(read)
                }
            }
        }
    }

    #[test]
    fn failures_of_the_input_are_told_from_damage() {
        let file = gzip(b"abc");
        let reset = Some(io::ErrorKind::ConnectionReset);
        let open = |input| GunzipReader::open(input, &Limits::default());
        assert!(matches!(open(FailingReader(b"", reset)).err(), Some(Error::Read(_))));
        assert!(matches!(open(FailingReader(&file[..5], reset)).err(), Some(Error::Read(_))));
        let (_, end) = read_all(&mut open(FailingReader(&file[..15], reset)).unwrap());
        assert_eq!(end, Err(Problem::Unreadable("connection reset".into())));
        let (data, end) = read_all(&mut open(FailingReader(&file, reset)).unwrap());
        assert_eq!(data, b"abc");
        assert_eq!(end, Err(Problem::Unreadable("connection reset".into())));
        let interrupted = Some(io::ErrorKind::Interrupted);
        let (data, end) = read_all(&mut open(FailingReader(&file, interrupted)).unwrap());
        assert_eq!((&data[..], end), (&b"abc"[..], Ok(())));
    }
}
