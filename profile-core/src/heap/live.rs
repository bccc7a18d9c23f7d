//! The sampled blocks that are in use, by address.
//!
//! It runs inside allocators: it does not allocate, lock, wait or call into libc. A block's place
//! is in a small window of one of a few tables, each four times as large as the one before, which
//! is made when the window is full in those. So nothing is ever moved, a place is taken and given
//! back with one write, and a fork at any moment costs the child no more than a place.

use std::sync::atomic::{AtomicU64, Ordering::*};

use crate::heap::raw::words::LazyWords;
use crate::heap::sites::HeapSiteId;
use crate::heap::weight::SampleWeight;

/// A block: its address and who found it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlockKey(u64);

/// The part that found a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BlockFinder {
    /// The wrapper.
    Wrapper = 0,
    /// jemalloc's hooks.
    Jemalloc = 2,
}

impl BlockKey {
    /// Makes the key of a block. No two blocks are as near to each other as the bits that tell the
    /// finder: sampled ones are aligned to more, or large.
    pub(crate) fn new(address: usize, finder: BlockFinder) -> BlockKey {
        BlockKey(address as u64 & !3 | finder as u64)
    }
}

/// The facts that are kept of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LiveBlock {
    pub(crate) site: HeapSiteId,
    pub(crate) weight: SampleWeight,
}

/// The blocks.
pub(crate) struct LiveBlocks {
    tables: [BlockTable; TABLES],
    /// Number of blocks that are in use.
    count: AtomicU64,
}

struct BlockTable {
    keys: LazyWords,
    /// Three words a block.
    blocks: LazyWords,
    bits: u32,
}

/// In the last table there are four million places, 32 bytes each; in all there is room for five
/// and a half million blocks.
const TABLES: usize = 6;
/// 4096 places.
const FIRST_BITS: u32 = 12;
/// Places that a block may have in a table: two cache lines of keys.
const WINDOW: usize = 16;

const FREE: u64 = 0;
/// The key of a place that is being filled.
const TAKEN: u64 = 1;

impl LiveBlocks {
    pub(crate) const fn new() -> LiveBlocks {
        const fn table(number: u32) -> BlockTable {
            let bits = FIRST_BITS + 2 * number;
            BlockTable { keys: LazyWords::new(1 << bits), blocks: LazyWords::new(3 << bits), bits }
        }
        LiveBlocks {
            tables: [table(0), table(1), table(2), table(3), table(4), table(5)],
            count: AtomicU64::new(0),
        }
    }

    /// Adds a block, unless there is no room.
    pub(crate) fn insert(&self, key: BlockKey, block: LiveBlock) -> bool {
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
    pub(crate) fn remove(&self, key: BlockKey) -> Option<LiveBlock> {
        let (table, place) = self.find(key)?;
        let (keys, blocks) = (table.keys.existing()?, table.blocks.existing()?);
        let block = LiveBlock {
            weight: SampleWeight {
                objects: blocks[3 * place].load(Relaxed),
                bytes: blocks[3 * place + 1].load(Relaxed),
            },
            site: HeapSiteId(blocks[3 * place + 2].load(Relaxed) as u32),
        };
        keys[place].store(FREE, Release);
        self.count.fetch_sub(1, Relaxed);
        Some(block)
    }

    /// Returns whether a block is there.
    pub(crate) fn contains(&self, key: BlockKey) -> bool {
        self.find(key).is_some()
    }

    /// Returns the number of blocks.
    pub(crate) fn len(&self) -> u64 {
        self.count.load(Relaxed)
    }

    fn find(&self, key: BlockKey) -> Option<(&BlockTable, usize)> {
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

impl BlockTable {
    /// Returns the places where a block may be.
    fn window(&self, key: BlockKey) -> std::ops::Range<usize> {
        let hash = key.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - self.bits);
        let first = hash as usize & !(WINDOW - 1);
        first..first + WINDOW
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(number: u64) -> LiveBlock {
        LiveBlock {
            site: HeapSiteId(number as u32),
            weight: SampleWeight { objects: number, bytes: 2 * number },
        }
    }

    #[test]
    fn every_thread_finds_what_it_put_in() {
        static LIVE: LiveBlocks = LiveBlocks::new();
        std::thread::scope(|scope| {
            for thread in 0..4u64 {
                scope.spawn(move || {
                    let key = |number: u64| {
                        BlockKey::new(
                            ((thread * 20_000 + number) << 10) as usize,
                            BlockFinder::Wrapper,
                        )
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
        assert!(!LIVE.contains(BlockKey::new(1 << 10, BlockFinder::Wrapper)));
    }

    #[test]
    fn finders_do_not_meet() {
        static LIVE: LiveBlocks = LiveBlocks::new();
        let (ours, theirs) = (
            BlockKey::new(0x7000, BlockFinder::Wrapper),
            BlockKey::new(0x7000, BlockFinder::Jemalloc),
        );
        assert!(LIVE.insert(ours, block(1)));
        assert!(!LIVE.contains(theirs));
        assert_eq!(LIVE.remove(theirs), None);
        assert_eq!(LIVE.remove(ours), Some(block(1)));
    }

    #[test]
    fn a_block_without_room_is_refused() {
        static LIVE: LiveBlocks = LiveBlocks::new();
        // One address over and over meets one window of each table.
        let key = BlockKey::new(0x5000, BlockFinder::Wrapper);
        let room = (0..).take_while(|_| LIVE.insert(key, block(7))).count();
        assert_eq!(room, WINDOW * TABLES);
        assert_eq!(LIVE.len(), room as u64);
    }
}
