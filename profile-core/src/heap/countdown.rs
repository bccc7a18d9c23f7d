//! How many bytes a thread may allocate before its next sampled block.
//!
//! It runs inside allocators: it does not allocate, lock, wait or call anything but the logarithm
//! of the mathematics library, and its thread-locals need no initialisation and no destruction.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::sys::own_work;

/// Bytes between two samples on average, unless set otherwise.
pub(crate) const DEFAULT_RATE: u64 = 512 << 10;

static RATE: AtomicU64 = AtomicU64::new(DEFAULT_RATE);
/// Makes the threads' seeds differ.
static SEED: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static THREAD: ThreadCountdown =
        const { ThreadCountdown { left: Cell::new(0), rate: Cell::new(0), random: Cell::new(0) } };
}

struct ThreadCountdown {
    left: Cell<i64>,
    /// The rate that `left` was drawn at; 0 where it was not drawn, but is the way to the next look
    /// at `RATE`.
    rate: Cell<u64>,
    random: Cell<u64>,
}

/// While sampling is off a thread looks this often whether it still is.
const LOOK: i64 = 256 << 10;

/// Counts an allocation. Returns true where that is all there is to do; else [`take_sample_if_due`]
/// is to be called.
#[inline(always)]
pub(crate) fn fits_in_interval(size: usize) -> bool {
    THREAD.with(|thread| {
        // No allocation is larger than `isize::MAX`, and what is left is never negative here.
        let left = thread.left.get().wrapping_sub(size as i64);
        thread.left.set(left);
        left >= 0
    })
}

/// Decides about an allocation that did not fit: returns the rate that led to it where it is to be
/// sampled, else `None`.
///
/// The way to the next sample is forgotten wherever it is interrupted and drawn anew: the samples
/// of a Poisson process don't know of each other, so that this changes no probability.
#[cold]
pub(crate) fn take_sample_if_due(size: usize) -> Option<u64> {
    let rate = RATE.load(Relaxed);
    THREAD.with(|thread| {
        if thread.random.get() == 0 {
            thread.random.set(seed(thread));
        }
        let draw = |rate| match rate {
            0 => LOOK,
            1 => 0,
            _ => {
                let random = xorshift(&thread.random);
                // Never 0, of which there is no logarithm.
                let uniform = ((random >> 11) + 1) as f64 / (1u64 << 53) as f64;
                (-uniform.ln() * rate as f64) as i64
            }
        };
        let at = match thread.rate.replace(rate) {
            // The way was not drawn: it is now, and this allocation is the first on it.
            0 => {
                let left = draw(rate).saturating_sub_unsigned(size as u64);
                if left >= 0 || rate == 0 {
                    thread.left.set(left.max(0));
                    return None;
                }
                rate
            }
            at => at,
        };
        thread.left.set(draw(rate));
        (rate != 0 && !own_work::is_under_way()).then_some(at)
    })
}

/// Sets the rate, and returns the previous one.
pub(crate) fn set_rate(rate: u64) -> u64 {
    RATE.swap(rate, Relaxed)
}

/// Returns the rate in force.
pub(crate) fn rate() -> u64 {
    RATE.load(Relaxed)
}

fn seed(thread: &ThreadCountdown) -> u64 {
    const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
    let number = SEED.fetch_add(GOLDEN, Relaxed);
    // Addresses are random from run to run. The rest is splitmix64.
    let mut mixed = number ^ std::ptr::from_ref(thread) as u64;
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ mixed >> 31) | 1
}

fn xorshift(state: &Cell<u64>) -> u64 {
    let mut random = state.get();
    random ^= random >> 12;
    random ^= random << 25;
    random ^= random >> 27;
    state.set(random);
    random.wrapping_mul(0x2545_f491_4f6c_dd1d)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::own_work::OwnWork;

    /// Returns the number of sampled allocations, of `count` of one size, on a thread of its own.
    fn sampled(size: usize, count: u64) -> u64 {
        let count_them = move || {
            let is_sampled =
                |_: &u64| !fits_in_interval(size) && take_sample_if_due(size).is_some();
            (0..count).filter(is_sampled).count() as u64
        };
        std::thread::spawn(count_them).join().unwrap()
    }

    // One test: the rate is the process's.
    #[test]
    fn blocks_are_sampled_with_the_probability_that_their_weight_says() {
        for (rate, size, count) in [
            (4096, 16, 4_000_000),
            (4096, 4096, 40_000),
            (512 << 10, 1000, 2_000_000),
            (64, 640, 100),
        ] {
            set_rate(rate);
            let found = sampled(size, count) as f64;
            let probability = -(-(size as f64) / rate as f64).exp_m1();
            let expected = count as f64 * probability;
            let sigma = (expected * (1.0 - probability)).sqrt();
            assert!(
                (found - expected).abs() <= 5.0 * sigma + 1.0,
                "{rate} {size}: {found}, {expected}"
            );
        }
        // The first allocation of a thread has the same chance.
        set_rate(4096);
        let first: u64 = (0..400).map(|_| sampled(4096, 1)).sum();
        assert!((200..=300).contains(&first), "{first} of 400, and 253 expected");

        assert_eq!(set_rate(1), 4096);
        assert_eq!(sampled(1, 1000), 1000);
        assert_eq!(set_rate(0), 1);
        assert_eq!(sampled(1 << 20, 1000), 0);

        // Switched on again, a thread notices after a while.
        let on_again = std::thread::spawn(|| {
            assert!(
                (0..10).all(|_| fits_in_interval(1 << 20) || take_sample_if_due(1 << 20).is_none())
            );
            set_rate(1000);
            (0..1 << 20)
                .filter(|_| !fits_in_interval(100) && take_sample_if_due(100).is_some())
                .count()
        });
        assert!(on_again.join().unwrap() > 90_000);

        let own = std::thread::spawn(|| {
            let _own = OwnWork::begin();
            (0..1000).all(|_| fits_in_interval(10_000) || take_sample_if_due(10_000).is_none())
        });
        assert!(own.join().unwrap());
        set_rate(DEFAULT_RATE);
    }
}
