//! Addresses by the text they are written as: a dump has millions, and most of them many times.

/// The text of an address: what stands before a blank or another sign below the digits. The bytes
/// behind it are 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HexDigits {
    words: [u64; 2],
    pub(super) len: usize,
}

const EACH: u64 = 0x0101_0101_0101_0101;

impl HexDigits {
    /// Packs a text. `None` for one of more than fifteen bytes, and near the end.
    #[inline]
    pub(super) fn of(text: &[u8]) -> Option<HexDigits> {
        let bytes = text.first_chunk::<16>()?;
        let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|byte| bytes[at + byte]));
        // The lowest top bit that is set is that of the first byte below `0`.
        let ends = |word: u64| word.wrapping_sub(0x30 * EACH) & !word & (0x80 * EACH);
        let upto = |word: u64, ends: u64| word & (ends & ends.wrapping_neg()).wrapping_sub(1) >> 7;
        let (first, second) = (word(0), word(8));
        let len = |ends: u64| ends.trailing_zeros() as usize / 8;
        match (ends(first), ends(second)) {
            (0, 0) => None,
            (0, end) => Some(HexDigits { words: [first, upto(second, end)], len: 8 + len(end) }),
            (end, _) => Some(HexDigits { words: [upto(first, end), 0], len: len(end) }),
        }
    }
}

/// Map from each text to its place. Files can be made so that texts meet in one place of the table;
/// a random number in the hash is against that.
pub(super) struct PlaceCache<P> {
    /// A power of two; no text is empty.
    slots: Vec<CacheSlot<P>>,
    count: usize,
    random: [u64; 2],
}

/// A text and what stands for it, in one line of the cache.
#[derive(Clone, Copy, Default)]
#[repr(align(32))]
struct CacheSlot<P> {
    words: [u64; 2],
    place: P,
}

/// The most texts that are kept; more are read anew each time.
const MOST: usize = 1 << 20;

impl<P: Copy + Default> PlaceCache<P> {
    pub(super) fn new() -> PlaceCache<P> {
        use std::hash::{BuildHasher as _, RandomState};
        let state = RandomState::new();
        let random = [0, 1].map(|number: u64| state.hash_one(number) | 1);
        PlaceCache { slots: vec![CacheSlot::default(); 1 << 12], count: 0, random }
    }

    #[inline]
    pub(super) fn get(&self, digits: HexDigits) -> Option<P> {
        let CacheSlot { words, place } = self.slots[self.find(digits.words)];
        (words == digits.words && digits.len > 0).then_some(place)
    }

    pub(super) fn insert(&mut self, digits: HexDigits, place: P) {
        if self.count == MOST || digits.len == 0 {
            return;
        }
        let at = self.find(digits.words);
        self.slots[at] = CacheSlot { words: digits.words, place };
        self.count += 1;
        if self.count * 2 > self.slots.len() {
            let larger = vec![CacheSlot::default(); self.slots.len() * 2];
            for slot in std::mem::replace(&mut self.slots, larger) {
                if slot.words != [0; 2] {
                    let at = self.find(slot.words);
                    self.slots[at] = slot;
                }
            }
        }
    }

    /// Returns the slot where a text is, or would be.
    #[inline]
    fn find(&self, words: [u64; 2]) -> usize {
        // Either factor depends on the text and on what nobody knows.
        let [a, b] = [words[0] ^ self.random[0], words[1] ^ self.random[1]];
        let product = u128::from(a) * u128::from(b | 1);
        let mut at = ((product >> 64) as u64 ^ product as u64) as usize;
        loop {
            at &= self.slots.len() - 1;
            let known = self.slots[at].words;
            if known == words || known == [0; 2] {
                return at;
            }
            at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_ends_before_a_blank() {
        let words = |text: &str| {
            let mut bytes = [0; 16];
            bytes[..text.len()].copy_from_slice(text.as_bytes());
            let half = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
            Some(HexDigits { words: [half(0), half(8)], len: text.len() })
        };
        assert_eq!(HexDigits::of(b"55d0a1b2c3d4 0x55d0"), words("55d0a1b2c3d4"));
        assert_eq!(HexDigits::of(b"5\nt*: 1: 2 [3: 4]\n"), words("5"));
        assert_eq!(HexDigits::of(b"12345678 0x1 0x2 "), words("12345678"));
        assert_eq!(HexDigits::of(b" 1234567890123456"), words(""));
        assert_eq!(HexDigits::of(b"1234567890abcdef1"), None);
        assert_eq!(HexDigits::of(b"55d0 0x1"), None, "near the end");
    }

    #[test]
    fn a_text_keeps_its_place() {
        let mut known = PlaceCache::new();
        let digits =
            |number: u32| HexDigits::of(format!("{number:x}                ").as_bytes()).unwrap();
        for number in 0..50_000 {
            assert_eq!(known.get(digits(number)), None);
            known.insert(digits(number), number);
        }
        assert!((0..50_000).all(|number| known.get(digits(number)) == Some(number)));
    }
}
