//! Reading a profile into [`Stacks`], as its bytes come.

use std::fmt;

use super::reader::MessageReader;
use super::samples::{FieldStorage, StacksReading};
use super::source::{Inflate, MAX_HEADER};
use super::{DecodeError, DecodeLimits, FieldProblem};
use crate::profile::stacks::{RawProfile, Stacks};

/// Reads a raw profile piece by piece and adds its samples up by stack.
///
/// What is accepted, and what an error says, is as for
/// [`Profile::decode`](crate::profile::Profile::decode).
pub struct StacksReader {
    limits: DecodeLimits,
    raw: RawProfile<'static>,
    /// The bytes so far of a field that is not there as a whole.
    open: Vec<u8>,
    reading: StacksReading,
}

impl<'a> Stacks<'a> {
    /// Reads a profile, gzip'd or raw, and adds up its samples. A raw one is borrowed.
    ///
    /// # Errors
    ///
    /// As [`Profile::decode`](crate::profile::Profile::decode).
    pub fn read(bytes: &'a [u8], limits: &DecodeLimits) -> Result<Stacks<'a>, DecodeError> {
        let Some(mut inflate) = Inflate::new(bytes, limits) else {
            let limits = limit_to_offsets(limits);
            limits.check_raw(bytes.len() as u64)?;
            let mut reading = StacksReading::new(bytes.len(), &limits);
            let raw = RawProfile::whole(bytes);
            reading.fields(&raw, bytes, 0, FieldStorage::InPlace, MoreInput::End)?;
            return reading.finish(raw, &limits);
        };
        let mut reader = StacksReader::new(Inflate::PIECE, inflate.size_hint(), limits);
        loop {
            let mut piece = vec![0; Inflate::PIECE];
            match inflate.fill(&mut piece)? {
                0 => return reader.finish(),
                length => piece.truncate(length),
            }
            reader.feed(piece)?;
        }
    }
}

impl StacksReader {
    /// Makes a reader of a profile of about so many bytes, which come in pieces of a size.
    ///
    /// # Panics
    ///
    /// Where the size of a piece is not a power of two.
    pub fn new(piece: usize, expected: usize, limits: &DecodeLimits) -> StacksReader {
        let limits = limit_to_offsets(limits);
        let reading = StacksReading::new(expected, &limits);
        StacksReader { limits, raw: RawProfile::in_pieces(piece), open: Vec::new(), reading }
    }

    /// Takes the next piece.
    ///
    /// # Errors
    ///
    /// Where something in it can't be, or there is too much.
    ///
    /// # Panics
    ///
    /// Where the piece before was shorter than pieces are.
    pub fn feed(&mut self, piece: Vec<u8>) -> Result<(), DecodeError> {
        let StacksReader { limits, raw, open, reading } = self;
        let offset = raw.len();
        limits.check_raw(offset + piece.len() as u64)?;
        raw.push(piece);
        if let Some(begin) = reading.close(raw, open, offset)? {
            let (piece, offset) = (&raw.last()[begin..], offset + begin as u64);
            let left =
                reading.fields(raw, piece, offset, FieldStorage::InPlace, MoreInput::More)?;
            open.extend_from_slice(left);
        }
        reading.fits(raw.len() + open.len() as u64)
    }

    /// Reads the rest, and checks what only the whole can show.
    ///
    /// # Errors
    ///
    /// Where the bytes are no profile.
    pub fn finish(self) -> Result<Stacks<'static>, DecodeError> {
        let StacksReader { limits, raw, open, mut reading } = self;
        let offset = raw.len() - open.len() as u64;
        reading.fields(&raw, &open, offset, FieldStorage::Apart, MoreInput::End)?;
        reading.finish(raw, &limits)
    }
}

/// Lowers limits so far that the offsets of stacks fit.
fn limit_to_offsets(limits: &DecodeLimits) -> DecodeLimits {
    DecodeLimits { max_bytes: limits.max_bytes.min(RawProfile::MOST), ..*limits }
}

/// Says whether more bytes come after those that are there.
#[derive(Clone, Copy, PartialEq)]
enum MoreInput {
    More,
    End,
}

impl StacksReading {
    /// Reads the fields that are there as a whole, and returns the bytes that are left.
    fn fields<'b>(
        &mut self,
        raw: &RawProfile<'_>,
        bytes: &'b [u8],
        offset: u64,
        standing: FieldStorage,
        then: MoreInput,
    ) -> Result<&'b [u8], DecodeError> {
        let mut reader = MessageReader::new("profile", bytes, offset);
        loop {
            let left = &bytes[bytes.len() - reader.left()..];
            if then == MoreInput::More && left.len() < MAX_HEADER {
                return Ok(left);
            }
            match reader.next() {
                Ok(None) => return Ok(left),
                Ok(Some(field)) => self.field(raw, &field, standing)?,
                Err(DecodeError::Field { problem: FieldProblem::Overrun { .. }, .. })
                    if then == MoreInput::More =>
                {
                    return Ok(left);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Reads the fields that began before the piece that came last, which begins at an offset.
    /// Returns the offset in it at which the next field begins; `None` where all of it is still
    /// open.
    fn close(
        &mut self,
        raw: &RawProfile<'_>,
        open: &mut Vec<u8>,
        offset: u64,
    ) -> Result<Option<usize>, DecodeError> {
        let held = open.len();
        let mut piece = raw.last();
        let mut position = 0;
        while position < held {
            let begin = offset - held as u64 + position as u64;
            let mut reader = MessageReader::new("profile", &open[position..], begin);
            // A tag and a length first, which say how much there is to be.
            let needed = reader.extent().unwrap_or(0).max(MAX_HEADER);
            let missing = needed.saturating_sub(reader.left());
            if missing == 0 {
                if let Some(field) = reader.next()? {
                    self.field(raw, &field, FieldStorage::Apart)?;
                }
                position = open.len() - reader.left();
            } else if piece.is_empty() {
                open.drain(..position);
                return Ok(None);
            } else {
                let (more, rest) = piece.split_at(missing.min(piece.len()));
                open.extend_from_slice(more);
                piece = rest;
            }
        }
        open.clear();
        Ok(Some(position - held))
    }
}

impl fmt::Debug for StacksReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StacksReader").field("read", &self.raw.len()).finish_non_exhaustive()
    }
}
