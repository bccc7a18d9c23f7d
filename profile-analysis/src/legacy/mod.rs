//! Profiles from before profile.proto: what Go's `heap`, `allocs`, `block` and `mutex` answer to
//! `?debug=1`, what gperftools wrote, as text and as words, and what Java's agents wrote.
//!
//! Values are scaled as by `go tool pprof`: of a heap profile by the rate in its header, of
//! contentions from cycles to nanoseconds. Unlike there all four values of a heap profile are kept,
//! and functions come from the lines that Go writes below each stack for people. What can't be read
//! is a warning.

mod binary;
mod content;
mod java;
mod parse;
pub(crate) mod symbols;
#[cfg(test)]
mod tests;

use profile_format::ProfileShape;
use profile_format::jemalloc::unbias;
use profile_format::profile::{Builder, Function, Line, Mapping, Profile};

use self::content::{LegacyHeader, LegacyText};

pub(crate) use binary::is_cpu_profile;

/// The mean of bytes between two samples of a Java heap, which its profile doesn't say.
const JAVA_RATE: u64 = 512 << 10;

/// Bounds of what is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LegacyLimits {
    /// Most bytes.
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

/// The reasons why bytes are no legacy profile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LegacyError {
    /// The beginning is not that of a known form.
    #[error("the first line is none of a heap, growth, contention, mutex or thread profile")]
    Header,
    /// It is too long.
    #[error("the profile has more than {0} bytes")]
    TooLarge(usize),
    /// A stack is too deep.
    #[error("a stack has more than {0} addresses")]
    TooDeep(usize),
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
    let text = match binary::parse(bytes, limits) {
        Some(text) => text?,
        None => parse::parse(bytes, limits)?,
    };
    let profile = build_profile(&text);
    let mut warnings: Vec<String> = text.warnings;
    if text.more_warnings > 0 {
        warnings.push(format!("{} more lines can't be read", text.more_warnings));
    }
    Ok((profile, warnings))
}

/// Makes a profile with the sample types of a text.
fn begin_profile(text: &LegacyText) -> Builder {
    let types = |types: &[(&str, &str)], (kind, unit): (&str, &str), period| {
        let mut builder = Builder::new(types);
        builder.period(kind, unit, period);
        builder
    };
    let period = clamp(text.period.max(1).into());
    let unit = |otherwise: &'static str| match text.resolution.as_str() {
        "" => otherwise.to_owned(),
        said => said.to_owned(),
    };
    match text.header {
        LegacyHeader::Heap { rate } => ProfileShape::HEAP.builder(clamp(rate.max(1).into())),
        LegacyHeader::Growth => {
            types(&[("objects", "count"), ("space", "bytes")], ("heapgrowth", "count"), 1)
        }
        LegacyHeader::Contention => ProfileShape::CONTENTION.builder(period),
        LegacyHeader::JavaHeap => types(
            &[("inuse_objects", "count"), ("inuse_space", &unit("bytes"))],
            ("space", "bytes"),
            clamp(JAVA_RATE.into()),
        ),
        LegacyHeader::JavaContention => types(
            &[("contentions", "count"), ("delay", &unit("microseconds"))],
            ("contentions", "count"),
            period,
        ),
        LegacyHeader::Threads => types(&[("thread", "count")], ("thread", "count"), 1),
        LegacyHeader::Cpu { .. } => {
            types(&[("samples", "count"), ("cpu", "nanoseconds")], ("cpu", "nanoseconds"), period)
        }
    }
}

fn build_profile(text: &LegacyText) -> Profile {
    let mut builder = begin_profile(text);
    builder.profile_mut().duration_nanos = text.duration_nanos;
    let places = build_places(&mut builder, text);
    let (mut stack, mut begin) = (Vec::new(), 0);
    for sample in &text.samples {
        stack.clear();
        let of_sample = trim_unnamed(text, &text.stacks[begin..sample.end]);
        stack.extend(of_sample.iter().map(|&place| places[place as usize]));
        begin = sample.end;
        add_sample(&mut builder, text, &stack, sample.values);
    }
    builder.finish()
}

/// Returns a stack without the places at its ends that have no name, where others of it have:
/// Go writes no line for the allocator's own frames, nor for where a goroutine begins.
fn trim_unnamed<'a>(text: &LegacyText, stack: &'a [u32]) -> &'a [u32] {
    let is_named = |place: &u32| text.frames.contains_key(place);
    match (stack.iter().position(is_named), stack.iter().rposition(is_named)) {
        (Some(first), Some(last)) => &stack[first..=last],
        _ => stack,
    }
}

/// Makes a location of each address.
fn build_places(builder: &mut Builder, text: &LegacyText) -> Vec<u32> {
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
    let places = (0..).zip(&text.addresses);
    places
        .map(|(place, &address)| {
            let lines = build_lines(builder, text, place);
            builder.location(mapping_of(address), address, &lines)
        })
        .collect()
}

/// Adds a sample, its values scaled to what they stand for.
fn add_sample(builder: &mut Builder, text: &LegacyText, stack: &[u32], values: [i64; 4]) {
    let [a, b, c, d] = values;
    match text.header {
        LegacyHeader::Heap { rate } => {
            let ((inuse, inuse_bytes), (alloc, alloc_bytes)) =
                (unbias_signed(a, b, rate), unbias_signed(c, d, rate));
            let size = alloc_bytes.checked_div(alloc).unwrap_or(inuse_bytes / inuse.max(1));
            let label = builder.number_label("bytes", size, "bytes");
            builder.sample(stack, &[alloc, alloc_bytes, inuse, inuse_bytes], &[label]);
        }
        LegacyHeader::JavaHeap => {
            let (objects, bytes) = unbias_signed(b, a, JAVA_RATE);
            let label = builder.number_label("bytes", a.checked_div(b).unwrap_or(0), "bytes");
            builder.sample(stack, &[objects, bytes], &[label]);
        }
        LegacyHeader::JavaContention => {
            let period = clamp(text.period.max(1).into());
            builder.sample(stack, &[b, a].map(|value| value.saturating_mul(period)), &[]);
        }
        LegacyHeader::Contention => builder.sample(stack, &scale_contention(text, a, b), &[]),
        LegacyHeader::Growth | LegacyHeader::Cpu { .. } => builder.sample(stack, &[a, b], &[]),
        LegacyHeader::Threads => builder.sample(stack, &[a], &[]),
    }
}

/// Scales what was sampled as [`unbias`] does. Where more was freed than allocated of what was
/// sampled, numbers are below zero; of a count and bytes that differ in their signs nothing can be
/// said of the mean.
fn unbias_signed(count: i64, bytes: i64, rate: u64) -> (i64, i64) {
    if count.signum() * bytes.signum() < 0 {
        return (count, bytes);
    }
    let sign = if count < 0 || bytes < 0 { -1 } else { 1 };
    let (count, bytes) = unbias(count.unsigned_abs(), bytes.unsigned_abs(), rate);
    (sign * clamp(count.into()), sign * clamp(bytes.into()))
}

/// Scales sampled cycles and waits to all waits and their nanoseconds.
fn scale_contention(text: &LegacyText, cycles: i64, waits: i64) -> [i64; 2] {
    let period = i128::from(text.period.max(1));
    let cycles = i128::from(cycles) * period;
    let nanoseconds = match text.cycles_per_second {
        0 => cycles,
        hz => (cycles as f64 * (1e9 / hz as f64)) as i128,
    };
    [i128::from(waits) * period, nanoseconds].map(clamp)
}

/// Returns the functions at the address of a call, the innermost first.
fn build_lines(builder: &mut Builder, text: &LegacyText, place: u32) -> Vec<Line> {
    let frames = text.frames.get(&place).map_or(&[][..], Vec::as_slice);
    frames
        .iter()
        .map(|frame| {
            let (name, filename) = (builder.str(&frame.name), builder.str(&frame.file));
            let function = builder.function(Function { name, filename, ..Function::default() });
            Line { function, line: frame.line, column: 0 }
        })
        .collect()
}

fn clamp(value: i128) -> i64 {
    value.clamp(i64::MIN.into(), i64::MAX.into()) as i64
}
