//! Foreign text for a terminal: what can't be seen in it is shown.

use std::borrow::Cow;

/// The characters beyond ASCII that a reader doesn't see, or that change where others are seen: C1
/// controls, format characters (bidirectional overrides, joiners, byte order marks, tags, soft
/// hyphens), separators of lines and paragraphs, variation selectors and fillers.
///
/// `Cc`, `Cf`, `Zl` and `Zp` of `DerivedGeneralCategory.txt`, and `Default_Ignorable_Code_Point` of
/// `DerivedCoreProperties.txt`, in Unicode 16.0.
const UNSEEN: [(char, char); 26] = [
    ('\u{7f}', '\u{9f}'),
    ('\u{ad}', '\u{ad}'),
    ('\u{34f}', '\u{34f}'),
    ('\u{600}', '\u{605}'),
    ('\u{61c}', '\u{61c}'),
    ('\u{6dd}', '\u{6dd}'),
    ('\u{70f}', '\u{70f}'),
    ('\u{890}', '\u{891}'),
    ('\u{8e2}', '\u{8e2}'),
    ('\u{115f}', '\u{1160}'),
    ('\u{17b4}', '\u{17b5}'),
    ('\u{180b}', '\u{180f}'),
    ('\u{200b}', '\u{200f}'),
    ('\u{2028}', '\u{202e}'),
    ('\u{2060}', '\u{206f}'),
    ('\u{3164}', '\u{3164}'),
    ('\u{fe00}', '\u{fe0f}'),
    ('\u{feff}', '\u{feff}'),
    ('\u{ffa0}', '\u{ffa0}'),
    ('\u{fff0}', '\u{fffb}'),
    ('\u{110bd}', '\u{110bd}'),
    ('\u{110cd}', '\u{110cd}'),
    ('\u{13430}', '\u{1343f}'),
    ('\u{1bca0}', '\u{1bca3}'),
    ('\u{1d173}', '\u{1d17a}'),
    ('\u{e0000}', '\u{e0fff}'),
];

/// Returns whether a character of a foreign text does anything but show: a terminal obeys it, it
/// turns the writing's direction or breaks the line, or it can't be seen, so that a name could look
/// like another.
pub fn is_unseen(c: char) -> bool {
    if c < '\u{7f}' {
        return c < ' ';
    }
    let after = UNSEEN.partition_point(|&(first, _)| first <= c);
    after.checked_sub(1).is_some_and(|range| c <= UNSEEN[range].1)
}

/// Returns a foreign text as a terminal may get it: what is unseen is shown, as `\u{1b}`.
///
/// ```
/// assert_eq!(profile_format::escaped("a\x1b[2Jb\u{202e}c"), r"a\u{1b}[2Jb\u{202e}c");
/// ```
pub fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unseen) {
        return text.into();
    }
    let mut clean = String::with_capacity(text.len());
    for c in text.chars() {
        if is_unseen(c) {
            clean.extend(c.escape_default());
        } else {
            clean.push(c);
        }
    }
    clean.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unseen_is_shown() {
        let check = |text: &str, expected: &str| assert_eq!(escaped(text), expected);
        check("a\x1b[2Jb\n", "a\\u{1b}[2Jb\\n");
        check("gnp\u{202e}\u{200b}.exe\u{ad}", "gnp\\u{202e}\\u{200b}.exe\\u{ad}");
        check("a\u{feff}\u{2028}\u{fe0f}\u{e0041}b", "a\\u{feff}\\u{2028}\\u{fe0f}\\u{e0041}b");
        check("\u{9b}2J", "\\u{9b}2J");
        check("alloc::vec::Vec<T> größer 日本語 🦀", "alloc::vec::Vec<T> größer 日本語 🦀");
    }

    #[test]
    fn what_was_escaped_stays() {
        let once = escaped("\x1b\u{202e}\\").into_owned();
        assert_eq!(escaped(&once), once);
    }

    #[test]
    fn the_table_is_in_order() {
        assert!(UNSEEN.is_sorted_by(|a, b| a.1 < b.0));
    }
}
