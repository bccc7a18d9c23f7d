//! What a subscriber gets: stacks, and how often each was seen in the subscriber's own rate.

use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime};

use crate::cpu::sampler::account::AccountMark;
use crate::cpu::sampler::missing::MissingTime;
use crate::cpu::sampler::ring::SampleHead;
use crate::cpu::sampler::strata::SplitMix;
use crate::cpu::sampler::timestamped::TimestampedSamples;

/// The stacks of a window.
#[derive(Debug)]
pub(crate) struct SampledStacks {
    pub(crate) hz: u32,
    /// Samples, by thread name and addresses: the name's index first.
    counts: HashMap<Box<[u64]>, i64>,
    names: Vec<String>,
    /// Each sample by itself, for a subscriber that wants them so; there are no counts then.
    timestamped: Option<TimestampedSamples>,
    /// The CPU time of each thread that becomes samples.
    thinnings: HashMap<u32, RateThinning>,
    random: SplitMix,
    /// Samples whose stack was cut or lost its way.
    pub(crate) truncated: i64,
    /// CPU time that was seen and could not be recorded.
    pub(crate) dropped: Duration,
    /// CPU time of the profiler's own threads, which is in none of the samples.
    pub(crate) own: Duration,
    pub(crate) start: SystemTime,
    opened: Instant,
    /// Time for which the window was open; set when it closes.
    pub(crate) duration: Duration,
    /// Remarks on the engine while it ran.
    pub(crate) notes: Vec<String>,
    /// CPU time that no sample stands for, where there is much of it; set when the window closes.
    pub(crate) missing: Option<MissingTime>,
    /// The handler that had taken the place of the engine's, where one had.
    pub(crate) foreign: Option<usize>,
    /// The state of the engine's account when the window was opened; `None` until then.
    pub(crate) mark: Option<AccountMark>,
}

/// A thread's CPU time in periods of the subscriber's rate, of each of which one point becomes a sample, at
/// random: a sample in every tenth of the engine's would be in step with what takes as long.
#[derive(Debug)]
struct RateThinning {
    /// The part of the present period that is over.
    over: u64,
    /// The point of it that becomes a sample.
    point: u64,
}

impl RateThinning {
    fn new(period: u64, random: &mut SplitMix) -> RateThinning {
        RateThinning { over: 0, point: random.below(period) }
    }

    /// Counts the samples that lie in the time that comes next.
    fn count_samples(&mut self, time: u64, period: u64, random: &mut SplitMix) -> u64 {
        let end = self.over + time;
        if end < period {
            let count = (self.over..end).contains(&self.point);
            self.over = end;
            return u64::from(count);
        }
        // The rest of this period, whole ones, and the beginning of another.
        let first = u64::from(self.point >= self.over);
        let whole = end / period - 1;
        *self = RateThinning { over: end % period, point: random.below(period) };
        first + whole + u64::from(self.point < self.over)
    }
}

/// One stack of a window.
pub(crate) struct SampledStack<'a> {
    pub(crate) thread: &'a str,
    /// The interrupted instruction first, then an address inside each caller's call.
    pub(crate) addresses: &'a [u64],
    pub(crate) count: i64,
}

impl SampledStacks {
    pub(crate) fn new(hz: u32) -> SampledStacks {
        let start = SystemTime::now();
        let seed = start.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
        SampledStacks {
            hz,
            counts: HashMap::new(),
            names: Vec::new(),
            timestamped: None,
            thinnings: HashMap::new(),
            random: SplitMix::new(seed as u64),
            truncated: 0,
            dropped: Duration::ZERO,
            own: Duration::ZERO,
            start,
            opened: Instant::now(),
            duration: Duration::ZERO,
            notes: Vec::new(),
            missing: None,
            foreign: None,
            mark: None,
        }
    }

    /// Makes the same for a subscriber that wants to know when each sample was taken.
    pub(crate) fn with_timestamps(hz: u32) -> SampledStacks {
        SampledStacks { timestamped: Some(TimestampedSamples::default()), ..SampledStacks::new(hz) }
    }

    /// Returns the samples one by one, for a subscriber that wanted them so.
    pub(crate) fn into_timestamped(self) -> TimestampedSamples {
        self.timestamped.unwrap_or_default()
    }

    /// Returns the nanoseconds of CPU time that a sample stands for.
    pub(crate) fn period(&self) -> u64 {
        1_000_000_000 / u64::from(self.hz)
    }

    /// Adds CPU time that a thread has used at a stack. A random point of each period becomes a
    /// sample, so that shares and totals are right in any rate. Where the period is the engine's,
    /// all do.
    ///
    /// `key` has the thread name's index in front of the addresses.
    pub(crate) fn add(&mut self, head: &SampleHead, key: &[u64], weight: u64) {
        let (period, random) = (self.period(), &mut self.random);
        let thinning =
            self.thinnings.entry(head.tid).or_insert_with(|| RateThinning::new(period, random));
        let count = thinning.count_samples(weight, period, random).cast_signed();
        if count == 0 {
            return;
        }
        if head.truncated {
            self.truncated += count;
        }
        if let Some(timestamped) = &mut self.timestamped {
            timestamped.add(head.at, head.tid, key);
        } else if let Some(known) = self.counts.get_mut(key) {
            *known += count;
        } else {
            self.counts.insert(key.into(), count);
        }
    }

    pub(crate) fn close(&mut self, names: &[String]) {
        self.duration = self.opened.elapsed();
        self.names = names.to_vec();
        if let Some(timestamped) = &mut self.timestamped {
            timestamped.close(names);
        }
        self.thinnings = HashMap::new();
    }

    /// Adds a remark on the engine, once: its beginning tells what it is about.
    pub(crate) fn note_once(&mut self, about: &str, rest: impl FnOnce() -> String) {
        if !self.notes.iter().any(|note| note.starts_with(about)) {
            self.notes.push(format!("{about}{}", rest()));
        }
    }

    /// Takes all of it, leaving nothing.
    pub(crate) fn take_all(&mut self) -> SampledStacks {
        let empty = SampledStacks::new(self.hz);
        std::mem::replace(self, empty)
    }

    /// Iterates over every stack, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = SampledStack<'_>> {
        self.counts.iter().map(|(key, &count)| SampledStack {
            thread: self.names.get(key[0] as usize).map_or("", String::as_str),
            addresses: &key[1..],
            count,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn total(stacks: &SampledStacks) -> i64 {
        stacks.iter().map(|stack| stack.count).sum()
    }

    fn head(tid: u32) -> SampleHead {
        SampleHead { tid, at: 0, weight: 0, truncated: false, by_process: false }
    }

    #[test]
    fn in_the_engines_rate_nothing_is_thinned_out() {
        for hz in [99, 100, 999] {
            let mut stacks = SampledStacks::new(hz);
            let period = stacks.period();
            (0..1000).for_each(|n| stacks.add(&head(1), &[0, n], period));
            assert!(stacks.iter().all(|stack| stack.count == 1));
            stacks.add(&head(1), &[0, 1], 3 * period);
            assert_eq!(total(&stacks), 1003);
        }
    }

    #[test]
    fn a_lower_rate_is_in_step_with_nothing() {
        let mut stacks = SampledStacks { random: SplitMix::new(3), ..SampledStacks::new(100) };
        // A loop of ten samples of the engine's, whose parts take six, three and one of them.
        for n in 0..100_000u64 {
            let part = [0, 0, 0, 0, 0, 0, 1, 1, 1, 2][n as usize % 10];
            stacks.add(&head(1), &[0, part], 1_000_000);
        }
        assert!((total(&stacks) - 10_000).abs() <= 1);
        for stack in stacks.iter() {
            let truth = [6000, 3000, 1000][stack.addresses[0] as usize];
            assert!((stack.count - truth).abs() < 180, "{} of {truth}", stack.count);
        }
    }

    #[test]
    fn short_lives_count_as_much_as_they_last() {
        let mut stacks = SampledStacks { random: SplitMix::new(9), ..SampledStacks::new(100) };
        (0..10_000).for_each(|tid| stacks.add(&head(tid), &[0], 3_000_000));
        assert!((2860..3140).contains(&total(&stacks)), "{}", total(&stacks));
    }
}
