//! Names of entries: checked once when written, made harmless when read.

use std::fmt;
use std::str::FromStr;

/// The longest name of an entry in bytes: what a tar header holds without an extension.
const MAX_LEN: usize = 100;

/// The longest name of an entry of a foreign archive, with its folders.
const MAX_PATH: usize = 255;

/// A name that is safe on every system and in every terminal: ASCII letters, digits, `.`, `_` and
/// `-`, not empty, no leading `.`, at most 100 bytes. A bundle of ours is flat; those of other tools
/// have folders, with `/` between such names.
///
/// Parse it from text with [`str::parse`]; turn the bytes of a foreign archive into one with
/// [`EntryName::label`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntryName(Box<str>);

/// The reasons why a text can't name an entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// The text is empty.
    #[error("an entry name can't be empty")]
    Empty,
    /// The text is longer than 100 bytes.
    #[error("an entry name of {0} bytes is longer than {MAX_LEN}")]
    TooLong(usize),
    /// The text starts with a dot, which hides files and begins `..`.
    #[error("an entry name can't start with a dot")]
    LeadingDot,
    /// The text has a character that is none of ASCII letters, digits, `.`, `_` and `-`.
    #[error("an entry name can't contain {0:?}")]
    Character(char),
}

impl EntryName {
    /// Makes a name for an entry of a foreign archive: the same where it is a good name, else the
    /// nearest good name.
    ///
    /// Folders stay as they are, with `/` between good names. A leading `./` is dropped, every byte
    /// that is not allowed becomes `_`, a `/` too in a path that would lead elsewhere, and what is
    /// longer than 255 bytes is cut. The result says which entry is meant; it is not a path, and
    /// different names can come to the same label.
    pub fn label(raw: &[u8]) -> EntryName {
        let raw = raw.strip_prefix(b"./").unwrap_or(raw);
        let raw = &raw[..raw.len().min(MAX_PATH)];
        let keeps_folders = !leads_elsewhere(raw);
        let mut label = String::with_capacity(raw.len());
        for &byte in raw {
            let c = char::from(byte);
            let begins = label.is_empty() || label.ends_with('/');
            label.push(match c {
                '/' if keeps_folders && !begins => c,
                '.' if begins => '_',
                c if is_allowed(c) => c,
                _ => '_',
            });
        }
        if label.is_empty() || label.ends_with('/') {
            label.push('_');
        }
        EntryName(label.into())
    }

    /// Returns whether a name of a foreign archive may have been meant to lead or to show something
    /// else: it is a path that leads elsewhere, no text, or too long to be kept.
    pub(crate) fn is_unsafe(raw: &[u8]) -> bool {
        let raw = raw.strip_prefix(b"./").unwrap_or(raw);
        raw.is_empty()
            || raw == b"."
            || str::from_utf8(raw).is_err()
            || raw.len() > MAX_PATH
            || leads_elsewhere(raw)
            || raw.iter().any(|byte| byte.is_ascii_control() || *byte == b'\\')
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Returns whether a path begins at the root or leaves the folder that it begins in.
fn leads_elsewhere(raw: &[u8]) -> bool {
    raw.starts_with(b"/") || raw.split(|&byte| byte == b'/').any(|folder| folder == b"..")
}

fn is_allowed(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

impl FromStr for EntryName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<EntryName, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.len() > MAX_LEN {
            return Err(NameError::TooLong(text.len()));
        }
        if text.starts_with('.') {
            return Err(NameError::LeadingDot);
        }
        match text.chars().find(|&c| !is_allowed(c)) {
            Some(c) => Err(NameError::Character(c)),
            None => Ok(EntryName(text.into())),
        }
    }
}

impl fmt::Display for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl AsRef<str> for EntryName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl PartialEq<str> for EntryName {
    fn eq(&self, other: &str) -> bool {
        &*self.0 == other
    }
}

impl PartialEq<&str> for EntryName {
    fn eq(&self, other: &&str) -> bool {
        &*self.0 == *other
    }
}

#[cfg(test)]
mod tests {
    use profile_format::Kind;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_names_of_kinds_are_names() {
        for kind in Kind::ALL {
            assert_eq!(kind.file_name().parse::<EntryName>().unwrap(), kind.file_name());
        }
    }

    #[test]
    fn refuses_what_is_not_a_name() {
        let cases = [
            ("", NameError::Empty),
            (".", NameError::LeadingDot),
            ("..", NameError::LeadingDot),
            (".profile", NameError::LeadingDot),
            ("a/b", NameError::Character('/')),
            ("/etc/passwd", NameError::Character('/')),
            ("a\\b", NameError::Character('\\')),
            ("C:x", NameError::Character(':')),
            ("a b", NameError::Character(' ')),
            ("a\0", NameError::Character('\0')),
            ("a\u{1b}[31m", NameError::Character('\u{1b}')),
            ("größe", NameError::Character('ö')),
        ];
        for (text, error) in cases {
            assert_eq!(text.parse::<EntryName>(), Err(error), "{text:?}");
        }
        assert!("a".repeat(100).parse::<EntryName>().is_ok());
        assert_eq!("a".repeat(101).parse::<EntryName>(), Err(NameError::TooLong(101)));
    }

    #[test]
    fn labels_hostile_names() {
        let cases: [(&[u8], &str); 13] = [
            (b"server/2026-11-30T10:00:00Z/heap.prof", "server/2026-11-30T10_00_00Z/heap.prof"),
            (b"a//b/", "a/_b/_"),
            (b"a/.hidden", "a/_hidden"),
            (b"a/../b", "a_.._b"),
            (b"cpu.prof", "cpu.prof"),
            (b"./cpu.prof", "cpu.prof"),
            (b"", "_"),
            (b"./", "_"),
            (b"..", "_."),
            (b"../../etc/passwd", "_._.._etc_passwd"),
            (b"/etc/passwd", "_etc_passwd"),
            (b"a\x1b[2J\nb", "a__2J_b"),
            (b"\xff\xfe", "__"),
        ];
        for (raw, label) in cases {
            assert_eq!(EntryName::label(raw), label, "{raw:?}");
        }
        assert_eq!(EntryName::label(&[b'x'; 5000]).as_str().len(), 255);
    }

    proptest! {
        #[test]
        fn a_label_is_always_a_name(raw in proptest::collection::vec(any::<u8>(), 0..200)) {
            let label = EntryName::label(&raw);
            for part in label.as_str().split('/') {
                let name = EntryName::label(part.as_bytes());
                prop_assert_eq!(part[..part.len().min(100)].parse::<EntryName>().is_ok(), true);
                prop_assert_eq!(name, part);
            }
        }

        #[test]
        fn a_name_is_its_own_label(text in "[a-zA-Z0-9_-][a-zA-Z0-9._-]{0,99}") {
            let name: EntryName = text.parse().unwrap();
            prop_assert_eq!(EntryName::label(text.as_bytes()), name);
        }
    }
}
