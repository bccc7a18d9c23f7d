//! Writes and reads bundles: the `tar.gz` that holds every profile of one collection, its manifest
//! last.
//!
//! To write, make a [`BundleWriter`] over any [`Write`](std::io::Write), append the profiles one by
//! one and [finish](BundleWriter::finish) it. To read, hand any [`Read`](std::io::Read) to
//! [`Bundle::read`], or walk it entry by entry with a [`BundleReader`]. What the crate does for you:
//! writing streams, so that no profile is held twice; reading trusts nothing. A name is only a
//! label, links and devices are skipped, sizes, counts and the compression ratio are bounded by
//! [`Limits`], sizes and hashes are compared with the manifest, and a bundle that breaks off still
//! gives everything that arrived.
//!
//! It is *not* for unpacking archives to disk, nor for reading what the profiles say
//! (`profile-analysis`). It opens no files and knows no HTTP.
//!
//! ```
//! use std::collections::BTreeMap;
//! use std::time::{Duration, SystemTime};
//!
//! use profile_archive::{Bundle, BundleWriter, Header, Limits, Source};
//!
//! # fn main() -> Result<(), profile_archive::Error> {
//! let mut writer = BundleWriter::new(
//!     Vec::new(),
//!     Header {
//!         service: "shop".into(),
//!         version: "1.4.2".into(),
//!         host: "web-3".into(),
//!         pid: 4711,
//!         build_id: String::new(),
//!         started: SystemTime::now(),
//!         window: Duration::from_secs(10),
//!         source: Source::Consolidated,
//!         rates: BTreeMap::new(),
//!     },
//! )?;
//! let dump = b"goroutine 1 [running]:\n";
//! writer.append_bytes("goroutine", &"goroutine.txt".parse()?, dump, Duration::from_millis(3))?;
//! writer.error("heap", "heap could not be collected");
//! let file = writer.finish()?;
//!
//! let bundle = Bundle::read(&file[..], &Limits::default())?;
//! assert!(!bundle.truncated);
//! assert_eq!(bundle.entry("goroutine.txt").map(|entry| &entry.data[..]), Some(&dump[..]));
//! assert_eq!(bundle.manifest.map(|manifest| manifest.errors.len()), Some(1));
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod bundle;
mod error;
mod limits;
mod listed;
mod manifest;
mod name;
mod reader;
mod tar_stream;
mod warning;
mod writer;

mod amend;
mod gunzip;
mod gzip;
mod tar_reader;
mod verify;

pub use bundle::{Bundle, Entry};
pub use error::{Error, Result};
pub use limits::Limits;
pub use listed::Listed;
pub use manifest::{
    FORMAT, Header, MANIFEST_NAME, Manifest, ManifestEntry, ManifestError, ManifestUnavailable,
    Source, rfc3339,
};
pub use name::{EntryName, NameError};
pub use reader::{BundleReader, Contents, EntryReader};
pub use tar_stream::{StreamedFile, TarStream};
pub use warning::{Problem, Warning};
pub use writer::BundleWriter;
