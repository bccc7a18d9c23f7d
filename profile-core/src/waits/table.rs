//! Stacks, how often something happened at each, and how long it took: a table of fixed size.
//!
//! [`WaitTable::add`] runs inside interposed functions of libc: it does not allocate, lock, wait or
//! panic. A stack that finds no room is counted as lost.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::waits::raw::words::zeroed;
use crate::waits::recorded::WaitWeight;

/// Addresses of a stack that are kept, from the leaf on. The rest, on the root's side, is cut.
pub(crate) const DEPTH: usize = 128;
/// Distinct stacks. At 1 KiB each this is at most 4 MiB.
const STACKS: usize = 4096;
/// Places that are tried for a stack.
const TRIES: usize = 64;
/// Marks, in a stack's length, that it goes on.
const TRUNCATED: u64 = 1 << 32;

/// Counts and times by stack. They only grow.
pub(crate) struct WaitTable {
    /// The hash of each stack, 0 where there is none.
    keys: Box<[AtomicU64]>,
    /// Its length, 0 until it can be read.
    lens: Box<[AtomicU64]>,
    stacks: Box<[AtomicU64]>,
    /// Counts in units of [`WaitWeight::ONE`].
    counts: Box<[AtomicU64]>,
    nanos: Box<[AtomicU64]>,
    lost: WaitCounter,
}

/// A count, in units of [`WaitWeight::ONE`], and a time in nanoseconds.
#[derive(Default)]
struct WaitCounter {
    count: AtomicU64,
    nanos: AtomicU64,
}

impl WaitEntry {
    /// Returns the entry as a number that is not 0; [`of_number`](Self::of_number) is the way back.
    pub(crate) fn number(self) -> usize {
        self.0 + 1
    }

    pub(crate) fn of_number(number: usize) -> Option<WaitEntry> {
        number.checked_sub(1).filter(|&index| index < STACKS).map(WaitEntry)
    }
}

/// A stack of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct WaitEntry(usize);

impl WaitTable {
    pub(crate) fn new() -> WaitTable {
        WaitTable {
            keys: zeroed(STACKS),
            lens: zeroed(STACKS),
            stacks: zeroed(STACKS * DEPTH),
            counts: zeroed(STACKS),
            nanos: zeroed(STACKS),
            lost: WaitCounter::default(),
        }
    }

    /// Adds to a stack, and returns its entry. `None` where there was no room: the sum counts as
    /// lost.
    pub(crate) fn add(
        &self,
        stack: &[u64],
        truncated: bool,
        weighed: WaitWeight,
    ) -> Option<WaitEntry> {
        let place = self.place(stack, truncated);
        let (count, nanos) = match place {
            Some(WaitEntry(index)) => (&self.counts[index], &self.nanos[index]),
            None => (&self.lost.count, &self.lost.nanos),
        };
        count.fetch_add(weighed.count, Ordering::Relaxed);
        nanos.fetch_add(weighed.nanos, Ordering::Relaxed);
        place
    }

    /// Adds to a stack that is there.
    pub(crate) fn add_to(&self, WaitEntry(index): WaitEntry, weighed: WaitWeight) {
        self.counts[index].fetch_add(weighed.count, Ordering::Relaxed);
        self.nanos[index].fetch_add(weighed.nanos, Ordering::Relaxed);
    }

    /// Takes back what was added.
    pub(crate) fn subtract(&self, WaitEntry(index): WaitEntry, weighed: WaitWeight) {
        self.counts[index].fetch_sub(weighed.count, Ordering::Relaxed);
        self.nanos[index].fetch_sub(weighed.nanos, Ordering::Relaxed);
    }

    /// Finds the stack's entry, or takes a free one. Two stacks of the same hash, of 64 bits, are
    /// taken for one.
    fn place(&self, stack: &[u64], truncated: bool) -> Option<WaitEntry> {
        let stack = &stack[..stack.len().min(DEPTH)];
        let hash = hash(stack);
        for attempt in 0..TRIES {
            let index = (hash as usize).wrapping_add(attempt) % STACKS;
            let key = &self.keys[index];
            let known = match key.load(Ordering::Relaxed) {
                0 => {
                    match key.compare_exchange(0, hash, Ordering::Relaxed, Ordering::Relaxed) {
                        Ok(_) => {
                            let words = &self.stacks[index * DEPTH..][..stack.len()];
                            for (word, address) in words.iter().zip(stack) {
                                word.store(*address, Ordering::Relaxed);
                            }
                            let mark = if truncated { TRUNCATED } else { 0 };
                            // One more than it is long, so that an empty stack can be read too.
                            let len = (stack.len() + 1) as u64 | mark;
                            self.lens[index].store(len, Ordering::Release);
                            hash
                        }
                        Err(other) => other,
                    }
                }
                known => known,
            };
            if known == hash {
                return Some(WaitEntry(index));
            }
        }
        None
    }

    /// Returns every stack with what was added to it.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (WaitEntry, WaitWeight)> + '_ {
        (0..STACKS).filter(|&index| self.keys[index].load(Ordering::Relaxed) != 0).map(|index| {
            let weighed = WaitWeight {
                count: self.counts[index].load(Ordering::Relaxed),
                nanos: self.nanos[index].load(Ordering::Relaxed),
            };
            (WaitEntry(index), weighed)
        })
    }

    /// Returns a stack's addresses, and whether it goes on beyond the last. Empty while it is being
    /// written.
    pub(crate) fn stack(&self, WaitEntry(index): WaitEntry) -> (Vec<u64>, bool) {
        let len = self.lens[index].load(Ordering::Acquire);
        let addresses = (len & (TRUNCATED - 1)).saturating_sub(1) as usize;
        let words = &self.stacks[index * DEPTH..][..addresses];
        let stack = words.iter().map(|word| word.load(Ordering::Relaxed)).collect();
        (stack, len & TRUNCATED != 0)
    }

    /// Returns the sum of what found no room.
    pub(crate) fn lost(&self) -> WaitWeight {
        WaitWeight {
            count: self.lost.count.load(Ordering::Relaxed),
            nanos: self.lost.nanos.load(Ordering::Relaxed),
        }
    }
}

/// Hashes a stack. Never 0.
fn hash(stack: &[u64]) -> u64 {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ stack.len() as u64;
    for &address in stack {
        state = (state ^ address).wrapping_mul(0xff51_afd7_ed55_8ccd);
        state ^= state >> 32;
    }
    state.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn once(nanos: u64) -> WaitWeight {
        WaitWeight { count: WaitWeight::ONE, nanos }
    }

    #[test]
    fn equal_stacks_are_one_entry() {
        let table = WaitTable::new();
        for _ in 0..3 {
            table.add(&[1, 2, 3], false, once(5));
        }
        table.add(&[1, 2], true, once(7));
        table.add(&[], true, once(1));
        let mut found: Vec<_> = table
            .entries()
            .map(|(entry, weighed)| (table.stack(entry), weighed.count(), weighed.nanos))
            .collect();
        found.sort();
        assert_eq!(
            found,
            [((vec![], true), 1, 1), ((vec![1, 2], true), 1, 7), ((vec![1, 2, 3], false), 3, 15)]
        );
    }

    #[test]
    fn a_full_table_counts_what_it_loses() {
        let table = WaitTable::new();
        let stacks = 3 * STACKS as u64;
        for n in 0..stacks {
            table.add(&[n, n * n], false, once(1));
        }
        let kept: u64 = table.entries().map(|(_, weighed)| weighed.nanos).sum();
        assert!(kept > STACKS as u64 / 2, "{kept}");
        assert_eq!(kept + table.lost().nanos, stacks);
    }

    #[test]
    fn threads_add_at_once() {
        let table = WaitTable::new();
        std::thread::scope(|scope| {
            for thread in 0..4u64 {
                let table = &table;
                scope.spawn(move || {
                    for n in 0..10_000 {
                        table.add(&[n % 100, 7, thread % 2], false, once(2));
                    }
                });
            }
        });
        assert_eq!(table.entries().count(), 200);
        for (entry, weighed) in table.entries() {
            assert_eq!((weighed.count(), weighed.nanos), (200, 400));
            assert_eq!(table.stack(entry).0[1], 7);
        }
    }
}
