//! What can be wrong with a profile that came from outside.

use crate::error::BoxError;

/// The reason why bytes could not be read as a profile.
///
/// Offsets count the bytes of the raw protobuf form, after decompression.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// There is nothing to read.
    #[error("the profile is empty")]
    Empty,
    /// The gzip stream is broken, cut short, or followed by something else.
    #[error("bad gzip data after {offset} decompressed bytes")]
    Gzip {
        /// Number of bytes that could be decompressed.
        offset: u64,
        /// The decompressor's error.
        source: BoxError,
    },
    /// The decompressed bytes are gzip again.
    #[error("gzip inside gzip")]
    NestedGzip,
    /// The profile is larger than a [`DecodeLimits`](super::DecodeLimits) allows.
    #[error("the profile has more than {limit} {what}")]
    TooLarge {
        /// The thing of which there is too much.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// A field can't be what it says.
    #[error("{field} at byte {offset}: {problem}")]
    Field {
        /// The message and field by their names in profile.proto, such as `sample.location_id`.
        field: &'static str,
        /// Offset at which the field, or the message that holds it, begins.
        offset: u64,
        /// The fault of the field.
        problem: FieldProblem,
    },
    /// No sample type says what the values count.
    #[error("the profile has no sample types")]
    NoSampleTypes,
    /// There is no string table, not even the empty string.
    #[error("the profile has no string table")]
    NoStrings,
    /// A second start time: two profiles one after the other.
    #[error("a second profile begins at byte {offset}")]
    Concatenated {
        /// Offset of the second start time.
        offset: u64,
    },
}

/// The fault of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FieldProblem {
    /// A number has no last byte.
    #[error("the number is cut short")]
    CutShort,
    /// A number has more than ten bytes.
    #[error("the number has more than ten bytes")]
    TooLong,
    /// A length leads past the end.
    #[error("{needed} bytes are needed, {left} are left")]
    Overrun {
        /// The length.
        needed: u64,
        /// The bytes that are left.
        left: u64,
    },
    /// The wire type is unknown, or not the field's.
    #[error("unexpected wire type {0}")]
    WireType(u32),
    /// No string has this index.
    #[error("there is no string {index} among {count}")]
    NoString {
        /// The index; a negative one shows as a number past 2^63.
        index: u64,
        /// Number of strings.
        count: u64,
    },
    /// The first string is not the empty one.
    #[error("the first string is not empty")]
    FirstString,
    /// A sample's values are not as many as the sample types, or as those of other samples.
    #[error("there are {found} values instead of {expected}")]
    ValueCount {
        /// The sample's values.
        found: u64,
        /// The values that it ought to have.
        expected: u64,
    },
    /// Id 0, which stands for "none", where one is needed.
    #[error("the id is 0")]
    ZeroId,
    /// An id that was given before.
    #[error("id {0} is given twice")]
    Duplicate(u64),
    /// An id that was given to nothing.
    #[error("id {0} is not defined")]
    Undefined(u64),
}
