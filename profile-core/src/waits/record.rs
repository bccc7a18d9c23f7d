//! What is recorded of a wait or a wake, and with which weight.
//!
//! Runs inside interposed functions of libc: nothing here allocates, locks, waits, panics, touches
//! a thread-local that is initialised lazily, or sets `errno`.

use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use libc::c_long;

use crate::sys::raw::monotonic::now;
use crate::waits::current_rates::{BLOCK_RATE, MUTEX_FRACTION, MUTEX_RATE, SINCE};
use crate::waits::recorded::WaitWeight;
use crate::waits::table::WaitTable;
use crate::waits::waiters::{FutexWaiters, WaiterSite};
use crate::waits::yields;

/// Tables in which waits and wakes are recorded, once anything was switched on.
pub(crate) struct WaitRecords {
    pub(crate) blocked: WaitTable,
    pub(crate) released: WaitTable,
    pub(crate) waiters: FutexWaiters,
    /// Waits that began while as many threads as can be kept were waiting.
    pub(crate) unlisted: AtomicU64,
}

static RECORDS: OnceLock<WaitRecords> = OnceLock::new();

/// Returns the records so far; `None` where nothing was ever switched on.
pub(crate) fn records() -> Option<&'static WaitRecords> {
    RECORDS.get()
}

/// Makes the room for records. Not to be called from an interposed function.
pub(crate) fn prepare() {
    RECORDS.get_or_init(|| WaitRecords {
        blocked: WaitTable::new(),
        released: WaitTable::new(),
        waiters: FutexWaiters::new(),
        unlisted: AtomicU64::new(0),
    });
}

/// Returns the time at which recording was switched on; 0 while it is off. This load is all that
/// the program pays then.
#[inline(always)]
pub(crate) fn since() -> u64 {
    SINCE.load(Ordering::Relaxed)
}

/// A thread's wait on an address. Dropping it says that it is over.
pub(crate) struct FutexWait {
    address: u64,
    since: u64,
    /// An address in the waiting function's frame.
    frame: u64,
    slot: Option<usize>,
}

thread_local! {
    /// The frame and the slot of this thread's last wait, until it is over; a frame of 0 is none.
    static LAST: Cell<(u64, usize)> = const { Cell::new((0, 0)) };
}

impl FutexWait {
    /// Begins the wait of this thread, which is about to sleep: now, or at its yields right before.
    /// `frame` is an address in its stack.
    pub(crate) fn new(address: u64, frame: u64) -> FutexWait {
        FutexWait { address, since: yields::wait_began(now()), frame, slot: None }
    }

    /// Lists the wait, with what it is called by.
    pub(crate) fn list(&mut self, site: &[u64]) {
        let Some(records) = records() else { return };
        // The last wait's frame is still there, or a handler of the program's has left it by `siglongjmp`.
        let (last, slot) = LAST.get();
        if last != 0 && last <= self.frame {
            records.waiters.leave(slot, last);
        }
        self.slot = records.waiters.enter(self.address, self.since, self.frame, site);
        match self.slot {
            Some(slot) => LAST.set((self.frame, slot)),
            None => {
                records.unlisted.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Returns the table and the weight with which the wait is to be recorded, now that the kernel
    /// has answered; `None` where it is not.
    pub(crate) fn weigh_end(&self, answer: c_long) -> Option<(&'static WaitTable, WaitWeight)> {
        blocked(self.since, answer)
    }
}

impl Drop for FutexWait {
    fn drop(&mut self) {
        if let (Some(slot), Some(records)) = (self.slot, records()) {
            records.waiters.leave(slot, self.frame);
            LAST.set((0, 0));
        }
    }
}

/// Weighs a wait that began while recording was off and has ended while it is on: it counts from
/// then.
pub(crate) fn weigh_late_wait(answer: c_long) -> Option<(&'static WaitTable, WaitWeight)> {
    blocked(since(), answer)
}

fn blocked(since: u64, answer: c_long) -> Option<(&'static WaitTable, WaitWeight)> {
    // The value had changed before the thread came to wait.
    if answer == -c_long::from(libc::EAGAIN) {
        return None;
    }
    let rate = BLOCK_RATE.load(Ordering::Relaxed);
    if rate == 0 {
        return None;
    }
    let nanos = now().saturating_sub(since).max(1);
    Some((&records()?.blocked, weigh_by_time(nanos, rate)?))
}

/// Charges a thread that wakes those who wait on an address: returns the weight, where that is to
/// be recorded, and where they wait.
pub(crate) fn charge_wake(address: u64) -> Option<(&'static WaitTable, WaitWeight, WaiterSite)> {
    let fraction = MUTEX_FRACTION.load(Ordering::Relaxed);
    let rate = MUTEX_RATE.load(Ordering::Relaxed);
    if fraction == 0 && rate == 0 {
        return None;
    }
    let records = records()?;
    let (nanos, site) = records.waiters.charge(address, now(), since());
    if nanos == 0 {
        return None;
    }
    Some((&records.released, weigh_by_fraction_or_time(nanos, fraction, rate)?, site))
}

/// Weighs an event, of which there is one for each `rate` nanoseconds: a long one always, a shorter
/// one as likely as it is long, and with the weight of those that were left out.
fn weigh_by_time(nanos: u64, rate: u64) -> Option<WaitWeight> {
    if nanos >= rate {
        return Some(WaitWeight { count: WaitWeight::ONE, nanos });
    }
    if random() % rate >= nanos {
        return None;
    }
    // 1/p is rate/nanos.
    let count = u128::from(WaitWeight::ONE) * u128::from(rate) / u128::from(nanos);
    Some(WaitWeight { count: count as u64, nanos: rate })
}

/// Weighs an event: one of `fraction` counts, or one for each `rate` nanoseconds, whichever is
/// more. 0 is never.
fn weigh_by_fraction_or_time(nanos: u64, fraction: u64, rate: u64) -> Option<WaitWeight> {
    let more_by_time = rate != 0 && u128::from(nanos) * u128::from(fraction) >= u128::from(rate);
    if fraction == 0 || more_by_time {
        return weigh_by_time(nanos, rate);
    }
    random().is_multiple_of(fraction).then(|| WaitWeight {
        count: WaitWeight::ONE.saturating_mul(fraction),
        nanos: nanos.saturating_mul(fraction),
    })
}

/// Returns a number that nothing in the program is in step with.
fn random() -> u64 {
    thread_local! {
        static STATE: Cell<u64> = const { Cell::new(0) };
    }
    let mut state = STATE.get();
    if state == 0 {
        // Differs from thread to thread, and from time to time.
        let seed = (&raw const state as u64) ^ now().rotate_left(32);
        state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    }
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    STATE.set(state);
    // Its low bits alone are not random enough to divide by small numbers.
    state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Adds up what many equal events are recorded as, in parts of what they were.
    fn recorded(nanos: u64, mut weigh: impl FnMut() -> Option<WaitWeight>) -> (f64, f64) {
        const EVENTS: u32 = 200_000;
        let (mut count, mut time) = (0.0, 0.0);
        for _ in 0..EVENTS {
            if let Some(weighed) = weigh() {
                count += weighed.count as f64 / WaitWeight::ONE as f64;
                time += weighed.nanos as f64;
            }
        }
        (count / f64::from(EVENTS), time / f64::from(EVENTS) / nanos as f64)
    }

    #[track_caller]
    fn check_unbiased(nanos: u64, chance: f64, weigh: impl FnMut() -> Option<WaitWeight>) {
        let (count, time) = recorded(nanos, weigh);
        // Five standard deviations of a binomial distribution.
        let tolerance = 5.0 * ((1.0 - chance) / chance / 200_000.0).sqrt() + 1e-3;
        assert!((count - 1.0).abs() < tolerance, "count {count}, not 1 ± {tolerance}");
        assert!((time - 1.0).abs() < tolerance, "time {time}, not 1 ± {tolerance}");
    }

    #[test]
    fn samples_stand_for_all_events_at_any_rate() {
        for nanos in [1_000, 20_000, 999_999, 1_000_000, 7_000_000] {
            for rate in [1, 1_000, 10_000, 1_000_000] {
                let chance = (nanos as f64 / rate as f64).min(1.0);
                check_unbiased(nanos, chance, || weigh_by_time(nanos, rate));
            }
        }
    }

    #[test]
    fn the_larger_chance_of_two_counts() {
        for (nanos, fraction, rate, chance) in [
            (20_000, 10, 0, 0.1),
            (20_000, 0, 1_000_000, 0.02),
            (20_000, 10, 1_000_000, 0.1),
            (500_000, 10, 1_000_000, 0.5),
            (5_000_000, 10, 1_000_000, 1.0),
            (5_000_000, 1, 0, 1.0),
        ] {
            check_unbiased(nanos, chance, || weigh_by_fraction_or_time(nanos, fraction, rate));
        }
    }
}
