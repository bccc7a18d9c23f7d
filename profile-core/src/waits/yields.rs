//! Yields that come before a wait: the first part of it.
//!
//! Runs inside interposed functions of libc: nothing here allocates, locks, waits or panics.

use std::cell::Cell;

/// The most that a lock yields before it sleeps; `parking_lot` does it seven times. Who yields more
/// often is about something else.
const MOST: u32 = 10;
/// Nanoseconds between a yield and what belongs to it: the next one, or the wait.
const NEAR: u64 = 20_000;

/// Yields one right after the other.
#[derive(Clone, Copy, Debug)]
struct YieldSeries {
    yields: u32,
    began: u64,
    ended: u64,
}

const NONE: YieldSeries = YieldSeries { yields: 0, began: 0, ended: 0 };

impl YieldSeries {
    fn extended_by(self, began: u64, ended: u64) -> YieldSeries {
        if self.yields == 0 || began.saturating_sub(self.ended) > NEAR {
            return YieldSeries { yields: 1, began, ended };
        }
        YieldSeries { yields: self.yields.saturating_add(1), began: self.began, ended }
    }

    /// Returns the time at which a wait began whose sleep begins now.
    fn wait_start(self, now: u64) -> u64 {
        let belongs = (1..=MOST).contains(&self.yields) && now.saturating_sub(self.ended) <= NEAR;
        if belongs { self.began.min(now) } else { now }
    }
}

thread_local! {
    /// This thread's last yields. Needs neither an initialiser nor a destructor.
    static LAST: Cell<YieldSeries> = const { Cell::new(NONE) };
}

/// Notes that this thread has yielded.
pub(crate) fn note(began: u64, ended: u64) {
    LAST.set(LAST.get().extended_by(began, ended));
}

/// Returns the time at which this thread's wait began, now that it is about to sleep. The yields
/// before it count once.
pub(crate) fn wait_began(now: u64) -> u64 {
    LAST.replace(NONE).wait_start(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Yields of 1 µs, each `gap` nanoseconds after the one before, the first at 1000.
    fn series(yields: u64, gap: u64) -> YieldSeries {
        (0..yields)
            .map(|n| 1_000 + n * (1_000 + gap))
            .fold(NONE, |s, at| s.extended_by(at, at + 1_000))
    }

    #[test]
    fn a_wait_begins_with_the_yields_right_before_it() {
        let seven = series(7, 100);
        assert_eq!(seven.wait_start(seven.ended + 500), 1_000);
        assert_eq!(seven.wait_start(seven.ended + NEAR), 1_000);
    }

    #[test]
    fn yields_for_something_else_are_no_wait() {
        assert_eq!(NONE.wait_start(5), 5);
        let early = series(7, 100);
        let now = early.ended + NEAR + 1;
        assert_eq!(early.wait_start(now), now);
        let many = series(u64::from(MOST) + 1, 100);
        assert_eq!(many.wait_start(many.ended + 1), many.ended + 1);
        // Each a series of its own, so that only the last belongs to the wait.
        let apart = series(7, NEAR + 1);
        assert_eq!(apart.wait_start(apart.ended + 1), apart.ended - 1_000);
    }

    #[test]
    fn yields_count_for_one_wait() {
        note(1_000, 2_000);
        assert_eq!(wait_began(2_100), 1_000);
        assert_eq!(wait_began(2_200), 2_200);
    }
}
