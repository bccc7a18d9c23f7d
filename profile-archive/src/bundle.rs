//! A bundle in memory.

use std::io::Read;

use crate::{BundleReader, Contents, EntryName, Limits, Manifest, Result, Warning};

/// Everything that could be read of a bundle.
#[derive(Clone, Debug, PartialEq)]
pub struct Bundle {
    /// The manifest, where it could be read.
    pub manifest: Option<Manifest>,
    /// The entries besides the manifest, in the order of the stream.
    pub entries: Vec<Entry>,
    /// True if something of the bundle is lost. Always so without a manifest.
    pub truncated: bool,
    /// The faults, in the order they were noticed.
    pub warnings: Vec<Warning>,
}

/// One entry of a [`Bundle`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name, or the nearest good name: a label, not a path.
    pub name: EntryName,
    /// Its bytes, as they stand in the archive: a gzip'd profile is still gzip'd.
    pub data: Vec<u8>,
    /// True if all of it arrived. The last entry of a truncated bundle may be a part.
    pub complete: bool,
}

impl Bundle {
    /// Reads a whole bundle into memory.
    ///
    /// # Errors
    ///
    /// Only where the input is no bundle at all: see [`BundleReader::open`].
    pub fn read<R: Read>(input: R, limits: &Limits) -> Result<Bundle> {
        Bundle::read_matching(input, limits, |_| true)
    }

    /// Reads a bundle to its end, and keeps only the entries that are wanted.
    ///
    /// ```
    /// use profile_archive::{Bundle, Limits};
    ///
    /// # fn main() -> Result<(), profile_archive::Error> {
    /// # let file: &[u8] = b"";
    /// let bundle = Bundle::read_matching(file, &Limits::default(), |name| *name == "heap.prof")?;
    /// let heap = bundle.entry("heap.prof");
    /// # assert_eq!(heap, None);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Only where the input is no bundle at all: see [`BundleReader::open`].
    pub fn read_matching<R: Read>(
        input: R,
        limits: &Limits,
        mut wanted: impl FnMut(&EntryName) -> bool,
    ) -> Result<Bundle> {
        let mut reader = BundleReader::open(input, limits)?;
        let mut kept = Vec::new();
        while let Some(mut entry) = reader.next_entry() {
            kept.push(wanted(entry.name()).then(|| {
                let mut data = Vec::new();
                // Where the bundle breaks off, `data` holds what arrived and the warnings say why.
                let _ = entry.read_to_end(&mut data);
                data
            }));
        }
        let Contents { manifest, entries, truncated, warnings } = reader.finish();
        let entries = entries
            .into_iter()
            .zip(kept)
            .filter_map(|(listed, data)| {
                Some(Entry { name: listed.name, data: data?, complete: listed.complete })
            })
            .collect();
        Ok(Bundle { manifest, entries, truncated, warnings })
    }

    /// Returns the first entry of that name.
    pub fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.name == name)
    }
}
