//! Keeping the stacks that go through some place, or do not.

use profile_core::profile::Stacks;
use regex::{Regex, RegexBuilder};

use crate::frames::Frames;
use crate::{Error, Result};

/// The most memory of a compiled expression, and of what it remembers while it searches.
const REGEX_BYTES: usize = 4 << 20;

/// Keeps the stacks with a frame that `focus` finds, and of those the ones without a frame that
/// `ignore` finds. Both are regular expressions, searched for in the names of functions and source
/// files, as by the options of that name of `go tool pprof`. Totals are of what is kept.
///
/// # Errors
///
/// Where one is no regular expression, or too large a one.
pub fn filter(stacks: &mut Stacks<'_>, focus: Option<&str>, ignore: Option<&str>) -> Result<()> {
    for (pattern, keep) in [(focus, true), (ignore, false)] {
        let Some(pattern) = pattern else { continue };
        let found = places(stacks, &compile(pattern)?);
        let hits: Vec<bool> = (0..stacks.len())
            .map(|stack| stacks.locations(stack).any(|location| found[location as usize]))
            .collect();
        stacks.retain(|stack| hits[stack] == keep);
    }
    Ok(())
}

/// Whether the expression finds something in each location.
fn places(stacks: &Stacks<'_>, regex: &Regex) -> Vec<bool> {
    let frames = Frames::new(stacks.profile());
    let functions: Vec<bool> = frames
        .functions
        .iter()
        .map(|named| regex.is_match(&named.name) || regex.is_match(named.file))
        .collect();
    (0..stacks.profile().locations.len() as u32)
        .map(|location| {
            let mut of_location = frames.of_location(location);
            of_location.any(|frame| functions[frames.frames[frame].function as usize])
        })
        .collect()
}

fn compile(pattern: &str) -> Result<Regex> {
    let mut builder = RegexBuilder::new(pattern);
    builder.size_limit(REGEX_BYTES).dfa_size_limit(REGEX_BYTES);
    builder
        .build()
        .map_err(|error| Error::Pattern { pattern: pattern.to_owned(), source: error.into() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[track_caller]
    fn check(focus: Option<&str>, ignore: Option<&str>, expected: i128) {
        let profile = testing::heap();
        let mut stacks = Stacks::of(&profile);
        filter(&mut stacks, focus, ignore).unwrap();
        assert_eq!(stacks.total(1), expected);
    }

    #[test]
    fn keeps_what_goes_through_a_place() {
        check(None, None, 5120);
        check(Some("service::build"), None, 4096);
        check(Some("build.rs$"), None, 4096);
        check(None, Some("service::build"), 1024);
        check(Some("main"), Some("^service::build$"), 1024);
        check(Some("nowhere"), None, 0);
    }

    #[test]
    fn says_what_is_no_expression() {
        let profile = testing::heap();
        let error = filter(&mut Stacks::of(&profile), Some("("), None).unwrap_err();
        assert!(error.to_string().starts_with("\"(\" is no regular expression"), "{error}");
        let large = "(\\w{100}){1000}";
        assert!(filter(&mut Stacks::of(&profile), Some(large), None).is_err());
    }
}
