//! Taking off what a log has put before each line of a dump.
//!
//! The prefix is what stands before the first `goroutine 7 [`. Other lines have it too, with other
//! digits in it: a time goes on.

use std::borrow::Cow;

use memchr::memmem;

/// The prefix that was seen last.
#[derive(Debug, Default)]
pub(super) struct Prefix {
    /// With each run of digits made one `0`.
    pattern: Vec<u8>,
    length: usize,
}

impl Prefix {
    /// A line without its prefix. Blanks before a place become the tab that a log made of them.
    pub(super) fn strip<'a>(&mut self, line: &'a [u8]) -> Cow<'a, [u8]> {
        if let Some(at) = header(line) {
            self.length = at;
            self.pattern = pattern(&line[..at]);
            return Cow::Borrowed(&line[at..]);
        }
        let rest = match self.after(line) {
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

    /// Where the prefix of a line ends.
    fn after(&self, line: &[u8]) -> Option<usize> {
        let mut at = 0;
        for (index, &wanted) in self.pattern.iter().enumerate() {
            if wanted == b'0' {
                let digits = line[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
                if digits == 0 {
                    return self.of_same_length(line);
                }
                at += digits;
            } else if line.get(at) == Some(&wanted) {
                at += 1;
            } else if at == line.len() && self.pattern[index..].iter().all(|&byte| byte == b' ') {
                // An empty line may have lost the blanks at its end.
                return Some(at);
            } else {
                return self.of_same_length(line);
            }
        }
        Some(at)
    }

    /// A prefix may change in more than its digits, and still end where it did.
    fn of_same_length(&self, line: &[u8]) -> Option<usize> {
        let last = self.length.checked_sub(1)?;
        let same_end = line
            .get(last)
            .is_some_and(|byte| self.pattern.last() == Some(byte) && !byte.is_ascii_alphanumeric());
        same_end.then_some(self.length)
    }
}

/// Where the first header in a line begins.
fn header(line: &[u8]) -> Option<usize> {
    memmem::find_iter(line, b"goroutine ").find(|&at| {
        let rest = &line[at + "goroutine ".len()..];
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let before = at.checked_sub(1).map(|before| line[before]);
        digits > 0
            && rest[digits..].starts_with(b" ")
            && line.ends_with(b":")
            && rest.contains(&b'[')
            && before.is_none_or(|byte| !byte.is_ascii_alphanumeric())
    })
}

fn pattern(prefix: &[u8]) -> Vec<u8> {
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
        let mut prefix = Prefix::default();
        for (line, expected) in lines {
            let stripped = prefix.strip(line.as_bytes());
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
}
