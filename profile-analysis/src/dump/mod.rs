//! Stacks of goroutines and threads as text, read at the speed of memory.
//!
//! Every form that Go has written since 1.17: `debug=2`, what a program prints when it crashes or
//! gets a SIGQUIT (with `gp=`, `fp=`, registers and other text around), `debug=1` of the profiles
//! that count (goroutine, goroutineleak, threadcreate, and programs' own); and the dumps of this
//! project, which have the grammar of `debug=2`.
//!
//! [`parse`] takes a whole dump, [`Parser`] one that comes in pieces and may be larger than memory.
//! Neither ever fails: what can't be read becomes a [`Warning`] with its offset, a dump that breaks
//! off is [`truncated`](Dump::truncated), and what doesn't fit the [`Limits`] is counted without
//! its stack. Memory grows with the distinct stacks and not with the goroutines.
//!
//! What a stack, a label or a panic's text holds can't pass for a goroutine: headers count only as
//! whole lines from the first column on, labels are read with their quotes, and the text of a panic
//! ends at its empty line; or, where a log has dropped those, at a header of a state that Go has
//! and the frames that follow it. Before Go 1.23 a panic's text could itself hold empty lines and
//! headers; they count for nothing either, unless they are what no dump can be told from: a first
//! one that is `[running]` as what panics is, and what follows it.
//!
//! What logs make of a dump is undone: a prefix that lines have, the JSON or the quotes that each
//! is in, colours, tabs that have become blanks or escapes, and empty lines that are gone. Windows
//! writes what a program prints as UTF-16, which is read as well.
//!
//! ```
//! use profile_analysis::dump;
//!
//! let dump = dump::parse(
//!     b"goroutine 7 [chan receive, 5 minutes]:\n\
//!       main.worker(0x1)\n\t/src/main.go:31 +0x1d\n\
//!       created by main.main in goroutine 1\n\t/src/main.go:34 +0x59\n",
//! );
//! assert_eq!((dump.goroutines(), dump.group_count()), (1, 1));
//! let group = dump.groups().next().unwrap();
//! assert_eq!((group.state(), group.waits().max()), ("chan receive".into(), Some(5)));
//! ```

mod check;
mod chunks;
mod doubts;
mod encoding;
mod endings;
mod facts;
#[cfg(test)]
mod field;
#[cfg(test)]
mod grammar;
mod header;
mod known;
mod labels;
mod lines;
mod marks;
mod packed;
mod parallel;
mod parser;
mod prefixed;
mod profile;
mod records;
mod scan;
mod states;
mod table;
#[cfg(test)]
mod tests;
mod view;
mod waits;
mod wrap;

use std::fmt;

#[doc(hidden)]
pub use check::check;
pub(crate) use encoding::decode_beginning;
pub use facts::{DumpFacts, facts};
pub use packed::parse_packed;
pub use parallel::parse_on;
pub use parser::Parser;
pub use prefixed::is_prefixed;
pub use profile::from_profile;
pub(crate) use view::labels_by_group;
pub use view::{AncestorView, Frame, Group};
pub use waits::Waits;

use table::StackTable;

/// Options of reading a dump.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Bounds of what is kept of the dump.
    pub limits: Limits,
    /// Takes whatever stands before a goroutine for the prefix of a log, where true, and lines that
    /// end theirs in the same column for its lines. Otherwise a prefix is one where the frames that
    /// follow have it, too.
    pub strip_prefix: bool,
    /// Label whose values also tell groups apart.
    pub by_label: Option<String>,
}

/// Bounds of what is kept of a dump, so that no input takes more than some 64 MiB of memory. What
/// is beyond a limit is still counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest line in bytes; longer ones are skipped. 64 KiB.
    pub line: usize,
    /// The deepest stack in frames; the rest of a deeper one is left out. 4096.
    pub depth: usize,
    /// The most distinct beginnings of stacks, each a frame; 256 Ki.
    pub frames: usize,
    /// The most bytes for distinct names, places, states and labels, with what it takes to find
    /// them again: some 200 bytes for each. 24 MiB.
    pub text: usize,
    /// The most groups; 16 Ki.
    pub groups: usize,
    /// The most labels of groups; 64 Ki.
    pub labels: usize,
    /// The most different waits of groups; 128 Ki.
    pub waits: usize,
    /// The most bytes that a gzip'd dump may become; 1 GiB.
    pub unpacked: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            line: 64 << 10,
            depth: 4096,
            frames: 256 << 10,
            text: 24 << 20,
            groups: 16 << 10,
            labels: 64 << 10,
            waits: 128 << 10,
            unpacked: 1 << 30,
        }
    }
}

/// One of [`Limits`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Limit {
    /// [`Limits::line`].
    Line,
    /// [`Limits::depth`].
    Depth,
    /// [`Limits::frames`].
    Frames,
    /// [`Limits::text`].
    Text,
    /// [`Limits::groups`].
    Groups,
    /// [`Limits::labels`].
    Labels,
    /// [`Limits::waits`].
    Waits,
    /// [`Limits::unpacked`].
    Unpacked,
}

impl Limits {
    fn value_of(&self, limit: Limit) -> usize {
        match limit {
            Limit::Line => self.line,
            Limit::Depth => self.depth,
            Limit::Frames => self.frames,
            Limit::Text => self.text,
            Limit::Groups => self.groups,
            Limit::Labels => self.labels,
            Limit::Waits => self.waits,
            Limit::Unpacked => self.unpacked,
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Limit::Line => "bytes in a line",
            Limit::Depth => "frames in a stack",
            Limit::Frames => "frames of distinct stacks",
            Limit::Text => "bytes for distinct names",
            Limit::Groups => "groups",
            Limit::Labels => "labels of groups",
            Limit::Waits => "different waits",
            Limit::Unpacked => "decompressed bytes",
        })
    }
}

/// Something odd in a dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Offset in bytes from the beginning; of what is gzip'd, UTF-16 or the lines of a log, in bytes
    /// of its text.
    pub offset: u64,
    /// The problem.
    pub problem: Problem,
}

/// Problems that a dump may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// A line that begins as a goroutine's first one and is not whole.
    BrokenHeader,
    /// A function's line without the line of its place.
    NoPlace,
    /// A place without a function.
    StrayPlace,
    /// Text in the middle of a stack.
    StrayText,
    /// Labels that can't be read to their end.
    BrokenLabels,
    /// A header that the text of a panic holds.
    InPanicText,
    /// The input holds dumps in both of Go's forms, which are counted together.
    TwoForms,
    /// A profile whose records don't add up to the total that it says: that total, and the sum.
    Total(u64, u64),
    /// The input ends in the middle of a stack.
    BreaksOff,
    /// The input is as long as the longest dump that Go's runtime writes, which cuts off there.
    LongestOfGo,
    /// The first goroutine is there more than once: several dumps are counted together.
    Several(u64),
    /// The compressed data breaks off, or is damaged.
    BrokenGzip,
    /// A limit was reached; says which, and how much it is.
    Limit(Limit, usize),
}

impl Problem {
    /// Returns whether a problem is of the same kind, with other numbers or at another place.
    pub(crate) fn is_like(&self, other: &Problem) -> bool {
        match (self, other) {
            (Problem::Limit(one, _), Problem::Limit(other, _)) => one == other,
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }

    /// Returns what can be done about it.
    fn remedy(&self) -> Option<&'static str> {
        Some(match self {
            Problem::LongestOfGo => "take debug=1 or a profile, which are shorter",
            Problem::TwoForms | Problem::Several(_) => "read each part of the file by itself",
            Problem::NoPlace | Problem::StrayPlace => {
                "lines of something else may stand between: read the log of one source"
            }
            _ => return None,
        })
    }

    /// Returns the place of its kind among others: what is lost comes first, then what has a
    /// remedy.
    pub(crate) fn rank(&self) -> usize {
        match self {
            Problem::BreaksOff
            | Problem::LongestOfGo
            | Problem::BrokenGzip
            | Problem::Limit(..)
            | Problem::Total(..) => 0,
            _ if self.remedy().is_some() => 1,
            _ => 2,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::BrokenHeader => f.write_str("a goroutine's first line is broken"),
            Problem::NoPlace => f.write_str("a function without its place"),
            Problem::StrayPlace => f.write_str("a place without its function"),
            Problem::StrayText => f.write_str("text in the middle of a stack"),
            Problem::BrokenLabels => f.write_str("labels that can't be read"),
            Problem::InPanicText => f.write_str("what looks like a goroutine in a panic's text"),
            Problem::TwoForms => f.write_str(
                "there are dumps in two forms, maybe of one moment: goroutines are counted in each",
            ),
            Problem::Total(said, counted) => {
                write!(f, "the total is said to be {said}, the records add up to {counted}")
            }
            Problem::BreaksOff => f.write_str("the dump breaks off in the middle of a stack"),
            Problem::LongestOfGo => {
                f.write_str("the dump is exactly 64 MiB long, where Go's runtime cuts off")
            }
            Problem::Several(times) => {
                write!(f, "goroutine 1 is there {times} times: several dumps are counted together")
            }
            Problem::BrokenGzip => f.write_str("bad gzip data"),
            Problem::Limit(limit, most) => write!(f, "more than the limit of {most} {limit}"),
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.problem, self.offset)?;
        self.problem.remedy().map_or(Ok(()), |remedy| write!(f, "; {remedy}"))
    }
}

/// The form of a dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DumpFormat {
    /// Every goroutine with its stack: Go's `debug=2`, crashes, and our threads.
    Debug2,
    /// Counted stacks without states: Go's `debug=1`.
    Debug1,
    /// A profile.proto whose samples are goroutines or threads.
    Pprof,
}

impl DumpFormat {
    /// Returns the name in `inspect --json`.
    pub fn name(self) -> &'static str {
        match self {
            DumpFormat::Debug2 => "debug2",
            DumpFormat::Debug1 => "debug1",
            DumpFormat::Pprof => "pprof",
        }
    }
}

/// A dump: groups of goroutines with the same state, stack and creator.
#[derive(Clone, Debug)]
pub struct Dump {
    pub(crate) format: DumpFormat,
    pub(crate) goroutines: u64,
    /// True where a profile says that there are no goroutines to count.
    pub(crate) says_none: bool,
    pub(crate) crash: bool,
    pub(crate) truncated: bool,
    /// What was taken off around its lines, in words.
    pub(crate) unwrapped: Vec<String>,
    table: StackTable,
}

/// Reads a whole dump, on this thread.
pub fn parse(bytes: &[u8]) -> Dump {
    parse_with(bytes, &Options::default())
}

/// Does the same as [`parse`] with options.
pub fn parse_with(bytes: &[u8], options: &Options) -> Dump {
    let mut parser = Parser::new(options);
    parser.feed(bytes);
    parser.finish()
}
