//! What `FILE` stands for: a file, a folder, standard input, or one entry of a bundle.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use profilez::analysis::{ForeignFormat, Format, sniff};
use profilez::archive::{
    self, Bundle, BundleReader, Contents, EntryName, Limits, MANIFEST_NAME, Problem, Warning,
};

use crate::archives;
use crate::args::STDIN;
use crate::output::{CommandFailure, chain, note, printable};

/// The content of a `FILE` argument.
pub(crate) enum FileContent {
    /// A bundle, with everything that could be read of it.
    Bundle(Box<Bundle>),
    /// Anything else.
    Bytes(Vec<u8>),
}

/// The largest file that is read, in bytes.
const LARGEST: u64 = 4 << 30;

/// A bundle that is read as it comes.
pub(crate) type FileBundleReader = BundleReader<Box<dyn Read>>;

/// The content of a `FILE` argument, where a bundle is read as it comes.
pub(crate) enum FileStream {
    /// A bundle of which nothing has been read.
    Bundle(Box<FileBundleReader>),
    /// Anything else.
    Bytes(Vec<u8>),
}

/// Number of bytes that are read to see what they are.
const HEAD: u64 = 64 << 10;

/// Opens a `FILE` argument.
pub(crate) fn stream(spec: &str) -> Result<FileStream, CommandFailure> {
    if !is_there(spec) {
        return refuse_bundle(open(spec)?, spec);
    }
    let (mut head, from) = begin(spec)?;
    if sniff(&head) == Format::Bundle {
        let rest: Box<dyn Read> = Box::new(io::Cursor::new(head).chain(from));
        let reader = BundleReader::open(rest, &Limits::default())
            .map_err(|error| format!("{spec}: {}", chain(&error)))?;
        return Ok(FileStream::Bundle(Box::new(reader)));
    }
    let name = display_name(spec);
    // Growing would take twice the memory for a moment. A file may be longer by the time it is read.
    let size = std::fs::metadata(spec).map_or(0, |metadata| metadata.len().min(LARGEST));
    head.reserve_exact(usize::try_from(size).unwrap_or(0));
    refuse_bundle(recognise(read_on(head, from, spec)?, name)?, name)
}

/// Returns whether a `FILE` argument names standard input, a file or a folder, and no entry of one.
fn is_there(spec: &str) -> bool {
    spec == "-" || Path::new(spec).exists()
}

/// Opens a file, a folder or standard input, unpacks what can't be read as it comes, and returns
/// its beginning with the rest.
fn begin(path: &str) -> Result<(Vec<u8>, Box<dyn Read>), CommandFailure> {
    let failed = |error: io::Error| format!("{}: {error}", display_name(path));
    let mut from: Box<dyn Read> = match path {
        "-" => Box::new(io::stdin().lock()),
        _ if Path::new(path).is_dir() => {
            archives::stream_folder(Path::new(path)).map_err(failed)?
        }
        _ => Box::new(File::open(path).map_err(failed)?),
    };
    let mut head = Vec::new();
    from.by_ref().take(HEAD).read_to_end(&mut head).map_err(failed)?;
    if sniff(&head) == Format::Foreign(ForeignFormat::Zip) {
        from = archives::stream_zip(read_on(head, from, path)?).map_err(failed)?;
    } else if archives::packed_by(&head).is_some() {
        let unpacked = archives::unpack(read_on(head, from, path)?, display_name(path))?;
        from = Box::new(io::Cursor::new(unpacked));
    } else {
        return Ok((head, from));
    }
    head = Vec::new();
    from.by_ref().take(HEAD).read_to_end(&mut head).map_err(failed)?;
    Ok((head, from))
}

/// Returns a file that is no bundle. One that looks like a bundle only now is broken, and says so
/// when it is read again.
fn refuse_bundle(input: FileContent, name: &str) -> Result<FileStream, CommandFailure> {
    match input {
        FileContent::Bytes(bytes) => Ok(FileStream::Bytes(bytes)),
        FileContent::Bundle(bundle) => {
            let why = bundle.warnings.first().map(|warning| format!(": {}", warning.problem));
            Err(format!("{name} can't be recognised{}", why.unwrap_or_default()).into())
        }
    }
}

/// Reads a `FILE` argument. What is wrong with a bundle goes to standard error.
pub(crate) fn open(spec: &str) -> Result<FileContent, CommandFailure> {
    let input = match split_entry(spec) {
        Some((bundle, name)) if !is_there(spec) => read_entry(bundle, name)?,
        _ => {
            let (head, from) = begin(spec)?;
            let name = display_name(spec);
            match sniff(&head) {
                Format::Bundle => read_bundle(io::Cursor::new(head).chain(from), name)?,
                _ => recognise(read_on(head, from, spec)?, name)?,
            }
        }
    };
    if let FileContent::Bundle(bundle) = &input {
        warn(&bundle.warnings);
    }
    Ok(input)
}

/// Notes on standard error what is wrong with a bundle.
pub(crate) fn warn(warnings: &[Warning]) {
    for warning in warning_texts(warnings) {
        note(&format!("warning: {}", printable(&warning)));
    }
}

/// Returns what is wrong with a bundle. That there is no manifest says something only where
/// something is lost: other tools' archives have none.
pub(crate) fn warning_texts(warnings: &[Warning]) -> Vec<String> {
    let is_lossy = warnings.iter().any(|warning| warning.problem.is_loss());
    let told = warnings.iter().filter(|warning| is_lossy || warning.problem != Problem::NoManifest);
    told.map(ToString::to_string).collect()
}

/// Returns the name of a file in messages.
fn display_name(path: &str) -> &str {
    if is_stdin(path) { "standard input" } else { path }
}

/// Returns whether a `FILE` argument is read from standard input, which can be done once.
pub(crate) fn is_stdin(spec: &str) -> bool {
    let path = spec.split(':').next().unwrap_or(spec);
    path == "-" || path == STDIN
}

/// Splits `bundle.tar.gz:heap.prof` at the first colon before which there is such a file, or
/// `-:heap.prof`. Names of entries may have colons, too.
fn split_entry(spec: &str) -> Option<(&str, &str)> {
    let mut colons = spec.match_indices(':').map(|(at, _)| (&spec[..at], &spec[at + 1..]));
    colons.find(|(bundle, _)| is_there(bundle))
}

/// Reads one entry of a bundle. All of the bundle is read: whether it is whole is known at its end.
fn read_entry(path: &str, wanted: &str) -> Result<FileContent, CommandFailure> {
    let (head, from) = begin(path)?;
    let path = display_name(path);
    let mut reader = BundleReader::open(io::Cursor::new(head).chain(from), &Limits::default())
        .map_err(|error| format!("{path}: {}", chain(&error)))?;
    let (mut names, mut found) = (Vec::new(), None);
    while let Some(mut entry) = reader.next_entry() {
        let name = entry.name().to_string();
        if found.is_none() && name == EntryName::label(wanted.as_bytes()).as_str() {
            let mut data = Vec::new();
            if entry.read_to_end(&mut data).is_err() {
                let what = format!("only {} bytes of {name} are in {path}", data.len());
                note(&format!("warning: {}", printable(&what)));
            }
            found = Some(archives::unpack_entry(data, &name));
        }
        names.push(name);
    }
    let manifest = reader.manifest_json().to_vec();
    if !manifest.is_empty() {
        names.push(MANIFEST_NAME.to_owned());
    }
    if wanted == MANIFEST_NAME && !manifest.is_empty() {
        found = Some(manifest);
    }
    let Contents { warnings, .. } = reader.finish();
    warn(&warnings);
    match found {
        Some(data) => Ok(FileContent::Bytes(data)),
        None if names.is_empty() => Err(format!("{path} has no entries at all").into()),
        None => Err(format!("{path} has no entry {wanted:?}; it has {}", names.join(", ")).into()),
    }
}

/// Reads the rest of what has begun.
fn read_on(mut bytes: Vec<u8>, from: impl Read, name: &str) -> Result<Vec<u8>, CommandFailure> {
    from.take(LARGEST + 1).read_to_end(&mut bytes).map_err(|error| format!("{name}: {error}"))?;
    if bytes.len() as u64 > LARGEST {
        return Err(format!("{name} is larger than the limit of {LARGEST} bytes").into());
    }
    Ok(bytes)
}

fn recognise(bytes: Vec<u8>, name: &str) -> Result<FileContent, CommandFailure> {
    if bytes.is_empty() {
        return Err(format!("{name} is empty").into());
    }
    // The beginning of a gzip'd profile could be that of a bundle as well.
    if sniff(&bytes) == Format::Pprof {
        return Ok(FileContent::Bytes(bytes));
    }
    match Bundle::read(&bytes[..], &Limits::default()) {
        Err(archive::Error::NotGzip | archive::Error::NotTar) => Ok(FileContent::Bytes(bytes)),
        read => check_bundle(read, name),
    }
}

fn read_bundle(from: impl Read, name: &str) -> Result<FileContent, CommandFailure> {
    check_bundle(Bundle::read(from, &Limits::default()), name)
}

fn check_bundle(
    read: Result<Bundle, archive::Error>,
    name: &str,
) -> Result<FileContent, CommandFailure> {
    match read {
        Ok(bundle) if breaks_off_at_once(&bundle) => {
            Err(format!("{name} breaks off before anything in it can be read").into())
        }
        Ok(bundle) => Ok(FileContent::Bundle(Box::new(bundle))),
        Err(error) => Err(format!("{name}: {}", chain(&error)).into()),
    }
}

/// Returns whether not even the name of the first entry is there.
fn breaks_off_at_once(bundle: &Bundle) -> bool {
    let first = bundle.warnings.first();
    bundle.entries.is_empty()
        && bundle.manifest.is_none()
        && first.is_some_and(|warning| warning.problem == Problem::BreaksOff)
}
