//! What is recorded of a wait or a wake, and with which weight.
//!
//! Runs inside interposed functions of libc: nothing here allocates, locks, waits, panics, touches a
//! thread-local that is initialised lazily, or sets `errno`.

use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use libc::c_long;

use crate::sys::raw::monotonic::now;
use crate::waits::current_rates::{BLOCK_RATE, MUTEX_FRACTION, MUTEX_RATE, SINCE};
use crate::waits::recorded::Weighed;
use crate::waits::table::Table;
use crate::waits::waiters::{Site, Waiters};
use crate::waits::yields;

/// What waits and wakes are recorded in, once anything was switched on.
pub(crate) struct Records {
    pub(crate) blocked: Table,
    pub(crate) released: Table,
    pub(crate) waiters: Waiters,
    /// Waits that began while as many threads as can be kept were waiting.
    pub(crate) unlisted: AtomicU64,
}

static RECORDS: OnceLock<Records> = OnceLock::new();

/// What was recorded so far; `None` where nothing was ever switched on.
pub(crate) fn records() -> Option<&'static Records> {
    RECORDS.get()
}

/// Makes the room for records. Not to be called from an interposed function.
pub(crate) fn prepare() {
    RECORDS.get_or_init(|| Records {
        blocked: Table::new(),
        released: Table::new(),
        waiters: Waiters::new(),
        unlisted: AtomicU64::new(0),
    });
}

/// When recording was switched on; 0 while it is off. All that the program pays then.
#[inline(always)]
pub(crate) fn since() -> u64 {
    SINCE.load(Ordering::Relaxed)
}

/// A thread's wait on an address. Dropping it says that it is over.
pub(crate) struct Wait {
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

impl Wait {
    /// This thread is about to sleep: its wait begins now, or at its yields right before. `frame` is an
    /// address in its stack.
    pub(crate) fn new(address: u64, frame: u64) -> Wait {
        Wait { address, since: yields::wait_began(now()), frame, slot: None }
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

    /// What is to be recorded, now that the kernel has answered.
    pub(crate) fn ended(&self, answer: c_long) -> Option<(&'static Table, Weighed)> {
        blocked(self.since, answer)
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        if let (Some(slot), Some(records)) = (self.slot, records()) {
            records.waiters.leave(slot, self.frame);
            LAST.set((0, 0));
        }
    }
}

/// A wait that began while recording was off has ended while it is on: it counts from then.
pub(crate) fn late_wait(answer: c_long) -> Option<(&'static Table, Weighed)> {
    blocked(since(), answer)
}

fn blocked(since: u64, answer: c_long) -> Option<(&'static Table, Weighed)> {
    // The value had changed before the thread came to wait.
    if answer == -c_long::from(libc::EAGAIN) {
        return None;
    }
    let rate = BLOCK_RATE.load(Ordering::Relaxed);
    if rate == 0 {
        return None;
    }
    let nanos = now().saturating_sub(since).max(1);
    Some((&records()?.blocked, by_time(nanos, rate)?))
}

/// A thread wakes those who wait on an address: what it is charged with, where that is to be
/// recorded, and where they wait.
pub(crate) fn release(address: u64) -> Option<(&'static Table, Weighed, Site)> {
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
    Some((&records.released, by_fraction_or_time(nanos, fraction, rate)?, site))
}

/// One event for each `rate` nanoseconds: a long one always, a shorter one as likely as it is long,
/// and with the weight of those that were left out.
fn by_time(nanos: u64, rate: u64) -> Option<Weighed> {
    if nanos >= rate {
        return Some(Weighed { count: Weighed::ONE, nanos });
    }
    if random() % rate >= nanos {
        return None;
    }
    // 1/p is rate/nanos.
    let count = u128::from(Weighed::ONE) * u128::from(rate) / u128::from(nanos);
    Some(Weighed { count: count as u64, nanos: rate })
}

/// One of `fraction` events, or one for each `rate` nanoseconds: whichever is more. 0 is never.
fn by_fraction_or_time(nanos: u64, fraction: u64, rate: u64) -> Option<Weighed> {
    let more_by_time = rate != 0 && u128::from(nanos) * u128::from(fraction) >= u128::from(rate);
    if fraction == 0 || more_by_time {
        return by_time(nanos, rate);
    }
    random().is_multiple_of(fraction).then(|| Weighed {
        count: Weighed::ONE.saturating_mul(fraction),
        nanos: nanos.saturating_mul(fraction),
    })
}

/// A number that nothing in the program is in step with.
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
    fn recorded(nanos: u64, mut weigh: impl FnMut() -> Option<Weighed>) -> (f64, f64) {
        const EVENTS: u32 = 200_000;
        let (mut count, mut time) = (0.0, 0.0);
        for _ in 0..EVENTS {
            if let Some(weighed) = weigh() {
                count += weighed.count as f64 / Weighed::ONE as f64;
                time += weighed.nanos as f64;
            }
        }
        (count / f64::from(EVENTS), time / f64::from(EVENTS) / nanos as f64)
    }

    #[track_caller]
    fn check_unbiased(nanos: u64, chance: f64, weigh: impl FnMut() -> Option<Weighed>) {
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
                check_unbiased(nanos, chance, || by_time(nanos, rate));
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
            check_unbiased(nanos, chance, || by_fraction_or_time(nanos, fraction, rate));
        }
    }
}
