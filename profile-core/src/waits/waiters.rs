//! Who is waiting now, on what, and since when: a table of fixed size.
//!
//! Used inside interposed functions of libc: nothing here allocates, locks, waits or panics.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::waits::raw::words::zeroed;
use crate::waits::recorded::SITE;

/// Threads that can be waiting at once. A further one is recorded when its wait ends, and not
/// before.
const SLOTS: usize = 4096;
/// Places near its hash in which the waiters of an address are looked for by who wakes them.
const NEAR: usize = 64;
/// A slot that is taken and not filled in yet; no futex has this address.
const TAKEN: u64 = 1;

/// Threads that wait.
pub(crate) struct FutexWaiters {
    /// The futex's address, 0 where nobody waits.
    keys: Box<[AtomicU64]>,
    since: Box<[AtomicU64]>,
    /// Time up to which the wait was charged to those who woke others.
    charged: Box<[AtomicU64]>,
    /// An address in the waiting function's frame, which tells threads apart.
    frames: Box<[AtomicU64]>,
    sites: Box<[AtomicU64]>,
}

/// The leaf's side of a waiter's stack; zeros where it is shorter.
pub(crate) type WaiterSite = [u64; SITE];

/// A wait that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OpenWait {
    slot: usize,
    pub(crate) address: u64,
    pub(crate) since: u64,
    pub(crate) frame: u64,
}

impl FutexWaiters {
    pub(crate) fn new() -> FutexWaiters {
        FutexWaiters {
            keys: zeroed(SLOTS),
            since: zeroed(SLOTS),
            charged: zeroed(SLOTS),
            frames: zeroed(SLOTS),
            sites: zeroed(SLOTS * SITE),
        }
    }

    /// Takes a slot for a wait, near its address's hash if there is one.
    pub(crate) fn enter(
        &self,
        address: u64,
        since: u64,
        frame: u64,
        site: &[u64],
    ) -> Option<usize> {
        let first = first(address);
        for attempt in 0..SLOTS {
            let slot = (first + attempt) % SLOTS;
            let key = &self.keys[slot];
            if key.load(Ordering::Relaxed) == 0
                && key.compare_exchange(0, TAKEN, Ordering::Acquire, Ordering::Relaxed).is_ok()
            {
                self.since[slot].store(since, Ordering::Relaxed);
                self.charged[slot].store(since, Ordering::Relaxed);
                self.frames[slot].store(frame, Ordering::Relaxed);
                for (place, word) in self.sites[slot * SITE..][..SITE].iter().zip(site) {
                    place.store(*word, Ordering::Relaxed);
                }
                key.store(address, Ordering::Release);
                return Some(slot);
            }
        }
        None
    }

    /// Ends the wait with this frame, if it was not taken out before.
    pub(crate) fn leave(&self, slot: usize, frame: u64) {
        if self.frames[slot].load(Ordering::Relaxed) == frame {
            self.frames[slot].store(0, Ordering::Relaxed);
            self.keys[slot].store(0, Ordering::Release);
        }
    }

    /// Charges the waiters of an address: returns the time for which they have been waiting since
    /// somebody was charged with it, summed up, and where one of them waits.
    pub(crate) fn charge(&self, address: u64, now: u64, from: u64) -> (u64, WaiterSite) {
        let first = first(address);
        let mut total = 0u64;
        let mut site = [0; SITE];
        for attempt in 0..NEAR {
            let slot = (first + attempt) % SLOTS;
            if self.keys[slot].load(Ordering::Acquire) == address {
                let before = self.charged[slot].swap(now, Ordering::Relaxed);
                total = total.saturating_add(now.saturating_sub(before.max(from)));
                for (word, place) in site.iter_mut().zip(&self.sites[slot * SITE..]) {
                    *word = place.load(Ordering::Relaxed);
                }
            }
        }
        (total, site)
    }

    /// Returns the waits that are under way.
    pub(crate) fn all(&self) -> Vec<OpenWait> {
        (0..SLOTS).filter_map(|slot| self.at(slot)).collect()
    }

    /// Returns whether a wait is still the same.
    pub(crate) fn is_still_waiting(&self, waiting: &OpenWait) -> bool {
        self.at(waiting.slot).as_ref() == Some(waiting)
    }

    fn at(&self, slot: usize) -> Option<OpenWait> {
        let address = self.keys[slot].load(Ordering::Acquire);
        (address > TAKEN).then(|| OpenWait {
            slot,
            address,
            since: self.since[slot].load(Ordering::Relaxed),
            frame: self.frames[slot].load(Ordering::Relaxed),
        })
    }
}

fn first(address: u64) -> usize {
    (address.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - SLOTS.ilog2())) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stretch_of_waiting_is_charged_once() {
        let waiters = FutexWaiters::new();
        let first = waiters.enter(0x1000, 100, 1, &[7; SITE]).unwrap();
        let second = waiters.enter(0x1000, 150, 2, &[7; SITE]).unwrap();
        waiters.enter(0x2000, 0, 3, &[]).unwrap();
        assert_eq!(waiters.charge(0x1000, 200, 0), (100 + 50, [7; SITE]));
        waiters.leave(first, 1);
        assert_eq!(waiters.charge(0x1000, 260, 0), (60, [7; SITE]));
        // Only from when recording began.
        assert_eq!(waiters.charge(0x1000, 300, 290), (10, [7; SITE]));
        waiters.leave(second, 2);
        assert_eq!(waiters.charge(0x1000, 400, 0), (0, [0; SITE]));
        assert_eq!(waiters.all().len(), 1);
    }

    #[test]
    fn a_full_table_takes_no_more() {
        let waiters = FutexWaiters::new();
        for n in 0..SLOTS {
            assert!(waiters.enter(0x1000, n as u64, 1 + n as u64, &[]).is_some());
        }
        assert_eq!(waiters.enter(0x1000, 7, 0, &[]), None);
        let all = waiters.all();
        assert_eq!(all.len(), SLOTS);
        assert!(waiters.is_still_waiting(&all[5]));
        waiters.leave(all[5].slot, all[5].frame + 1);
        assert!(waiters.is_still_waiting(&all[5]), "another wait was meant");
        waiters.leave(all[5].slot, all[5].frame);
        assert!(!waiters.is_still_waiting(&all[5]));
        let again = waiters.enter(0x3000, 7, 0, &[]).unwrap();
        assert_eq!(again, all[5].slot);
        assert!(!waiters.is_still_waiting(&all[5]), "another wait in the same place");
    }
}
