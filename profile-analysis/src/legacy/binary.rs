//! CPU profiles of gperftools: words of the machine that wrote them, then a map of its memory.

use super::content::{LegacyHeader, LegacyText};
use super::{LegacyError, LegacyLimits};

/// The width and order of a profile's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct WordForm {
    size: usize,
    is_big_endian: bool,
}

impl WordForm {
    /// Returns the form in which bytes begin as such a profile does: 0, the number of words that
    /// follow, a version, the period in microseconds, 0.
    fn of(bytes: &[u8]) -> Option<WordForm> {
        let forms = [(8, false), (4, false), (8, true), (4, true)];
        forms.into_iter().map(|(size, is_big_endian)| WordForm { size, is_big_endian }).find(
            |form| {
                let word = |index| form.word(bytes, index);
                let is_version = |version: u64| version <= 1;
                (word(0), word(1), word(4)) == (Some(0), Some(3), Some(0))
                    && word(2).is_some_and(is_version)
                    && word(3).is_some_and(|period| (1..1 << 31).contains(&period))
            },
        )
    }

    /// Returns a word, counted from the beginning.
    fn word(self, bytes: &[u8], index: usize) -> Option<u64> {
        let word = bytes.get(index.checked_mul(self.size)?..)?.get(..self.size)?;
        let digits = |word: &mut dyn Iterator<Item = &u8>| {
            word.fold(0, |number, &byte| number << 8 | u64::from(byte))
        };
        Some(match self.is_big_endian {
            true => digits(&mut word.iter()),
            false => digits(&mut word.iter().rev()),
        })
    }
}

/// Returns whether bytes begin as a CPU profile of gperftools does.
pub(crate) fn is_cpu_profile(bytes: &[u8]) -> bool {
    WordForm::of(bytes).is_some()
}

/// Reads a CPU profile; `None` where the bytes begin as something else.
///
/// # Errors
///
/// Where a limit is passed.
pub(super) fn parse(
    bytes: &[u8],
    limits: &LegacyLimits,
) -> Option<Result<LegacyText, LegacyError>> {
    let form = WordForm::of(bytes)?;
    let word = |index| form.word(bytes, index);
    let is_java = word(2) == Some(1);
    let period = word(3)?.saturating_mul(1000);
    let mut text = LegacyText::new(LegacyHeader::Cpu { is_java });
    text.period = period;
    // The header has three words after its length, whatever that says.
    let mut at = 5;
    let rest = loop {
        let (Some(count), Some(depth)) = (word(at), word(at + 1)) else {
            text.warn_at("no end", at * form.size);
            break &[][..];
        };
        at += 2;
        if (count, depth, word(at)) == (0, 1, Some(0)) {
            break bytes.get((at + 1) * form.size..).unwrap_or_default();
        }
        if depth > limits.depth as u64 {
            return Some(Err(LegacyError::TooDeep(limits.depth)));
        }
        let depth = depth as usize;
        let Some(stack) = (at..at + depth).map(word).collect::<Option<Vec<u64>>>() else {
            text.warn_at("a stack that breaks off", at * form.size);
            break &[];
        };
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        let nanoseconds = count.saturating_mul(i64::try_from(period).unwrap_or(i64::MAX));
        text.add_stack(&stack, [count, nanoseconds, 0, 0]);
        at += depth;
    };
    text.read_rest(rest, is_java);
    Some(Ok(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(size: usize, is_big_endian: bool) -> Vec<u8> {
        let words = [0, 3, 0, 10_000, 0, 5, 2, 0x400100, 0x400200, 2, 1, 0x400100, 0, 1, 0];
        let write = |word: u64| match is_big_endian {
            true => word.to_be_bytes()[8 - size..].to_vec(),
            false => word.to_le_bytes()[..size].to_vec(),
        };
        words.into_iter().flat_map(write).collect()
    }

    #[test]
    fn words_of_every_form_are_read() {
        for (size, is_big_endian) in [(8, false), (4, false), (8, true), (4, true)] {
            let bytes = profile(size, is_big_endian);
            let text = parse(&bytes, &LegacyLimits::default()).unwrap().unwrap();
            let values: Vec<_> =
                text.samples.iter().map(|sample| sample.values[..2].to_vec()).collect();
            assert_eq!(values, [[5, 50_000_000], [2, 20_000_000]]);
            assert_eq!(text.warnings, [""; 0]);
            for length in 0..bytes.len() {
                if let Some(cut) = parse(&bytes[..length], &LegacyLimits::default()) {
                    assert_eq!(cut.unwrap().warnings.len(), 1, "{length}");
                }
            }
        }
        assert!(!is_cpu_profile(&[0; 64]));
        assert!(!is_cpu_profile(b"\0\0\0\0\0\0\0\0\x03"));
    }
}
