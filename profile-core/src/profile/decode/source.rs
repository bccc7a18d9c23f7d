//! The fields of the outermost message, from raw or gzip'd bytes.
//!
//! Of a gzip'd profile only a window is held, as large as its largest field.

use std::io::Read;

use flate2::bufread::MultiGzDecoder;

use super::reader::{Field, Reader};
use super::{DecodeError, DecodeLimits};

/// Bytes decompressed at a time.
const CHUNK: usize = 128 << 10;

/// A tag and a length, at ten bytes each.
const MAX_HEADER: usize = 20;

/// Gives fields one by one.
pub(super) struct Source<'a> {
    raw: &'a [u8],
    gzip: Option<Gzip<'a>>,
    position: usize,
}

struct Gzip<'a> {
    decoder: MultiGzDecoder<&'a [u8]>,
    window: Vec<u8>,
    /// The offset of the window's first byte.
    base: u64,
    ended: bool,
    max: Limit,
}

#[derive(Clone, Copy)]
struct Limit {
    bytes: u64,
    what: &'static str,
}

impl<'a> Source<'a> {
    /// Begins to read. The first two bytes tell gzip from protobuf, whose field 3 never has wire
    /// type 7.
    pub(super) fn new(bytes: &'a [u8], limits: &DecodeLimits) -> Result<Source<'a>, DecodeError> {
        if !is_gzip(bytes) {
            if bytes.len() as u64 > limits.max_bytes {
                return Err(too_large("bytes", limits.max_bytes));
            }
            let source = Source { raw: bytes, gzip: None, position: 0 };
            return if bytes.is_empty() { Err(DecodeError::Empty) } else { Ok(source) };
        }
        let by_ratio = (bytes.len() as u64).saturating_mul(limits.max_ratio);
        let by_ratio = by_ratio.max(DecodeLimits::RATIO_FREE);
        let max = if by_ratio < limits.max_bytes {
            Limit { bytes: by_ratio, what: "bytes for what it has compressed" }
        } else {
            Limit { bytes: limits.max_bytes, what: "bytes" }
        };
        let decoder = MultiGzDecoder::new(bytes);
        let mut gzip = Gzip { decoder, window: Vec::new(), base: 0, ended: false, max };
        gzip.fill(0, MAX_HEADER)?;
        if gzip.window.is_empty() {
            return Err(DecodeError::Empty);
        }
        if is_gzip(&gzip.window) {
            return Err(DecodeError::NestedGzip);
        }
        Ok(Source { raw: &[], gzip: Some(gzip), position: 0 })
    }

    /// The next field, or `None` at the end, which for gzip is checked to be the stream's end.
    pub(super) fn next(&mut self) -> Result<Option<Field<'_>>, DecodeError> {
        if let Some(gzip) = &mut self.gzip {
            self.position = gzip.fill(self.position, MAX_HEADER)?;
            if let Some(length) = Reader::new("profile", &gzip.window[self.position..], 0).extent()
            {
                self.position = gzip.fill(self.position, length)?;
            }
        }
        let (window, base) = match &self.gzip {
            Some(gzip) => (gzip.window.as_slice(), gzip.base),
            None => (self.raw, 0),
        };
        let offset = base + self.position as u64;
        let mut reader = Reader::new("profile", &window[self.position..], offset);
        let field = reader.next()?;
        self.position = window.len() - reader.left();
        Ok(field)
    }
}

impl Gzip<'_> {
    /// Makes `needed` bytes available from a position on, or all there are. The bytes before may
    /// go; answers where the position is then.
    fn fill(&mut self, position: usize, needed: usize) -> Result<usize, DecodeError> {
        if self.window.len() - position >= needed || self.ended {
            return Ok(position);
        }
        self.window.drain(..position);
        self.base += position as u64;
        while self.window.len() < needed && !self.ended {
            let start = self.window.len();
            self.window.resize(start + CHUNK, 0);
            let read = self.decoder.read(&mut self.window[start..]);
            self.window.truncate(start + *read.as_ref().unwrap_or(&0));
            let offset = self.base + self.window.len() as u64;
            let read = read.map_err(|error| DecodeError::Gzip { offset, source: error.into() })?;
            self.ended = read == 0;
            if offset > self.max.bytes {
                return Err(too_large(self.max.what, self.max.bytes));
            }
        }
        Ok(0)
    }
}

fn is_gzip(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0x1f, 0x8b])
}

fn too_large(what: &'static str, limit: u64) -> DecodeError {
    DecodeError::TooLarge { what, limit }
}
