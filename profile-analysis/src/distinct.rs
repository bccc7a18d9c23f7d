//! Telling equal things apart from new ones where the things stay where they are.

use std::hash::{BuildHasher as _, Hash};

use crate::hash::KeyedHashBuilder;

/// Numbers distinct things in the order in which they come, and holds nothing of them but a hash:
/// a million stacks are not copied to be counted.
pub(crate) struct DistinctIndex {
    hashes: Vec<u64>,
    /// Hash table of numbers plus one, at most half full; 0 is a free slot.
    table: Vec<u32>,
    hash: KeyedHashBuilder,
}

impl Default for DistinctIndex {
    fn default() -> DistinctIndex {
        DistinctIndex::with_capacity(0)
    }
}

impl DistinctIndex {
    /// Returns an empty index that holds a number of things without growing.
    pub(crate) fn with_capacity(things: usize) -> DistinctIndex {
        let table = vec![0; (2 * things).next_power_of_two().max(16)];
        DistinctIndex { hashes: Vec::with_capacity(things), table, hash: KeyedHashBuilder::new() }
    }

    /// Returns the number of a thing that is given in parts. `same` says whether it equals the
    /// thing of an earlier number. A new thing gets the next number.
    pub(crate) fn number(
        &mut self,
        parts: impl Iterator<Item = u32>,
        same: impl Fn(usize) -> bool,
    ) -> usize {
        let hash = parts.fold(self.hash.start(), |hash, part| self.hash.fold(hash, part.into()));
        self.number_hashed(hash, same)
    }

    /// Returns the same as [`number`](Self::number) for a thing that hashes itself.
    pub(crate) fn number_of(&mut self, thing: impl Hash, same: impl Fn(usize) -> bool) -> usize {
        self.number_hashed(self.hash.hash_one(thing), same)
    }

    fn number_hashed(&mut self, hash: u64, same: impl Fn(usize) -> bool) -> usize {
        let mut slot = self.slot(hash);
        while self.table[slot] != 0 {
            let number = self.table[slot] as usize - 1;
            if self.hashes[number] == hash && same(number) {
                return number;
            }
            slot = (slot + 1) & (self.table.len() - 1);
        }
        self.hashes.push(hash);
        self.table[slot] = self.hashes.len() as u32;
        if self.hashes.len() * 2 > self.table.len() {
            self.grow();
        }
        self.hashes.len() - 1
    }

    fn slot(&self, hash: u64) -> usize {
        hash as usize & (self.table.len() - 1)
    }

    fn grow(&mut self) {
        self.table = vec![0; self.table.len() * 2];
        for number in 0..self.hashes.len() {
            let mut slot = self.slot(self.hashes[number]);
            while self.table[slot] != 0 {
                slot = (slot + 1) & (self.table.len() - 1);
            }
            self.table[slot] = number as u32 + 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_as_a_map_would(things in proptest::collection::vec(0_u8..50, 0..200)) {
            let mut distinct = DistinctIndex::with_capacity(20);
            let mut seen = Vec::new();
            let mut twin = HashMap::new();
            for thing in things {
                let number = distinct.number([thing.into()].into_iter(), |number| seen[number] == thing);
                if number == seen.len() {
                    seen.push(thing);
                }
                let next = twin.len();
                prop_assert_eq!(number, *twin.entry(thing).or_insert(next));
            }
            prop_assert_eq!(distinct.hashes.len(), twin.len());
        }
    }
}
