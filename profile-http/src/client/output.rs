//! The bundle that is written: how much of it there is, and how it ends.

use std::cell::Cell;
use std::io::{self, Write};
use std::rc::Rc;
use std::time::Duration;

use profile_archive::{BundleWriter, EntryName, Header, Manifest, Warning};
use profile_core::{Kind, Unavailable};

use super::Collected;
use crate::{Error, Result};

/// A bundle that is being written. When a write fails it takes nothing more.
pub(super) struct BundleOutput<'a> {
    writer: BundleWriter<CountedWriter<'a>>,
    bytes: Rc<Cell<u64>>,
    failed: Option<Error>,
    /// True if it can get an end although a write failed.
    can_end: bool,
}

/// The facts that a bundle ends with.
#[derive(Default)]
pub(super) struct BundleEnd {
    pub(super) file_name: Option<String>,
    pub(super) warnings: Vec<Warning>,
    /// The reason why it can't be called whole.
    pub(super) broke_off: Option<Error>,
    /// The manifest that came with the entries.
    pub(super) manifest: Option<ServiceManifest>,
}

/// A manifest of the service's, as it came and as it reads.
pub(super) struct ServiceManifest {
    pub(super) json: Vec<u8>,
    pub(super) manifest: Manifest,
}

/// The error that a writer's error wraps if the writer has dropped everything since it was last
/// flushed, as one can by cutting off a file. A bundle that doesn't fit still gets its manifest
/// then.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct RolledBack(#[from] pub io::Error);

/// A writer that counts its bytes.
struct CountedWriter<'a> {
    to: &'a mut dyn Write,
    bytes: Rc<Cell<u64>>,
    flushed: u64,
}

impl Write for CountedWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes);
        match &written {
            Ok(len) => self.bytes.set(self.bytes.get() + *len as u64),
            Err(error) if is_rolled_back(error) => self.bytes.set(self.flushed),
            Err(_) => {}
        }
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()?;
        self.flushed = self.bytes.get();
        Ok(())
    }
}

impl<'a> BundleOutput<'a> {
    pub(super) fn begin(to: &'a mut dyn Write, header: Header) -> Result<BundleOutput<'a>> {
        let bytes = Rc::new(Cell::new(0));
        let counted = CountedWriter { to, bytes: Rc::clone(&bytes), flushed: 0 };
        let mut writer = BundleWriter::new(counted, header).map_err(written)?;
        writer.flush().map_err(written)?;
        Ok(BundleOutput { writer, bytes, failed: None, can_end: false })
    }

    /// Appends an entry and hands it on at once, so that it is there whatever comes after it.
    pub(super) fn append(&mut self, kind: &str, name: &EntryName, bytes: &[u8], took: Duration) {
        if self.failed.is_some() {
            return;
        }
        match self.writer.append_bytes(kind, name, bytes, took) {
            Ok(()) => {
                if let Err(error) = self.writer.flush() {
                    self.fail(kind, written(error));
                }
            }
            Err(error @ profile_archive::Error::NameTaken(_)) => {
                self.writer.error(kind, error.to_string());
            }
            Err(error) => self.fail(kind, written(error)),
        }
    }

    fn fail(&mut self, kind: &str, error: Error) {
        if matches!(&error, Error::Write(error) if is_rolled_back(error)) {
            self.writer.rewind();
            self.writer.error(kind, error.chain());
            self.can_end = true;
        }
        self.failed = Some(error);
    }

    /// Notes an entry that holds nothing. It is written only where the manifest that came lists it.
    pub(super) fn empty(&mut self, kind: &str, name: &EntryName, is_listed: bool) {
        if is_listed && !self.holds(name) {
            self.append(kind, name, &[], Duration::ZERO);
        }
        self.error(kind, format!("the service sent an empty {name}"));
    }

    pub(super) fn error(&mut self, kind: &str, text: impl Into<String>) {
        self.writer.error(kind, text);
    }

    pub(super) fn unavailable(&mut self, unavailable: &Unavailable) {
        self.writer.unavailable(unavailable);
    }

    pub(super) fn cmdline(&mut self, words: Vec<String>) {
        self.writer.cmdline(words);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.writer.manifest().entries.is_empty()
    }

    /// Returns whether there is an entry of this name.
    pub(super) fn holds(&self, name: &EntryName) -> bool {
        self.writer.manifest().entries.iter().any(|entry| *name == *entry.name)
    }

    /// Returns whether there is a profile of this kind.
    pub(super) fn has(&self, kind: Kind) -> bool {
        let entries = &self.writer.manifest().entries;
        entries.iter().any(|entry| entry.kind == kind.name() && entry.name.ends_with(".prof"))
    }

    /// Returns whether writing has failed.
    pub(super) fn is_closed(&self) -> bool {
        self.failed.is_some()
    }

    /// Ends the bundle.
    ///
    /// # Errors
    ///
    /// It could not be written, and nothing of use was written before.
    pub(super) fn finish(mut self, end: BundleEnd) -> Result<Collected> {
        let BundleEnd { file_name, warnings, mut broke_off, manifest } = end;
        let why = self.failed.as_ref().or(broke_off.as_ref()).map(Error::chain);
        let why = why.unwrap_or_default();
        let own = self.writer.manifest();
        let useful = !own.entries.is_empty();
        // Of two manifests the service's knows more: what is known here is added to it.
        let theirs = manifest.map(|ServiceManifest { json, mut manifest }| {
            if why.is_empty() && own.errors.is_empty() {
                return ServiceManifest { json, manifest };
            }
            let json = manifest.amend(&json, &why, &own.errors);
            ServiceManifest { json, manifest }
        });
        self.writer.incomplete(why);
        let own = self.writer.manifest().clone();
        let end = |writer: BundleWriter<CountedWriter<'a>>| match &theirs {
            Some(ServiceManifest { json, .. }) => writer.finish_with(json),
            None => writer.finish(),
        };
        if self.failed.is_none() {
            self.failed = end(self.writer).err().map(written);
        } else if self.can_end && useful {
            // What room there is is for the manifest. Without one it reads as truncated.
            let _ = end(self.writer);
        }
        match self.failed {
            Some(error) if useful => broke_off = Some(error),
            Some(error) => return Err(error),
            None => {}
        }
        let manifest = theirs.map_or(own, |theirs| theirs.manifest);
        Ok(Collected { bytes: self.bytes.get(), file_name, manifest, warnings, broke_off })
    }
}

fn is_rolled_back(error: &io::Error) -> bool {
    matches!(error.get_ref(), Some(inner) if inner.is::<RolledBack>())
}

fn written(error: profile_archive::Error) -> Error {
    match error {
        profile_archive::Error::Write(error) => Error::Write(error),
        error => Error::Write(io::Error::other(error)),
    }
}
