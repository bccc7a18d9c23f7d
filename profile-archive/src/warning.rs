//! What was wrong with a bundle that could be read none the less.

use std::fmt;

use crate::EntryName;

/// Types of entries that may be skipped, and nothing is missing: a directory holds nothing, and an
/// extension is about the entry after it.
const HARMLESS: [&str; 3] = [DIRECTORY, LONG_NAME, PAX_HEADER];
pub(crate) const DIRECTORY: &str = "a directory";
pub(crate) const LONG_NAME: &str = "a long name for the next entry";
pub(crate) const PAX_HEADER: &str = "a pax header for the next entry";

/// The most warnings of a sort that are kept: a hostile manifest can ask for one per entry it makes
/// up.
const MOST: usize = 100;

/// Something wrong with a bundle, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Place where it was noticed: bytes from the start of the decompressed archive.
    pub offset: u64,
    /// The fault, in words.
    pub problem: Problem,
}

/// A fault of a bundle.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The input ends too early.
    #[error("the bundle breaks off")]
    BreaksOff,
    /// The compressed stream or its checksum is wrong; holds what the decoder said.
    #[error("the compressed data is damaged: {0}")]
    Damaged(String),
    /// The reader below failed; holds what it said.
    #[error("reading failed: {0}")]
    Unreadable(String),
    /// A tar header is wrong, so that the next one can't be found.
    #[error("an entry header is damaged")]
    BadHeader,
    /// A bound of [`Limits`](crate::Limits) was passed and reading stopped.
    #[error("more than {limit} = {value}")]
    Limit {
        /// The field of `Limits`.
        limit: &'static str,
        /// Its value.
        value: u64,
    },
    /// An entry is larger than a bound of [`Limits`](crate::Limits) and was skipped.
    #[error("{name} was skipped: {bytes} bytes are more than {limit} = {value}")]
    TooLarge {
        /// The entry.
        name: EntryName,
        /// The size that its header claims.
        bytes: u64,
        /// The field of `Limits`.
        limit: &'static str,
        /// Its value.
        value: u64,
    },
    /// There is no manifest.
    #[error("there is no manifest")]
    NoManifest,
    /// The manifest can't be understood; holds why.
    #[error("the manifest can't be read: {0}")]
    ManifestUnreadable(String),
    /// The manifest says that the collection ended early; holds why.
    #[error("the collection was not completed: {0}")]
    Incomplete(String),
    /// The manifest says that a later version of the format was written.
    #[error("the bundle is in format {0}, which is newer than this reader")]
    NewerFormat(u32),
    /// An entry follows the manifest.
    #[error("{0} stands after the manifest")]
    AfterManifest(EntryName),
    /// Data follows the end of the archive.
    #[error("data after the end of the bundle was ignored")]
    TrailingData,
    /// The input is several gzip members in a row; they were read as one.
    #[error("the bundle is made of several gzip members")]
    SeveralMembers,
    /// An entry is not a regular file and was skipped.
    #[error("{name} was skipped: it is {what}")]
    Skipped {
        /// The entry.
        name: EntryName,
        /// Its type in words, with an article.
        what: &'static str,
    },
    /// An entry's name was not safe.
    #[error("an entry with an unsafe name is called {0} here")]
    Renamed(EntryName),
    /// A name stands twice. Both are listed; a look-up finds the first.
    #[error("there is more than one {0}")]
    Duplicate(EntryName),
    /// The manifest names an entry that is not there.
    #[error("{0} is missing")]
    Missing(EntryName),
    /// An entry is not in the manifest.
    #[error("{0} is not in the manifest")]
    Unlisted(EntryName),
    /// An entry's size is not what the manifest says.
    #[error("{name} has {found} bytes where the manifest says {expected}")]
    Size {
        /// The entry.
        name: EntryName,
        /// The size that the manifest says, in bytes.
        expected: u64,
        /// The number of bytes that were read.
        found: u64,
    },
    /// An entry's bytes are not those the manifest was written for.
    #[error("{0} does not match its sha256")]
    Hash(EntryName),
    /// There were more warnings than are kept.
    #[error("there are more warnings")]
    More,
}

impl Problem {
    /// Returns whether something of the bundle is lost by it, so that the bundle counts as
    /// truncated.
    ///
    /// Data after the end and several gzip members are odd, yet nothing is missing; a wrong size or
    /// hash is for the reader of that entry to judge. Archives of other tools have no manifest, and a
    /// bundle of ours that lost it has no end either.
    pub fn is_loss(&self) -> bool {
        matches!(
            self,
            Problem::BreaksOff
                | Problem::Damaged(_)
                | Problem::Unreadable(_)
                | Problem::BadHeader
                | Problem::Limit { .. }
                | Problem::TooLarge { .. }
                | Problem::ManifestUnreadable(_)
                | Problem::Incomplete(_)
                | Problem::Missing(_)
        )
    }
}

impl Problem {
    /// Returns whether the bundle is not what was sent, as far as can be told: something is lost
    /// ([`Problem::is_loss`]), skipped, there twice, or differs from the manifest; or something
    /// follows the manifest or the end.
    ///
    /// Whoever passes a bundle on that was to have a manifest can't call it whole without it. An odd name, an entry more than is listed,
    /// several gzip members and a later format take nothing away from what is in it.
    pub fn is_damage(&self) -> bool {
        match self {
            Problem::NoManifest
            | Problem::AfterManifest(_)
            | Problem::TrailingData
            | Problem::Duplicate(_)
            | Problem::Size { .. }
            | Problem::Hash(_) => true,
            Problem::Skipped { what, .. } => !HARMLESS.contains(what),
            problem => problem.is_loss(),
        }
    }

    /// Returns the entry that it is about.
    pub fn entry(&self) -> Option<&EntryName> {
        match self {
            Problem::TooLarge { name, .. }
            | Problem::AfterManifest(name)
            | Problem::Skipped { name, .. }
            | Problem::Renamed(name)
            | Problem::Duplicate(name)
            | Problem::Missing(name)
            | Problem::Unlisted(name)
            | Problem::Size { name, .. }
            | Problem::Hash(name) => Some(name),
            _ => None,
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (at byte {})", self.problem, self.offset)
    }
}

/// The warnings so far, bounded.
#[derive(Debug, Default)]
pub(crate) struct WarningList {
    list: Vec<Warning>,
    loss: bool,
    damages: usize,
    oddities: usize,
}

impl WarningList {
    /// Adds a problem. One that loses something is always kept, unless it is one that the manifest
    /// makes up: of the others there are at most `max_entries`. Damage has room of its own, so that
    /// no number of harmless oddities hides it.
    pub(crate) fn push(&mut self, offset: u64, problem: Problem) {
        let loss = problem.is_loss();
        self.loss |= loss;
        let always = loss && !matches!(problem, Problem::Missing(_));
        let alike = if problem.is_damage() { &mut self.damages } else { &mut self.oddities };
        if always || *alike < MOST {
            *alike += 1;
            self.list.push(Warning { offset, problem });
        } else if self.list.iter().all(|warning| warning.problem != Problem::More) {
            self.list.push(Warning { offset, problem: Problem::More });
        }
    }

    /// Returns whether something is lost, and the list.
    pub(crate) fn finish(self) -> (bool, Vec<Warning>) {
        (self.loss, self.list)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_bounded_and_keeps_losses() {
        let mut warnings = WarningList::default();
        for offset in 0..10_000 {
            warnings.push(offset, Problem::TrailingData);
        }
        warnings.push(10_000, Problem::BreaksOff);
        let (loss, list) = warnings.finish();
        assert!(loss);
        assert_eq!(list.len(), MOST + 2);
        assert_eq!(list[MOST].problem, Problem::More);
        assert_eq!(list[MOST + 1].to_string(), "the bundle breaks off (at byte 10000)");
    }

    #[test]
    fn oddities_do_not_hide_damage() {
        let mut warnings = WarningList::default();
        for _ in 0..10_000 {
            warnings.push(0, Problem::Renamed(EntryName::label(b"x")));
        }
        warnings.push(1, Problem::Hash(EntryName::label(b"y")));
        let (loss, list) = warnings.finish();
        assert_eq!((loss, list.len()), (false, MOST + 2));
        assert!(list[MOST + 1].problem.is_damage());
    }

    #[test]
    fn what_a_manifest_makes_up_is_lost_and_bounded() {
        let mut warnings = WarningList::default();
        for _ in 0..10_000 {
            warnings.push(0, Problem::Missing(EntryName::label(b"x")));
        }
        let (loss, list) = warnings.finish();
        assert_eq!((loss, list.len()), (true, MOST + 1));
    }
}
