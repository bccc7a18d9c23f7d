//! Folders and zip archives as the stream of a bundle, and files that are packed otherwise than by
//! gzip.

use std::fs::{self, File};
use std::io::{self, Cursor, Read};
use std::path::{Path, PathBuf};

use profilez::analysis::{ForeignFormat, Format, sniff};
use profilez::archive::{Limits, StreamedFile, TarStream};

use crate::output::CommandFailure;

/// The deepest folder that is looked into.
const DEEPEST: usize = 16;

/// Returns the files of a folder, in the order of their names, as a bundle's stream. Links are not
/// followed.
pub(crate) fn stream_folder(path: &Path) -> io::Result<Box<dyn Read>> {
    let mut files = Vec::new();
    list_files(path, "", 0, &mut files)?;
    if files.is_empty() {
        return Err(io::Error::other("the folder holds no files"));
    }
    Ok(Box::new(TarStream::new(files.into_iter().map(|(name, path)| {
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        Ok(StreamedFile { name, size, content: Box::new(file) })
    }))))
}

/// Lists the files below a folder with their names, up to the limit of bundles.
fn list_files(
    folder: &Path,
    before: &str,
    depth: usize,
    files: &mut Vec<(String, PathBuf)>,
) -> io::Result<()> {
    let mut entries = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = format!("{before}{}", entry.file_name().to_string_lossy());
        let kind = entry.file_type()?;
        if kind.is_dir() && depth < DEEPEST {
            list_files(&entry.path(), &(name + "/"), depth + 1, files)?;
        } else if kind.is_file() && files.len() as u64 <= Limits::default().max_entries {
            files.push((name, entry.path()));
        }
    }
    Ok(())
}

/// Returns the files of a zip archive as a bundle's stream.
pub(crate) fn stream_zip(bytes: Vec<u8>) -> io::Result<Box<dyn Read>> {
    let (Limits { max_entry_bytes, max_ratio, .. }, packed) = (Limits::default(), bytes.len());
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).map_err(io::Error::other)?;
    if archive.is_empty() {
        return Err(io::Error::other("the archive holds no files"));
    }
    let mut left = (packed as u64).saturating_mul(max_ratio);
    let files = (0..archive.len()).filter_map(move |index| {
        let mut entry = match archive.by_index(index) {
            Ok(entry) => entry,
            Err(error) => return Some(Err(io::Error::other(error))),
        };
        if !entry.is_file() {
            return None;
        }
        let name = entry.name().replace('\\', "/");
        let mut data = Vec::new();
        let most = left.min(max_entry_bytes);
        if let Err(error) = entry.by_ref().take(most + 1).read_to_end(&mut data) {
            return Some(Err(error));
        }
        if data.len() as u64 > most {
            let why = format!("{name} is larger than the limit of {most} bytes");
            return Some(Err(io::Error::other(why)));
        }
        left -= data.len() as u64;
        let size = data.len() as u64;
        Some(Ok(StreamedFile { name, size, content: Box::new(Cursor::new(data)) }))
    });
    Ok(Box::new(TarStream::new(files)))
}

/// Decompressed bytes for each compressed one, past the first 16 MiB.
const RATIO: u64 = 100;
const RATIO_FREE: u64 = 16 << 20;

/// Unpacks what zstd or lz4 has packed, within bounds; anything else is passed on.
pub(crate) fn unpack(bytes: Vec<u8>, name: &str) -> Result<Vec<u8>, CommandFailure> {
    let most = (bytes.len() as u64).saturating_mul(RATIO).max(RATIO_FREE);
    let unpacked = match packed_by(&bytes) {
        Some(ForeignFormat::Zstd) => unzstd(&bytes, most),
        Some(ForeignFormat::Lz4) => {
            let mut unpacked = Vec::new();
            let decoder = lz4_flex::frame::FrameDecoder::new(&bytes[..]);
            decoder.take(most + 1).read_to_end(&mut unpacked).map(|_| unpacked)
        }
        _ => return Ok(bytes),
    };
    let unpacked = unpacked.map_err(|error| format!("{name} can't be unpacked: {error}"))?;
    if unpacked.len() as u64 > most {
        return Err(format!("{name} unpacks to more than the limit of {most} bytes").into());
    }
    Ok(unpacked)
}

/// Returns what bytes are packed by, other than gzip.
pub(crate) fn packed_by(bytes: &[u8]) -> Option<ForeignFormat> {
    match sniff(&bytes[..bytes.len().min(16)]) {
        Format::Foreign(packed @ (ForeignFormat::Zstd | ForeignFormat::Lz4)) => Some(packed),
        _ => None,
    }
}

/// Unpacks the frames of zstd, one after the other.
fn unzstd(bytes: &[u8], most: u64) -> io::Result<Vec<u8>> {
    let (mut rest, mut unpacked) = (bytes, Vec::new());
    while !rest.is_empty() {
        let mut decoder =
            ruzstd::decoding::StreamingDecoder::new(rest).map_err(io::Error::other)?;
        let room = most + 1 - (unpacked.len() as u64).min(most);
        decoder.by_ref().take(room).read_to_end(&mut unpacked)?;
        if unpacked.len() as u64 > most {
            break;
        }
        rest = decoder.into_inner();
    }
    Ok(unpacked)
}

/// Returns an entry's bytes without what zstd or lz4 has made of them; as they are where that fails,
/// which is said where they are read.
pub(crate) fn unpack_entry(bytes: Vec<u8>, name: &str) -> Vec<u8> {
    if packed_by(&bytes).is_none() {
        return bytes;
    }
    unpack(bytes.clone(), name).unwrap_or(bytes)
}
