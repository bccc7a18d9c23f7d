//! The facts of a profile: what is in it, how many, and what is odd.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};

use profile_format::profile::{CheckError, Label, Mapping, Profile, Stacks};
use serde::Serialize;

use crate::hash::KeyedHashBuilder;
use crate::top::saturate;
use crate::units::{format_value, plural};
use crate::{Opened, Read, Result, open, read};

/// The facts of a profile. Serializes to what `inspect --json` prints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProfileFacts {
    /// The form, as [`Format::word`](crate::Format::word) has it.
    pub format: &'static str,
    /// The sample types as `kind/unit`, in the profile's order.
    pub sample_types: Vec<String>,
    /// Number of samples.
    pub samples: usize,
    /// Number of locations.
    pub locations: usize,
    /// Number of functions.
    pub functions: usize,
    /// Number of mappings.
    pub mappings: usize,
    /// Number of different stacks, as sequences of locations; samples may share one and differ in
    /// their labels.
    pub distinct_stacks: usize,
    /// The sum of each sample type, at the ends of `i64` where it is past them.
    pub value_sums: Vec<i64>,
    /// Events between two samples, in the unit of the period type.
    pub period: i64,
    /// Type of a period as `kind/unit`, empty where the profile does not say.
    pub period_type: String,
    /// Time that the recording took, in nanoseconds; 0 where it is not of a window.
    pub duration_nanos: i64,
    /// Time at which the recording began, in nanoseconds since 1970; 0 where the profile does not
    /// say.
    pub time_nanos: i64,
    /// The sample type to show first, empty where it is the last one.
    pub default_sample_type: String,
    /// Notes for people.
    pub comments: Vec<String>,
    /// The mapped files, the main binary first.
    pub mapping_files: Vec<MappingFile>,
    /// The labels of its samples, by their keys; none where only the sums by stack were read.
    pub labels: Vec<LabelFacts>,
    /// Oddities of the profile.
    pub warnings: Vec<String>,
}

/// What is known of the labels of one key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LabelFacts {
    /// The key.
    pub key: String,
    /// Number of samples that have it.
    pub samples: u64,
    /// Number of different values.
    pub values: usize,
    /// The values that most samples have, the commonest first.
    pub commonest: Vec<LabelCount>,
}

/// A value of a label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LabelCount {
    /// The text, or the number with its unit.
    pub value: String,
    /// Number of samples that have it.
    pub samples: u64,
}

/// A mapped file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MappingFile {
    /// The file, or a name in brackets.
    pub filename: String,
    /// The build id in hex, empty where unknown.
    pub build_id: String,
}

/// Reads a profile and counts what is in it.
///
/// # Errors
///
/// Where the bytes are no profile, or a broken one.
pub fn inspect(bytes: &[u8]) -> Result<ProfileFacts> {
    let read = read(bytes)?;
    let mut facts = facts(&read);
    let labels = read.stacks.facts().labels;
    drop(read);
    if labels > 0 {
        // Labels are left out of sums by stack, and take more memory than all of those.
        match open(bytes) {
            Ok(Opened { profile, .. }) => facts.labels = list_labels(&profile),
            Err(error) => facts.warnings.push(format!("labels are not listed: {}", error.chain())),
        }
    }
    Ok(facts)
}

/// The most keys that are listed, and the most values of each.
const MOST_KEYS: usize = 100;
const MOST_VALUES: usize = 5;
/// Characters of a key or value that are passed on.
const MOST_CHARACTERS: usize = 200;

/// Returns the labels of a profile by their keys, those of most samples first.
fn list_labels(profile: &Profile) -> Vec<LabelFacts> {
    let mut counts: HashMap<Label, u64, KeyedHashBuilder> = HashMap::default();
    for sample in profile.samples.iter() {
        for &label in sample.labels {
            *counts.entry(label).or_default() += 1;
        }
    }
    // One text may stand in the profile more than once.
    let mut of_key: BTreeMap<&str, BTreeMap<(&str, i64, &str), u64>> = BTreeMap::new();
    for (label, count) in counts {
        let value = (profile.str(label.str), label.num, profile.str(label.num_unit));
        *of_key.entry(profile.str(label.key)).or_default().entry(value).or_default() += count;
    }
    let cut = |text: &str| text.chars().take(MOST_CHARACTERS).collect::<String>();
    let format = |(text, number, unit): (&str, i64, &str)| match text {
        "" => cut(&format_value(number, unit)),
        text => cut(text),
    };
    let mut labels: Vec<LabelFacts> = of_key
        .into_iter()
        .map(|(key, values)| {
            let mut order: Vec<_> = values.iter().map(|(&value, &count)| (count, value)).collect();
            order.sort_by_key(|&(count, value)| (Reverse(count), value));
            let commonest = order.iter().take(MOST_VALUES);
            LabelFacts {
                key: cut(key),
                samples: values.values().sum(),
                values: values.len(),
                commonest: commonest
                    .map(|&(samples, value)| LabelCount { value: format(value), samples })
                    .collect(),
            }
        })
        .collect();
    labels.sort_by_key(|label| Reverse(label.samples));
    labels.truncate(MOST_KEYS);
    labels
}

/// Counts what is in a profile that was read.
pub fn facts(read: &Read<'_>) -> ProfileFacts {
    let stacks = &read.stacks;
    let profile = stacks.profile();
    let text = |id| profile.str(id).to_owned();
    let mut warnings = read.warnings.clone();
    let value_sums = sum_values(stacks, &mut warnings);
    add_warnings(stacks, &mut warnings);
    let (comments, left_out) = list_comments(profile);
    if left_out > 0 {
        warnings.push(format!("{} left out", plural(left_out as u64, "more comment")));
    }
    let mapping_files = list_mappings(profile);
    let left_out = profile.mappings.len() - mapping_files.len();
    if left_out > 0 {
        warnings.push(format!("{} left out", plural(left_out as u64, "more mapping")));
    }
    ProfileFacts {
        format: read.format.word(),
        sample_types: profile.sample_types.iter().map(|&kind| profile.type_name(kind)).collect(),
        samples: stacks.facts().samples as usize,
        locations: profile.locations.len(),
        functions: profile.functions.len(),
        mappings: profile.mappings.len(),
        distinct_stacks: stacks.len(),
        value_sums,
        period: profile.period,
        period_type: profile.period_type.map(|kind| profile.type_name(kind)).unwrap_or_default(),
        duration_nanos: profile.duration_nanos,
        time_nanos: profile.time_nanos,
        default_sample_type: text(profile.default_sample_type),
        comments,
        mapping_files,
        labels: Vec::new(),
        warnings,
    }
}

/// The most bytes of a profile's comments, and of the names of its mappings, that are passed on.
/// Any number of them may be one long text.
const MOST_LISTED: usize = 1 << 20;

/// Returns a profile's comments, each once, and how many are left out because there is too much of
/// them.
pub(crate) fn list_comments(profile: &Profile) -> (Vec<String>, usize) {
    let mut seen = HashSet::new();
    let distinct = profile.comments.iter().filter(|&&comment| seen.insert(comment));
    let (mut left, mut listed, mut left_out) = (MOST_LISTED, Vec::new(), 0);
    for &comment in distinct {
        let text = profile.str(comment);
        match left.checked_sub(text.len() + size_of::<String>()) {
            Some(rest) => {
                left = rest;
                listed.push(text.to_owned());
            }
            None => left_out += 1,
        }
    }
    (listed, left_out)
}

/// Returns the files of a profile's mappings, up to where there is too much of them.
fn list_mappings(profile: &Profile) -> Vec<MappingFile> {
    let mut left = MOST_LISTED;
    let text = |id| profile.str(id).to_owned();
    let of_mapping = |mapping: &Mapping| {
        let file =
            MappingFile { filename: text(mapping.filename), build_id: text(mapping.build_id) };
        let size = file.filename.len() + file.build_id.len() + size_of::<MappingFile>();
        left = left.checked_sub(size)?;
        Some(file)
    };
    profile.mappings.iter().map_while(of_mapping).collect()
}

fn sum_values(stacks: &Stacks<'_>, warnings: &mut Vec<String>) -> Vec<i64> {
    let profile = stacks.profile();
    let sums: Vec<i128> =
        (0..profile.sample_types.len()).map(|column| stacks.total(column)).collect();
    for (&sum, &value_type) in sums.iter().zip(&profile.sample_types) {
        if i64::try_from(sum).is_err() {
            let name = profile.type_name(value_type);
            warnings.push(format!("the sum of {name} does not fit 64 bits: {sum}"));
        }
    }
    sums.into_iter().map(saturate).collect()
}

fn add_warnings(stacks: &Stacks<'_>, warnings: &mut Vec<String>) {
    let (profile, facts) = (stacks.profile(), stacks.facts());
    let mut warn = |count: u64, what: &str, why: &str| {
        if count > 0 {
            warnings.push(format!("{} {why}", plural(count, what)));
        }
    };
    warn(facts.without_stack, "sample", "without a stack");
    warn(facts.negative, "sample", "below zero");
    let unnamed = profile.locations.iter().filter(|location| location.lines.is_empty());
    warn(unnamed.count() as u64, "location", "without a function");
    if profile.period_type.is_none() {
        warnings.push("no period type: tools will not compare or merge this profile".to_owned());
    }
    if let Some(sample) = facts.without_label_key {
        let error = CheckError::NoLabelKey { sample: sample as usize };
        warnings.push(format!("profile stores will refuse this: {error}"));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use profile_format::profile::Builder;
    use proptest::prelude::*;

    use super::*;
    use crate::testing;

    #[test]
    fn prints_the_contract() {
        let facts = inspect(&testing::heap().encode_gzip()).unwrap();
        let json = serde_json::to_value(&facts).unwrap();
        let expected = serde_json::json!({
            "format": "pprof",
            "sample_types": [
                "alloc_objects/count", "alloc_space/bytes", "inuse_objects/count",
                "inuse_space/bytes"
            ],
            "samples": 3,
            "locations": 3,
            "functions": 4,
            "mappings": 1,
            "distinct_stacks": 2,
            "value_sums": [16, 5120, 3, 1536],
            "period": 524_288,
            "period_type": "space/bytes",
            "duration_nanos": 0,
            "time_nanos": 0,
            "default_sample_type": "",
            "comments": ["made for a test"],
            "mapping_files": [{"filename": "/usr/bin/service", "build_id": "c0ffee"}],
            "labels": [{"key": "bytes", "samples": 3, "values": 3, "commonest": [
                {"value": "128 B", "samples": 1},
                {"value": "256 B", "samples": 1},
                {"value": "768 B", "samples": 1},
            ]}],
            "warnings": [],
        });
        assert_eq!(json, expected);
    }

    #[test]
    fn reads_jemalloc_dumps() {
        let facts = inspect(b"heap_v2/1\n@ 0x1\n t*: 1: 2 [3: 4]\n?\n").unwrap();
        assert_eq!(
            (facts.format, facts.value_sums.as_slice()),
            ("heap_v2", [3, 4, 1, 2].as_slice())
        );
        assert_eq!(facts.warnings, ["unknown line at byte 33", "1 location without a function"]);
    }

    #[test]
    fn says_what_is_odd() {
        let mut builder = Builder::new(&[("delay", "nanoseconds")]);
        builder.sample(&[], &[i64::MAX], &[]);
        builder.sample(&[], &[i64::MAX], &[Default::default()]);
        builder.sample(&[], &[-1], &[]);
        let facts = inspect(&builder.finish().encode()).unwrap();
        assert_eq!(facts.value_sums, [i64::MAX]);
        assert_eq!(
            facts.warnings,
            [
                "the sum of delay/nanoseconds does not fit 64 bits: 18446744073709551613",
                "3 samples without a stack",
                "1 sample below zero",
                "no period type: tools will not compare or merge this profile",
                "profile stores will refuse this: sample 1 has a label without a key",
            ]
        );
    }

    proptest! {
        #[test]
        fn counts_stacks_as_a_set_would(profile in testing::profiles()) {
            let set: HashSet<Vec<u32>> =
                profile.samples.iter().map(|sample| sample.stack.to_vec()).collect();
            prop_assert_eq!(Stacks::of(&profile).len(), set.len());
        }
    }
}
