//! Reading a profile from profile.proto, gzip'd or raw, in one pass.
//!
//! The bytes may come from anyone. What is refused is what github.com/google/pprof refuses, and a
//! little more, so that nothing later has to check again; see [`Profile::decode`].

mod error;
mod ids;
mod messages;
mod reader;
mod samples;
mod source;
mod stacks;
#[cfg(test)]
mod tests;

use std::mem::size_of;

pub use error::{DecodeError, FieldProblem};
pub(super) use ids::IdIndex;
pub(super) use reader::varint;
pub use source::Inflate;
pub use stacks::StacksReader;

use self::ids::IdList;
use self::messages::ProfileParts;
use self::source::FieldSource;
use super::{Function, Label, Line, Location, Profile};

/// Limits on how large a profile may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Bytes of the raw protobuf form, after decompression.
    pub max_bytes: u64,
    /// Decompressed bytes for each compressed one, past the first 16 MiB.
    pub max_ratio: u64,
    /// Bytes of memory for the decoded profile; 16 GiB at most. Two bytes of input can ask for
    /// twelve times as many.
    pub max_memory: u64,
    /// Frames of all stacks with their inlined functions. A location may stand for thousands, in
    /// each of thousands of places.
    pub max_frames: u64,
}

impl DecodeLimits {
    /// Decompressed bytes for which the ratio does not count.
    const RATIO_FREE: u64 = 16 << 20;

    /// The most that a byte of a field can become: an empty label is 2 bytes on the wire.
    const GROWTH: u64 = size_of::<Label>() as u64 / 2;

    /// The most memory: up to here no count of things, of 8 bytes at least, passes 32 bits.
    const MOST_MEMORY: u64 = 16 << 30;
}

impl Default for DecodeLimits {
    /// Returns limits of 1 GiB raw, 4 GiB decoded, 2^30 frames, ratio 100: writers add equal stacks
    /// up, so that large profiles compress to a tenth, and fast deflate gets to 158 on zeros.
    fn default() -> DecodeLimits {
        DecodeLimits {
            max_bytes: 1 << 30,
            max_ratio: 100,
            max_memory: 4 << 30,
            max_frames: 1 << 30,
        }
    }
}

impl DecodeLimits {
    /// Returns the default limits, lowered to what a file of so many bytes, packed or not, has any
    /// reason to become: 64 MiB and 32 bytes of memory for each of its own; 4 million frames and
    /// eight for each, and of a small one half a million and 64 for each. A profile of real
    /// stacks takes a tenth of that.
    pub fn of_file(bytes: usize) -> DecodeLimits {
        let (bytes, most) = (bytes as u64, DecodeLimits::default());
        let most_of = |base: u64, each: u64| base.saturating_add(bytes.saturating_mul(each));
        let max_frames = most_of(4 << 20, 8).min(most_of(1 << 19, 64)).min(most.max_frames);
        let max_memory = most_of(64 << 20, 32).min(most.max_memory);
        DecodeLimits { max_memory, max_frames, ..most }
    }
}

impl Profile {
    /// Reads a profile, gzip'd or raw; the content decides.
    ///
    /// The result [checks](Profile::check) but for label keys: indices are in range and each
    /// sample has one value for each sample type. Names that are not UTF-8 get replacement
    /// characters, a mapping that is not there becomes none, unknown fields are skipped.
    ///
    /// This is stricter than github.com/google/pprof in three points: a profile without sample
    /// types is refused even if it has no samples, gzip'd bytes inside gzip have an error of
    /// their own, and there are limits.
    ///
    /// # Errors
    ///
    /// Where the bytes are not such a profile, or larger than the limits. The error says which
    /// field at which byte.
    pub fn decode(bytes: &[u8], limits: &DecodeLimits) -> Result<Profile, DecodeError> {
        let mut source = FieldSource::new(bytes, limits)?;
        let mut parts = ProfileParts::default();
        let limit = limits.max_memory.min(DecodeLimits::MOST_MEMORY);
        while let Some(field) = source.next()? {
            if parts.memory() + field.size() * DecodeLimits::GROWTH > limit {
                return Err(DecodeError::TooLarge { what: "bytes in memory", limit });
            }
            parts.take(&field)?;
        }
        drop(source);
        let (profile, _) = parts.finish().map_err(|unresolved| unresolved.locate(bytes, limits))?;
        let stacks = profile.samples.stacks.iter().copied();
        profile.check_frames(profile.samples.stacks.len() as u64, stacks, limits)?;
        Ok(profile)
    }
}

impl Profile {
    /// Checks the number of frames that the locations of all stacks come to, which are `count` at
    /// most. They are gone through only where it could be too many.
    fn check_frames(
        &self,
        count: u64,
        locations: impl Iterator<Item = u32>,
        limits: &DecodeLimits,
    ) -> Result<(), DecodeError> {
        let frames = |location: &Location| (location.lines.end - location.lines.start).max(1);
        let frames: Vec<u32> = self.locations.iter().map(frames).collect();
        let most = frames.iter().max().copied().unwrap_or(1);
        let limit = limits.max_frames;
        if count.saturating_mul(most.into()) <= limit {
            return Ok(());
        }
        let mut sum = 0;
        for location in locations {
            sum += u64::from(frames[location as usize]);
            if sum > limit {
                return Err(DecodeError::TooLarge { what: "frames in its stacks", limit });
            }
        }
        Ok(())
    }
}

/// An error that turned out after the last byte.
enum UnresolvedError {
    /// The error as it stands.
    Known(DecodeError),
    /// A problem with the nth field of a number in the outermost message.
    Nth { number: u64, nth: usize, field: &'static str, problem: FieldProblem },
}

impl UnresolvedError {
    /// Finds the offset by reading once more: errors are rare, and offsets of everything costly.
    fn locate(self, bytes: &[u8], limits: &DecodeLimits) -> DecodeError {
        let (number, nth, field, problem) = match self {
            UnresolvedError::Known(error) => return error,
            UnresolvedError::Nth { number, nth, field, problem } => (number, nth, field, problem),
        };
        let find = || -> Result<Option<u64>, DecodeError> {
            let mut source = FieldSource::new(bytes, limits)?;
            let mut count = 0;
            while let Some(candidate) = source.next()? {
                if candidate.number == number {
                    if count == nth {
                        return Ok(Some(candidate.offset));
                    }
                    count += 1;
                }
            }
            Ok(None)
        };
        let offset = find().ok().flatten().unwrap_or_default();
        DecodeError::Field { field, offset, problem }
    }
}

impl ProfileParts {
    /// Returns the memory in use, near enough.
    fn memory(&self) -> u64 {
        let profile = &self.profile;
        let samples = &profile.samples;
        let bytes = size_of_val(&*samples.stacks)
            + size_of_val(&*samples.values)
            + size_of_val(&*samples.labels)
            + samples.stack_ends.len() * 2 * size_of::<usize>()
            + profile.locations.len() * (size_of::<Location>() + size_of::<u64>())
            + profile.lines.len() * size_of::<Line>()
            + profile.functions.len() * (size_of::<Function>() + size_of::<u64>())
            + profile.strings.text.len()
            + profile.strings.ends.len() * size_of::<usize>()
            + size_of_val(&*profile.mappings)
            + size_of_val(&*profile.comments)
            + (self.location_refs.large() + self.function_refs.large() + self.mapping_refs.large())
                * 3
                * size_of::<u64>();
        bytes as u64
    }

    /// Checks what only the whole can show, and turns references into indices. Returns the
    /// way from a location's id to its index, too.
    fn finish(mut self) -> Result<(Profile, IdIndex), UnresolvedError> {
        if self.strings_read == 0 {
            return Err(UnresolvedError::Known(DecodeError::NoStrings));
        }
        self.strings.check(self.strings_read).map_err(UnresolvedError::Known)?;
        self.check_widths()?;
        let mappings = index(&self.mapping_ids, 3, "mapping.id")?;
        let locations = index(&self.location_ids, 4, "location.id")?;
        let functions = index(&self.function_ids, 5, "function.id")?;
        for location in &mut self.profile.locations {
            location.mapping = location
                .mapping
                .and_then(|reference| self.mapping_refs.resolve(reference, &mappings));
        }
        self.resolve_lines(&functions)?;
        self.resolve_stacks(&locations)?;
        Ok((self.profile, locations))
    }

    fn check_widths(&mut self) -> Result<(), UnresolvedError> {
        let types = self.profile.sample_types.len();
        if types == 0 {
            return Err(UnresolvedError::Known(DecodeError::NoSampleTypes));
        }
        self.profile.samples.width = types;
        match self.first_sample {
            Some((found, offset)) if found != types => {
                let problem =
                    FieldProblem::ValueCount { found: found as u64, expected: types as u64 };
                let field = "sample";
                Err(UnresolvedError::Known(DecodeError::Field { field, offset, problem }))
            }
            _ => Ok(()),
        }
    }

    fn resolve_lines(&mut self, functions: &IdIndex) -> Result<(), UnresolvedError> {
        for position in 0..self.profile.lines.len() {
            let line = &mut self.profile.lines[position];
            let Some(function) = self.function_refs.resolve(line.function, functions) else {
                let id = self.function_refs.id(line.function);
                let nth = self
                    .profile
                    .locations
                    .partition_point(|location| location.lines.end as usize <= position);
                return Err(undefined(4, nth, "line.function_id", id));
            };
            line.function = function;
        }
        Ok(())
    }

    fn resolve_stacks(&mut self, locations: &IdIndex) -> Result<(), UnresolvedError> {
        let samples = &mut self.profile.samples;
        self.location_refs.resolve_all(&mut samples.stacks, locations).map_err(|position| {
            let id = self.location_refs.id(samples.stacks[position]);
            let nth = samples.stack_ends.partition_point(|&end| end <= position);
            undefined(2, nth, "sample.location_id", id)
        })
    }
}

fn index(ids: &IdList, number: u64, field: &'static str) -> Result<IdIndex, UnresolvedError> {
    ids.index().map_err(|position| UnresolvedError::Nth {
        number,
        nth: position as usize,
        field,
        problem: FieldProblem::Duplicate(ids.id(position)),
    })
}

fn undefined(number: u64, nth: usize, field: &'static str, id: u64) -> UnresolvedError {
    let problem = if id == 0 { FieldProblem::ZeroId } else { FieldProblem::Undefined(id) };
    UnresolvedError::Nth { number, nth, field, problem }
}
