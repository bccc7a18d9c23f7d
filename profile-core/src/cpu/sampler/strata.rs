//! Where on a CPU clock samples are taken: at one random point of each of its strata.
//!
//! A clock is cut into strata as long as the sampling period, and a sample is worth exactly the strata
//! that it stands for. That is right on average against any rhythm of the program, as independent
//! samples are, and never scatters more than those (stratified sampling; Cochran, *Sampling
//! Techniques*, 5.3). A sample in every period after the first would be in step with a loop that
//! takes as long.
//!
//! What is here runs inside signal handlers, too: it does not allocate, lock, wait or call into libc.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::cpu::sampler::raw::timer;

/// Random numbers, good enough to keep out of step: splitmix64 (Steele, Lea, Flood 2014).
#[derive(Clone, Copy, Debug)]
pub(crate) struct SplitMix(u64);

impl SplitMix {
    pub(crate) fn new(seed: u64) -> SplitMix {
        SplitMix(seed)
    }

    pub(crate) fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ word >> 31
    }

    /// Returns a number below `limit`; 0 where that is 0.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        // The upper word of a product is as even as a remainder, and takes no division.
        ((u128::from(self.word()) * u128::from(limit)) >> 64) as u64
    }
}

/// A sample's place among the strata. Times are nanoseconds of the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct StratumStep {
    /// The strata that the sample stands for, in time.
    weight: u64,
    /// Beginning of the first stratum that no sample stands for yet.
    accounted: u64,
    /// Time at which the next sample is due: in that stratum, and not before now.
    due: u64,
}

/// Counts the strata of a sample that comes at `now`, where samples stand for all up to `accounted`, which is
/// not later.
fn step(accounted: u64, now: u64, period: u64, random: &mut SplitMix) -> StratumStep {
    let passed = (now - accounted) / period;
    // The kernel looks at CPU timers at its ticks only, so that a sample may come in a later stratum
    // than it was due in. It stands for the ones before; the one it comes in has a point of its own,
    // and one that has passed already is this sample's, too.
    let mut next = accounted + passed * period;
    let mut due = next + random.below(period);
    if passed == 0 || due <= now {
        next += period;
        due = next + random.below(period);
    }
    StratumStep { weight: next - accounted, accounted: next, due }
}

/// A CPU clock with a timer that is set for each sample anew, as handlers and the controller see it.
#[derive(Default)]
pub(crate) struct SampleClock {
    /// Beginning of the first stratum that no sample stands for, in nanoseconds of the clock.
    accounted: AtomicU64,
    /// Length of the strata, in nanoseconds.
    period: AtomicU64,
    random: AtomicU64,
    /// Time by which the clock was behind the wall's when it was last read: for a thread's clock it
    /// is no less now. 0 where that is not known.
    lag: AtomicU64,
    /// The kernel's id of the timer, and which arming of this clock it belongs to: a signal of one that
    /// was deleted may still be under way.
    timer: AtomicU32,
    arming: AtomicU32,
}

/// Number of armings that are told apart.
pub(crate) const ARMINGS: u32 = 1 << 19;

impl SampleClock {
    /// Takes the sample that is due, at `wall` by the wall's clock, and sets the timer for the next
    /// one. Returns what it is worth, in nanoseconds: 0 for a signal that the timer has not sent,
    /// `None` where there is no sample for a signal of this arming.
    ///
    /// `read` reads this clock, by a system call that takes nearly as long as setting the timer. A thread's is
    /// read only where the wall's doesn't tell already that the sample came in its stratum; `wall` is `None`
    /// for a clock that may be faster than the wall's.
    ///
    /// Runs in signal handlers. Where the timer can't be set the controller notices.
    #[inline]
    pub(crate) fn take_sample(
        &self,
        arming: u32,
        wall: Option<u64>,
        read: impl FnOnce() -> Option<u64>,
    ) -> Option<u64> {
        if self.arming.load(Ordering::Relaxed) != arming {
            return None;
        }
        let accounted = self.accounted.load(Ordering::Relaxed);
        let period = self.period.load(Ordering::Relaxed).max(1);
        let stratum = accounted..accounted + period;
        let no_later = |wall: u64| wall.saturating_sub(self.lag.load(Ordering::Relaxed));
        let now = match wall.map(no_later).filter(|now| stratum.contains(now)) {
            Some(now) => now,
            None => {
                let now = read()?;
                let lag = wall.map_or(0, |wall| wall.saturating_sub(now));
                self.lag.store(lag, Ordering::Relaxed);
                now
            }
        };
        if now < accounted {
            return Some(0);
        }
        let mut random = SplitMix::new(self.random.load(Ordering::Relaxed));
        let StratumStep { weight, accounted: next, due } =
            step(accounted, now, period, &mut random);
        // Where the controller has begun anew meanwhile, the timer is its.
        self.accounted
            .compare_exchange(accounted, next, Ordering::Relaxed, Ordering::Relaxed)
            .ok()?;
        self.random.store(random.0, Ordering::Relaxed);
        timer::set(self.timer.load(Ordering::Relaxed).cast_signed(), due);
        Some(weight)
    }

    /// Returns the arming that the next timer belongs to.
    pub(crate) fn next_arming(&self) -> u32 {
        (self.arming.load(Ordering::Relaxed) + 1) % ARMINGS
    }

    /// Begins with a timer of its own, which is to be set for the time that this returns. Signals
    /// of the timers before are nobody's.
    pub(crate) fn begin(&self, timer: i32, now: u64, period: u64, seed: u64) -> u64 {
        self.random.store(seed, Ordering::Relaxed);
        self.timer.store(timer.cast_unsigned(), Ordering::Relaxed);
        let due = self.begin_anew(now, period, &mut SplitMix::new(seed ^ 1));
        self.arming.store(self.next_arming(), Ordering::Relaxed);
        due
    }

    /// Begins a stratum now, and returns the time at which its sample is due. What of the last
    /// stratum is over was sampled as often as it should have been, on average, and so is what
    /// comes.
    pub(crate) fn begin_anew(&self, now: u64, period: u64, random: &mut SplitMix) -> u64 {
        self.period.store(period, Ordering::Relaxed);
        self.accounted.store(now, Ordering::Relaxed);
        self.lag.store(0, Ordering::Relaxed);
        now + random.below(period)
    }

    /// Disowns the signals that are still under way.
    pub(crate) fn end(&self) {
        self.arming.store(self.next_arming(), Ordering::Relaxed);
    }

    /// Returns the time that the clock has run beyond what samples stand for; negative where they
    /// are ahead.
    pub(crate) fn pending(&self, now: u64) -> i64 {
        now.wrapping_sub(self.accounted.load(Ordering::Relaxed)).cast_signed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// A loop of so long, whose parts take 60, 30 and 10 % of it, seen for so many seconds by the
    /// sampler of a kernel with such a tick: the weight of each part.
    struct LoopShares {
        parts: [f64; 3],
        used: f64,
    }

    fn watch(
        length: u64,
        period: u64,
        tick: u64,
        seconds: u64,
        random: &mut SplitMix,
    ) -> LoopShares {
        let end = seconds * 1000 * MS;
        let mut parts = [0.0; 3];
        // The tick is in no step with the loop: what a tick can't tell, no sampler can.
        let mut tick_at = random.below(tick);
        let offset = random.below(length);
        let mut accounted = 0;
        let mut due = random.below(period);
        loop {
            // The first tick at or after the time it is due, if ticks matter.
            let now = match tick {
                1 => due,
                _ => {
                    while tick_at < due {
                        // A thread's own clock runs at ticks of the wall's by chance, within a tick.
                        tick_at += tick / 2 + random.below(tick);
                    }
                    tick_at
                }
            };
            if now >= end {
                return LoopShares { parts, used: end as f64 };
            }
            let place = (now + offset) % length * 10 / length;
            let part = if place < 6 { 0 } else { 1 + usize::from(place == 9) };
            let step = step(accounted, now, period, random);
            assert!(step.due > now && step.due >= step.accounted);
            assert_eq!(step.accounted - accounted, step.weight);
            assert_eq!(step.weight % period, 0);
            parts[part] += step.weight as f64;
            (accounted, due) = (step.accounted, step.due);
        }
    }

    /// Returns how far shares are off, in standard deviations of independent samples.
    fn worst_sigma(seen: &LoopShares, period: u64) -> f64 {
        let total: f64 = seen.parts.iter().sum();
        let error = |(part, truth): (&f64, f64)| {
            let sigma = (truth * (1.0 - truth) / (seen.used / period as f64)).sqrt();
            (part / total - truth).abs() / sigma
        };
        seen.parts.iter().zip([0.6, 0.3, 0.1]).map(error).fold(0.0, f64::max)
    }

    #[test]
    fn no_loop_is_in_step() {
        let mut random = SplitMix::new(16);
        for hz in [99, 100, 250, 999] {
            let period = 1_000_000_000 / hz;
            let (mut squares, mut runs) = (0.0, 0.0);
            for index in 0..200 {
                let length = MS / 2 + index * 39_500_000 / 199;
                for tick in [1, 4 * MS] {
                    // A tick apart at least: signals between two see the same.
                    let independent = period.max(tick);
                    let seen = watch(length, period, tick, 30, &mut random);
                    let sigma = worst_sigma(&seen, independent);
                    assert!(sigma < 4.5, "{sigma} at {hz} Hz, {length} ns, tick {tick}");
                    let total: f64 = seen.parts.iter().sum();
                    assert!((total / seen.used - 1.0).abs() < 0.01, "{total} at {hz} Hz");
                    squares += sigma * sigma;
                    runs += 1.0;
                }
            }
            // The worst of three parts, each at most as far off as independent samples are.
            let mean: f64 = squares / runs;
            assert!(mean < 1.8, "{mean} at {hz} Hz");
        }
    }

    #[test]
    fn a_sample_stands_for_whole_strata() {
        let random = &mut SplitMix::new(1);
        for accounted in [0, 70, 1 << 40] {
            // In its own stratum.
            let own = step(accounted, accounted + 9, 10, random);
            assert_eq!((own.weight, own.accounted), (10, accounted + 10));
            // Over the boundary, with the one it came in or without.
            let mut with = 0;
            for _ in 0..1000 {
                let late = step(accounted, accounted + 33, 10, random);
                assert!(late.weight == 30 || late.weight == 40);
                assert!(late.due > accounted + 33);
                with += u64::from(late.weight == 40);
            }
            // The random point lies in the first four tenths, 0 to 3.
            assert!((330..470).contains(&with), "{with}");
        }
    }

    #[test]
    fn what_ends_within_a_stratum_counts_as_much_as_it_lasted() {
        let random = &mut SplitMix::new(5);
        let clock = SampleClock::default();
        let sampled = |_: &u32| clock.begin_anew(1000, 100, random) < 1030;
        let sampled = (0..10_000).filter(sampled).count();
        assert!((2860..3140).contains(&sampled), "{sampled}");
    }

    #[test]
    fn signals_of_another_arming_are_none_and_ahead_of_time_worth_nothing() {
        let clock = SampleClock::default();
        let arming = clock.next_arming();
        let due = clock.begin(-1, 5000, 1000, 7);
        assert!((5000..6000).contains(&due));
        let take = |arming, now| clock.take_sample(arming, Some(90_000 + now), || Some(now));
        assert_eq!(take(arming + 1, 5900), None);
        assert_eq!(take(arming, 4999), Some(0));
        assert_eq!(clock.pending(5900), 900);
        assert_eq!(take(arming, 5900), Some(1000));
        assert_eq!(clock.pending(5900), -100);
        assert_eq!(take(arming, 5950), Some(0), "nothing is due before 6000");
        assert_eq!(clock.take_sample(arming, None, || Some(6500)), Some(1000));
        clock.end();
        assert_eq!(take(arming, 7000), None);
    }

    #[test]
    fn a_clock_is_read_only_where_the_walls_does_not_tell() {
        let clock = SampleClock::default();
        let arming = clock.next_arming();
        clock.begin(-1, 5000, 1000, 7);
        let take = |wall, now| {
            let mut was_read = false;
            let weight = clock.take_sample(arming, Some(wall), || {
                was_read = true;
                Some(now)
            });
            (weight, was_read)
        };
        assert_eq!(take(20_500, 5500), (Some(1000), true), "the first tells how far it is behind");
        assert_eq!(take(21_600, 6600), (Some(1000), false), "it never waited: no later than 6600");
        assert_eq!(
            take(24_700, 7700),
            (Some(1000), true),
            "it may have waited for two strata, and has"
        );
        assert_eq!(take(25_700, 8700), (Some(1000), false));
        let (weight, was_read) = take(27_700, 10_700);
        assert!(was_read && matches!(weight, Some(1000 | 2000)), "over a boundary: {weight:?}");
    }
}
