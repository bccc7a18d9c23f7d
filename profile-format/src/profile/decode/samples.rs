//! Adding samples up by stack while a profile is read.

use super::ids::IdIndex;
use super::messages::{ProfileParts, label};
use super::reader::{MessageReader, WireField, WireValue, varint};
use super::{DecodeError, DecodeLimits, FieldProblem, undefined};
use crate::profile::Samples;
use crate::profile::stacks::{DistinctStacks, RawProfile, SampleFacts, StackPlace, Stacks, ids};
use crate::profile::wire::FieldSink;

/// Samples from whose size the number of all is guessed.
const MEASURED: u64 = 1000;

/// The parts and samples that have been read.
pub(super) struct StacksReading {
    /// Everything but samples.
    parts: ProfileParts,
    table: DistinctStacks,
    facts: SampleFacts,
    /// The most bytes of memory.
    max_memory: u64,
    /// Size that the profile will have, near enough.
    expected: usize,
    /// The least and the greatest id of a location in any stack, but for those seen by four.
    least: u64,
    greatest: u64,
    four: FourNumbers,
    /// The values of one sample.
    values: Vec<i64>,
    /// The stack of one sample that doesn't stand there in one piece.
    pieces: Vec<u8>,
}

/// The place in which the bytes of a field are that is being read.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum FieldStorage {
    /// In the place where they are kept.
    InPlace,
    /// In memory that is used again.
    Apart,
}

impl StacksReading {
    pub(super) fn new(expected: usize, limits: &DecodeLimits) -> StacksReading {
        StacksReading {
            parts: ProfileParts::default(),
            table: DistinctStacks::default(),
            facts: SampleFacts::default(),
            max_memory: limits.max_memory.min(DecodeLimits::MOST_MEMORY),
            expected,
            least: u64::MAX,
            greatest: 0,
            four: FourNumbers::default(),
            values: Vec::new(),
            pieces: Vec::new(),
        }
    }

    #[inline]
    pub(super) fn field(
        &mut self,
        raw: &RawProfile<'_>,
        field: &WireField<'_>,
        standing: FieldStorage,
    ) -> Result<(), DecodeError> {
        if field.number == 2 {
            return self.sample(raw, field, standing);
        }
        self.fits(field.size() * DecodeLimits::GROWTH)?;
        self.parts.take(field)
    }

    fn sample(
        &mut self,
        raw: &RawProfile<'_>,
        message: &WireField<'_>,
        standing: FieldStorage,
    ) -> Result<(), DecodeError> {
        let mut reader = message.message("sample")?;
        // The stack where it stands in one piece, and where that ends.
        let mut whole: Option<(&[u8], u64)> = None;
        let mut keyless = false;
        self.values.clear();
        self.pieces.clear();
        while let Some(field) = reader.next()? {
            match field.number {
                1 => match field.value {
                    WireValue::Bytes(bytes) if whole.is_none() && self.pieces.is_empty() => {
                        let seen = self.see(bytes);
                        if seen.map_err(|problem| field.error("sample.location_id", problem))? {
                            whole = (!bytes.is_empty()).then_some((bytes, field.end()));
                        } else {
                            self.collect(&field)?;
                        }
                    }
                    _ => {
                        if let Some((bytes, _)) = whole.take() {
                            self.pieces.extend_from_slice(bytes);
                        }
                        self.collect(&field)?;
                    }
                },
                2 => field.each_number("sample.value", |value| self.values.push(value as i64))?,
                3 => {
                    let label = label(&mut self.parts.strings, field.message("sample.label")?)?;
                    keyless |= label.key.0 == 0;
                    self.facts.labels += 1;
                }
                _ => {}
            }
        }
        let values = self.values.len();
        if self.facts.samples == 0 {
            self.table = DistinctStacks::new(values, 0);
        } else if self.facts.samples == MEASURED {
            self.reserve(message.offset);
        }
        self.parts.count_values(values, message)?;
        let StacksReading { table, facts, values, pieces, .. } = self;
        facts.count(whole.is_some() || !pieces.is_empty(), values, keyless);
        match whole {
            Some((stack, end)) if standing == FieldStorage::InPlace => {
                table.add(raw, StackPlace::of(stack, end), stack, values);
            }
            Some((stack, _)) => table.add_copied(raw, stack, values),
            None if pieces.is_empty() => table.add(raw, StackPlace::default(), &[], values),
            None => table.add_copied(raw, pieces, values),
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

    /// Looks at the ids of a stack. Returns whether they are written as short as can be, so that
    /// the same stack always has the same bytes; where they are not, they are still to be counted.
    #[inline]
    fn see(&mut self, bytes: &[u8]) -> Result<bool, FieldProblem> {
        let (mut four, mut short) = (self.four, true);
        let mut rest = bytes;
        while !rest.is_empty() {
            // Most numbers have two bytes.
            while let Some((eight, after)) = rest.split_first_chunk()
                && four.see(*eight)
            {
                rest = after;
            }
            // What is left at the end is seen with some that have been, not one by one.
            if rest.len() < 8
                && rest.len().is_multiple_of(2)
                && let Some(eight) = bytes.last_chunk()
                && four.see(*eight)
            {
                break;
            }
            let before = rest;
            let id = varint(&mut rest)?;
            let length = before.len() - rest.len();
            short &= length == 1 || before[length - 1] != 0;
            self.least = self.least.min(id);
            self.greatest = self.greatest.max(id);
        }
        short &= !four.take_too_long();
        self.four = four;
        Ok(short)
    }

    /// Adds ids to the pieces.
    fn collect(&mut self, field: &WireField<'_>) -> Result<(), DecodeError> {
        let StacksReading { pieces, least, greatest, .. } = self;
        field.each_number("sample.location_id", |id| {
            *least = (*least).min(id);
            *greatest = (*greatest).max(id);
            pieces.varint(id);
        })
    }

    /// Checks that so many bytes more fit into memory.
    #[inline]
    pub(super) fn fits(&self, more: u64) -> Result<(), DecodeError> {
        let stacks = self.table.len() as u64 * self.table.stack_size() + self.table.copied();
        if self.parts.memory() + stacks + more > self.max_memory {
            let limit = self.max_memory;
            return Err(DecodeError::TooLarge { what: "bytes in memory", limit });
        }
        Ok(())
    }

    /// Checks what only the whole can show.
    pub(super) fn finish<'a>(
        mut self,
        raw: RawProfile<'a>,
        limits: &DecodeLimits,
    ) -> Result<Stacks<'a>, DecodeError> {
        if raw.len() == 0 {
            return Err(DecodeError::Empty);
        }
        self.table.add_waiting(&raw);
        let StacksReading { parts, table, facts, least, greatest, four, .. } = self;
        let greatest = greatest.max(four.greatest());
        let (mut profile, index) =
            parts.finish().map_err(|unresolved| unresolved.locate(&raw.joined(), limits))?;
        let all_known = match index {
            IdIndex::Sequential(count) => least > 0 && greatest <= u64::from(count),
            _ => (0..table.len())
                .all(|stack| ids(table.bytes(&raw, stack)).all(|id| index.get(id).is_some())),
        };
        if !all_known {
            return Err(unknown_location(&raw.joined(), limits, &index));
        }
        let locations = (0..table.len())
            .flat_map(|stack| ids(table.bytes(&raw, stack)))
            .map(|id| index.get(id).unwrap_or(0));
        profile.check_frames(table.id_bytes(), locations, limits)?;
        profile.samples = Samples::new(profile.sample_types.len());
        Ok(Stacks::from_parts(profile, raw, table, index, facts))
    }
}

/// Numbers of two bytes, seen four at a time.
#[derive(Clone, Copy, Default)]
struct FourNumbers {
    /// The greatest of each lane of 16 bits.
    greatest: u64,
    /// A bit for each lane that had what fits one byte, 0 too.
    too_long: u64,
}

impl FourNumbers {
    /// Looks at eight bytes. Returns whether they are four numbers of two bytes.
    #[inline]
    fn see(&mut self, bytes: [u8; 8]) -> bool {
        /// The highest bit of each byte says that the number goes on.
        const GOES_ON: u64 = 0x8080_8080_8080_8080;
        const PAIRS: u64 = 0x0080_0080_0080_0080;
        const LOW_SEVEN: u64 = 0x007f_007f_007f_007f;
        const TOPS: u64 = 0x8000_8000_8000_8000;
        let word = u64::from_le_bytes(bytes);
        if word & GOES_ON != PAIRS {
            return false;
        }
        let second = (word >> 8) & LOW_SEVEN;
        // 0x80 where nothing is in the second byte.
        self.too_long |= PAIRS - second;
        let numbers = (word & LOW_SEVEN) | second << 7;
        // Of 16 bits the numbers need 14.
        let not_less = ((numbers | TOPS) - self.greatest) & TOPS;
        let mask = (not_less - (not_less >> 15)) | not_less;
        self.greatest = (numbers & mask) | (self.greatest & !mask);
        true
    }

    /// Returns whether any of them was too long since this was asked last.
    #[inline]
    fn take_too_long(&mut self) -> bool {
        std::mem::take(&mut self.too_long) & 0x0080_0080_0080_0080 != 0
    }

    fn greatest(self) -> u64 {
        (0..4).map(|lane| self.greatest >> (16 * lane) & 0xffff).max().unwrap_or(0)
    }
}

/// Finds the error of the first sample with a location that is not there, by reading once more.
fn unknown_location(raw: &[u8], limits: &DecodeLimits, index: &IdIndex) -> DecodeError {
    let mut reader = MessageReader::new("profile", raw, 0);
    let mut nth = 0;
    while let Ok(Some(field)) = reader.next() {
        if field.number != 2 {
            continue;
        }
        let mut unknown = None;
        let mut message = field.message("sample").ok();
        while let Some(Ok(Some(part))) = message.as_mut().map(MessageReader::next) {
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
