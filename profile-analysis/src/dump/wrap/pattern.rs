//! The form of a prefix: the same on every line but for its digits, since time goes on.

/// A prefix that lines have, each with other digits.
#[derive(Clone, Debug)]
pub(super) struct PrefixPattern {
    /// The prefix as a line last had it.
    sample: Vec<u8>,
    /// The prefix with each run of digits made one `0`, and the blanks before it one blank.
    pattern: Vec<u8>,
    /// The place in `pattern` of the letter by which CRI says whether a line is whole.
    cri_tag: Option<usize>,
    /// True for a name and colons, where `grep -A` has dashes on the lines that it adds.
    is_of_grep: bool,
}

/// The prefix of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PrefixMatch {
    pub(super) length: usize,
    /// True where the line goes on in the next one that has the prefix.
    pub(super) goes_on: bool,
}

/// The longest prefix in bytes.
pub(super) const LONGEST: usize = 512;

impl PrefixPattern {
    pub(super) fn new(prefix: &[u8]) -> PrefixPattern {
        let mut pattern = Vec::with_capacity(prefix.len());
        for &byte in prefix {
            if !byte.is_ascii_digit() {
                pattern.push(byte);
            } else if pattern.last() != Some(&b'0') {
                while pattern.ends_with(b"  ") {
                    pattern.pop();
                }
                pattern.push(b'0');
            }
        }
        let mut sample = prefix.to_vec();
        let streams = [&b" stdout "[..], b" stderr "];
        let cri_tag = match pattern.as_slice() {
            [before @ .., b'F' | b'P', b' '] if streams.iter().any(|it| before.ends_with(it)) => {
                Some(before.len())
            }
            _ => None,
        };
        if let Some(tag) = cri_tag {
            pattern[tag] = b'F';
            let tag = sample.len() - 2;
            sample[tag] = b'F';
        }
        let is_of_grep = pattern.ends_with(b":") && !pattern.contains(&b' ');
        PrefixPattern { sample, pattern, cri_tag, is_of_grep }
    }

    /// Returns the prefix as a line last had it.
    pub(super) fn sample(&self) -> &[u8] {
        &self.sample
    }

    pub(super) fn is_blank(&self) -> bool {
        self.sample.iter().all(u8::is_ascii_whitespace)
    }

    /// Returns the prefix of a line that has it.
    #[inline]
    pub(super) fn find(&mut self, line: &[u8]) -> Option<PrefixMatch> {
        let length = self.sample.len();
        match line.get(..length) {
            Some(begin) if has_same_form(begin, &self.sample) && !self.splits_number(line) => {
                Some(PrefixMatch { length, goes_on: false })
            }
            _ => self.find_slowly(line),
        }
    }

    /// Returns whether the prefix ends in the middle of a line's digits.
    fn splits_number(&self, line: &[u8]) -> bool {
        self.pattern.last() == Some(&b'0')
            && line.get(self.sample.len()).is_some_and(u8::is_ascii_digit)
    }

    fn find_slowly(&mut self, line: &[u8]) -> Option<PrefixMatch> {
        let (mut at, mut skip) = (0, 0);
        let mut goes_on = false;
        let count = |at: usize, is: fn(&u8) -> bool| {
            line[at..].iter().take(LONGEST).take_while(|&byte| is(byte)).count()
        };
        for (index, &wanted) in self.pattern.iter().enumerate() {
            let found = line.get(at).copied();
            if skip > 0 {
                skip -= 1;
            } else if wanted == b'0' {
                let digits = count(at, u8::is_ascii_digit);
                if digits == 0 {
                    return None;
                }
                at += digits;
            } else if wanted == b' ' && self.pattern.get(index + 1) == Some(&b'0') {
                let blanks = count(at, |&byte| byte == b' ');
                if blanks == 0 {
                    return None;
                }
                at += blanks;
            } else if found == Some(wanted) {
                at += 1;
            } else if wanted == b'.'
                && self.pattern[index + 1..].starts_with(b"0Z")
                && found == Some(b'Z')
            {
                // RFC 3339 has no fraction where it is zero.
                skip = 1;
            } else if self.is_of_grep && wanted == b':' && found == Some(b'-') {
                at += 1;
            } else if self.cri_tag == Some(index) && found == Some(b'P') {
                goes_on = true;
                at += 1;
            } else if at == line.len() && is_blank(&self.pattern[index..]) {
                // An empty line may have lost the blanks at its end.
                return Some(PrefixMatch { length: at, goes_on });
            } else {
                return None;
            }
        }
        if !goes_on {
            self.sample.clear();
            self.sample.extend_from_slice(&line[..at]);
        }
        Some(PrefixMatch { length: at, goes_on })
    }

    /// Returns the length of the prefix where the line has the same byte at its end: a prefix may
    /// change in more than its digits, and still end where it did.
    pub(super) fn find_by_length(&self, line: &[u8]) -> Option<usize> {
        let last = self.sample.len().checked_sub(1)?;
        let same_end = line
            .get(last)
            .is_some_and(|byte| self.sample.last() == Some(byte) && !byte.is_ascii_alphanumeric());
        same_end.then_some(self.sample.len())
    }
}

/// Returns whether two texts of one length differ in their digits alone. The rest of a longer one
/// does not count.
#[inline]
pub(super) fn has_same_form(a: &[u8], b: &[u8]) -> bool {
    let mut differs = false;
    for (&a, &b) in a.iter().zip(b) {
        let digits = a.wrapping_sub(b'0') < 10 && b.wrapping_sub(b'0') < 10;
        differs |= !(a == b || digits);
    }
    !differs
}

fn is_blank(text: &[u8]) -> bool {
    text.iter().all(|&byte| byte == b' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(prefix: &str, line: &str, expected: Option<(usize, bool)>) {
        let mut pattern = PrefixPattern::new(prefix.as_bytes());
        let found = pattern.find(line.as_bytes()).map(|found| (found.length, found.goes_on));
        assert_eq!(found, expected, "{prefix:?} {line:?}");
    }

    #[test]
    fn digits_and_the_blanks_before_them_may_differ() {
        check("Apr  9 00:05:07 h d[41]: ", "Apr 10 00:05:07 h d[7]: x", Some((24, false)));
        check("Apr 10 00:05:07 h d[41]: ", "Apr  9 00:05:07 h d[41]: x", Some((25, false)));
        check("12.5Z ", "12.55Z x", Some((7, false)));
        check("12.5Z ", "12.aZ x", None);
        check("3.5Z ", "3Z x", Some((3, false)));
        check("a1", "a12 x", Some((3, false)));
        check("  ", "   x", Some((2, false)));
        check("  ", " x", None);
        check("web-1  | ", "web-1  |", Some((8, false)));
        check("web-1  | ", "web-1 x", None);
        check("app.log:7:", "app.log-8-x", Some((10, false)));
        check("2026Z stderr F ", "2026Z stderr P x", Some((15, true)));
        check("2026Z stderr F ", "2026Z stdout F x", None);
        check("", "x", Some((0, false)));
    }
}
