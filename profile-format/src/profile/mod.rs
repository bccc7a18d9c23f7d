//! The profile.proto model, and one file a verb: build, check, encode, decode, merge, text.
//!
//! Everything here reads or writes this one format. Ids of the wire format, which start at 1, are
//! indices here, which start at 0; string 0 is the empty string. The field numbers and meanings are
//! those of `profile.proto` of github.com/google/pprof.

mod build;
mod check;
mod decode;
mod encode;
mod merge;
mod sampled;
mod scale;
mod stacks;
mod stream;
mod text;
mod wire;

use std::ops::Range;

pub use build::Builder;
pub use check::CheckError;
pub use decode::{DecodeError, DecodeLimits, FieldProblem, Inflate, StacksReader};
pub use merge::MergeError;
pub use sampled::SampledAmount;
pub use stacks::Stacks;
pub(crate) use stream::{SampleStream, WireId};
pub use text::TextForm;

/// A profile: samples with their stacks, and what the stacks' addresses mean.
#[derive(Clone, Debug, Default)]
pub struct Profile {
    /// The thing that each value of a sample counts, and the unit.
    pub sample_types: Vec<ValueType>,
    /// The sample type to show first; the empty string stands for the last one.
    pub default_sample_type: StrId,
    /// The samples.
    pub samples: Samples,
    /// Files mapped into the process; the first is the main binary.
    pub mappings: Vec<Mapping>,
    /// Places in the code.
    pub locations: Vec<Location>,
    /// The lines of all locations; each location holds a range of these.
    pub lines: Vec<Line>,
    /// Functions.
    pub functions: Vec<Function>,
    /// Every text of the profile.
    pub strings: Strings,
    /// Frames to drop, as a regular expression over function names.
    pub drop_frames: StrId,
    /// Frames to keep although `drop_frames` matches.
    pub keep_frames: StrId,
    /// Time at which the recording began, in nanoseconds since 1970.
    pub time_nanos: i64,
    /// Time that it took, in nanoseconds; 0 where the profile is not of a window.
    pub duration_nanos: i64,
    /// The thing that a period counts.
    pub period_type: Option<ValueType>,
    /// Events between two samples.
    pub period: i64,
    /// Notes for people.
    pub comments: Vec<StrId>,
    /// Address of a document that explains the profile.
    pub doc_url: StrId,
}

/// A text of a profile: an index into its [`Strings`]. The default is the empty string.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StrId(pub u32);

/// The thing that a value counts (`alloc_space`) and its unit (`bytes`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ValueType {
    /// The thing that is counted.
    pub kind: StrId,
    /// The unit in which it is counted.
    pub unit: StrId,
}

/// A file mapped into the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Mapping {
    /// First address.
    pub start: u64,
    /// Address after the last.
    pub limit: u64,
    /// Offset in the file of the first address.
    pub offset: u64,
    /// The file, or a name in brackets such as `[vdso]`.
    pub filename: StrId,
    /// The build id in hex, empty where the file has none.
    pub build_id: StrId,
    /// Functions of this mapping are resolved.
    pub has_functions: bool,
    /// File names of this mapping are resolved.
    pub has_filenames: bool,
    /// Line numbers of this mapping are resolved.
    pub has_line_numbers: bool,
    /// Inlined frames of this mapping are resolved.
    pub has_inline_frames: bool,
}

/// A place in the code: an address and, where resolved, its lines.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Location {
    /// Index of the mapping that holds the address.
    pub mapping: Option<u32>,
    /// The address of the instruction; for a caller the call's own, not the return address.
    pub address: u64,
    /// Range in [`Profile::lines`], the innermost inlined function first.
    pub lines: Range<u32>,
    /// The symbols stand for several identical functions that the linker folded into one.
    pub is_folded: bool,
}

/// A line of a function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Line {
    /// Index of the function.
    pub function: u32,
    /// The line, 0 where unknown.
    pub line: i64,
    /// The column, 0 where unknown.
    pub column: i64,
}

/// A function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Function {
    /// The name for people.
    pub name: StrId,
    /// The name in the object file; empty, or different from `name`.
    pub system_name: StrId,
    /// The source file.
    pub filename: StrId,
    /// The line on which the function begins, 0 where unknown.
    pub start_line: i64,
}

/// A label of a sample: a text, or a number with a unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Label {
    /// The label's name, never empty.
    pub key: StrId,
    /// The text; empty for a number.
    pub str: StrId,
    /// The number; 0 for a text.
    pub num: i64,
    /// The number's unit.
    pub num_unit: StrId,
}

/// The samples, field by field in flat arrays: a profile may hold millions.
#[derive(Clone, Debug, Default)]
pub struct Samples {
    width: usize,
    stacks: Vec<u32>,
    stack_ends: Vec<usize>,
    values: Vec<i64>,
    labels: Vec<Label>,
    label_ends: Vec<usize>,
}

/// One sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample<'a> {
    /// Indices of locations, the leaf first.
    pub stack: &'a [u32],
    /// One value for each sample type.
    pub values: &'a [i64],
    /// The labels.
    pub labels: &'a [Label],
}

impl Samples {
    /// Makes an empty list of samples, of `width` values each.
    pub fn new(width: usize) -> Samples {
        Samples { width, ..Samples::default() }
    }

    /// Adds a sample.
    ///
    /// # Panics
    ///
    /// Where `values` is not as long as there are sample types.
    pub fn push(&mut self, stack: &[u32], values: &[i64], labels: &[Label]) {
        assert_eq!(values.len(), self.width, "one value for each sample type");
        self.stacks.extend_from_slice(stack);
        self.stack_ends.push(self.stacks.len());
        self.values.extend_from_slice(values);
        self.labels.extend_from_slice(labels);
        self.label_ends.push(self.labels.len());
    }

    /// Returns the same stacks and labels with other values, `width` for each sample.
    fn with_values(self, width: usize, values: Vec<i64>) -> Samples {
        debug_assert_eq!(values.len(), self.len() * width);
        Samples { width, values, ..self }
    }

    /// Returns the number of samples.
    pub fn len(&self) -> usize {
        self.stack_ends.len()
    }

    /// Returns whether there is none.
    pub fn is_empty(&self) -> bool {
        self.stack_ends.is_empty()
    }

    /// Returns the sample at an index.
    ///
    /// # Panics
    ///
    /// Where the index is out of range.
    pub fn get(&self, index: usize) -> Sample<'_> {
        let range = |ends: &[usize]| {
            let start = if index == 0 { 0 } else { ends[index - 1] };
            start..ends[index]
        };
        Sample {
            stack: &self.stacks[range(&self.stack_ends)],
            values: &self.values[index * self.width..][..self.width],
            labels: &self.labels[range(&self.label_ends)],
        }
    }

    /// Returns the samples in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Sample<'_>> {
        (0..self.len()).map(|index| self.get(index))
    }
}

/// Texts, one after the other in one buffer. Text 0 is empty.
#[derive(Clone, Debug)]
pub struct Strings {
    text: String,
    ends: Vec<usize>,
}

impl Default for Strings {
    fn default() -> Strings {
        Strings { text: String::new(), ends: vec![0] }
    }
}

impl Strings {
    /// Adds a text, whether or not it is there already.
    pub fn push(&mut self, text: &str) -> StrId {
        self.text.push_str(text);
        self.ends.push(self.text.len());
        StrId(u32::try_from(self.ends.len() - 1).expect("fewer than 2^32 texts"))
    }

    /// Cuts each text of more than so many bytes there, and puts `\u{2026}` in place of the rest.
    pub(crate) fn shorten(&mut self, most: usize) {
        let mut short = Strings { text: String::new(), ends: Vec::with_capacity(self.ends.len()) };
        for text in self.iter() {
            if text.len() > most {
                let end = (0..=most).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
                short.text.push_str(&text[..end]);
                short.text.push('\u{2026}');
            } else {
                short.text.push_str(text);
            }
            short.ends.push(short.text.len());
        }
        *self = short;
    }

    /// Returns the number of texts; at least one, the empty one.
    pub fn count(&self) -> usize {
        self.ends.len()
    }

    /// Returns the text of an id.
    ///
    /// # Panics
    ///
    /// Where the id is not of these texts.
    pub fn get(&self, id: StrId) -> &str {
        let index = id.0 as usize;
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.text[start..self.ends[index]]
    }

    /// Returns the texts in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        (0..self.count()).map(|index| self.get(StrId(index as u32)))
    }
}

impl Profile {
    /// Returns the text of an id.
    pub fn str(&self, id: StrId) -> &str {
        self.strings.get(id)
    }

    /// Cuts every text of more than so many bytes, and marks it with `\u{2026}` at its end: one text
    /// of megabytes may be the name of each of a million frames.
    pub fn shorten_texts(&mut self, most: usize) {
        if self.strings.iter().any(|text| text.len() > most) {
            self.strings.shorten(most);
        }
    }

    /// Returns the lines of a location, the innermost inlined function first.
    pub fn lines_of(&self, location: &Location) -> &[Line] {
        &self.lines[location.lines.start as usize..location.lines.end as usize]
    }

    /// Writes a value type as `kind/unit`.
    pub fn type_name(&self, value_type: ValueType) -> String {
        format!("{}/{}", self.str(value_type.kind), self.str(value_type.unit))
    }
}
