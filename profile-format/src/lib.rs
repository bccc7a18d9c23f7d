//! The formats that profiles have, and the words about them.
//!
//! [`profile`] is the profile.proto model: it is built, decoded, merged, scaled, checked, encoded
//! and written as Go's text forms. [`jemalloc`] reads `heap_v2` dumps, and [`gunzip`] decompresses
//! within bounds. [`Kind`] names each kind of profile and knows every fact about it,
//! [`Unavailable`] says why a process can't give one, [`Content`] is what a finished file holds,
//! and [`parse_duration`] reads windows as Go writes them.
//!
//! What you do: hand over bytes, or build a [`Profile`](profile::Profile). What it does for you:
//! the bytes may come from anyone; nothing panics on them, and what they can take is bounded.
//!
//! It is *not* for taking profiles of a process (`profile-core`), for bundles of them
//! (`profile-archive`) nor for saying what is in them (`profile-analysis`). It knows no operating
//! system, and is the same on all of them.
//!
//! ```
//! use profile_format::profile::{Builder, DecodeLimits, Profile};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut builder = Builder::new(&[("samples", "count"), ("cpu", "nanoseconds")]);
//! let place = builder.location(None, 0x1000, &[]);
//! builder.sample(&[place], &[1, 10_000_000], &[]);
//! let bytes = builder.finish().encode_gzip();
//!
//! let profile = Profile::decode(&bytes, &DecodeLimits::default())?;
//! assert_eq!(profile.samples.get(0).values, [1, 10_000_000]);
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

pub mod gunzip;
pub mod jemalloc;
pub mod owner;
pub mod profile;

mod content;
mod duration;
mod error;
mod escape;
mod kind;
mod unavailable;

pub use content::Content;
pub use duration::{DurationError, format_duration, parse_duration};
pub use error::{BoxError, chain};
pub use escape::{escaped, is_unseen};
pub use kind::{DUMP_FILE_NAME, Kind, KindFacts, ProfileShape, UnknownKind, WindowUse};
pub use unavailable::Unavailable;
