//! What can go wrong when bytes are asked what they say.

use profile_format::jemalloc::HeapDumpError;
use profile_format::profile::DecodeError;

use crate::{Format, LegacyError};

/// Reasons why a question about a profile, dump or trace has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes look like a profile.proto but can't be read as one.
    #[error("the profile can't be read")]
    Decode(#[source] DecodeError),
    /// The bytes look like a `heap_v2` dump but can't be read as one.
    #[error("the heap dump can't be read")]
    HeapDump(#[source] HeapDumpError),
    /// The bytes look like a legacy text profile but can't be read as one.
    #[error("the text profile can't be read")]
    Legacy(#[source] LegacyError),
    /// The bytes are no profile; holds what they seem to be.
    #[error("this is {0}, not a profile")]
    NotAProfile(Format),
    /// The bytes are no trace that can be read here; holds what they seem to be.
    #[error("this is {0}, not a trace of Chrome events{hint}", hint = go_hint(*.0))]
    NotATrace(Format),
    /// The profile has no such sample type.
    #[error("no sample type {wanted:?}; there is {}", known.join(", "))]
    NoSampleType {
        /// The sample type that was asked for.
        wanted: String,
        /// The sample types that the profile has, as `kind/unit`.
        known: Vec<String>,
    },
    /// A regular expression can't be used.
    #[error("{pattern:?} is no regular expression")]
    Pattern {
        /// The regular expression.
        pattern: String,
        /// The fault, in words.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The bytes look like a profile of another tool's but can't be read as one.
    #[error("{form} can't be read: {why}")]
    Import {
        /// The form that they seem to have.
        form: Format,
        /// The fault, in words.
        why: String,
    },
    /// A regular expression that the profile brings is too long to be searched for.
    #[error("the expression has more than {limit} bytes")]
    PatternTooLong {
        /// The most bytes of one.
        limit: usize,
    },
    /// The lines of folded stacks would be too many to be of use to anybody.
    #[error("the folded stacks have {bytes} bytes, more than {limit}")]
    FoldedTooLarge {
        /// The bytes that they would have.
        bytes: u64,
        /// The most bytes.
        limit: u64,
    },
    /// No stack has a value above zero, so nothing has a width.
    #[error("nothing to draw: no stack has any {sample_type}")]
    NothingToDraw {
        /// The quantity that is counted.
        sample_type: String,
    },
}

impl Error {
    /// Returns the error and its sources, joined by `: `, as one line.
    pub fn chain(&self) -> String {
        profile_format::chain(self)
    }
}

/// Returns a hint at the tool that reads a trace of Go's, where it is one.
fn go_hint(format: Format) -> &'static str {
    if format == Format::GoTrace { "; look at it with `go tool trace FILE`" } else { "" }
}

/// The result of an operation that may fail with an [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;
