//! A bounded queue of samples from signal handlers to the drain thread.
//!
//! [`SampleRing::push`] runs inside signal handlers: it does not allocate, lock, wait or call into libc. A
//! full ring refuses. The algorithm is Dmitry Vyukov's bounded queue with a sequence number for each
//! slot; there is one consumer.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// A bounded queue with many writers and one reader.
pub(crate) struct SampleRing {
    /// `slots × stride` words. A slot's first word is its sequence number.
    words: Box<[AtomicU64]>,
    slots: usize,
    stride: usize,
    head: AtomicUsize,
    tail: AtomicUsize,
}

/// The facts of a sample beside its stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SampleHead {
    pub(crate) tid: u32,
    /// Time at which it was taken, by the precise clock.
    pub(crate) at: u64,
    /// CPU time that the sample stands for, in nanoseconds.
    pub(crate) weight: u64,
    /// True where the stack's way up was lost or cut.
    pub(crate) truncated: bool,
    /// True where the process's timer took the sample, and not the thread's own.
    pub(crate) by_process: bool,
}

/// Sequence number, thread and flags, weight, length, time.
const PREFIX: usize = 5;

impl SampleRing {
    /// Makes a ring of so many samples, a power of two, of at most `depth` addresses each.
    pub(crate) fn new(slots: usize, depth: usize) -> SampleRing {
        assert!(slots.is_power_of_two(), "a power of two");
        let stride = PREFIX + depth;
        let words: Box<[AtomicU64]> = (0..slots * stride).map(|_| AtomicU64::new(0)).collect();
        for slot in 0..slots {
            words[slot * stride].store(slot as u64, Ordering::Relaxed);
        }
        SampleRing { words, slots, stride, head: AtomicUsize::new(0), tail: AtomicUsize::new(0) }
    }

    /// Lets `write` fill a slot's addresses and return their number and the sample's other facts.
    /// Returns false if the ring is full.
    pub(crate) fn push(&self, write: impl FnOnce(&[AtomicU64]) -> (usize, SampleHead)) -> bool {
        let mut at = self.head.load(Ordering::Relaxed);
        let slot = loop {
            let slot = self.slot(at);
            let sequence = slot[0].load(Ordering::Acquire) as usize;
            match sequence.wrapping_sub(at) as isize {
                0 => {
                    let taken = self.head.compare_exchange_weak(
                        at,
                        at.wrapping_add(1),
                        Ordering::Relaxed,
                        Ordering::Relaxed,
                    );
                    match taken {
                        Ok(_) => break slot,
                        Err(moved) => at = moved,
                    }
                }
                behind if behind < 0 => return false,
                _ => at = self.head.load(Ordering::Relaxed),
            }
        };
        let (len, head) = write(&slot[PREFIX..]);
        let flags = u64::from(head.truncated) << 32 | u64::from(head.by_process) << 33;
        slot[1].store(u64::from(head.tid) | flags, Ordering::Relaxed);
        slot[2].store(head.weight, Ordering::Relaxed);
        slot[3].store(len as u64, Ordering::Relaxed);
        slot[4].store(head.at, Ordering::Relaxed);
        slot[0].store(at.wrapping_add(1) as u64, Ordering::Release);
        true
    }

    /// Hands every sample that is there to `take`. To be called by one thread at a time.
    pub(crate) fn drain(&self, mut take: impl FnMut(SampleHead, &[AtomicU64])) {
        let mut at = self.tail.load(Ordering::Relaxed);
        loop {
            let slot = self.slot(at);
            if slot[0].load(Ordering::Acquire) as usize != at.wrapping_add(1) {
                break;
            }
            let word = slot[1].load(Ordering::Relaxed);
            let head = SampleHead {
                tid: word as u32,
                at: slot[4].load(Ordering::Relaxed),
                weight: slot[2].load(Ordering::Relaxed),
                truncated: word >> 32 & 1 == 1,
                by_process: word >> 33 & 1 == 1,
            };
            let len = slot[3].load(Ordering::Relaxed) as usize;
            take(head, &slot[PREFIX..][..len]);
            slot[0].store(at.wrapping_add(self.slots) as u64, Ordering::Release);
            at = at.wrapping_add(1);
        }
        self.tail.store(at, Ordering::Relaxed);
    }

    fn slot(&self, at: usize) -> &[AtomicU64] {
        let index = at & (self.slots - 1);
        &self.words[index * self.stride..][..self.stride]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(ring: &SampleRing, tid: u32, stack: &[u64]) -> bool {
        ring.push(|slot| {
            for (word, address) in slot.iter().zip(stack) {
                word.store(*address, Ordering::Relaxed);
            }
            let truncated = tid % 2 == 1;
            (stack.len(), SampleHead { tid, at: 0, weight: 10, truncated, by_process: false })
        })
    }

    fn drain(ring: &SampleRing) -> Vec<(u32, bool, Vec<u64>)> {
        let mut all = Vec::new();
        ring.drain(|head, stack| {
            let stack = stack.iter().map(|word| word.load(Ordering::Relaxed)).collect();
            all.push((head.tid, head.truncated, stack));
        });
        all
    }

    #[test]
    fn refuses_when_full_and_goes_round() {
        let ring = SampleRing::new(4, 3);
        for round in 0..10 {
            for tid in 0..4 {
                assert!(push(&ring, tid, &[round, 2, 3][..(tid as usize % 4)]));
            }
            assert!(!push(&ring, 9, &[]), "there are four slots");
            let all = drain(&ring);
            assert_eq!(all.len(), 4);
            assert_eq!(all[3], (3, true, vec![round, 2, 3]));
            assert!(drain(&ring).is_empty());
        }
    }

    #[test]
    fn many_writers_lose_nothing() {
        let ring = SampleRing::new(64, 1);
        let (writers, each) = (4, 20_000);
        let mut sums = vec![0u64; writers];
        std::thread::scope(|scope| {
            for writer in 0..writers {
                let ring = &ring;
                scope.spawn(move || {
                    for value in 0..each {
                        while !push(ring, writer as u32, &[value]) {
                            std::thread::yield_now();
                        }
                    }
                });
            }
            let mut got = 0;
            while got < writers as u64 * each {
                for (tid, _, stack) in drain(&ring) {
                    sums[tid as usize] += stack[0];
                    got += 1;
                }
                std::thread::yield_now();
            }
        });
        assert_eq!(sums, vec![each * (each - 1) / 2; writers]);
    }
}
