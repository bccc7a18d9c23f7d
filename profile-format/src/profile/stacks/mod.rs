//! The samples of a profile added up by stack, in little memory: what rankings and pictures are
//! made of.
//!
//! A stack stays in the bytes it was read from, as the ids that stand there; only distinct ones are
//! remembered, with the sums of their values. Labels are left out: who needs them takes the whole
//! [`Profile`].

mod raw;
mod table;

use std::borrow::Cow;
use std::collections::HashMap;

pub(super) use self::raw::RawProfile;
pub(super) use self::table::{DistinctStacks, StackPlace};
use super::Profile;
use super::decode::{IdIndex, varint};
use super::wire::FieldSink;

/// The distinct stacks of a profile, in the order in which they came first, each with the sums of
/// its samples' values.
///
/// Two stacks are the same where they are the same locations in the same order.
#[derive(Debug)]
pub struct Stacks<'a> {
    profile: Cow<'a, Profile>,
    raw: RawProfile<'a>,
    table: DistinctStacks,
    index: IdIndex,
    facts: SampleFacts,
}

/// Facts about the samples before they were added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SampleFacts {
    /// Number of samples.
    pub samples: u64,
    /// Number of samples that had no stack.
    pub without_stack: u64,
    /// Number of samples that had a value below zero.
    pub negative: u64,
    /// Number of labels of all samples.
    pub labels: u64,
    /// The first one with a label that has no name.
    pub without_label_key: Option<u64>,
}

impl SampleFacts {
    /// Takes a sample into account.
    pub(super) fn count(&mut self, has_stack: bool, values: &[i64], keyless: bool) {
        if keyless {
            self.without_label_key.get_or_insert(self.samples);
        }
        self.samples += 1;
        self.without_stack += u64::from(!has_stack);
        self.negative += u64::from(values.iter().any(|&value| value < 0));
    }
}

impl<'a> Stacks<'a> {
    /// Adds up the samples of a profile.
    ///
    /// # Panics
    ///
    /// Where its distinct stacks take 2 GiB or more.
    pub fn of(profile: &'a Profile) -> Stacks<'a> {
        Stacks::added(Cow::Borrowed(profile))
    }

    fn added(profile: Cow<'a, Profile>) -> Stacks<'a> {
        let width = profile.sample_types.len();
        let mut table = DistinctStacks::new(width, profile.samples.len());
        let mut facts = SampleFacts::default();
        let raw = RawProfile::whole(&[]);
        let mut stack = Vec::new();
        for sample in profile.samples.iter() {
            stack.clear();
            sample.stack.iter().for_each(|&location| stack.varint(u64::from(location) + 1));
            let keyless = sample.labels.iter().any(|label| label.key.0 == 0);
            facts.count(!sample.stack.is_empty(), sample.values, keyless);
            facts.labels += sample.labels.len() as u64;
            table.add_copied(&raw, &stack, sample.values);
        }
        let index = IdIndex::Sequential(profile.locations.len() as u32);
        Stacks { profile, raw, table, index, facts }
    }

    /// Makes stacks of what was read, whose ids have all been found.
    pub(super) fn from_parts(
        profile: Profile,
        raw: RawProfile<'a>,
        table: DistinctStacks,
        index: IdIndex,
        facts: SampleFacts,
    ) -> Stacks<'a> {
        Stacks { profile: Cow::Owned(profile), raw, table, index, facts }
    }

    /// Returns the profile that the stacks refer to: types, locations, functions, texts. Its
    /// samples are none where it was read by a [`StacksReader`](super::StacksReader).
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// Returns the facts about the samples.
    pub fn facts(&self) -> SampleFacts {
        self.facts
    }

    /// Returns the number of distinct stacks; the empty one counts.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Returns whether there are no samples.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the sum of a stack's values of one sample type. Sums are exact.
    ///
    /// # Panics
    ///
    /// Where there is no such stack or sample type.
    #[inline]
    pub fn value(&self, stack: usize, sample_type: usize) -> i128 {
        self.table.value(stack, sample_type)
    }

    /// Returns whether a stack has any locations.
    ///
    /// # Panics
    ///
    /// Where there is no such stack.
    #[inline]
    pub fn has_locations(&self, stack: usize) -> bool {
        self.table.has_bytes(stack)
    }

    /// Returns the sums of one sample type, stack by stack.
    ///
    /// # Panics
    ///
    /// Where there are stacks, and no such sample type.
    pub fn values(&self, sample_type: usize) -> impl Iterator<Item = i128> + '_ {
        self.table.column(sample_type)
    }

    /// Returns the sum of all values of one sample type. 64 bits are added at a time, so it is
    /// exact.
    ///
    /// # Panics
    ///
    /// Where there are stacks, and no such sample type.
    pub fn total(&self, sample_type: usize) -> i128 {
        self.values(sample_type).sum()
    }

    /// Returns the indices of a stack's locations, the leaf first.
    ///
    /// # Panics
    ///
    /// Where there is no such stack.
    #[inline]
    pub fn locations(&self, stack: usize) -> impl Iterator<Item = u32> + '_ {
        // All ids were found when the stacks were read.
        ids(self.table.bytes(&self.raw, stack)).map(|id| self.index.get(id).unwrap_or(0))
    }

    /// Cuts the texts of the profile, as [`Profile::shorten_texts`] does.
    pub fn shorten_texts(&mut self, most: usize) {
        if self.profile.strings.iter().any(|text| text.len() > most) {
            self.profile.to_mut().shorten_texts(most);
        }
    }

    /// Keeps the stacks that are wanted, given by their number; the facts stay.
    pub fn retain(&mut self, wanted: impl FnMut(usize) -> bool) {
        self.table.retain(wanted);
    }
}

impl From<Profile> for Stacks<'_> {
    /// Does the same as [`Stacks::of`], for a profile that nobody else needs.
    fn from(profile: Profile) -> Self {
        Stacks::added(Cow::Owned(profile))
    }
}

/// Returns the ids of a stack's bytes.
#[inline]
pub(super) fn ids(mut bytes: &[u8]) -> impl Iterator<Item = u64> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        varint(&mut bytes).ok()
    })
}

/// Sums that are past the ends of `i64`, by their place among the others.
pub(super) type OverflowSums = HashMap<usize, i128>;
