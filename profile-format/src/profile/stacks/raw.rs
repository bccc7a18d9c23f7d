//! The bytes that a profile was read from.

use std::borrow::Cow;

/// The bytes of a profile: in one piece that is borrowed, or in pieces as they were decompressed,
/// which nobody copies into one.
#[derive(Debug)]
pub(in crate::profile) struct RawProfile<'a> {
    /// All but the last have `1 << shift` bytes.
    pieces: Vec<Cow<'a, [u8]>>,
    shift: u32,
    length: u64,
}

impl<'a> RawProfile<'a> {
    /// Offsets of more don't fit.
    pub(in crate::profile) const MOST: u64 = (1 << 31) - 1;

    /// Takes all of the bytes, [`MOST`](Self::MOST) at most.
    pub(in crate::profile) fn whole(bytes: &'a [u8]) -> RawProfile<'a> {
        RawProfile { pieces: vec![Cow::Borrowed(bytes)], shift: 31, length: bytes.len() as u64 }
    }

    /// Makes a profile whose bytes are still to come, in pieces of a power of two.
    pub(in crate::profile) fn in_pieces(size: usize) -> RawProfile<'a> {
        assert!(size.is_power_of_two(), "pieces of a power of two");
        RawProfile { pieces: Vec::new(), shift: size.ilog2(), length: 0 }
    }

    /// Adds the next piece.
    pub(in crate::profile) fn push(&mut self, piece: Vec<u8>) {
        let before = (self.pieces.len() as u64) << self.shift;
        assert_eq!(self.length, before, "only the last piece is short");
        self.length += piece.len() as u64;
        self.pieces.push(Cow::Owned(piece));
    }

    /// Returns the number of bytes.
    pub(in crate::profile) fn len(&self) -> u64 {
        self.length
    }

    /// Returns the piece that came last.
    pub(in crate::profile) fn last(&self) -> &[u8] {
        self.pieces.last().map_or(&[], |piece| piece)
    }

    /// Returns bytes that are in one piece.
    #[inline]
    pub(in crate::profile) fn get(&self, offset: u32, length: u32) -> &[u8] {
        let within = offset & ((1 << self.shift) - 1);
        &self.pieces[(offset >> self.shift) as usize][within as usize..][..length as usize]
    }

    /// Returns all bytes one after the other.
    pub(in crate::profile) fn joined(&self) -> Cow<'_, [u8]> {
        match &*self.pieces {
            [Cow::Borrowed(bytes)] => Cow::Borrowed(bytes),
            pieces => Cow::Owned(pieces.concat()),
        }
    }
}
