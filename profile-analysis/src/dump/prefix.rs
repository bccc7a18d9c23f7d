//! Taking off what a log has put before each line of a dump.
//!
//! The prefix is what stands before the first `goroutine 7 [`, or before the `panic: ` or the
//! signal that comes ahead of it. Other lines have it too, with other digits in it: a time goes on.
//! Where it is known it says where a line's own text begins, so that nothing farther on can pass
//! for a goroutine. The colours of a terminal are taken off as well.

use std::borrow::Cow;

use memchr::{memchr, memmem};

use super::decode_beginning;
use super::header::HeaderLine;
use super::labels::unquote_string;

/// The prefix that was seen last.
#[derive(Debug, Default)]
pub(super) struct LogPrefix {
    /// The prefix with each run of digits made one `0`.
    pattern: Vec<u8>,
    length: usize,
}

/// Beginnings of the text that comes before stacks.
const PREAMBLES: [&[u8]; 4] = [b"panic: ", b"fatal error: ", b"SIGQUIT: ", b"SIGABRT: "];

impl LogPrefix {
    /// Returns a line without its prefix. Blanks before a place become the tab that a log made of
    /// them. In the text of a panic (`quoted`) only what has the known prefix exactly is a line of
    /// its own.
    pub(super) fn strip<'a>(&mut self, line: &'a [u8], quoted: bool) -> Cow<'a, [u8]> {
        // As Docker keeps logs: each line a text in JSON.
        let logged = line.strip_prefix(b"{\"log\":").and_then(unquote_string);
        let line = match logged {
            Some(line) => Cow::Owned(line.trim_ascii_end().to_vec()),
            None => Cow::Borrowed(line),
        };
        let line =
            if memchr(0x1b, &line).is_some() { Cow::Owned(strip_colours(&line)) } else { line };
        match line {
            Cow::Borrowed(line) => self.strip_plain(line, quoted),
            Cow::Owned(line) => Cow::Owned(self.strip_plain(&line, quoted).into_owned()),
        }
    }

    fn strip_plain<'a>(&mut self, line: &'a [u8], quoted: bool) -> Cow<'a, [u8]> {
        let known = self.match_pattern(line).filter(|_| self.length > 0 || quoted);
        if let Some(at) = find_header(line).or_else(|| find_preamble(line))
            && known.is_none_or(|known| known == at || (!quoted && is_blank(&line[known..at])))
        {
            self.length = at;
            self.pattern = digit_pattern(&line[..at]);
            return Cow::Borrowed(&line[at..]);
        }
        let rest = match known.or_else(|| self.match_by_length(line)) {
            Some(at) => &line[at..],
            None => line,
        };
        let blanks = rest.iter().take_while(|&&byte| byte == b' ').count();
        match &rest[blanks..] {
            [] => Cow::Borrowed(b""),
            place @ [b'\t', ..] => Cow::Borrowed(place),
            _ if blanks == 0 => Cow::Borrowed(rest),
            place => Cow::Owned([b"\t", place].concat()),
        }
    }

    /// Returns the length of a line's prefix where that is the known one but for its digits.
    fn match_pattern(&self, line: &[u8]) -> Option<usize> {
        let mut at = 0;
        for (index, &wanted) in self.pattern.iter().enumerate() {
            if wanted == b'0' {
                let digits = line[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
                if digits == 0 {
                    return None;
                }
                at += digits;
            } else if line.get(at) == Some(&wanted) {
                at += 1;
            } else if at == line.len() && is_blank(&self.pattern[index..]) {
                // An empty line may have lost the blanks at its end.
                return Some(at);
            } else {
                return None;
            }
        }
        Some(at)
    }

    /// Returns the length of the known prefix where the line has the same byte at its end: a prefix
    /// may change in more than its digits, and still end where it did.
    fn match_by_length(&self, line: &[u8]) -> Option<usize> {
        let last = self.length.checked_sub(1)?;
        let same_end = line
            .get(last)
            .is_some_and(|byte| self.pattern.last() == Some(byte) && !byte.is_ascii_alphanumeric());
        same_end.then_some(self.length)
    }
}

fn is_blank(text: &[u8]) -> bool {
    text.iter().all(|&byte| byte == b' ')
}

/// Number of bytes of a text that [`is_prefixed`] looks at.
const LOOKED_AT: usize = 1 << 20;

/// Returns whether goroutines begin in the middle of lines, so that
/// [`strip_prefix`](super::Options) would find them. Only the first MiB is looked at.
pub fn is_prefixed(text: &[u8]) -> bool {
    let text = decode_beginning(&text[..text.len().min(LOOKED_AT)]);
    let mut lines = text.split(|&byte| byte == b'\n');
    lines.any(|line| {
        let mut prefix = LogPrefix::default();
        let stripped = prefix.strip(line, false);
        stripped.len() < line.len()
            && matches!(super::header::parse(&stripped), HeaderLine::Header(_))
    })
}

/// Returns the offset at which the first header in a line begins.
fn find_header(line: &[u8]) -> Option<usize> {
    let line = line.trim_ascii_end();
    memmem::find_iter(line, b"goroutine ").find(|&at| {
        let rest = &line[at + "goroutine ".len()..];
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        digits > 0
            && rest[digits..].starts_with(b" ")
            && line.ends_with(b":")
            && rest.contains(&b'[')
            && is_word_start(line, at)
            && find_preamble(&line[..at]).is_none()
    })
}

/// Returns the offset at which text such as `panic: `, which comes before stacks, begins.
fn find_preamble(line: &[u8]) -> Option<usize> {
    let found = PREAMBLES.iter().filter_map(|text| memmem::find(line, text));
    found.filter(|&at| is_word_start(line, at)).min()
}

fn is_word_start(line: &[u8], at: usize) -> bool {
    at.checked_sub(1).is_none_or(|before| !line[before].is_ascii_alphanumeric())
}

/// Returns a line without the sequences that colour it: `ESC [ 36 m`.
fn strip_colours(line: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = memchr(0x1b, rest) {
        plain.extend_from_slice(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(sequence) = rest.strip_prefix(b"[") {
            let length = sequence.iter().take_while(|byte| (0x20..0x40).contains(*byte)).count();
            rest = &sequence[sequence.len().min(length + 1)..];
        }
    }
    plain.extend_from_slice(rest);
    plain
}

fn digit_pattern(prefix: &[u8]) -> Vec<u8> {
    let mut pattern = Vec::with_capacity(prefix.len());
    for &byte in prefix {
        let byte = if byte.is_ascii_digit() { b'0' } else { byte };
        if byte != b'0' || pattern.last() != Some(&b'0') {
            pattern.push(byte);
        }
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(lines: &[(&str, &str)]) {
        let mut prefix = LogPrefix::default();
        let mut quoted = false;
        for (line, expected) in lines {
            let stripped = prefix.strip(line.as_bytes(), quoted);
            quoted = (quoted || stripped.starts_with(b"panic: ")) && !stripped.is_empty();
            assert_eq!(String::from_utf8_lossy(&stripped), *expected, "{line:?}");
        }
    }

    #[test]
    fn times_go_on() {
        check(&[
            ("2026-01-02T03:04:05.9Z app[12]: goroutine 1 [running]:", "goroutine 1 [running]:"),
            ("2026-01-02T03:04:05.10Z app[12]: main.main()", "main.main()"),
            ("2026-01-02T03:04:06.1Z app[12]: \t/src/main.go:7 +0x1d", "\t/src/main.go:7 +0x1d"),
            ("2026-01-02T03:04:06.1Z app[12]:", ""),
        ]);
    }

    #[test]
    fn blanks_are_a_prefix_too() {
        check(&[
            ("    goroutine 1 [running]:", "goroutine 1 [running]:"),
            ("    main.main()", "main.main()"),
            ("        /src/main.go:7 +0x1d", "\t/src/main.go:7 +0x1d"),
            ("    \t/src/main.go:7 +0x1d", "\t/src/main.go:7 +0x1d"),
            ("", ""),
        ]);
    }

    #[test]
    fn other_letters_are_no_trouble() {
        check(&[
            ("pod-abc | goroutine 1 [running]:", "goroutine 1 [running]:"),
            ("pod-xyz | main.main()", "main.main()"),
        ]);
    }

    #[test]
    fn what_a_panic_says_has_the_prefix_too() {
        check(&[
            ("app-1 | hello", "app-1 | hello"),
            ("app-1 | panic: x goroutine 9 [fake]:", "panic: x goroutine 9 [fake]:"),
            ("app-1 |         goroutine 9 [fake]:", "\tgoroutine 9 [fake]:"),
            ("app-1 |", ""),
            ("app-1 | goroutine 1 [running]:", "goroutine 1 [running]:"),
            ("app-1 | say goroutine 9 [fake]:", "say goroutine 9 [fake]:"),
            ("other: panic: goroutine 9 [fake]:", "panic: goroutine 9 [fake]:"),
        ]);
        check(&[
            ("panic: oh", "panic: oh"),
            ("\tgoroutine 9 [fake]:", "\tgoroutine 9 [fake]:"),
            ("", ""),
            ("goroutine 1 [running]:", "goroutine 1 [running]:"),
        ]);
    }

    #[test]
    fn lines_may_be_quoted() {
        check(&[
            (
                r#"{"log":"goroutine 1 [running] {k: \"v\"}:\n","stream":"stderr","time":"t"}"#,
                "goroutine 1 [running] {k: \"v\"}:",
            ),
            (r#"{"log":"main.f(0x1)\n","stream":"stderr"}"#, "main.f(0x1)"),
            (r#"{"log":"\t/src/\u003ca\u003e.go:7 +0x1d\r\n"}"#, "\t/src/<a>.go:7 +0x1d"),
            (r#"{"log":"\n","stream":"stderr"}"#, ""),
            (r#"{"log":"cut of"#, r#"{"log":"cut of"#),
        ]);
    }

    #[test]
    fn a_prefix_is_noticed() {
        assert!(is_prefixed(
            b"x\nJan 02 app[1]: goroutine 1 [running]:\nJan 02 app[1]: main.f()\n"
        ));
        assert!(is_prefixed(b"{\"log\":\"goroutine 1 [running]:\\n\"}\n"));
        for text in
            ["", "goroutine 1 [running]:\n", "a goroutine 1 [is here]\n", "x goroutine 1 of [a]:\n"]
        {
            assert!(!is_prefixed(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn colours_are_no_text() {
        check(&[
            ("\x1b[36mweb_1  |\x1b[0m goroutine 1 [running]:\x1b[0m", "goroutine 1 [running]:"),
            ("\x1b[1;33mweb_1  |\x1b[0m \x1b[31mmain.main()", "main.main()"),
            ("\x1b[36mweb_1  |\x1b[0m \t/src/main.go:7 +0x1d\x1b[", "\t/src/main.go:7 +0x1d"),
        ]);
    }
}
