//! Reading a profile into [`Stacks`], as its bytes come.

use std::borrow::Cow;
use std::fmt;

use super::ids::Index;
use super::messages::{Parts, label};
use super::reader::{Field, Reader, Value, varint};
use super::source::{Inflate, MAX_HEADER};
use super::{DecodeError, DecodeLimits, FieldProblem, undefined};
use crate::profile::Samples;
use crate::profile::stacks::{Place, SampleFacts, Stacks, Table, ids};
use crate::profile::wire::Sink;

/// Samples from whose size the number of all is guessed.
const MEASURED: u64 = 1000;

/// Reads a raw profile piece by piece and adds its samples up by stack.
///
/// What is accepted, and what an error says, is as for
/// [`Profile::decode`](crate::profile::Profile::decode).
pub struct StacksReader<'a> {
    limits: DecodeLimits,
    raw: Cow<'a, [u8]>,
    /// Up to where fields have been read.
    position: usize,
    reading: Reading,
}

struct Reading {
    /// Everything but samples.
    parts: Parts,
    table: Table,
    facts: SampleFacts,
    /// The most bytes of memory.
    max_memory: u64,
    /// How large the profile will be, near enough.
    expected: usize,
    /// The least and the greatest id of a location in any stack.
    least: u64,
    greatest: u64,
    /// The values of one sample.
    values: Vec<i64>,
    /// The stack of one sample that doesn't stand there in one piece.
    pieces: Vec<u8>,
}

impl<'a> Stacks<'a> {
    /// Reads a profile, gzip'd or raw, and adds up its samples. A raw one is borrowed.
    ///
    /// # Errors
    ///
    /// As [`Profile::decode`](crate::profile::Profile::decode).
    pub fn read(bytes: &'a [u8], limits: &DecodeLimits) -> Result<Stacks<'a>, DecodeError> {
        let Some(mut inflate) = Inflate::new(bytes, limits) else {
            return StacksReader::over(Cow::Borrowed(bytes), bytes.len(), limits).finish();
        };
        let mut reader = StacksReader::new(inflate.size_hint(), limits);
        let mut piece = vec![0; Inflate::PIECE];
        loop {
            match inflate.read(&mut piece)? {
                0 => return reader.finish(),
                length => reader.feed(&piece[..length])?,
            }
        }
    }
}

impl<'a> StacksReader<'a> {
    /// A reader of a profile of about so many bytes.
    pub fn new(expected: usize, limits: &DecodeLimits) -> StacksReader<'static> {
        let expected = expected.min(usize::try_from(limits.max_bytes).unwrap_or(usize::MAX));
        // Memory that nothing is written to is not taken.
        StacksReader::over(Cow::Owned(Vec::with_capacity(expected)), expected, limits)
    }

    fn over(raw: Cow<'a, [u8]>, expected: usize, limits: &DecodeLimits) -> StacksReader<'a> {
        let max_bytes = limits.max_bytes.min(Table::MOST_BYTES);
        let limits = DecodeLimits { max_bytes, ..*limits };
        let reading = Reading {
            parts: Parts::default(),
            table: Table::default(),
            facts: SampleFacts::default(),
            max_memory: limits.max_memory.min(DecodeLimits::MOST_MEMORY),
            expected,
            least: u64::MAX,
            greatest: 0,
            values: Vec::new(),
            pieces: Vec::new(),
        };
        StacksReader { limits, raw, position: 0, reading }
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    ///
    /// Where something in them can't be, or there are too many.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), DecodeError> {
        self.limits.check_raw((self.raw.len() + bytes.len()) as u64)?;
        self.raw.to_mut().extend_from_slice(bytes);
        self.advance(false)
    }

    /// Reads the rest, and checks what only the whole can show.
    ///
    /// # Errors
    ///
    /// Where the bytes are no profile.
    pub fn finish(mut self) -> Result<Stacks<'a>, DecodeError> {
        if self.raw.is_empty() {
            return Err(DecodeError::Empty);
        }
        self.limits.check_raw(self.raw.len() as u64)?;
        self.advance(true)?;
        let StacksReader { raw, limits, mut reading, .. } = self;
        reading.table.settle(&raw);
        let Reading { parts, table, facts, least, greatest, .. } = reading;
        let (mut profile, index) =
            parts.finish().map_err(|unresolved| unresolved.locate(&raw, &limits))?;
        let all_known = match index {
            Index::Sequential(count) => {
                greatest == 0 && least == u64::MAX || least > 0 && greatest <= u64::from(count)
            }
            _ => (0..table.len())
                .all(|stack| ids(table.bytes(&raw, stack)).all(|id| index.get(id).is_some())),
        };
        if !all_known {
            return Err(unknown_location(&raw, &limits, &index));
        }
        profile.samples = Samples::new(profile.sample_types.len());
        Ok(Stacks::from_parts(profile, raw, table, index, facts))
    }

    /// Reads the fields that are there: all, or those that are complete.
    fn advance(&mut self, last: bool) -> Result<(), DecodeError> {
        let StacksReader { raw, position, reading, .. } = self;
        let raw: &[u8] = raw;
        let mut reader = Reader::new("profile", &raw[*position..], *position as u64);
        loop {
            *position = raw.len() - reader.left();
            if !last && !reader.is_complete(MAX_HEADER) {
                return Ok(());
            }
            let Some(field) = reader.next()? else { return Ok(()) };
            if field.number == 2 {
                reading.sample(raw, &field)?;
            } else {
                reading.fits(field.size() * DecodeLimits::GROWTH)?;
                reading.parts.take(&field)?;
            }
        }
    }
}

impl Reading {
    fn sample(&mut self, raw: &[u8], message: &Field<'_>) -> Result<(), DecodeError> {
        let mut reader = message.message("sample")?;
        let mut place = None;
        let mut keyless = false;
        self.values.clear();
        self.pieces.clear();
        while let Some(field) = reader.next()? {
            match field.number {
                1 => match field.value {
                    Value::Bytes(bytes) if place.is_none() && self.pieces.is_empty() => {
                        if self.see(bytes, &field)? {
                            place = Place::of(bytes, field.end());
                        } else {
                            self.collect(&field)?;
                        }
                    }
                    _ => {
                        if let Some(place) = place.take() {
                            self.pieces.extend_from_slice(place.of_raw(raw));
                        }
                        self.collect(&field)?;
                    }
                },
                2 => field.each_number("sample.value", |value| self.values.push(value as i64))?,
                3 => {
                    let label = label(&mut self.parts.strings, field.message("sample.label")?)?;
                    keyless |= label.key.0 == 0;
                }
                _ => {}
            }
        }
        let values = self.values.len();
        if self.facts.samples == 0 {
            self.table = Table::new(values, 0);
        } else if self.facts.samples == MEASURED {
            self.reserve(message.offset);
        }
        self.parts.count_values(values, message)?;
        let Reading { table, facts, values, pieces, .. } = self;
        let empty = Place::default();
        facts.count(place.is_some() || !pieces.is_empty(), values, keyless);
        if pieces.is_empty() {
            table.add(raw, place.unwrap_or(empty), values);
        } else {
            table.add_copied(raw, pieces, values);
        }
        self.fits(0)
    }

    /// Makes room for all samples, whose number the first ones let guess: growing would take twice
    /// the memory for a moment.
    fn reserve(&mut self, offset: u64) {
        let begun = self.parts.first_sample.map_or(0, |(_, offset)| offset);
        let size = ((offset - begun) / MEASURED).max(1);
        let left = (self.expected as u64).saturating_sub(offset) / size;
        // A repeated stack takes no room. Where all are new, they may be a little shorter.
        let share = self.table.len() as u64 * 100 / MEASURED;
        let more = left * share / 97;
        if self.fits(more * self.table.stack_size()).is_ok() {
            self.table.reserve(more as usize);
        }
    }

    /// Looks at the ids of a stack. Whether they are written as short as can be, so that the same
    /// stack always has the same bytes; where they are not, they are still to be counted.
    #[inline]
    fn see(&mut self, bytes: &[u8], field: &Field<'_>) -> Result<bool, DecodeError> {
        /// The highest bit of each byte says that the number goes on.
        const GOES_ON: u64 = 0x8080_8080_8080_8080;
        /// Four numbers of two bytes each.
        const PAIRS: u64 = 0x0080_0080_0080_0080;
        const LOW_SEVEN: u64 = 0x007f_007f_007f_007f;
        const TOPS: u64 = 0x8000_8000_8000_8000;
        let (mut least, mut greatest, mut short) = (self.least, self.greatest, true);
        let (mut greatest_of_four, mut too_long) = (0_u64, 0);
        let mut rest = bytes;
        while !rest.is_empty() {
            // Most numbers have two bytes, and four of them are looked at together.
            while let Some((eight, after)) = rest.split_first_chunk::<8>() {
                let word = u64::from_le_bytes(*eight);
                if word & GOES_ON != PAIRS {
                    break;
                }
                let second = (word >> 8) & LOW_SEVEN;
                // What fits one byte is too long in two: 0x80 where nothing is in the second.
                too_long |= PAIRS - second;
                let ids = (word & LOW_SEVEN) | second << 7;
                // The greater of each lane, of whose 16 bits the ids need 14.
                let not_less = ((ids | TOPS) - greatest_of_four) & TOPS;
                let mask = (not_less - (not_less >> 15)) | not_less;
                greatest_of_four = (ids & mask) | (greatest_of_four & !mask);
                rest = after;
            }
            if rest.is_empty() {
                break;
            }
            let before = rest;
            let id =
                varint(&mut rest).map_err(|problem| field.error("sample.location_id", problem))?;
            let length = before.len() - rest.len();
            short &= length == 1 || before[length - 1] != 0;
            least = least.min(id);
            greatest = greatest.max(id);
        }
        short &= too_long & PAIRS == 0;
        if short {
            for lane in 0..4 {
                greatest = greatest.max(greatest_of_four >> (16 * lane) & 0xffff);
            }
            // Of two bytes none is 0, and more is not asked.
            least = least.min(greatest);
            (self.least, self.greatest) = (least, greatest);
        }
        Ok(short)
    }

    /// Adds ids to the pieces.
    fn collect(&mut self, field: &Field<'_>) -> Result<(), DecodeError> {
        let Reading { pieces, least, greatest, .. } = self;
        field.each_number("sample.location_id", |id| {
            *least = (*least).min(id);
            *greatest = (*greatest).max(id);
            pieces.varint(id);
        })
    }

    /// Whether so many bytes more fit into memory.
    #[inline]
    fn fits(&self, more: u64) -> Result<(), DecodeError> {
        let stacks = self.table.len() as u64 * self.table.stack_size() + self.table.copied();
        if self.parts.memory() + stacks + more > self.max_memory {
            let limit = self.max_memory;
            return Err(DecodeError::TooLarge { what: "bytes in memory", limit });
        }
        Ok(())
    }
}

/// The error of the first sample with a location that is not there, found by reading once more.
fn unknown_location(raw: &[u8], limits: &DecodeLimits, index: &Index) -> DecodeError {
    let mut reader = Reader::new("profile", raw, 0);
    let mut nth = 0;
    while let Ok(Some(field)) = reader.next() {
        if field.number != 2 {
            continue;
        }
        let mut unknown = None;
        let mut message = field.message("sample").ok();
        while let Some(Ok(Some(part))) = message.as_mut().map(Reader::next) {
            if part.number == 1 {
                let _ = part.each_number("sample.location_id", |id| {
                    if unknown.is_none() && index.get(id).is_none() {
                        unknown = Some(id);
                    }
                });
            }
        }
        if let Some(id) = unknown {
            return undefined(2, nth, "sample.location_id", id).locate(raw, limits);
        }
        nth += 1;
    }
    DecodeError::Field { field: "sample.location_id", offset: 0, problem: FieldProblem::ZeroId }
}

impl fmt::Debug for StacksReader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StacksReader").field("position", &self.position).finish_non_exhaustive()
    }
}
