//! What profiles say: facts, totals and top sites, as pure functions from bytes to answers.
//!
//! What you do: hand over the bytes of a profile.proto (Rust's, Go's, anyone's; gzip'd or not), of
//! a jemalloc `heap_v2` dump, of a legacy text profile, or of a dump of goroutines or threads. What
//! it does for you: [`sniff()`] tells what they are, [`read`] adds a profile up by stack,
//! [`inspect`](inspect::inspect) counts what is in it, [`top`](top::top) ranks functions, files or
//! sites, [`changes`](changes::changes) compares two, [`flame`] draws them, [`groups`] makes sense
//! of dumps, [`trace`] says what tasks did and did not do, and [`report`](report::report) puts
//! several on one screen. The answers are plain data
//! that serializes to the JSON of the command line.
//!
//! It is *not* for taking profiles, nor for fetching or unpacking them: no I/O happens here, no
//! clock is read, and no thread is started but where a function says so. The bytes may come from
//! anyone; nothing panics on them.
//!
//! ```
//! use profile_analysis::top::{TopOptions, top};
//! use profile_format::profile::{Builder, Function, Line};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut builder = Builder::new(&[("samples", "count")]);
//! let name = builder.str("service::work");
//! let function = builder.function(Function { name, ..Function::default() });
//! let place = builder.location(None, 0x1000, &[Line { function, line: 7, column: 0 }]);
//! builder.sample(&[place], &[3], &[]);
//! let bytes = builder.finish().encode_gzip();
//!
//! let read = profile_analysis::read(&bytes)?;
//! let top = top(&read.stacks, &TopOptions::default())?;
//! assert_eq!((top.rows[0].name.as_str(), top.rows[0].flat), ("service::work", 3));
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

pub mod changes;
pub mod dump;
mod error;
pub mod flame;
mod focus;
mod folding;
mod foreign;
pub mod groups;
mod imports;
pub mod inspect;
mod legacy;
mod open;
mod pattern;
pub mod report;
pub mod rules;
pub mod site;
mod sniff;
pub mod top;
pub mod trace;
pub mod units;

mod demangle;
mod distinct;
mod exercise;
mod frames;
mod hash;
mod overlap;
mod prune;
mod table;
mod tags;
#[cfg(test)]
mod testing;

pub use error::{Error, Result};
#[doc(hidden)]
pub use exercise::exercise;
pub use focus::{Filter, read_part};
pub use foreign::ForeignFormat;
pub use legacy::LegacyError;
pub use open::{Opened, Read, open, read};
pub use profile_format::escaped;
pub use sniff::{Format, sniff};
