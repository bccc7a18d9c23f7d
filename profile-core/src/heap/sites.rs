//! Interned stacks, each with what was allocated and freed there.
//!
//! It runs inside allocators: it does not allocate, lock, wait or call into libc. Sites are never
//! removed, and a site is whole before it can be found, so that whoever reads disturbs nobody, and
//! a fork at any moment leaves the child what it can go on with.

use std::sync::atomic::{AtomicU64, Ordering::*};

use crate::heap::raw::words::LazyWords;
use crate::heap::weight::SampleWeight;

/// A site's place in the arena. 0 is the site of all stacks that found no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HeapSiteId(pub(crate) u32);

/// The site at which stacks are counted that found no room.
pub(crate) const OVERFLOW: HeapSiteId = HeapSiteId(0);

/// The sites of a recorder. A site is a header in the arena with the words of its stack behind it.
pub(crate) struct SiteArena {
    /// The first site of each chain, 0 for none.
    buckets: LazyWords,
    chunks: [LazyWords; CHUNKS],
    /// The first word that no site has.
    next: AtomicU64,
    /// Number of sites.
    count: AtomicU64,
}

const BUCKETS: usize = 1 << 15;
/// 256 KiB.
const CHUNK: usize = 1 << 15;
/// 64 MiB: a quarter of a million stacks of 27 frames.
const CHUNKS: usize = 256;

// The words of a header.
const HASH: usize = 0;
/// The next site of the chain, and the stack's length above it.
const LINK: usize = 1;
const ALLOC_OBJECTS: usize = 2;
const ALLOC_BYTES: usize = 3;
const FREED_OBJECTS: usize = 4;
const FREED_BYTES: usize = 5;
const HEADER: usize = 6;

/// Totals that a site's counters hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SiteTotals {
    pub(crate) alloc: SampleWeight,
    pub(crate) freed: SampleWeight,
}

/// A site as a snapshot finds it.
#[derive(Clone, Copy)]
pub(crate) struct SiteView {
    words: &'static [AtomicU64],
}

impl SiteArena {
    pub(crate) const fn new() -> SiteArena {
        SiteArena {
            buckets: LazyWords::new(BUCKETS),
            chunks: [const { LazyWords::new(CHUNK) }; CHUNKS],
            // The first is OVERFLOW.
            next: AtomicU64::new(HEADER as u64),
            count: AtomicU64::new(0),
        }
    }

    /// Returns the site of a stack, made where it is new; `OVERFLOW` where there is no room.
    pub(crate) fn intern(&self, stack: &[u64]) -> HeapSiteId {
        let Some(buckets) = self.buckets.get() else { return OVERFLOW };
        let hash = hash(stack);
        let bucket = &buckets[hash as usize % BUCKETS];
        let mut head = bucket.load(Acquire) as u32;
        if let Some(known) = self.find(head, 0, hash, stack) {
            return known;
        }
        let Some((new, words)) = self.reserve(HEADER + stack.len()) else { return OVERFLOW };
        words[HASH].store(hash, Relaxed);
        for (word, address) in words[HEADER..].iter().zip(stack) {
            word.store(*address, Relaxed);
        }
        loop {
            words[LINK].store(u64::from(head) | (stack.len() as u64) << 32, Relaxed);
            match bucket.compare_exchange(head.into(), new.into(), AcqRel, Acquire) {
                Ok(_) => {
                    self.count.fetch_add(1, Relaxed);
                    return HeapSiteId(new);
                }
                Err(now) => {
                    // What another thread put there may be this very stack; then ours is lost.
                    let seen = std::mem::replace(&mut head, now as u32);
                    if let Some(known) = self.find(head, seen, hash, stack) {
                        return known;
                    }
                }
            }
        }
    }

    /// Looks for a stack along a chain, up to a site that was looked at before.
    fn find(&self, mut site: u32, seen: u32, hash: u64, stack: &[u64]) -> Option<HeapSiteId> {
        while site != seen && site != 0 {
            let words = self.words(HeapSiteId(site))?;
            let link = words[LINK].load(Relaxed);
            if words[HASH].load(Relaxed) == hash && (link >> 32) as usize == stack.len() {
                let mut pairs = words[HEADER..].iter().zip(stack);
                if pairs.all(|(word, address)| word.load(Relaxed) == *address) {
                    return Some(HeapSiteId(site));
                }
            }
            site = link as u32;
        }
        None
    }

    /// Takes words of the arena for good, all in one chunk.
    fn reserve(&self, len: usize) -> Option<(u32, &'static [AtomicU64])> {
        let mut next = self.next.load(Relaxed);
        loop {
            let left = CHUNK - next as usize % CHUNK;
            let begin = if len <= left { next as usize } else { next as usize + left };
            let chunk = self.chunks.get(begin / CHUNK)?;
            let words = chunk.get()?.get(begin % CHUNK..begin % CHUNK + len)?;
            match self.next.compare_exchange_weak(next, (begin + len) as u64, Relaxed, Relaxed) {
                Ok(_) => return Some((begin as u32, words)),
                Err(now) => next = now,
            }
        }
    }

    /// Returns a site's header and what lies behind it in the chunk.
    fn words(&self, site: HeapSiteId) -> Option<&'static [AtomicU64]> {
        let at = site.0 as usize;
        self.chunks[at / CHUNK].get()?.get(at % CHUNK..)
    }

    pub(crate) fn count_alloc(&self, site: HeapSiteId, weight: SampleWeight) {
        self.add(site, ALLOC_OBJECTS, weight);
    }

    pub(crate) fn count_free(&self, site: HeapSiteId, weight: SampleWeight) {
        self.add(site, FREED_OBJECTS, weight);
    }

    fn add(&self, site: HeapSiteId, first: usize, weight: SampleWeight) {
        if let Some(words) = self.words(site) {
            words[first].fetch_add(weight.objects, Relaxed);
            // What is freed was counted as allocated before.
            words[first + 1].fetch_add(weight.bytes, Release);
        }
    }

    /// Returns the number of sites.
    pub(crate) fn len(&self) -> usize {
        self.count.load(Relaxed) as usize
    }

    /// Returns every site, those that are made meanwhile perhaps; `OVERFLOW` first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = SiteView> {
        let overflow = self.chunks[0].existing().map(|words| SiteView { words: &words[..HEADER] });
        let buckets = self.buckets.existing().unwrap_or_default();
        overflow.into_iter().chain(buckets.iter().flat_map(move |bucket| {
            let mut next = bucket.load(Acquire) as u32;
            std::iter::from_fn(move || {
                let words = (next != 0).then(|| self.words(HeapSiteId(next)))??;
                let link = words[LINK].load(Relaxed);
                next = link as u32;
                Some(SiteView { words: &words[..HEADER + (link >> 32) as usize] })
            })
        }))
    }
}

impl SiteView {
    /// Returns the site's own key, the same as long as the process lives.
    pub(crate) fn key(&self) -> usize {
        self.words.as_ptr().addr()
    }

    /// Returns the addresses inside calls, the leaf first; none for `OVERFLOW`.
    pub(crate) fn stack(&self) -> impl ExactSizeIterator<Item = u64> + use<> {
        self.words[HEADER..].iter().map(|word| word.load(Relaxed))
    }

    pub(crate) fn totals(&self) -> SiteTotals {
        let read = |first: usize| {
            let bytes = self.words[first + 1].load(Acquire);
            SampleWeight { objects: self.words[first].load(Relaxed), bytes }
        };
        // In this order, so that no more is freed than was allocated.
        let freed = read(FREED_OBJECTS);
        SiteTotals { freed, alloc: read(ALLOC_OBJECTS) }
    }
}

const _: () = assert!(ALLOC_BYTES == ALLOC_OBJECTS + 1 && FREED_BYTES == FREED_OBJECTS + 1);

fn hash(stack: &[u64]) -> u64 {
    let mixed = stack.iter().fold(stack.len() as u64, |hash, address| {
        (hash.rotate_left(5) ^ address).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    });
    mixed ^ mixed >> 32
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: SampleWeight = SampleWeight { objects: 1, bytes: 100 };

    #[test]
    fn a_stack_has_one_site_whoever_comes_first() {
        static SITES: SiteArena = SiteArena::new();
        let stacks: Vec<Vec<u64>> = (0..2000u64)
            .map(|stack| (0..stack % 90).map(|frame| frame * stack).collect())
            .collect();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for stack in &stacks {
                        SITES.count_alloc(SITES.intern(stack), ONE);
                    }
                });
            }
        });
        let mut distinct = stacks.clone();
        distinct.sort();
        distinct.dedup();
        assert_eq!(SITES.len(), distinct.len());
        let mut found = Vec::new();
        for site in SITES.iter().skip(1) {
            let stack: Vec<u64> = site.stack().collect();
            let times = stacks.iter().filter(|other| **other == stack).count() as u64;
            assert_eq!(
                site.totals().alloc,
                SampleWeight { objects: 4 * times, bytes: 400 * times }
            );
            found.push(stack);
        }
        found.sort();
        assert_eq!(found, distinct);
    }

    #[test]
    fn what_finds_no_room_is_counted_all_the_same() {
        static SITES: SiteArena = SiteArena::new();
        SITES.next.store((CHUNK * CHUNKS - 20) as u64, Relaxed);
        assert_ne!(SITES.intern(&[1; 10]), OVERFLOW);
        let lost = SITES.intern(&[2; 10]);
        assert_eq!(lost, OVERFLOW);
        assert_eq!(SITES.intern(&[1; 10]), SITES.intern(&[1; 10]));
        SITES.count_alloc(lost, ONE);
        SITES.count_free(lost, ONE);
        let overflow = SITES.iter().next().unwrap();
        assert_eq!(overflow.stack().len(), 0);
        assert_eq!(overflow.totals(), SiteTotals { alloc: ONE, freed: ONE });
        assert_eq!(SITES.iter().count(), 2);
    }
}
