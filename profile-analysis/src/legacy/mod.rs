//! Profiles as text, from before profile.proto: what Go's `heap`, `allocs`, `block` and `mutex`
//! answer to `?debug=1`, and what gperftools wrote.
//!
//! Values are scaled as by `go tool pprof`: of a heap profile by the rate in its header, of
//! contentions from cycles to nanoseconds. Unlike there all four values of a heap profile are kept,
//! and functions come from the lines that Go writes below each stack for people. What can't be read
//! is a warning.

mod parse;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use profile_format::ProfileShape;
use profile_format::jemalloc::unbias;
use profile_format::profile::{Builder, Function, Line, Mapping, Profile};

use self::parse::{LegacyHeader, LegacyText};

/// Bounds of the text that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LegacyLimits {
    /// Most bytes of the text.
    pub(crate) bytes: usize,
    /// Most addresses of one stack.
    pub(crate) depth: usize,
}

impl Default for LegacyLimits {
    /// Allows 1 GiB, and a million addresses.
    fn default() -> LegacyLimits {
        LegacyLimits { bytes: 1 << 30, depth: 1 << 20 }
    }
}

/// The reasons why a text is no profile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LegacyError {
    /// The first line is not that of a known form.
    #[error("the first line is none of a heap, growth, contention or mutex profile")]
    Header,
    /// The text is too long.
    #[error("the profile has more than {0} bytes")]
    TooLarge(usize),
}

/// Reads a profile. Returns it with warnings about what could not be read.
///
/// # Errors
///
/// Where the first line says that it is something else, or it is too long.
pub(crate) fn parse(
    bytes: &[u8],
    limits: &LegacyLimits,
) -> Result<(Profile, Vec<String>), LegacyError> {
    if bytes.len() > limits.bytes {
        return Err(LegacyError::TooLarge(limits.bytes));
    }
    let text = parse::parse(bytes, limits)?;
    let profile = build_profile(&text);
    let mut warnings: Vec<String> = text.warnings;
    if text.more_warnings > 0 {
        warnings.push(format!("{} more lines can't be read", text.more_warnings));
    }
    Ok((profile, warnings))
}

fn build_profile(text: &LegacyText) -> Profile {
    let mut builder = match text.header {
        LegacyHeader::Heap { rate } => ProfileShape::HEAP.builder(clamp(rate.max(1))),
        LegacyHeader::Growth => {
            let mut builder = Builder::new(&[("objects", "count"), ("space", "bytes")]);
            builder.period("heapgrowth", "count", 1);
            builder
        }
        LegacyHeader::Contention => ProfileShape::CONTENTION.builder(clamp(text.period.max(1))),
    };
    let mut mappings: Vec<(u64, u64, u32)> = text
        .regions
        .iter()
        .map(|region| {
            let filename = builder.str(&region.file);
            let (start, limit, offset) = (region.start, region.limit, region.offset);
            let mapping = Mapping { start, limit, offset, filename, ..Mapping::default() };
            (start, limit, builder.mapping(mapping))
        })
        .collect();
    mappings.sort_by_key(|&(start, ..)| start);
    let mapping_of = |address: u64| {
        let before = mappings.partition_point(|&(start, ..)| start <= address);
        let (_, limit, mapping) = mappings[before.checked_sub(1)?];
        (address < limit).then_some(mapping)
    };
    let mut places: HashMap<u64, u32> = HashMap::new();
    let mut stack = Vec::new();
    for sample in &text.samples {
        stack.clear();
        for &address in &text.addresses[sample.addresses.clone()] {
            // The call is before where it returns to.
            let address = address.saturating_sub(1);
            stack.push(*places.entry(address).or_insert_with(|| {
                let lines = build_lines(&mut builder, text, address);
                builder.location(mapping_of(address), address, &lines)
            }));
        }
        let [a, b, c, d] = sample.values;
        match text.header {
            LegacyHeader::Heap { rate } => {
                let ((inuse, inuse_bytes), (alloc, alloc_bytes)) =
                    (unbias(a, b, rate), unbias(c, d, rate));
                let values = [alloc, alloc_bytes, inuse, inuse_bytes].map(clamp);
                let size = alloc_bytes.checked_div(alloc).unwrap_or(inuse_bytes / inuse.max(1));
                let label = builder.number_label("bytes", clamp(size), "bytes");
                builder.sample(&stack, &values, &[label]);
            }
            LegacyHeader::Growth => builder.sample(&stack, &[a, b].map(clamp), &[]),
            LegacyHeader::Contention => {
                builder.sample(&stack, &scale_contention(text, a, b), &[]);
            }
        }
    }
    builder.finish()
}

/// Scales sampled cycles and waits to all waits and their nanoseconds.
fn scale_contention(text: &LegacyText, cycles: u64, waits: u64) -> [i64; 2] {
    let period = text.period.max(1);
    let cycles = cycles.saturating_mul(period);
    let nanoseconds = match text.cycles_per_second {
        0 => cycles,
        hz => (cycles as f64 * (1e9 / hz as f64)) as u64,
    };
    [waits.saturating_mul(period), nanoseconds].map(clamp)
}

/// Returns the functions at the address of a call, the innermost first.
fn build_lines(builder: &mut Builder, text: &LegacyText, address: u64) -> Vec<Line> {
    let frames = text.frames.get(&address).map_or(&[][..], Vec::as_slice);
    frames
        .iter()
        .map(|frame| {
            let (name, filename) = (builder.str(&frame.name), builder.str(&frame.file));
            let function = builder.function(Function { name, filename, ..Function::default() });
            Line { function, line: frame.line, column: 0 }
        })
        .collect()
}

fn clamp(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
