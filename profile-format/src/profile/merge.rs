//! Adding profiles up, each with a factor: 1 and 1 for a sum, 1 and -1 for what one has more than
//! the other.
//!
//! What counts as the same is what github.com/google/pprof takes for it. Everything is found by the
//! hash of its content, in integers: no sample is ever written out as text.

#[cfg(test)]
mod tests;

use std::hash::{BuildHasher, RandomState};
use std::iter::zip;

use hashbrown::HashTable;

use super::{Builder, Function, Label, Line, Mapping, Profile, Samples, StrId, ValueType};

/// Profiles that can't be added up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MergeError {
    /// There is no profile.
    #[error("there is no profile to merge")]
    Nothing,
    /// Periods count different things, so that samples of the one are none of the other.
    #[error("the profiles have different period types: {first} and {other}")]
    PeriodType {
        /// Period type of the first profile, as `kind/unit`; `none` where it has none.
        first: String,
        /// The one that differs.
        other: String,
    },
    /// No sample type is in every profile.
    #[error("the profiles have no sample type in common: {first} and {other}")]
    SampleTypes {
        /// Sample types of the first profile that all before `other` have too.
        first: String,
        /// Sample types of the profile that has none of them.
        other: String,
    },
}

impl Profile {
    /// Adds up profiles, each times its factor.
    ///
    /// Values of samples with the same stack and labels are added, those that come to nothing are
    /// left out, and so is everything that only they refer to. Two locations are the same where
    /// they are at the same place of the same mapping, wherever that was loaded, and have the same
    /// lines; two mappings where they have the same size, offset, and build id or else file. Sums
    /// are exact before they are cut off at the ends of `i64`.
    ///
    /// Of the sample types those stay that every profile has, in the order of the first. The time
    /// is the earliest, the duration the sum, the period the longest, and each comment stays once;
    /// names of frames to drop or keep are the first's.
    ///
    /// The profiles must [check](Profile::check), as those do that were decoded.
    ///
    /// # Errors
    ///
    /// Where the period types differ, or no sample type is in all of them.
    pub fn merge(parts: &[(&Profile, i64)]) -> Result<Profile, MergeError> {
        let merged = sum(parts)?;
        if (0..merged.samples.len()).any(|index| is_zero(merged.samples.get(index).values)) {
            // Once more, for what only these referred to.
            return sum(&[(&merged, 1)]);
        }
        Ok(merged)
    }

    /// Returns the difference from an earlier profile of the same process, as Go's `?seconds=`
    /// writes it: the earlier one is subtracted, the time is this one's and the duration lies
    /// between the two.
    ///
    /// What has become less is negative.
    ///
    /// # Errors
    ///
    /// As [`Profile::merge`].
    pub fn since(&self, earlier: &Profile) -> Result<Profile, MergeError> {
        let mut delta = Profile::merge(&[(self, 1), (earlier, -1)])?;
        delta.time_nanos = self.time_nanos;
        delta.duration_nanos = self.time_nanos.saturating_sub(earlier.time_nanos).max(0);
        Ok(delta)
    }
}

fn is_zero(values: &[i64]) -> bool {
    values.iter().all(|&value| value == 0)
}

/// Adds all profiles up in one pass. Samples that were zero from the start are not taken along;
/// those that came to zero stay.
fn sum(parts: &[(&Profile, i64)]) -> Result<Profile, MergeError> {
    let &(first, _) = parts.first().ok_or(MergeError::Nothing)?;
    let types = common_types(parts)?;
    let names: Vec<_> = types.iter().map(|&t| (first.str(t.kind), first.str(t.unit))).collect();
    let mut merge = ProfileMerge::new(&names);
    for &(profile, factor) in parts {
        merge.add(profile, factor, &names);
    }
    let mut merged = merge.finish();
    header(&mut merged, parts);
    Ok(merged.finish())
}

/// Returns the sample types of the first profile that all have.
pub(super) fn common_types(parts: &[(&Profile, i64)]) -> Result<Vec<ValueType>, MergeError> {
    let (first, _) = parts[0];
    let period = |profile: &Profile| {
        profile.period_type.map_or("none".to_owned(), |period| profile.type_name(period))
    };
    let list = |profile: &Profile, types: &[ValueType]| {
        let names: Vec<_> = types.iter().map(|&t| profile.type_name(t)).collect();
        names.join(", ")
    };
    let mut common = first.sample_types.clone();
    for (other, _) in parts {
        if period(first) != period(other) {
            return Err(MergeError::PeriodType { first: period(first), other: period(other) });
        }
        let before = list(first, &common);
        common.retain(|&value_type| {
            position(other, first.str(value_type.kind), first.str(value_type.unit)).is_some()
        });
        if common.is_empty() {
            let other = list(other, &other.sample_types);
            return Err(MergeError::SampleTypes { first: before, other });
        }
    }
    Ok(common)
}

/// Returns the index of a sample type.
pub(super) fn position(profile: &Profile, kind: &str, unit: &str) -> Option<usize> {
    profile
        .sample_types
        .iter()
        .position(|&t| profile.str(t.kind) == kind && profile.str(t.unit) == unit)
}

/// Writes the header of a merged profile.
fn header(merged: &mut Builder, parts: &[(&Profile, i64)]) {
    let (first, _) = parts[0];
    let mut comments = Vec::new();
    for (profile, _) in parts {
        for &comment in &profile.comments {
            let comment = merged.str(profile.str(comment));
            if !comments.contains(&comment) {
                comments.push(comment);
            }
        }
    }
    let mut first_text = |field: fn(&Profile) -> StrId| {
        let texts = parts.iter().map(|(profile, _)| profile.str(field(profile)));
        let text = texts.into_iter().find(|text| !text.is_empty());
        merged.str(text.unwrap_or_default())
    };
    let default_sample_type = first_text(|profile| profile.default_sample_type);
    let doc_url = first_text(|profile| profile.doc_url);
    let drop_frames = merged.str(first.str(first.drop_frames));
    let keep_frames = merged.str(first.str(first.keep_frames));
    let period_type = first
        .period_type
        .map(|period| merged.value_type(first.str(period.kind), first.str(period.unit)));
    let times = || parts.iter().map(|(profile, _)| profile.time_nanos).filter(|&time| time != 0);
    let durations = parts.iter().map(|(profile, _)| profile.duration_nanos);
    let profile = merged.profile_mut();
    let known = profile.sample_types.iter().any(|t| t.kind == default_sample_type);
    profile.default_sample_type = if known { default_sample_type } else { StrId(0) };
    profile.comments = comments;
    profile.doc_url = doc_url;
    profile.drop_frames = drop_frames;
    profile.keep_frames = keep_frames;
    profile.period_type = period_type;
    profile.period = parts.iter().map(|(profile, _)| profile.period).max().unwrap_or(0);
    profile.time_nanos = times().min().unwrap_or(0);
    profile.duration_nanos = durations.fold(0, i64::saturating_add);
}

/// The merged profile so far, and where to find what is in it.
struct ProfileMerge {
    builder: Builder,
    hasher: RandomState,
    locations: HashTable<u32>,
    samples: HashTable<usize>,
    mappings: Vec<MappingKey>,
    stacks: Samples,
    /// The values of `stacks`, wide enough for every sum.
    sums: Vec<i128>,
    width: usize,
}

/// The properties that make two mappings the same file.
#[derive(PartialEq)]
struct MappingKey {
    size: u64,
    offset: u64,
    /// The build id, else the file's name.
    file: StrId,
}

/// For each thing of one profile the merged one's, once it was needed.
struct MergedIndices {
    strings: Vec<u32>,
    functions: Vec<u32>,
    mappings: Vec<u32>,
    locations: Vec<u32>,
}

/// Not yet needed.
const NEW: u32 = u32::MAX;

impl ProfileMerge {
    fn new(types: &[(&str, &str)]) -> ProfileMerge {
        ProfileMerge {
            builder: Builder::new(types),
            hasher: RandomState::new(),
            locations: HashTable::new(),
            samples: HashTable::new(),
            mappings: Vec::new(),
            stacks: Samples::new(0),
            sums: Vec::new(),
            width: types.len(),
        }
    }

    fn add(&mut self, profile: &Profile, factor: i64, types: &[(&str, &str)]) {
        let columns: Vec<usize> =
            types.iter().filter_map(|&(kind, unit)| position(profile, kind, unit)).collect();
        let mut known = MergedIndices {
            strings: vec![NEW; profile.strings.count()],
            functions: vec![NEW; profile.functions.len()],
            mappings: vec![NEW; profile.mappings.len()],
            locations: vec![NEW; profile.locations.len()],
        };
        if self.mappings.is_empty() && !profile.mappings.is_empty() {
            // The first is the main program, whether or not a sample is in it.
            self.mapping(profile, &mut known, 0);
        }
        let (mut stack, mut labels) = (Vec::new(), Vec::new());
        for sample in profile.samples.iter() {
            if columns.iter().all(|&column| sample.values[column] == 0) {
                continue;
            }
            stack.clear();
            for &location in sample.stack {
                stack.push(self.location(profile, &mut known, location));
            }
            labels.clear();
            for label in sample.labels {
                labels.push(Label {
                    key: self.string(profile, &mut known, label.key),
                    str: self.string(profile, &mut known, label.str),
                    num: label.num,
                    num_unit: self.string(profile, &mut known, label.num_unit),
                });
            }
            // Their order says nothing, but for that of several with one key.
            labels.sort_by_key(|label| (label.key, label.str == StrId(0)));
            let index = self.sample(&stack, &labels);
            let sums = &mut self.sums[index * self.width..][..self.width];
            for (sum, &column) in zip(sums, &columns) {
                *sum = sum.saturating_add(i128::from(sample.values[column]) * i128::from(factor));
            }
        }
    }

    /// Returns the index of the sample with this stack and these labels.
    fn sample(&mut self, stack: &[u32], labels: &[Label]) -> usize {
        let ProfileMerge { hasher, stacks, .. } = self;
        let hash = hasher.hash_one((stack, labels));
        let found = self.samples.find(hash, |&index| {
            let sample = stacks.get(index);
            sample.stack == stack && sample.labels == labels
        });
        if let Some(&index) = found {
            return index;
        }
        let index = stacks.len();
        stacks.push(stack, &[], labels);
        self.sums.resize(self.sums.len() + self.width, 0);
        self.samples.insert_unique(hash, index, |&index| {
            let sample = stacks.get(index);
            hasher.hash_one((sample.stack, sample.labels))
        });
        index
    }

    fn string(&mut self, profile: &Profile, known: &mut MergedIndices, id: StrId) -> StrId {
        let slot = &mut known.strings[id.0 as usize];
        if *slot == NEW {
            *slot = self.builder.str(profile.str(id)).0;
        }
        StrId(*slot)
    }

    fn function(&mut self, profile: &Profile, known: &mut MergedIndices, index: u32) -> u32 {
        if known.functions[index as usize] == NEW {
            let function = profile.functions[index as usize];
            let function = Function {
                name: self.string(profile, known, function.name),
                system_name: self.string(profile, known, function.system_name),
                filename: self.string(profile, known, function.filename),
                start_line: function.start_line,
            };
            known.functions[index as usize] = self.builder.function(function);
        }
        known.functions[index as usize]
    }

    fn mapping(&mut self, profile: &Profile, known: &mut MergedIndices, index: u32) -> u32 {
        /// Mappings are of whole pages; some writers round the sizes up and some don't.
        const PAGE: u64 = 0x1000;
        if known.mappings[index as usize] == NEW {
            let mapping = profile.mappings[index as usize];
            let mapping = Mapping {
                filename: self.string(profile, known, mapping.filename),
                build_id: self.string(profile, known, mapping.build_id),
                ..mapping
            };
            let size = mapping.limit.saturating_sub(mapping.start);
            let file =
                if mapping.build_id == StrId(0) { mapping.filename } else { mapping.build_id };
            let size = size.checked_next_multiple_of(PAGE).unwrap_or(size);
            let key = MappingKey { size, offset: mapping.offset, file };
            // A process has a few dozen.
            let found = self.mappings.iter().position(|known| *known == key);
            known.mappings[index as usize] = match found {
                Some(found) => found as u32,
                None => {
                    self.mappings.push(key);
                    self.builder.mapping(mapping)
                }
            };
        }
        known.mappings[index as usize]
    }

    fn location(&mut self, profile: &Profile, known: &mut MergedIndices, index: u32) -> u32 {
        if known.locations[index as usize] != NEW {
            return known.locations[index as usize];
        }
        let location = &profile.locations[index as usize];
        let mapping = location.mapping.map(|mapping| self.mapping(profile, known, mapping));
        // Where the mapping is in the merged profile, it may have been loaded elsewhere.
        let address = match (location.mapping, mapping) {
            (Some(of), Some(to)) => location
                .address
                .wrapping_sub(profile.mappings[of as usize].start)
                .wrapping_add(self.builder.profile().mappings[to as usize].start),
            _ => location.address,
        };
        let lines: Vec<Line> = profile
            .lines_of(location)
            .iter()
            .map(|line| Line { function: self.function(profile, known, line.function), ..*line })
            .collect();
        let hash = self.hasher.hash_one((mapping, address, location.is_folded, &lines));
        let merged = self.builder.profile();
        let found = self.locations.find(hash, |&index| {
            let other = &merged.locations[index as usize];
            (other.mapping, other.address, other.is_folded)
                == (mapping, address, location.is_folded)
                && merged.lines_of(other) == lines
        });
        let found = match found {
            Some(&found) => found,
            None => {
                let new = self.builder.location(mapping, address, &lines);
                self.builder.profile_mut().locations[new as usize].is_folded = location.is_folded;
                let merged = self.builder.profile();
                self.locations.insert_unique(hash, new, |&index| {
                    let location = &merged.locations[index as usize];
                    let lines = merged.lines_of(location);
                    let key = (location.mapping, location.address, location.is_folded, lines);
                    self.hasher.hash_one(key)
                });
                new
            }
        };
        known.locations[index as usize] = found;
        found
    }

    fn finish(self) -> Builder {
        let ProfileMerge { mut builder, stacks, sums, width, .. } = self;
        let sums: Vec<i64> = sums
            .into_iter()
            .map(|sum| sum.clamp(i64::MIN.into(), i64::MAX.into()) as i64)
            .collect();
        builder.profile_mut().samples = stacks.with_values(width, sums);
        builder
    }
}
