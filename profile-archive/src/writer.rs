//! Writes a bundle as a stream: each profile as it comes, the manifest last.

use std::collections::HashSet;
use std::fmt;
use std::io::{self, Write};
use std::time::{Duration, SystemTime};

use profile_format::{Content, Kind, Unavailable};
use sha2::{Digest, Sha256};

use crate::gzip::{GzipWriter, MAGIC};
use crate::manifest::{MANIFEST_NAME, ManifestEntry, ManifestError};
use crate::tar_reader::BLOCK;
use crate::verify::to_hex;
use crate::{EntryName, Error, Header, Manifest, Result};

/// A bundle that is being written.
///
/// Profiles go to the writer below as they are appended; besides them only the state of one
/// compressor and the manifest are held. What is gzip'd already is stored as it is, everything else
/// is compressed. Small data may wait in the compressor until [`BundleWriter::flush`].
///
/// Dropped before [`BundleWriter::finish`] it writes nothing more, so that whoever reads the bundle
/// can tell that it is not whole.
#[must_use = "a bundle that is not finished reads as truncated"]
pub struct BundleWriter<W: Write> {
    gzip: GzipWriter<W>,
    manifest: Manifest,
    names: HashSet<EntryName>,
    /// Number of entries that were there at the last flush.
    flushed: usize,
    /// True if a write failed and left half an entry behind.
    broken: bool,
}

impl<W: Write> BundleWriter<W> {
    /// Begins a bundle: the gzip header is written at once.
    ///
    /// # Errors
    ///
    /// [`Error::Write`] where the writer fails.
    pub fn new(writer: W, header: Header) -> Result<BundleWriter<W>> {
        Ok(BundleWriter {
            gzip: GzipWriter::new(writer).map_err(Error::Write)?,
            manifest: Manifest::new(header),
            names: HashSet::new(),
            flushed: 0,
            broken: false,
        })
    }

    /// Appends a file of a kind. Of a kind that gave none, [`BundleWriter::unavailable`] or
    /// [`BundleWriter::error`] says why in the manifest.
    ///
    /// Content that is there is written as it is; what is made as it is written is compressed piece by
    /// piece.
    ///
    /// # Errors
    ///
    /// [`Error::Name`] and [`Error::NameTaken`] where its name won't do: nothing is written then,
    /// and the bundle can go on. [`Error::Write`] and [`Error::Broken`] end the bundle.
    pub fn append(
        &mut self,
        kind: Kind,
        name: &str,
        content: &Content,
        took: Duration,
    ) -> Result<()> {
        let (kind, name) = (kind.name(), name.parse()?);
        if let Some(bytes) = content.in_memory() {
            return self.append_bytes(kind, &name, bytes, took);
        }
        let bytes = content.len();
        self.write_listed(kind, &name, bytes, took, |bundle| {
            let header = header(name.as_str(), bytes)?;
            let mut digest = Sha256::new();
            bundle.guard_write(|gzip| {
                gzip.compress(header.as_bytes())?;
                content.write_to(&mut CompressedEntry { gzip, digest: &mut digest })?;
                gzip.compress(padding(bytes))
            })?;
            Ok(digest.finalize().into())
        })
    }

    /// Appends bytes that came from elsewhere, under a kind that need not be one of [`Kind`].
    ///
    /// # Errors
    ///
    /// The same as those of [`BundleWriter::append`].
    pub fn append_bytes(
        &mut self,
        kind: &str,
        name: &EntryName,
        bytes: &[u8],
        took: Duration,
    ) -> Result<()> {
        self.write_listed(kind, name, bytes.len() as u64, took, |bundle| {
            bundle.write_entry(name.as_str(), bytes)?;
            Ok(Sha256::digest(bytes).into())
        })
    }

    /// Writes an entry under a name that is free, and puts it in the manifest.
    fn write_listed(
        &mut self,
        kind: &str,
        name: &EntryName,
        bytes: u64,
        took: Duration,
        write: impl FnOnce(&mut BundleWriter<W>) -> Result<[u8; 32]>,
    ) -> Result<()> {
        if *name == MANIFEST_NAME || self.names.contains(name) {
            return Err(Error::NameTaken(name.clone()));
        }
        let digest = write(self)?;
        self.names.insert(name.clone());
        self.manifest.entries.push(ManifestEntry {
            name: name.to_string(),
            kind: kind.to_owned(),
            bytes,
            sha256: to_hex(&digest),
            took_seconds: took.as_secs_f64(),
        });
        Ok(())
    }

    /// Notes in the manifest that the process can't give a kind.
    pub fn unavailable(&mut self, unavailable: &Unavailable) {
        self.manifest.unavailable.push(unavailable.into());
    }

    /// Notes in the manifest that a kind failed.
    pub fn error(&mut self, kind: &str, text: impl Into<String>) {
        self.manifest.errors.push(ManifestError { kind: kind.to_owned(), error: text.into() });
    }

    /// Notes in the manifest that the collection ends early, and why. Whoever reads the bundle takes
    /// it for one of which something is lost.
    pub fn incomplete(&mut self, why: impl Into<String>) {
        self.manifest.incomplete = why.into();
    }

    /// Notes the command line of the process in the manifest. Leave secrets out of it.
    pub fn cmdline(&mut self, words: Vec<String>) {
        self.manifest.cmdline = words;
    }

    /// Returns the manifest as it stands.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Hands everything so far to the writer below and flushes it. After [`BundleWriter::new`] that
    /// is the gzip header, so that a client sees the answer begin before the window is over.
    ///
    /// # Errors
    ///
    /// [`Error::Write`] where the writer fails, [`Error::Broken`] where it failed before.
    pub fn flush(&mut self) -> Result<()> {
        self.guard_write(GzipWriter::flush)?;
        self.flushed = self.manifest.entries.len();
        Ok(())
    }

    /// Goes on from the last [`BundleWriter::flush`], after a write that failed: the writer below must
    /// have dropped everything since, as one can by cutting off a file. The entries that are lost by
    /// it are no longer in the manifest.
    pub fn rewind(&mut self) {
        self.gzip.rewind();
        self.manifest.entries.truncate(self.flushed);
        self.broken = false;
    }

    /// Writes the manifest, ends the bundle, flushes, and gives the writer back.
    ///
    /// # Errors
    ///
    /// [`Error::Write`] where the writer fails, [`Error::Broken`] where it failed before.
    pub fn finish(self) -> Result<W> {
        let mut json = serde_json::to_vec_pretty(&self.manifest)
            .map_err(|error| Error::Write(error.into()))?;
        json.push(b'\n');
        self.finish_with(&json)
    }

    /// Ends the bundle as [`BundleWriter::finish`] does, with a manifest that came with its entries
    /// from elsewhere, byte for byte.
    ///
    /// # Errors
    ///
    /// The same as those of [`BundleWriter::finish`].
    pub fn finish_with(mut self, manifest: &[u8]) -> Result<W> {
        self.write_entry(MANIFEST_NAME, manifest)?;
        // Two blocks of zeros end an archive.
        self.guard_write(|gzip| gzip.compress(&[0; 2 * BLOCK]))?;
        self.gzip.finish().map_err(Error::Write)
    }

    fn write_entry(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        let header = header(name, bytes.len() as u64)?;
        self.guard_write(|gzip| {
            gzip.compress(header.as_bytes())?;
            if bytes.starts_with(&MAGIC) {
                gzip.store(bytes)?;
            } else {
                gzip.compress(bytes)?;
            }
            gzip.compress(padding(bytes.len() as u64))
        })
    }

    /// Runs a write. One that fails half-way leaves an archive that nothing may follow, least of
    /// all a clean end.
    fn guard_write(
        &mut self,
        write: impl FnOnce(&mut GzipWriter<W>) -> io::Result<()>,
    ) -> Result<()> {
        if self.broken {
            return Err(Error::Broken);
        }
        self.broken = true;
        write(&mut self.gzip).map_err(Error::Write)?;
        self.broken = false;
        Ok(())
    }
}

impl<W: Write> fmt::Debug for BundleWriter<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BundleWriter").field("manifest", &self.manifest).finish_non_exhaustive()
    }
}

/// Returns the header before an entry of so many bytes.
fn header(name: &str, bytes: u64) -> Result<tar::Header> {
    let mut header = tar::Header::new_ustar();
    header.set_path(name).map_err(Error::Write)?;
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(unix_seconds(SystemTime::now()));
    header.set_entry_type(tar::EntryType::Regular);
    header.set_size(bytes);
    header.set_cksum();
    Ok(header)
}

/// Returns the zeros that fill the last block of an entry of so many bytes.
fn padding(bytes: u64) -> &'static [u8] {
    const BLANK: [u8; BLOCK] = [0; BLOCK];
    &BLANK[..(bytes.next_multiple_of(BLOCK as u64) - bytes) as usize]
}

/// A writer that compresses what is written, and digests it.
struct CompressedEntry<'a, W: Write> {
    gzip: &'a mut GzipWriter<W>,
    digest: &'a mut Sha256,
}

impl<W: Write> Write for CompressedEntry<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.gzip.compress(bytes)?;
        self.digest.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{Bundle, BundleReader, Limits, Problem, Source};

    fn writer() -> BundleWriter<Vec<u8>> {
        let header = Header {
            service: "shop".into(),
            version: String::new(),
            host: String::new(),
            pid: 1,
            build_id: String::new(),
            started: SystemTime::UNIX_EPOCH,
            window: Duration::ZERO,
            source: Source::Individual,
            rates: BTreeMap::new(),
        };
        let mut writer = BundleWriter::new(Vec::new(), header).unwrap();
        let name = "heap.prof".parse().unwrap();
        writer.append_bytes("heap", &name, b"bytes", Duration::ZERO).unwrap();
        writer
    }

    #[test]
    fn a_bundle_that_ended_early_says_so() {
        let mut writer = writer();
        writer.incomplete("interrupted");
        writer.cmdline(vec!["shop".to_owned()]);
        let bundle = Bundle::read(&writer.finish().unwrap()[..], &Limits::default()).unwrap();
        assert!(bundle.truncated);
        let problems: Vec<_> = bundle.warnings.iter().map(|warning| &warning.problem).collect();
        assert_eq!(problems, [&Problem::Incomplete("interrupted".to_owned())]);
        assert_eq!(bundle.entry("heap.prof").unwrap().data, b"bytes");
        assert_eq!(bundle.manifest.unwrap().cmdline, ["shop"]);
    }

    #[test]
    fn a_failed_write_can_be_taken_back() {
        use std::cell::Cell;
        use std::rc::Rc;

        /// A writer with as much room as there is; what doesn't fit is cut off at the last flush.
        struct FullDisk {
            room: Rc<Cell<usize>>,
            bytes: Vec<u8>,
            flushed: usize,
        }
        impl Write for FullDisk {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                if self.bytes.len() + bytes.len() > self.room.get() {
                    self.bytes.truncate(self.flushed);
                    return Err(io::ErrorKind::StorageFull.into());
                }
                self.bytes.extend_from_slice(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                self.flushed = self.bytes.len();
                Ok(())
            }
        }
        let dump = vec![b'x'; 10_000];
        let stored = [&MAGIC[..], &dump].concat();
        for bytes in [&stored, &dump] {
            let room = Rc::new(Cell::new(usize::MAX));
            let disk = FullDisk { room: Rc::clone(&room), bytes: Vec::new(), flushed: 0 };
            let manifest = writer().manifest;
            let gzip = GzipWriter::new(disk).unwrap();
            let names = HashSet::new();
            let mut writer = BundleWriter { gzip, manifest, names, flushed: 0, broken: false };
            writer.manifest.entries.clear();
            writer.flush().unwrap();
            let mut append = |name: &str, bytes: &[u8]| {
                writer.append_bytes("x", &name.parse().unwrap(), bytes, Duration::ZERO)?;
                writer.flush()
            };
            append("one.prof", &dump).unwrap();
            room.set(500);
            let lost = append("two.prof", bytes);
            room.set(usize::MAX);
            if bytes == &stored {
                assert!(matches!(lost, Err(Error::Write(_))), "{lost:?}");
                writer.rewind();
            }
            let disk = writer.finish().unwrap();
            let bundle = Bundle::read(&disk.bytes[..], &Limits::default()).unwrap();
            assert_eq!((bundle.truncated, &bundle.warnings[..]), (false, &[][..]));
            assert_eq!(bundle.entry("one.prof").unwrap().data, dump);
            assert_eq!(bundle.entry("two.prof").is_some(), bytes == &dump);
        }
    }

    #[test]
    fn a_manifest_from_elsewhere_is_handed_on_as_it_is() {
        let json = br#"{"format":1,"service":"x","entries":[{"name":"heap.prof","kind":"heap","bytes":5}],"later":7}"#;
        let file = writer().finish_with(json).unwrap();
        let mut reader = BundleReader::open(&file[..], &Limits::default()).unwrap();
        while reader.next_entry().is_some() {}
        assert_eq!(reader.manifest_json(), json);
        let contents = reader.finish();
        assert_eq!((contents.truncated, contents.warnings), (false, Vec::new()));
    }
}
