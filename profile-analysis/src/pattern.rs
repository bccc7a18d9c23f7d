//! Regular expressions of the caller, bounded in memory.

use regex::{Regex, RegexBuilder};

use crate::rules::regex_error_reason;
use crate::{Error, Result};

/// The most memory of a compiled expression, and of what it remembers while it searches.
const REGEX_BYTES: usize = 4 << 20;

/// Compiles an expression.
pub(crate) fn compile(pattern: &str) -> Result<Regex> {
    let mut builder = RegexBuilder::new(pattern);
    builder.size_limit(REGEX_BYTES).dfa_size_limit(REGEX_BYTES);
    builder.build().map_err(|error| Error::Pattern {
        pattern: pattern.to_owned(),
        source: regex_error_reason(&error).into(),
    })
}
