//! What `FILE` stands for: a file, standard input, or one entry of a bundle.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use profilez::analysis::{Format, sniff};
use profilez::archive::{
    self, Bundle, BundleReader, Contents, Limits, MANIFEST_NAME, Problem, Warning,
};

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
    let mut from: Box<dyn Read> = match spec {
        "-" => Box::new(io::stdin().lock()),
        _ => match File::open(spec) {
            Ok(file) => Box::new(file),
            Err(_) => return refuse_bundle(open(spec)?, spec),
        },
    };
    let failed = |error: io::Error| format!("{spec}: {error}");
    let mut head = Vec::new();
    from.by_ref().take(HEAD).read_to_end(&mut head).map_err(failed)?;
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
    let input = if spec == "-" {
        recognise(read(io::stdin().lock(), spec)?, display_name(spec))
    } else {
        match File::open(spec) {
            Ok(file) => recognise(read(file, spec)?, spec),
            Err(error) => match split_entry(spec) {
                Some((bundle, name)) => read_entry(bundle, name),
                None => Err(format!("{spec}: {error}").into()),
            },
        }
    }?;
    if let FileContent::Bundle(bundle) = &input {
        warn(&bundle.warnings);
    }
    Ok(input)
}

/// Notes on standard error what is wrong with a bundle.
pub(crate) fn warn(warnings: &[Warning]) {
    for warning in warnings {
        note(&format!("warning: {}", printable(&warning.to_string())));
    }
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

/// Splits `bundle.tar.gz:heap.prof`, where there is such a file before the last colon, or
/// `-:heap.prof`.
fn split_entry(spec: &str) -> Option<(&str, &str)> {
    spec.rsplit_once(':').filter(|(bundle, _)| *bundle == "-" || Path::new(bundle).exists())
}

/// Reads one entry of a bundle. All of the bundle is read: whether it is whole is known at its end.
fn read_entry(path: &str, wanted: &str) -> Result<FileContent, CommandFailure> {
    let from: Box<dyn Read> = match path {
        "-" => Box::new(io::stdin().lock()),
        _ => Box::new(File::open(path).map_err(|error| format!("{path}: {error}"))?),
    };
    let path = display_name(path);
    let mut reader = BundleReader::open(from, &Limits::default())
        .map_err(|error| format!("{path}: {}", chain(&error)))?;
    let (mut names, mut found) = (Vec::new(), None);
    while let Some(mut entry) = reader.next_entry() {
        let name = entry.name().to_string();
        if found.is_none() && name == wanted {
            let mut data = Vec::new();
            if entry.read_to_end(&mut data).is_err() {
                let what = format!("only {} bytes of {name} are in {path}", data.len());
                note(&format!("warning: {}", printable(&what)));
            }
            found = Some(data);
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

fn read(from: impl Read, name: &str) -> Result<Vec<u8>, CommandFailure> {
    read_on(Vec::new(), from, name)
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
        Ok(bundle) if breaks_off_at_once(&bundle) => {
            Err(format!("{name} breaks off before anything in it can be read").into())
        }
        Ok(bundle) => Ok(FileContent::Bundle(Box::new(bundle))),
        Err(archive::Error::NotGzip | archive::Error::NotTar) => Ok(FileContent::Bytes(bytes)),
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
