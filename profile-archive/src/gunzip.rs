//! Decompresses an input that may be anything, or is not compressed at all, within bounds.

use std::io::{self, BufRead, BufReader, Read};
use std::mem;

use flate2::bufread::GzDecoder;

use crate::gzip::MAGIC;
use crate::{Error, Limits, Problem, Result};

/// The ratio says nothing about the first few kilobytes: headers and padding are mostly zeros.
const RATIO_FREE: u64 = 1 << 20;

/// The most that is decompressed before the bounds are looked at.
const STEP: usize = 64 * 1024;

/// The decompressed bytes of an input, gzip members in a row read as one.
pub(crate) struct Gunzip<R> {
    from: Body<R>,
    /// What the next read reports.
    failed: Option<Problem>,
    produced: u64,
    max_total_bytes: u64,
    max_ratio: u64,
    /// How many members were begun; none where the input is not compressed.
    pub(crate) members: u64,
    /// Whether something that is no member follows the last one.
    pub(crate) trailing: bool,
}

enum Body<R> {
    Packed(Box<GzDecoder<Source<R>>>),
    Plain(Source<R>),
    /// The last member has ended.
    Nothing,
}

impl<R: Read> Gunzip<R> {
    /// Reads the first header; what has none is taken as it is. An input that ends before it can be
    /// told what it is counts as broken off, not as something else.
    pub(crate) fn open(input: R, limits: &Limits) -> Result<Gunzip<R>> {
        let mut source = Source::new(input, limits.max_total_bytes);
        if source.fill_buf().map_err(Error::Read)?.first().is_some_and(|&byte| byte != MAGIC[0]) {
            return Ok(Gunzip::new(Body::Plain(source), 0, None, limits));
        }
        let mut decoder = GzDecoder::new(source);
        let mut failed = None;
        if decoder.header().is_none()
            && let Err(error) = decoder.read(&mut [0])
        {
            failed = match (decoder.get_ref().failure, error.kind()) {
                (Some(Failure::Io), _) => return Err(Error::Read(error)),
                (None, io::ErrorKind::UnexpectedEof) => Some(Problem::BreaksOff),
                (None, _) => return Err(Error::NotGzip),
                (Some(Failure::TooMuch), _) => Some(too_much(limits.max_total_bytes)),
            };
        }
        Ok(Gunzip::new(Body::Packed(Box::new(decoder)), 1, failed, limits))
    }

    fn new(from: Body<R>, members: u64, failed: Option<Problem>, limits: &Limits) -> Gunzip<R> {
        Gunzip {
            from,
            failed,
            produced: 0,
            max_total_bytes: limits.max_total_bytes,
            max_ratio: limits.max_ratio,
            members,
            trailing: false,
        }
    }

    /// Reads some bytes into a buffer that is not empty; 0 says that the input ended well.
    ///
    /// After a problem there is nothing more to read.
    pub(crate) fn read(&mut self, buf: &mut [u8]) -> Result<usize, Problem> {
        let step = buf.len().min(STEP);
        loop {
            if let Some(problem) = self.failed.take() {
                return Err(problem);
            }
            let (result, source) = match &mut self.from {
                Body::Packed(decoder) => {
                    let result = decoder.read(&mut buf[..step]);
                    (result, decoder.get_ref())
                }
                Body::Plain(source) => (source.read(&mut buf[..step]), &*source),
                Body::Nothing => return Ok(0),
            };
            match result {
                Ok(0) => self.next_member(),
                Ok(read) => {
                    self.produced += read as u64;
                    let consumed = source.consumed;
                    self.check(consumed)?;
                    return Ok(read);
                }
                Err(error) => {
                    return Err(match (source.failure, error.kind()) {
                        (Some(Failure::Io), _) => Problem::Unreadable(error.to_string()),
                        (Some(Failure::TooMuch), _) => too_much(self.max_total_bytes),
                        (None, io::ErrorKind::UnexpectedEof) => Problem::BreaksOff,
                        (None, _) => Problem::Damaged(error.to_string()),
                    });
                }
            }
        }
    }

    fn check(&self, consumed: u64) -> Result<(), Problem> {
        if self.produced > self.max_total_bytes {
            return Err(too_much(self.max_total_bytes));
        }
        let most = consumed.saturating_mul(self.max_ratio).max(RATIO_FREE);
        if self.produced > most {
            return Err(Problem::Limit { limit: "max_ratio", value: self.max_ratio });
        }
        Ok(())
    }

    /// Goes on with the member that follows, if one does.
    fn next_member(&mut self) {
        let Body::Packed(decoder) = mem::replace(&mut self.from, Body::Nothing) else { return };
        let mut source = decoder.into_inner();
        match source.fill_buf().map(<[u8]>::first) {
            Ok(None) => {}
            Ok(Some(&byte)) if byte == MAGIC[0] => {
                let decoder = GzDecoder::new(source);
                if decoder.header().is_some() {
                    self.members += 1;
                    self.from = Body::Packed(Box::new(decoder));
                } else {
                    self.trailing = true;
                }
            }
            Ok(Some(_)) => self.trailing = true,
            Err(error) => self.failed = Some(Problem::Unreadable(error.to_string())),
        }
    }
}

fn too_much(max_total_bytes: u64) -> Problem {
    Problem::Limit { limit: "max_total_bytes", value: max_total_bytes }
}

/// The compressed input: counted, bounded, and with its own failures told apart from the decoder's.
struct Source<R> {
    inner: BufReader<R>,
    consumed: u64,
    most: u64,
    failure: Option<Failure>,
}

#[derive(Clone, Copy, Debug)]
enum Failure {
    Io,
    TooMuch,
}

impl<R: Read> Source<R> {
    fn new(input: R, most: u64) -> Source<R> {
        let inner = BufReader::with_capacity(32 * 1024, input);
        Source { inner, consumed: 0, most, failure: None }
    }
}

impl<R: Read> BufRead for Source<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        // The decoder loops for as long as there is input and no output, which an endless row of
        // empty blocks would make for ever.
        if self.consumed > self.most {
            self.failure = Some(Failure::TooMuch);
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        while let Err(error) = self.inner.fill_buf() {
            if error.kind() != io::ErrorKind::Interrupted {
                self.failure = Some(Failure::Io);
                return Err(error);
            }
        }
        Ok(self.inner.buffer())
    }

    fn consume(&mut self, amount: usize) {
        self.consumed += amount as u64;
        self.inner.consume(amount);
    }
}

impl<R: Read> Read for Source<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(buf)?;
        self.consume(read);
        Ok(read)
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

    fn read_all<R: Read>(gunzip: &mut Gunzip<R>) -> (Vec<u8>, Result<(), Problem>) {
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
        let mut gunzip = Gunzip::open(input, &Limits::default()).unwrap();
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
        let open = |input: &[u8]| Gunzip::open(input, &Limits::default()).err();
        assert!(matches!(open(b"\x1f\x9d\x08\0\0\0\0\0\0\0\0"), Some(Error::NotGzip)));
        assert!(matches!(open(b"\x1f\x8b\x07\0\0\0\0\0\0\0\0"), Some(Error::NotGzip)));
        assert!(open(b"").is_none());
        assert!(open(b"\x1f\x8b\x08").is_none());
    }

    #[test]
    fn what_is_not_compressed_is_read_as_it_is() {
        assert_eq!(check(b"abc", b"abc", Ok(())), (0, false));
        let limits = Limits { max_total_bytes: 2, ..Limits::default() };
        let (_, end) = read_all(&mut Gunzip::open(&b"abc"[..], &limits).unwrap());
        assert_eq!(end, Err(too_much(2)));
    }

    /// Fails as told, once, after some bytes.
    struct Failing<'a>(&'a [u8], Option<io::ErrorKind>);

    impl Read for Failing<'_> {
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
        let open = |input| Gunzip::open(input, &Limits::default());
        assert!(matches!(open(Failing(b"", reset)).err(), Some(Error::Read(_))));
        assert!(matches!(open(Failing(&file[..5], reset)).err(), Some(Error::Read(_))));
        let (_, end) = read_all(&mut open(Failing(&file[..15], reset)).unwrap());
        assert_eq!(end, Err(Problem::Unreadable("connection reset".into())));
        let (data, end) = read_all(&mut open(Failing(&file, reset)).unwrap());
        assert_eq!(data, b"abc");
        assert_eq!(end, Err(Problem::Unreadable("connection reset".into())));
        let interrupted = Some(io::ErrorKind::Interrupted);
        let (data, end) = read_all(&mut open(Failing(&file, interrupted)).unwrap());
        assert_eq!((&data[..], end), (&b"abc"[..], Ok(())));
    }
}
