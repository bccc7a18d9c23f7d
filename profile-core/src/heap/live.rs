//! The sampled blocks that are in use, by address.
//!
//! It runs inside allocators: it does not allocate, lock, wait or call into libc. A block's place is
//! in a small window of one of a few tables, each four times as large as the one before, which is
//! made when the window is full in those. So nothing is ever moved, a place is taken and given back
//! with one write, and a fork at any moment costs the child no more than a place.

use std::sync::atomic::{AtomicU64, Ordering::*};

use crate::heap::raw::words::Words;
use crate::heap::sites::Site;
use crate::heap::weight::Weight;

/// A block: its address and who found it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key(u64);

/// Who found a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finder {
    /// The wrapper.
    Wrapper = 0,
    /// jemalloc's hooks.
    Jemalloc = 2,
}

impl Key {
    /// Sampled blocks are aligned to more than the bit that tells the finder.
    pub(crate) fn new(address: usize, finder: Finder) -> Key {
        Key(address as u64 & !3 | finder as u64)
    }
}

/// What is known of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) site: Site,
    pub(crate) weight: Weight,
}

/// The blocks.
pub(crate) struct Live {
    tables: [Table; TABLES],
    /// How many are in use.
    count: AtomicU64,
}

struct Table {
    keys: Words,
    /// Three words a block.
    blocks: Words,
    bits: u32,
}

/// In the last table there are four million places, 32 bytes each; in all there is room for five and a
/// half million blocks.
const TABLES: usize = 6;
/// 4096 places.
const FIRST_BITS: u32 = 12;
/// Places that a block may have in a table: two cache lines of keys.
const WINDOW: usize = 16;

const FREE: u64 = 0;
/// The key of a place that is being filled.
const TAKEN: u64 = 1;

impl Live {
    pub(crate) const fn new() -> Live {
        const fn table(number: u32) -> Table {
            let bits = FIRST_BITS + 2 * number;
            Table { keys: Words::new(1 << bits), blocks: Words::new(3 << bits), bits }
        }
        Live {
            tables: [table(0), table(1), table(2), table(3), table(4), table(5)],
            count: AtomicU64::new(0),
        }
    }

    /// Adds a block, unless there is no room.
    pub(crate) fn insert(&self, key: Key, block: Block) -> bool {
        for table in &self.tables {
            let (Some(keys), Some(blocks)) = (table.keys.get(), table.blocks.get()) else {
                return false;
            };
            for place in table.window(key) {
                let word = &keys[place];
                if word.load(Relaxed) == FREE
                    && word.compare_exchange(FREE, TAKEN, Acquire, Relaxed).is_ok()
                {
                    blocks[3 * place].store(block.weight.objects, Relaxed);
                    blocks[3 * place + 1].store(block.weight.bytes, Relaxed);
                    blocks[3 * place + 2].store(block.site.0.into(), Relaxed);
                    word.store(key.0, Release);
                    self.count.fetch_add(1, Relaxed);
                    return true;
                }
            }
        }
        false
    }

    /// Takes a block out. Only whoever frees it may ask.
    pub(crate) fn remove(&self, key: Key) -> Option<Block> {
        let (table, place) = self.find(key)?;
        let (keys, blocks) = (table.keys.existing()?, table.blocks.existing()?);
        let block = Block {
            weight: Weight {
                objects: blocks[3 * place].load(Relaxed),
                bytes: blocks[3 * place + 1].load(Relaxed),
            },
            site: Site(blocks[3 * place + 2].load(Relaxed) as u32),
        };
        keys[place].store(FREE, Release);
        self.count.fetch_sub(1, Relaxed);
        Some(block)
    }

    /// Whether a block is there.
    pub(crate) fn contains(&self, key: Key) -> bool {
        self.find(key).is_some()
    }

    /// How many blocks there are.
    pub(crate) fn len(&self) -> u64 {
        self.count.load(Relaxed)
    }

    fn find(&self, key: Key) -> Option<(&Table, usize)> {
        for table in &self.tables {
            let keys = table.keys.existing()?;
            if let Some(place) = table.window(key).find(|&place| keys[place].load(Acquire) == key.0)
            {
                return Some((table, place));
            }
        }
        None
    }
}

impl Table {
    /// The places where a block may be.
    fn window(&self, key: Key) -> std::ops::Range<usize> {
        let hash = key.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - self.bits);
        let first = hash as usize & !(WINDOW - 1);
        first..first + WINDOW
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(number: u64) -> Block {
        Block { site: Site(number as u32), weight: Weight { objects: number, bytes: 2 * number } }
    }

    #[test]
    fn every_thread_finds_what_it_put_in() {
        static LIVE: Live = Live::new();
        std::thread::scope(|scope| {
            for thread in 0..4u64 {
                scope.spawn(move || {
                    let key = |number: u64| {
                        Key::new(((thread * 20_000 + number) << 10) as usize, Finder::Wrapper)
                    };
                    for number in 1..20_000 {
                        assert!(LIVE.insert(key(number), block(number)));
                        if number % 3 == 0 {
                            assert_eq!(LIVE.remove(key(number / 3)), Some(block(number / 3)));
                        }
                    }
                    for number in 1..20_000 {
                        let gone = number <= 19_999 / 3;
                        assert_eq!(LIVE.contains(key(number)), !gone, "{number}");
                    }
                    for number in 19_999 / 3 + 1..20_000 {
                        assert_eq!(LIVE.remove(key(number)), Some(block(number)));
                    }
                });
            }
        });
        assert_eq!(LIVE.len(), 0);
        assert!(!LIVE.contains(Key::new(1 << 10, Finder::Wrapper)));
    }

    #[test]
    fn finders_do_not_meet() {
        static LIVE: Live = Live::new();
        let (ours, theirs) =
            (Key::new(0x7000, Finder::Wrapper), Key::new(0x7000, Finder::Jemalloc));
        assert!(LIVE.insert(ours, block(1)));
        assert!(!LIVE.contains(theirs));
        assert_eq!(LIVE.remove(theirs), None);
        assert_eq!(LIVE.remove(ours), Some(block(1)));
    }

    #[test]
    fn a_block_without_room_is_refused() {
        static LIVE: Live = Live::new();
        // One address over and over meets one window of each table.
        let key = Key::new(0x5000, Finder::Wrapper);
        let room = (0..).take_while(|_| LIVE.insert(key, block(7))).count();
        assert_eq!(room, WINDOW * TABLES);
        assert_eq!(LIVE.len(), room as u64);
    }
}
