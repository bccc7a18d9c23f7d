//! Profiles in the forms of other tools, as the profile.proto that they amount to: folded stacks,
//! speedscope's JSON, and what `perf script` prints.

mod folded;
mod perf_script;
mod speedscope;

use std::collections::HashMap;

use profile_format::profile::{Builder, Function, Label, Line, Mapping, Profile};

use crate::{Error, Format, Result};

/// The most warnings that are kept.
const MOST_WARNINGS: usize = 20;

/// Returns the form that text has, told from its beginning.
pub(crate) fn sniff_import(head: &[u8]) -> Option<Format> {
    if speedscope::is_speedscope(head) {
        return Some(Format::Speedscope);
    }
    let text = String::from_utf8_lossy(head);
    // The last line may be cut.
    let whole = text.rfind('\n').map_or(&*text, |end| &text[..end]);
    if perf_script::is_perf_script(whole) {
        return Some(Format::PerfScript);
    }
    folded::is_folded(whole).then_some(Format::Folded)
}

/// Reads text of one of the forms. A stack's frames count against the limit, which is of what they
/// come to when they are written out.
pub(crate) fn read_import(
    format: Format,
    bytes: &[u8],
    max_frames: u64,
) -> Result<(Profile, Vec<String>)> {
    match format {
        Format::Speedscope => speedscope::read(bytes, max_frames),
        Format::PerfScript => Ok(perf_script::read(bytes)),
        _ => Ok(folded::read(bytes)),
    }
}

/// Builds a profile of stacks that are given by names.
struct StackBuilder {
    builder: Builder,
    places: HashMap<(String, String, i64), u32>,
    mappings: HashMap<String, u32>,
    frames: u64,
    warnings: Vec<String>,
    more_warnings: u64,
}

/// A frame by its names, of which some may be empty.
#[derive(Clone, Copy, Debug, Default)]
struct NamedFrame<'a> {
    function: &'a str,
    file: &'a str,
    line: i64,
    object: &'a str,
}

impl StackBuilder {
    fn new(sample_types: &[(&str, &str)]) -> StackBuilder {
        StackBuilder {
            builder: Builder::new(sample_types),
            places: HashMap::new(),
            mappings: HashMap::new(),
            frames: 0,
            warnings: Vec::new(),
            more_warnings: 0,
        }
    }

    /// Returns the place of a frame.
    fn place(&mut self, frame: NamedFrame<'_>) -> u32 {
        let NamedFrame { function, file, line, object } = frame;
        let key =
            (function.to_owned(), if file.is_empty() { object } else { file }.to_owned(), line);
        if let Some(&place) = self.places.get(&key) {
            return place;
        }
        let builder = &mut self.builder;
        let mapping = (!object.is_empty()).then(|| {
            *self.mappings.entry(object.to_owned()).or_insert_with(|| {
                let filename = builder.str(object);
                builder.mapping(Mapping { filename, ..Mapping::default() })
            })
        });
        let (name, filename) = (builder.str(function), builder.str(file));
        let function = builder.function(Function { name, filename, ..Function::default() });
        let place = builder.location(mapping, 0, &[Line { function, line, column: 0 }]);
        self.places.insert(key, place);
        place
    }

    /// Adds a sample, its leaf first.
    fn sample(&mut self, stack: &[u32], values: &[i64], labels: &[Label]) {
        self.frames += stack.len() as u64;
        self.builder.sample(stack, values, labels);
    }

    fn warn(&mut self, warning: impl FnOnce() -> String) {
        if self.warnings.len() < MOST_WARNINGS {
            self.warnings.push(warning());
        } else {
            self.more_warnings += 1;
        }
    }

    fn finish(mut self) -> (Profile, Vec<String>) {
        if self.more_warnings > 0 {
            self.warnings.push(format!("{} more lines can't be read", self.more_warnings));
        }
        (self.builder.finish(), self.warnings)
    }
}

/// Returns the error of stacks that come to more frames than the limit.
fn too_many_frames(limit: u64) -> Error {
    let what = "frames in its stacks";
    Error::Decode(profile_format::profile::DecodeError::TooLarge { what, limit })
}

/// Returns a number as a profile holds it.
fn to_value(number: f64) -> i64 {
    // As casts go: what is no number is 0, and what is past the ends is there.
    number.round() as i64
}
