//! Dumps of goroutines and threads out of a `FILE`: as text, packed or not, out of a profile.proto,
//! or out of a bundle. A file of text is read in pieces, and may be larger than memory.

use std::fs::File;
use std::io::Read as _;
use std::thread;

use profilez::analysis::dump::{self, Dump, Options, Parser};
use profilez::analysis::{Format, sniff};
use profilez::archive::{Bundle, Entry, Manifest};
use profilez::core::Kind;

use crate::input::{self, FileContent};
use crate::output::{CommandFailure, chain, note, printable};

/// A dump, and when it was taken.
pub(crate) struct TimedDump {
    pub(crate) dump: Dump,
    /// The time as RFC 3339, where a manifest says it.
    pub(crate) timestamp: Option<String>,
    /// True if the bundle that it is from has all of it.
    pub(crate) complete: bool,
}

/// Number of bytes of a file that are read at a time: so many stay in the processor's cache until
/// they are parsed.
const PIECE: usize = 256 << 10;
/// The text with which `inspect`, `report` and `groups` refuse what is no dump.
const NONE: &str = "holds no dump of goroutines or threads";

/// Reads the dump in a `FILE`. With a prefix to be stripped, any text counts as one.
pub(crate) fn open(spec: &str, options: &Options) -> Result<TimedDump, CommandFailure> {
    if let Some(dump) = stream(spec, options)? {
        return Ok(TimedDump { dump, timestamp: None, complete: true });
    }
    match input::open(spec)? {
        FileContent::Bundle(bundle) => read_bundle(&bundle, options)?
            .ok_or_else(|| format!("{spec} {NONE}: {}", why_not(&bundle)).into()),
        FileContent::Bytes(bytes) => match read_bytes(&bytes, options)? {
            Some(dump) => Ok(TimedDump { dump, timestamp: None, complete: true }),
            None => Err(refuse(spec, &bytes)),
        },
    }
}

/// Returns why there is no dump in a bundle.
fn why_not(bundle: &Bundle) -> String {
    let kind = Kind::Goroutine.name();
    let said = bundle.manifest.as_ref().and_then(|Manifest { unavailable, errors, .. }| {
        let missing = unavailable.iter().find(|missing| missing.kind == kind);
        let failed = errors.iter().find(|failed| failed.kind == kind);
        let missing = missing.map(|missing| format!("it was not collected: {}", missing.reason));
        missing.or_else(|| failed.map(|failed| format!("it failed: {}", failed.error)))
    });
    said.unwrap_or_else(|| {
        let why = if bundle.truncated { "the bundle is not whole" } else { "it was not collected" };
        why.to_owned()
    })
}

/// Reads a file that begins as a dump, in pieces. Returns `None` for anything else.
pub(crate) fn stream(spec: &str, options: &Options) -> Result<Option<Dump>, CommandFailure> {
    // What can't be opened may name an entry of a bundle; what is no file can't be read twice.
    let Ok(mut file) = File::open(spec) else { return Ok(None) };
    if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
        return Ok(None);
    }
    let failed = |error: std::io::Error| format!("{spec}: {error}");
    let mut piece = vec![0; PIECE];
    let mut length = 0;
    while length < PIECE {
        match file.read(&mut piece[length..]).map_err(failed)? {
            0 => break,
            read => length += read,
        }
    }
    let format = sniff(&piece[..length]);
    let known = counts_as_dump(format, &piece[..length], options);
    // A log may end in a crash.
    let goes_on = length == PIECE && matches!(format, Format::Unknown | Format::Folded);
    if !(known || goes_on) || piece.starts_with(&[0x1f, 0x8b]) {
        return Ok(None);
    }
    let mut parser = Parser::new(options);
    while length > 0 {
        parser.feed(&piece[..length]);
        length = file.read(&mut piece).map_err(failed)?;
    }
    Ok(with_goroutines(parser.finish()))
}

/// Returns a dump that has goroutines, or says itself that it has none: one of leaks may.
fn with_goroutines(dump: Dump) -> Option<Dump> {
    (dump.goroutines() > 0 || dump.says_none()).then_some(dump)
}

/// Returns the error for a file that no dump came out of.
pub(crate) fn refuse(spec: &str, bytes: &[u8]) -> CommandFailure {
    let name = match sniff(bytes) {
        Format::Dump => "a stack dump without goroutines".to_owned(),
        format => format.to_string(),
    };
    format!("{spec} {NONE}: it is {name}{}", hint(bytes)).into()
}

/// Returns what to do about a file that is none of those that were looked for.
pub(crate) fn hint(bytes: &[u8]) -> &'static str {
    match sniff(bytes) {
        Format::Dump => "; `profilez groups` reads it",
        Format::Trace => "; `profilez trace` reads it",
        Format::Unknown if dump::is_prefixed(bytes) => {
            "; its lines of goroutines have something before them, which --strip-prefix takes off"
        }
        Format::Unknown if serde_json::from_slice::<Manifest>(bytes).is_ok() => {
            "; it is the manifest of a bundle, which `profilez inspect --json` shows"
        }
        Format::Unknown => {
            "; no stacks are in it, which begin with a line such as `goroutine 7 [running]:`"
        }
        _ => "",
    }
}

pub(crate) fn is_dump(bytes: &[u8], options: &Options) -> bool {
    counts_as_dump(sniff(bytes), bytes, options)
}

/// Returns whether bytes of a format are read as a dump.
fn counts_as_dump(format: Format, bytes: &[u8], options: &Options) -> bool {
    match format {
        Format::Dump => true,
        Format::Unknown => options.strip_prefix && !bytes.starts_with(&[0x1f, 0x8b]),
        _ => false,
    }
}

/// Reads the dump that bytes are: as text, packed or not, or as a profile of goroutines.
pub(crate) fn read_bytes(bytes: &[u8], options: &Options) -> Result<Option<Dump>, CommandFailure> {
    let format = sniff(bytes);
    if counts_as_dump(format, bytes, options) {
        if bytes.starts_with(&[0x1f, 0x8b]) {
            return Ok(with_goroutines(dump::parse_packed(bytes, options)));
        }
        let threads = thread::available_parallelism().map_or(1, usize::from).min(4);
        return Ok(with_goroutines(dump::parse_on(threads, bytes, options)));
    }
    if format != Format::Pprof {
        return Ok(None);
    }
    let opened = profilez::analysis::open(bytes).map_err(|error| chain(&error))?;
    Ok(dump::from_profile(&opened.profile, options).and_then(with_goroutines))
}

/// Reads the dump of a bundle: the text says more than the profile.
pub(crate) fn read_bundle(
    bundle: &Bundle,
    options: &Options,
) -> Result<Option<TimedDump>, CommandFailure> {
    let timestamp = bundle.manifest.as_ref().map(|manifest| manifest.started.to_string());
    let texts = bundle.entries.iter().filter(|entry| sniff(&entry.data) == Format::Dump);
    // What counts goroutines is told by its content; what is called after them is looked at first.
    let has_name = |entry: &Entry, kind: Kind| entry.name.as_str().contains(kind.name());
    let is_profile = |entry: &&Entry| {
        sniff(&entry.data) == Format::Pprof && !has_name(entry, Kind::Threadcreate)
    };
    let mut profiles: Vec<&Entry> = bundle.entries.iter().filter(is_profile).collect();
    profiles.sort_by_key(|entry| !has_name(entry, Kind::Goroutine));
    for entry in texts.chain(profiles) {
        let dump = match read_bytes(&entry.data, options) {
            Err(error) if has_name(entry, Kind::Goroutine) => return Err(error),
            read => read.unwrap_or_default(),
        };
        if let Some(dump) = dump {
            if !entry.complete {
                note(&format!("warning: {} is not whole", printable(entry.name.as_str())));
            }
            return Ok(Some(TimedDump { dump, timestamp, complete: entry.complete }));
        }
    }
    Ok(None)
}
