//! The fields of the outermost message, from raw or gzip'd bytes.
//!
//! Of a gzip'd profile only a window is held, as large as its largest field.

use std::fmt;

use super::reader::{MessageReader, WireField};
use super::{DecodeError, DecodeLimits};
use crate::gunzip::{Gunzip, GunzipError, GunzipLimits, is_gzip};

/// A tag and a length, at ten bytes each.
pub(super) const MAX_HEADER: usize = 20;

/// Gives fields one by one.
pub(super) struct FieldSource<'a> {
    raw: &'a [u8],
    gzip: Option<GzipFields<'a>>,
    position: usize,
}

struct GzipFields<'a> {
    inflate: Inflate<'a>,
    window: Vec<u8>,
    /// The offset of the window's first byte.
    base: u64,
    ended: bool,
}

impl<'a> FieldSource<'a> {
    /// Begins to read. The first two bytes tell gzip from protobuf, whose field 3 never has wire
    /// type 7.
    pub(super) fn new(
        bytes: &'a [u8],
        limits: &DecodeLimits,
    ) -> Result<FieldSource<'a>, DecodeError> {
        let Some(inflate) = Inflate::new(bytes, limits) else {
            limits.check_raw(bytes.len() as u64)?;
            let source = FieldSource { raw: bytes, gzip: None, position: 0 };
            return if bytes.is_empty() { Err(DecodeError::Empty) } else { Ok(source) };
        };
        let gzip = GzipFields { inflate, window: Vec::new(), base: 0, ended: false };
        Ok(FieldSource { raw: &[], gzip: Some(gzip), position: 0 })
    }

    /// Reads the next field, or `None` at the end, which for gzip is checked to be the stream's
    /// end.
    pub(super) fn next(&mut self) -> Result<Option<WireField<'_>>, DecodeError> {
        if let Some(gzip) = &mut self.gzip {
            self.position = gzip.fill(self.position, MAX_HEADER)?;
            if let Some(length) =
                MessageReader::new("profile", &gzip.window[self.position..], 0).extent()
            {
                self.position = gzip.fill(self.position, length)?;
            }
        }
        let (window, base) = match &self.gzip {
            Some(gzip) => (gzip.window.as_slice(), gzip.base),
            None => (self.raw, 0),
        };
        let offset = base + self.position as u64;
        let mut reader = MessageReader::new("profile", &window[self.position..], offset);
        let field = reader.next()?;
        self.position = window.len() - reader.left();
        Ok(field)
    }
}

impl GzipFields<'_> {
    /// Makes `needed` bytes available from a position on, or all there are. The bytes before may
    /// go: returns the position of the same byte then.
    fn fill(&mut self, position: usize, needed: usize) -> Result<usize, DecodeError> {
        if self.window.len() - position >= needed || self.ended {
            return Ok(position);
        }
        self.window.drain(..position);
        self.base += position as u64;
        while self.window.len() < needed && !self.ended {
            let filled = self.window.len();
            self.window.resize(filled + Inflate::PIECE, 0);
            let read = self.inflate.read(&mut self.window[filled..])?;
            self.window.truncate(filled + read);
            self.ended = read == 0;
        }
        Ok(0)
    }
}

/// Decompresses a gzip'd profile, of one or more members, within limits.
pub struct Inflate<'a> {
    gunzip: Gunzip<&'a [u8]>,
    /// The size that the last member ends with.
    stated: u32,
    /// Number of bytes that came out so far.
    total: u64,
    max_bytes: u64,
}

impl<'a> Inflate<'a> {
    /// Gets ready to decompress; `None` where the bytes are not gzip'd.
    pub fn new(bytes: &'a [u8], limits: &DecodeLimits) -> Option<Inflate<'a>> {
        if !is_gzip(bytes) {
            return None;
        }
        let DecodeLimits { max_bytes, max_ratio, .. } = *limits;
        let ratio_free_bytes = DecodeLimits::RATIO_FREE;
        let gunzip = Gunzip::new(bytes, GunzipLimits { max_bytes, max_ratio, ratio_free_bytes });
        let stated = bytes.last_chunk::<4>().map_or(0, |bytes| u32::from_le_bytes(*bytes));
        Some(Inflate { gunzip, stated, total: 0, max_bytes })
    }

    /// Returns the size that the profile seems to have: the size that the last member ends with,
    /// which anyone can write there.
    pub fn size_hint(&self) -> usize {
        usize::try_from(u64::from(self.stated).min(self.max_bytes)).unwrap_or(0)
    }

    /// Number of bytes to decompress at a time: they stay in the processor's cache until they are
    /// read.
    pub const PIECE: usize = 128 << 10;

    /// Fills a piece with the next bytes. Returns their number, which is smaller than the piece at
    /// the end of the stream alone, which is checked then.
    ///
    /// # Errors
    ///
    /// Where the stream is broken or too large, holds nothing, or is gzip inside gzip.
    pub fn fill(&mut self, piece: &mut [u8]) -> Result<usize, DecodeError> {
        let mut filled = 0;
        while filled < piece.len() {
            match self.read(&mut piece[filled..])? {
                0 => break,
                read => filled += read,
            }
        }
        Ok(filled)
    }

    /// Decompresses into the front of a buffer, of two bytes or more at first. Returns the
    /// number of bytes, or 0 at the end of the stream, which is checked then.
    ///
    /// # Errors
    ///
    /// Where the stream is broken or too large, holds nothing, or is gzip inside gzip.
    fn read(&mut self, into: &mut [u8]) -> Result<usize, DecodeError> {
        let mut length = 0;
        // The beginning is looked at below, so it has to be there.
        while length < into.len().min(2) {
            let offset = self.total + length as u64;
            match self
                .gunzip
                .read(&mut into[length..])
                .map_err(|error| decode_error(error, offset))?
            {
                0 => break,
                read => length += read,
            }
        }
        if self.total == 0 && length == 0 {
            return Err(DecodeError::Empty);
        }
        if self.total == 0 && is_gzip(&into[..length]) {
            return Err(DecodeError::NestedGzip);
        }
        self.total += length as u64;
        Ok(length)
    }
}

impl fmt::Debug for Inflate<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inflate").field("total", &self.total).finish_non_exhaustive()
    }
}

impl DecodeLimits {
    /// Checks that a raw profile of this size may be read.
    pub(super) fn check_raw(&self, length: u64) -> Result<(), DecodeError> {
        if length > self.max_bytes {
            return Err(too_large("bytes", self.max_bytes));
        }
        Ok(())
    }
}

/// Returns the error of a profile that could not be decompressed further, after so many bytes.
fn decode_error(error: GunzipError, offset: u64) -> DecodeError {
    match error {
        GunzipError::TooLarge { max_bytes } => too_large("bytes", max_bytes),
        GunzipError::TooDense { most } => too_large("bytes for what it has compressed", most),
        error => DecodeError::Gzip { offset, source: error.into() },
    }
}

fn too_large(what: &'static str, limit: u64) -> DecodeError {
    DecodeError::TooLarge { what, limit }
}
