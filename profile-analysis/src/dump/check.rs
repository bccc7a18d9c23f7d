//! What must hold of any bytes: for fuzzing, and for tests that run its corpus.

use super::{Dump, Options, Parser, parse_on, parse_packed, parse_with};
use crate::groups::{GroupOptions, goroutines_json, group, render};
use crate::rules::RuleSet;

/// Reads bytes in every way that this module has, and compares the answers.
///
/// # Panics
///
/// Where two ways disagree, or a goroutine is lost on the way to a group.
#[doc(hidden)]
pub fn check(bytes: &[u8]) {
    let options = Options::default();
    let whole = parse_with(bytes, &options);
    let mut parser = Parser::new(&options);
    let (first, rest) = bytes.split_at(bytes.len() / 3);
    parser.feed(first);
    rest.chunks(7).for_each(|piece| parser.feed(piece));
    for other in [parser.finish(), parse_on(2, bytes, &options)] {
        assert_eq!(counts(&other), counts(&whole), "another way says another thing");
    }
    parse_with(
        bytes,
        &Options { strip_prefix: true, by_label: Some("a".to_owned()), ..options.clone() },
    );
    parse_packed(bytes, &options);
    let groups = group(&whole, RuleSet::shipped(), &GroupOptions::default());
    let members: u64 = groups.rows.iter().map(|row| row.count).fold(0, u64::saturating_add);
    assert_eq!(members, whole.goroutines(), "a goroutine is lost");
    render(&groups, 80, usize::MAX);
    let _ = goroutines_json(&groups, None, None);
}

fn counts(dump: &Dump) -> (u64, usize, bool, Vec<String>) {
    (dump.goroutines(), dump.group_count(), dump.truncated(), dump.warning_texts())
}
