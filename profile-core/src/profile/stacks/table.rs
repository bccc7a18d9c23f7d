//! Distinct stacks by their bytes, and the sums of their values.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

use super::Overflow;

/// Where the bytes of a stack are: in the profile's own, or behind [`COPIED`] in a copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::profile) struct Place {
    offset: u32,
    length: u32,
}

impl Place {
    /// The place of bytes that end at an offset of the profile; `None` of no bytes.
    pub(in crate::profile) fn of(bytes: &[u8], end: u64) -> Option<Place> {
        let length = u32::try_from(bytes.len()).ok().filter(|&length| length > 0)?;
        Some(Place { offset: u32::try_from(end).ok()? - length, length })
    }

    /// The bytes there.
    pub(in crate::profile) fn of_raw(self, raw: &[u8]) -> &[u8] {
        bytes(raw, &[], self)
    }
}

/// Offsets from here on are in the copies.
const COPIED: u32 = 1 << 31;

/// The stacks.
///
/// The profile's bytes, which most of them are part of, come with every call: whoever reads them
/// borrows from them, too.
#[derive(Debug, Default)]
pub(in crate::profile) struct Table {
    /// Stacks that don't stand in the profile in one piece.
    copies: Vec<u8>,
    places: Vec<Place>,
    /// The numbers of stacks, by hash.
    known: HashTable<u32>,
    width: usize,
    values: Vec<i64>,
    overflow: Overflow,
    /// Random, so that nobody can make stacks that all hash alike.
    key: u64,
}

impl Table {
    /// No stacks of samples of `width` values, with room for a number of them.
    pub(in crate::profile) fn new(width: usize, room: usize) -> Table {
        Table {
            copies: Vec::new(),
            places: Vec::with_capacity(room),
            known: HashTable::with_capacity(room),
            width,
            values: Vec::with_capacity(room * width),
            overflow: Overflow::new(),
            key: RandomState::new().hash_one(0_u8) | 1,
        }
    }

    /// Offsets of more don't fit.
    pub(in crate::profile) const MOST_BYTES: u64 = COPIED as u64 - 1;

    /// Makes room for more stacks.
    pub(in crate::profile) fn reserve(&mut self, raw: &[u8], more: usize) {
        let Table { copies, places, known, width, values, key, .. } = self;
        known.reserve(more, |&number| hash(bytes(raw, copies, places[number as usize]), *key));
        places.reserve_exact(more);
        values.reserve_exact(more * *width);
    }

    /// How many stacks there are.
    pub(in crate::profile) fn len(&self) -> usize {
        self.places.len()
    }

    /// The bytes of memory that a stack more takes.
    pub(in crate::profile) fn stack_size(&self) -> u64 {
        // A slot of the table is five bytes; it is at least seven sixteenths full.
        (size_of::<Place>() + self.width * size_of::<i64>() + 12) as u64
    }

    /// The bytes of memory for copies.
    pub(in crate::profile) fn copied(&self) -> u64 {
        self.copies.len() as u64
    }

    /// The bytes of a stack: its ids as varints.
    #[inline]
    pub(in crate::profile) fn bytes<'t>(&'t self, raw: &'t [u8], stack: usize) -> &'t [u8] {
        bytes(raw, &self.copies, self.places[stack])
    }

    /// The sum of a column.
    #[inline]
    pub(in crate::profile) fn value(&self, stack: usize, column: usize) -> i128 {
        assert!(column < self.width, "a sample type of the profile");
        let index = stack * self.width + column;
        let value = i128::from(self.values[index]);
        if self.overflow.is_empty() {
            return value;
        }
        self.overflow.get(&index).copied().unwrap_or(value)
    }

    /// Adds a sample whose stack stands elsewhere.
    pub(in crate::profile) fn add_copied(&mut self, raw: &[u8], stack: &[u8], values: &[i64]) {
        let start = self.copies.len();
        let length = u32::try_from(stack.len()).expect("a stack of less than 2 GiB");
        let offset = u32::try_from(start).ok().filter(|&offset| offset < COPIED - length);
        let offset = offset.expect("stacks of less than 2 GiB") | COPIED;
        self.copies.extend_from_slice(stack);
        if !self.add(raw, Place { offset, length }, values) {
            self.copies.truncate(start);
        }
    }

    /// Adds a sample whose stack stands in the profile; whether it is new.
    #[inline]
    pub(in crate::profile) fn add(&mut self, raw: &[u8], place: Place, values: &[i64]) -> bool {
        let Table { copies, places, known, key, .. } = self;
        let stack = bytes(raw, copies, place);
        let hashed = hash(stack, *key);
        let found = known.find(hashed, |&number| {
            let other = places[number as usize];
            other.length == place.length && bytes(raw, copies, other) == stack
        });
        match found {
            Some(&number) => {
                self.add_values(number as usize, values);
                false
            }
            None => {
                known.insert_unique(hashed, places.len() as u32, |&number| {
                    hash(bytes(raw, copies, places[number as usize]), *key)
                });
                places.push(place);
                self.values.extend_from_slice(values);
                true
            }
        }
    }

    fn add_values(&mut self, stack: usize, values: &[i64]) {
        let start = stack * self.width;
        for (index, &value) in (start..).zip(values) {
            let sum = &mut self.values[index];
            match sum.checked_add(value) {
                Some(added) if self.overflow.is_empty() => *sum = added,
                _ => {
                    let before = i128::from(*sum);
                    let exact = self.overflow.entry(index).or_insert(before);
                    *exact += i128::from(value);
                    *sum = (*exact).clamp(i64::MIN.into(), i64::MAX.into()) as i64;
                }
            }
        }
    }

    /// Keeps the stacks that are wanted.
    pub(in crate::profile) fn retain(&mut self, mut wanted: impl FnMut(usize) -> bool) {
        let kept: Vec<usize> = (0..self.len()).filter(|&stack| wanted(stack)).collect();
        let width = self.width;
        let mut overflow = Overflow::new();
        for (new, &old) in kept.iter().enumerate() {
            self.places[new] = self.places[old];
            self.values.copy_within(old * width..(old + 1) * width, new * width);
            for column in 0..width {
                if let Some(&sum) = self.overflow.get(&(old * width + column)) {
                    overflow.insert(new * width + column, sum);
                }
            }
        }
        self.places.truncate(kept.len());
        self.values.truncate(kept.len() * width);
        self.overflow = overflow;
        // Nothing is added after this, so nothing is looked up.
        self.known = HashTable::new();
    }
}

#[inline]
fn bytes<'t>(raw: &'t [u8], copies: &'t [u8], place: Place) -> &'t [u8] {
    let length = place.length as usize;
    if place.offset & COPIED == 0 {
        &raw[place.offset as usize..][..length]
    } else {
        &copies[(place.offset & !COPIED) as usize..][..length]
    }
}

/// Multiplies eight bytes at a time to 128 bits and folds the halves: SipHash would take as long as
/// all the rest of reading.
#[inline]
fn hash(bytes: &[u8], key: u64) -> u64 {
    let fold = |hash: u64, part: u64| {
        let product =
            u128::from((hash ^ part).wrapping_add(0x9e37_79b9_7f4a_7c15)) * u128::from(key);
        product as u64 ^ (product >> 64) as u64
    };
    let (words, rest) = bytes.as_chunks::<8>();
    let mut hash =
        words.iter().fold(bytes.len() as u64, |hash, word| fold(hash, u64::from_le_bytes(*word)));
    if !rest.is_empty() {
        let mut word = [0; 8];
        word[..rest.len()].copy_from_slice(rest);
        hash = fold(hash, u64::from_le_bytes(word));
    }
    fold(hash, key)
}
