//! What a bundle lost on its way, as far as the bundle itself tells.

use profile_archive::{EntryName, Manifest, Problem, Warning};
use profile_core::Kind;
use url::Url;

use super::exchange::redacted;
use crate::Error;

/// The warnings of a bundle, sorted by what they mean for it.
#[derive(Debug, Default)]
pub(super) struct SortedWarnings {
    /// The faults for which it can't be called whole.
    pub(super) losses: Vec<Problem>,
    /// Findings that are merely odd.
    pub(super) oddities: Vec<Warning>,
}

/// Number of faults that are named in one line.
const NAMED: usize = 3;

/// Tells damage from oddities. That a bundle has no manifest is neither, unless one was `promised`: it
/// gets one here. What a manifest says of a collection that ended early is in it and stays there.
pub(super) fn sort_warnings(warnings: Vec<Warning>, promised: bool) -> SortedWarnings {
    let mut sorted = SortedWarnings::default();
    for warning in warnings {
        match warning.problem {
            Problem::Incomplete(_) => {}
            Problem::NoManifest if !promised => {}
            problem if problem.is_damage() => sorted.losses.push(problem),
            problem => sorted.oddities.push(Warning { problem, ..warning }),
        }
    }
    // What comes last is missing wherever something breaks off.
    if sorted.losses.iter().any(ends_early) {
        sorted.losses.retain(|loss| *loss != Problem::NoManifest);
    }
    sorted
}

/// Returns the error of a bundle that can't be called whole; `None` for one that can.
pub(super) fn loss_error(url: &Url, losses: &[Problem]) -> Option<Error> {
    let more = match losses.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let named: Vec<String> = losses.iter().take(NAMED).map(ToString::to_string).collect();
    let (url, reason) = (redacted(url), named.join(", ") + &more);
    match losses {
        [] => None,
        losses if losses.iter().any(ends_early) => Some(Error::BrokeOff { url, reason }),
        _ => Some(Error::NotWhole { url, reason }),
    }
}

/// Returns whether nothing was read beyond the fault.
fn ends_early(problem: &Problem) -> bool {
    matches!(
        problem,
        Problem::BreaksOff
            | Problem::Damaged(_)
            | Problem::Unreadable(_)
            | Problem::BadHeader
            | Problem::Limit { .. }
    )
}

/// Returns the kind of an entry, by its name.
pub(super) fn kind_of_entry(name: &EntryName) -> String {
    let stem = name.as_str().split('.').next().unwrap_or_default();
    let known = Kind::at_endpoint(stem).or_else(|| stem.parse().ok());
    known.map_or_else(|| stem.to_owned(), |kind| kind.name().to_owned())
}

/// Returns the kind that a loss is about, by the manifest or else by the entry's name.
pub(super) fn kind_of_loss(loss: &Problem, manifest: Option<&Manifest>) -> String {
    let Some(name) = loss.entry() else { return "bundle".to_owned() };
    manifest
        .and_then(|manifest| manifest.entries.iter().find(|entry| *name == *entry.name))
        .map_or_else(|| kind_of_entry(name), |entry| entry.kind.clone())
}

#[cfg(test)]
mod tests {
    use profile_archive::EntryName;

    use super::*;

    #[test]
    fn names_the_first_and_counts_the_rest() {
        let check = |losses: &[Problem], expected: Option<&str>| {
            let url = Url::parse("http://x:s3cret@h/debug/profile?t=s3cret").unwrap();
            let text = loss_error(&url, losses).map(|error| error.to_string());
            assert_eq!(text.as_deref(), expected);
        };
        let missing = || Problem::Missing(EntryName::label(b"heap.prof"));
        check(&[], None);
        check(
            &[missing()],
            Some("the bundle of http://h/debug/profile is not whole: heap.prof is missing"),
        );
        check(
            &[missing(), Problem::BreaksOff],
            Some("http://h/debug/profile broke off: heap.prof is missing, the bundle breaks off"),
        );
        let many = std::iter::repeat_with(missing).take(9).collect::<Vec<_>>();
        assert!(
            loss_error(&Url::parse("http://h").unwrap(), &many).unwrap().to_string().ends_with(
                "heap.prof is missing, heap.prof is missing, heap.prof is missing and 6 more"
            )
        );
    }

    #[test]
    fn a_manifest_is_missed_where_it_was_promised() {
        let warnings = || vec![Warning { offset: 1, problem: Problem::NoManifest }];
        assert_eq!(sort_warnings(warnings(), true).losses, [Problem::NoManifest]);
        let sorted = sort_warnings(warnings(), false);
        assert!(sorted.losses.is_empty() && sorted.oddities.is_empty());
    }
}
