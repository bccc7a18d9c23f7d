//! From bytes to a profile, whichever of the known forms they have.

use std::borrow::Cow;

use profile_format::gunzip::is_gzip;
use profile_format::jemalloc::{HeapDump, HeapDumpLimits, preamble};
use profile_format::profile::{DecodeError, DecodeLimits, Inflate, Profile, Stacks};

use crate::legacy::symbols;
use crate::{Error, Format, Result, imports, legacy, overlap, sniff};

/// A profile that was read, with the warnings about it.
#[derive(Clone, Debug)]
pub struct Opened {
    /// The form it had, such as [`Format::Pprof`] or [`Format::HeapV2`].
    pub format: Format,
    /// The profile.
    pub profile: Profile,
    /// The parts that could not be read, with the offset of each.
    pub warnings: Vec<String>,
}

/// A profile that was read for its sums by stack, with the warnings about it.
#[derive(Debug)]
pub struct Read<'a> {
    /// The form it had, such as [`Format::Pprof`] or [`Format::HeapV2`].
    pub format: Format,
    /// The sums by stack, with the profile that the stacks refer to.
    pub stacks: Stacks<'a>,
    /// The parts that could not be read, with the offset of each.
    pub warnings: Vec<String>,
}

/// The most bytes of a name, file, or other text that stacks are shown with; of longer ones the
/// beginning is kept. One may be the name of every frame.
pub(crate) const MOST_TEXT: usize = 4 << 10;

/// Reads a profile as [`open`] does, in the memory and time that rankings need: its samples are
/// added up by stack, and their labels left out. Texts of more than 4 KiB are cut, with a mark.
///
/// A gzip'd profile of more than 64 KiB is decompressed by a thread that this starts and waits for.
///
/// # Errors
///
/// Where the bytes are something else, or broken.
pub fn read(bytes: &[u8]) -> Result<Read<'_>> {
    let format = sniff(bytes);
    if !matches!(format, Format::Pprof | Format::Unknown) {
        let Opened { format, mut profile, warnings } = open(bytes)?;
        profile.shorten_texts(MOST_TEXT);
        return Ok(Read { format, stacks: profile.into(), warnings });
    }
    match overlap::read_stacks(bytes, &DecodeLimits::of_file(bytes.len())) {
        Ok(mut stacks) => {
            stacks.shorten_texts(MOST_TEXT);
            Ok(Read { format: Format::Pprof, stacks, warnings: Vec::new() })
        }
        Err(error) => Err(decode_error(format, bytes, error)),
    }
}

/// Returns the error for bytes that are no profile.proto: a broken profile may look like nothing,
/// and the decoder says best what is wrong with it.
fn decode_error(format: Format, bytes: &[u8], error: DecodeError) -> Error {
    if format == Format::Unknown && !is_gzip(bytes) {
        return Error::NotAProfile(format);
    }
    Error::Decode(error)
}

/// Reads a profile.proto, or a `heap_v2` dump or legacy text as the profile it amounts to. Within
/// [`DecodeLimits::of_file`].
///
/// # Errors
///
/// Where the bytes are something else, or broken.
pub fn open(bytes: &[u8]) -> Result<Opened> {
    match sniff(bytes) {
        Format::HeapV2 | Format::LegacyText if is_gzip(bytes) => open_text(&unpack(bytes)?),
        Format::HeapV2 | Format::LegacyText => open_text(bytes),
        format @ (Format::Folded | Format::Speedscope | Format::PerfScript) => {
            let text = if is_gzip(bytes) { Cow::Owned(unpack(bytes)?) } else { bytes.into() };
            let max_frames = DecodeLimits::of_file(bytes.len()).max_frames;
            let (profile, warnings) = imports::read_import(format, &text, max_frames)?;
            Ok(Opened { format, profile, warnings })
        }
        format @ (Format::Bundle
        | Format::Dump
        | Format::Trace
        | Format::GoTrace
        | Format::Foreign(_)) => Err(Error::NotAProfile(format)),
        format @ (Format::Pprof | Format::Unknown) => {
            match Profile::decode(bytes, &DecodeLimits::of_file(bytes.len())) {
                Ok(profile) => Ok(Opened { format: Format::Pprof, profile, warnings: Vec::new() }),
                Err(error) => Err(decode_error(format, bytes, error)),
            }
        }
    }
}

/// Reads what is not packed and no profile.proto: a dump of jemalloc, or a legacy profile, after the
/// names that may stand before it.
fn open_text(bytes: &[u8]) -> Result<Opened> {
    if let Some((symbols, rest)) = symbols::split(bytes) {
        let mut opened = open_one_text(rest)?;
        symbols.name_locations(&mut opened.profile);
        return Ok(opened);
    }
    open_one_text(bytes)
}

fn open_one_text(bytes: &[u8]) -> Result<Opened> {
    if bytes[preamble(bytes)..].starts_with(b"heap_v2/") {
        let dump = HeapDump::parse(bytes, &HeapDumpLimits::default()).map_err(Error::HeapDump)?;
        let warnings = dump.warnings.iter().map(ToString::to_string).collect();
        return Ok(Opened { format: Format::HeapV2, profile: dump.to_profile(), warnings });
    }
    let (profile, warnings) =
        legacy::parse(bytes, &legacy::LegacyLimits::default()).map_err(Error::Legacy)?;
    Ok(Opened { format: Format::LegacyText, profile, warnings })
}

/// Decompresses text, within the limits of profiles; it takes as much memory again to read.
fn unpack(bytes: &[u8]) -> Result<Vec<u8>> {
    let limits = DecodeLimits::of_file(bytes.len());
    let limits = DecodeLimits { max_bytes: limits.max_bytes.min(limits.max_memory / 2), ..limits };
    let mut text = Vec::new();
    let mut inflate = Inflate::new(bytes, &limits).ok_or(Error::NotAProfile(Format::Unknown))?;
    loop {
        let begin = text.len();
        text.resize(begin + Inflate::PIECE, 0);
        let length = inflate.fill(&mut text[begin..]).map_err(Error::Decode)?;
        text.truncate(begin + length);
        if length == 0 {
            return Ok(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn reads_either_form() {
        let profile = testing::heap();
        for bytes in [profile.encode(), profile.encode_gzip()] {
            assert_eq!(open(&bytes).unwrap().profile.encode(), profile.encode());
        }
        let dump = open(b"heap_v2/1\n@ 0x1\n t*: 1: 2 [3: 4]\nnonsense\n").unwrap();
        assert_eq!(dump.format, Format::HeapV2);
        assert_eq!(dump.profile.samples.get(0).values, [3, 4, 1, 2]);
        assert_eq!(dump.warnings, ["unknown line at byte 33"]);
    }

    #[track_caller]
    fn refuses(bytes: &[u8], expected: &str) {
        assert_eq!(open(bytes).unwrap_err().chain(), expected);
        assert_eq!(read(bytes).unwrap_err().chain(), expected);
    }

    #[test]
    fn says_why_not() {
        refuses(b"", "this is something unknown, not a profile");
        refuses(b"hello", "this is something unknown, not a profile");
        refuses(b"goroutine 1 [running]:\n", "this is a stack dump, not a profile");
        refuses(b"heap_v2/\n", "the heap dump can't be read: no sampling rate after heap_v2/");
        let bytes = testing::heap().encode();
        let cut = open(&bytes[..bytes.len() - 1]).unwrap_err().chain();
        assert!(cut.starts_with("the profile can't be read: "), "{cut}");
        let packed = testing::heap().encode_gzip();
        let cut = open(&packed[..packed.len() - 1]).unwrap_err().chain();
        assert!(cut.starts_with("the profile can't be read: bad gzip data after "), "{cut}");
    }
}
