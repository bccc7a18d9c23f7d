//! Addresses and their indices: a table for millions of look-ups.

/// Addresses seen so far. Addresses come from files, and a file can be made so that they meet in
/// one place of the table; a random number in the hash is against that.
pub(super) struct AddressTable {
    /// An address and its index plus one, which is 0 where there is none. A power of two.
    slots: Vec<(u64, u32)>,
    count: usize,
    random: u64,
}

impl AddressTable {
    pub(super) fn new() -> AddressTable {
        use std::hash::{BuildHasher as _, RandomState};
        let random = RandomState::new().hash_one(0) | 1;
        AddressTable { slots: vec![(0, 0); 1 << 12], count: 0, random }
    }

    /// Returns the index of an address; of a new one, the index that `add` gives.
    #[inline]
    pub(super) fn index(&mut self, address: u64, add: impl FnOnce() -> u32) -> u32 {
        let mut at = self.start(address);
        loop {
            match self.slots[at] {
                (_, 0) => break,
                (known, index) if known == address => return index - 1,
                _ => at = (at + 1) & (self.slots.len() - 1),
            }
        }
        let index = add();
        self.slots[at] = (address, index + 1);
        self.count += 1;
        if self.count * 2 > self.slots.len() {
            self.grow();
        }
        index
    }

    fn start(&self, address: u64) -> usize {
        // The high bits of a product depend on all bits of the factors.
        let mixed = u128::from(address ^ self.random) * u128::from(self.random);
        let folded = (mixed >> 64) as u64 ^ mixed as u64;
        folded as usize & (self.slots.len() - 1)
    }

    fn grow(&mut self) {
        let larger = vec![(0, 0); self.slots.len() * 2];
        for (address, index) in std::mem::replace(&mut self.slots, larger) {
            if index != 0 {
                let mut at = self.start(address);
                while self.slots[at].1 != 0 {
                    at = (at + 1) & (self.slots.len() - 1);
                }
                self.slots[at] = (address, index);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_keeps_its_index() {
        let mut addresses = AddressTable::new();
        let wide = |number: u64| number.wrapping_mul(0x1_0000_0001) ^ number << 40;
        for number in 0..50_000u32 {
            assert_eq!(addresses.index(wide(number.into()), || number), number);
        }
        for number in 0..50_000u32 {
            assert_eq!(addresses.index(wide(number.into()), || panic!("it is known")), number);
        }
    }
}
