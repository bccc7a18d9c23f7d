//! Compares what was read with what the manifest says.

use std::collections::HashMap;
use std::fmt::Write;

use crate::warning::WarningList;
use crate::{EntryName, Listed, Manifest, Problem};

/// An entry that was read, and the offset of its header.
pub(crate) struct FoundEntry {
    pub(crate) listed: Listed,
    pub(crate) offset: u64,
}

/// Notes every entry that is missing, not listed, or not as the manifest says.
///
/// `end` is the offset that is given to an entry that is missing.
pub(crate) fn verify(
    manifest: &Manifest,
    found: &[FoundEntry],
    end: u64,
    warnings: &mut WarningList,
) {
    let mut unlisted: HashMap<&EntryName, &FoundEntry> = HashMap::new();
    for entry in found {
        // Of entries with the same name the first is meant, as in a look-up.
        unlisted.entry(&entry.listed.name).or_insert(entry);
    }
    for expected in &manifest.entries {
        let name = EntryName::label(expected.name.as_bytes());
        let Some(FoundEntry { listed, offset }) = unlisted.remove(&name) else {
            warnings.push(end, Problem::Missing(name));
            continue;
        };
        if listed.bytes != expected.bytes {
            let (expected, found) = (expected.bytes, listed.bytes);
            warnings.push(*offset, Problem::Size { name, expected, found });
        } else if !expected.sha256.is_empty()
            && !expected.sha256.eq_ignore_ascii_case(&listed.sha256)
        {
            warnings.push(*offset, Problem::Hash(name));
        }
    }
    let mut unlisted: Vec<_> = unlisted.into_values().collect();
    unlisted.sort_unstable_by_key(|found| found.offset);
    for FoundEntry { listed, offset } in unlisted {
        warnings.push(*offset, Problem::Unlisted(listed.name.clone()));
    }
}

/// Writes bytes in lower-case hex.
pub(crate) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string can't fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ManifestEntry;

    fn found(name: &str, bytes: u64, sha256: &str, offset: u64) -> FoundEntry {
        let name = EntryName::label(name.as_bytes());
        FoundEntry { listed: Listed { name, bytes, sha256: sha256.into(), complete: true }, offset }
    }

    fn expected(name: &str, bytes: u64, sha256: &str) -> ManifestEntry {
        let (name, sha256) = (name.to_owned(), sha256.to_owned());
        ManifestEntry { name, kind: "cpu".into(), bytes, sha256, took_seconds: 0.0 }
    }

    #[track_caller]
    fn check(entries: Vec<ManifestEntry>, found: &[FoundEntry], problems: &[&str]) {
        let manifest = Manifest { entries, ..Manifest::default() };
        let mut warnings = WarningList::default();
        verify(&manifest, found, 9, &mut warnings);
        let (loss, list) = warnings.finish();
        assert_eq!(loss, list.iter().any(|warning| warning.problem.is_loss()));
        assert_eq!(list.iter().map(ToString::to_string).collect::<Vec<_>>(), problems);
    }

    #[test]
    fn says_what_differs() {
        check(vec![expected("a", 1, "AB")], &[found("a", 1, "ab", 0)], &[]);
        check(vec![expected("a", 1, "")], &[found("a", 1, "ab", 0)], &[]);
        check(
            vec![expected("a", 1, "00")],
            &[found("a", 1, "ab", 5)],
            &["a does not match its sha256 (at byte 5)"],
        );
        check(
            vec![expected("a", 2, "ab")],
            &[found("a", 1, "ab", 5)],
            &["a has 1 bytes where the manifest says 2 (at byte 5)"],
        );
        check(
            vec![expected("../x\n", 2, "")],
            &[found("c", 1, "", 7), found("b", 1, "", 6)],
            &[
                "_._x_ is missing (at byte 9)",
                "b is not in the manifest (at byte 6)",
                "c is not in the manifest (at byte 7)",
            ],
        );
        check(vec![expected("a", 1, "ab")], &[found("a", 1, "ab", 0), found("a", 2, "cd", 1)], &[]);
    }

    #[test]
    fn hex_is_lower_case() {
        assert_eq!(to_hex(&[0x00, 0x0a, 0xff]), "000aff");
    }
}
