//! Distinct stacks by their bytes, and the sums of their values.

use std::hash::{BuildHasher, RandomState};
use std::mem::take;

use super::{OverflowSums, RawProfile};

/// The place of the bytes of a stack: in the profile's own, or behind [`COPIED`] in a copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::profile) struct StackPlace {
    offset: u32,
    length: u32,
}

impl StackPlace {
    /// Returns the place of bytes that end at an offset of the profile, which is
    /// [`RawProfile::MOST`] at most.
    pub(in crate::profile) fn of(bytes: &[u8], end: u64) -> StackPlace {
        let length = bytes.len() as u32;
        StackPlace { offset: end as u32 - length, length }
    }
}

/// Offsets from here on are in the copies.
const COPIED: u32 = 1 << 31;

/// The stacks.
///
/// The profile's bytes, which most of them are part of, come with every call: whoever reads them
/// borrows from them, too.
#[derive(Debug, Default)]
pub(in crate::profile) struct DistinctStacks {
    /// Stacks that don't stand in the profile in one piece.
    copies: Vec<u8>,
    places: Vec<StackPlace>,
    known: KnownStacks,
    /// Samples that are looked up together, and their values: see [`KnownStacks::load`].
    waiting: Vec<(StackPlace, u32)>,
    waiting_values: Vec<i64>,
    width: usize,
    values: Vec<i64>,
    overflow: OverflowSums,
    /// Random, so that nobody can make stacks that all hash alike.
    key: u64,
}

impl DistinctStacks {
    /// Makes a table without stacks, of samples of `width` values, with room for a number of them.
    pub(in crate::profile) fn new(width: usize, room: usize) -> DistinctStacks {
        DistinctStacks {
            copies: Vec::new(),
            places: Vec::with_capacity(room),
            known: KnownStacks::with_room(room),
            waiting: Vec::with_capacity(TOGETHER),
            waiting_values: Vec::with_capacity(TOGETHER * width),
            width,
            values: Vec::with_capacity(room * width),
            overflow: OverflowSums::new(),
            key: RandomState::new().hash_one(0_u8) | 1,
        }
    }

    /// Makes room for more stacks.
    pub(in crate::profile) fn reserve(&mut self, more: usize) {
        self.known.grow(self.places.len() + more);
        self.places.reserve_exact(more);
        self.values.reserve_exact(more * self.width);
    }

    /// Returns the number of stacks, without those of the samples that wait.
    pub(in crate::profile) fn len(&self) -> usize {
        self.places.len()
    }

    /// Returns the number of bytes of memory that a stack more takes.
    pub(in crate::profile) fn stack_size(&self) -> u64 {
        // A slot of the table is eight bytes; it is at least seven sixteenths full.
        (size_of::<StackPlace>() + self.width * size_of::<i64>() + 19) as u64
    }

    /// Returns the number of bytes of memory for copies.
    pub(in crate::profile) fn copied(&self) -> u64 {
        self.copies.len() as u64
    }

    /// Returns the number of bytes of all stacks' ids, each of which has one at least.
    pub(in crate::profile) fn id_bytes(&self) -> u64 {
        self.places.iter().map(|place| u64::from(place.length)).sum()
    }

    /// Returns the bytes of a stack: its ids as varints.
    #[inline]
    pub(in crate::profile) fn bytes<'t>(
        &'t self,
        raw: &'t RawProfile<'_>,
        stack: usize,
    ) -> &'t [u8] {
        bytes(raw, &self.copies, self.places[stack])
    }

    /// Returns whether a stack has any ids; looks at none of them.
    #[inline]
    pub(in crate::profile) fn has_bytes(&self, stack: usize) -> bool {
        self.places[stack].length > 0
    }

    /// Returns the sum of a column.
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

    /// Returns the sums of a column, stack by stack.
    pub(in crate::profile) fn column(&self, column: usize) -> impl Iterator<Item = i128> + '_ {
        assert!(column < self.width || self.values.is_empty(), "a sample type of the profile");
        let sums = self.values.get(column..).unwrap_or_default().iter().step_by(self.width.max(1));
        let exact = (!self.overflow.is_empty()).then_some(&self.overflow);
        sums.enumerate().map(move |(stack, &sum)| {
            let exact = exact.and_then(|exact| exact.get(&(stack * self.width + column)));
            exact.copied().unwrap_or(sum.into())
        })
    }

    /// Adds a sample whose stack stands in the profile.
    #[inline]
    pub(in crate::profile) fn add(
        &mut self,
        raw: &RawProfile<'_>,
        place: StackPlace,
        stack: &[u8],
        values: &[i64],
    ) {
        self.waiting.push((place, hash(stack, self.key)));
        self.waiting_values.extend_from_slice(values);
        if self.waiting.len() == TOGETHER {
            self.add_waiting(raw);
        }
    }

    /// Adds a sample whose stack stands elsewhere.
    pub(in crate::profile) fn add_copied(
        &mut self,
        raw: &RawProfile<'_>,
        stack: &[u8],
        values: &[i64],
    ) {
        self.add_waiting(raw);
        let start = self.copies.len();
        let length = u32::try_from(stack.len()).expect("a stack of less than 2 GiB");
        let offset = u32::try_from(start).ok().filter(|&offset| offset < COPIED - length);
        let offset = offset.expect("stacks of less than 2 GiB") | COPIED;
        self.copies.extend_from_slice(stack);
        let place = StackPlace { offset, length };
        if !self.add_now(raw, place, hash(stack, self.key), values) {
            self.copies.truncate(start);
        }
    }

    /// Adds the samples that wait. To be called after the last one.
    pub(in crate::profile) fn add_waiting(&mut self, raw: &RawProfile<'_>) {
        self.known.grow(self.places.len() + self.waiting.len());
        self.known.load(&self.waiting);
        let (waiting, values) = (take(&mut self.waiting), take(&mut self.waiting_values));
        for (index, &(place, hash)) in waiting.iter().enumerate() {
            self.add_now(raw, place, hash, &values[index * self.width..][..self.width]);
        }
        (self.waiting, self.waiting_values) = (waiting, values);
        self.waiting.clear();
        self.waiting_values.clear();
    }

    /// Adds a sample. Returns whether its stack is new.
    fn add_now(
        &mut self,
        raw: &RawProfile<'_>,
        place: StackPlace,
        hash: u32,
        values: &[i64],
    ) -> bool {
        self.known.grow(self.places.len() + 1);
        let DistinctStacks { copies, places, known, .. } = self;
        let stack = bytes(raw, copies, place);
        let next = places.len() as u32;
        let found = known.number(hash, next, |number| {
            let other = places[number as usize];
            other.length == place.length && bytes(raw, copies, other) == stack
        });
        if found == next {
            places.push(place);
            self.values.extend_from_slice(values);
        } else {
            self.add_values(found as usize, values);
        }
        found == next
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
        let mut overflow = OverflowSums::new();
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
        self.known = KnownStacks::default();
    }
}

#[inline]
fn bytes<'t>(raw: &'t RawProfile<'_>, copies: &'t [u8], place: StackPlace) -> &'t [u8] {
    if place.offset & COPIED == 0 {
        raw.get(place.offset, place.length)
    } else {
        &copies[(place.offset & !COPIED) as usize..][..place.length as usize]
    }
}

/// Samples that are looked up together.
const TOGETHER: usize = 16;

/// The numbers of stacks by their hashes, in slots of a hash and a number plus one; 0 is free. One
/// slot is one miss of the cache, where a table with its hashes apart has two.
#[derive(Debug, Default)]
struct KnownStacks {
    slots: Vec<u64>,
}

impl KnownStacks {
    fn with_room(stacks: usize) -> KnownStacks {
        let mut known = KnownStacks::default();
        known.grow(stacks);
        known
    }

    /// Makes room for so many stacks in all: an eighth of the slots stays free.
    #[inline]
    fn grow(&mut self, stacks: usize) {
        if stacks * 8 > self.slots.len() * 7 {
            self.grow_to((stacks * 8 / 7 + 1).next_power_of_two().max(16));
        }
    }

    #[cold]
    fn grow_to(&mut self, slots: usize) {
        let old = std::mem::replace(&mut self.slots, vec![0; slots]);
        for entry in old.into_iter().filter(|&entry| entry != 0) {
            let mut slot = self.slot((entry >> 32) as u32);
            while self.slots[slot] != 0 {
                slot = (slot + 1) & (self.slots.len() - 1);
            }
            self.slots[slot] = entry;
        }
    }

    #[inline]
    fn slot(&self, hash: u32) -> usize {
        hash as usize & (self.slots.len() - 1)
    }

    /// Brings the slots of several hashes into the cache: the processor waits for all of them at
    /// once, and one after the other later.
    fn load(&self, waiting: &[(StackPlace, u32)]) {
        let seen = waiting.iter().fold(0, |seen, &(_, hash)| seen ^ self.slots[self.slot(hash)]);
        std::hint::black_box(seen);
    }

    /// Returns the number of the stack with this hash that is the same, else `next`, which it gets.
    #[inline]
    fn number(&mut self, hash: u32, next: u32, same: impl Fn(u32) -> bool) -> u32 {
        let mut slot = self.slot(hash);
        loop {
            let entry = self.slots[slot];
            if entry == 0 {
                self.slots[slot] = u64::from(hash) << 32 | u64::from(next + 1);
                return next;
            }
            let number = entry as u32 - 1;
            if (entry >> 32) as u32 == hash && same(number) {
                return number;
            }
            slot = (slot + 1) & (self.slots.len() - 1);
        }
    }
}

/// Multiplies eight bytes at a time to 128 bits and folds the halves: SipHash would take as long as
/// all the rest of reading.
#[inline]
fn hash(bytes: &[u8], key: u64) -> u32 {
    let fold = |hash: u64, part: u64| {
        let product =
            u128::from((hash ^ part).wrapping_add(0x9e37_79b9_7f4a_7c15)) * u128::from(key);
        product as u64 ^ (product >> 64) as u64
    };
    let (words, rest) = bytes.as_chunks::<8>();
    let mut hash =
        words.iter().fold(bytes.len() as u64, |hash, word| fold(hash, u64::from_le_bytes(*word)));
    if let (false, Some(last)) = (rest.is_empty(), bytes.last_chunk()) {
        // Some of them once more, which is less to do than to copy the rest.
        hash = fold(hash, u64::from_le_bytes(*last));
    } else {
        hash = rest.iter().fold(hash, |hash, &byte| fold(hash, byte.into()));
    }
    fold(hash, key) as u32
}
