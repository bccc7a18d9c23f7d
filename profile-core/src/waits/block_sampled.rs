//! `block` without interposed functions: sampled wall time of threads that wait, at their stacks.
//!
//! What is measured: which threads sleep on a futex, looked at through `/proc` some fifteen times a
//! second with random pauses in between. The time between two looks at a thread counts half for
//! what it did at the first and half for what it does at the second. Cost: below 1 % of a core with
//! 1000 idle threads, as one that has not run since the last look is left alone for longer and
//! longer; 30 µs for a look at a thread that has. No signal is sent.
//!
//! Where it is blind: it is a sampler. Waits much shorter than a tick are few samples, and come out
//! 5 to 30 % low, locks held for microseconds up to 50 %, as a thread between its wake-up and its
//! running is no longer asleep; `contentions` counts the waits that were seen, not those there
//! were. Nothing says who held the lock: `mutex` needs the feature `intercept`, which has none of
//! these errors.

use std::time::{Duration, Instant};

use profile_format::{Kind, Unavailable};

use crate::collector::{Collector, File, Pending, Window};
use crate::error::Error;
use crate::stacks::locate::Symbols;
use crate::waits::encode::{WaitProfileStyle, build_profile};
use crate::waits::recorded::WaitProfile;
use crate::waits::sampled::WaitSampler;

/// Sampled profiles of waiting, where nothing is interposed.
#[derive(Clone, Copy, Debug)]
pub struct SampledBlock {
    idle: bool,
}

/// Looks at the threads a second, on average.
const HZ: u64 = 15;
/// A shorter window may have no look at a thread that waits.
const SHORT: Duration = Duration::from_millis(200);

impl SampledBlock {
    /// Makes a collector of about fifteen looks a second.
    pub fn new() -> SampledBlock {
        SampledBlock { idle: false }
    }

    /// Returns the same with or without workers that have nothing to do. They have the label
    /// `idle`, and are left out unless asked for.
    #[must_use]
    pub fn idle(self, idle: bool) -> SampledBlock {
        SampledBlock { idle }
    }
}

impl Default for SampledBlock {
    fn default() -> SampledBlock {
        SampledBlock::new()
    }
}

impl Collector for SampledBlock {
    fn kind(&self) -> Kind {
        Kind::Block
    }

    fn check(&self) -> Result<(), Unavailable> {
        if std::fs::File::open("/proc/thread-self/syscall").is_ok() {
            return Ok(());
        }
        Err(Unavailable::new(
            Kind::Block,
            "this process may not be traced, so that /proc doesn't tell what its threads wait for",
            "build with the feature `intercept`",
        ))
    }

    fn rate(&self) -> Option<u64> {
        Some(HZ)
    }

    fn start(&self) -> Result<Box<dyn Window>, Error> {
        self.check()?;
        let sampler = WaitSampler::start()
            .map_err(|source| Error::Collect { kind: Kind::Block, source: source.into() })?;
        Ok(Box::new(SampledWindow { sampler, idle: self.idle, began: Instant::now() }))
    }
}

struct SampledWindow {
    sampler: WaitSampler,
    idle: bool,
    began: Instant,
}

impl Window for SampledWindow {
    fn close(self: Box<Self>) -> Pending {
        let style = WaitProfileStyle {
            of: WaitProfile::Block,
            symbols: Symbols::Resolved,
            idle: self.idle,
            is_window: true,
        };
        let is_short = self.began.elapsed() < SHORT;
        let recorded = self.sampler.end();
        Box::new(move || {
            let recorded = recorded.ok_or_else(|| Error::Collect {
                kind: Kind::Block,
                source: "the sampler's thread has panicked".into(),
            })?;
            let mut notes = vec![
                format!("engine: profilez, sampled wall time: /proc about {HZ} times a second"),
                "short waits come out low; build with the feature `intercept` for exact ones"
                    .to_owned(),
            ];
            if is_short {
                notes.push(
                    "nothing is counted outside a window, and this one was too short for a look: ask for \
                     one of seconds, or build with the feature `intercept`"
                        .to_owned(),
                );
            }
            let bytes = build_profile(&recorded, style, &notes);
            Ok(vec![File { name: Kind::Block.file_name(), bytes: bytes.into() }])
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::thread;

    use profile_format::profile::{DecodeLimits, Profile};

    use super::*;

    #[inline(never)]
    fn waits_for_the_sampler(lock: &Mutex<()>) {
        drop(lock.lock());
        std::hint::black_box(());
    }

    #[test]
    fn a_window_without_a_look_says_so() {
        let window = SampledBlock::new().start().unwrap();
        let file = window.close()().unwrap().remove(0);
        let profile = Profile::decode(&file.bytes, &DecodeLimits::default()).unwrap();
        let comments = profile.comments.iter().map(|&comment| profile.strings.get(comment));
        assert!(comments.into_iter().any(|text| text.contains("too short for a look")));
    }

    #[test]
    fn threads_that_wait_are_seen_with_their_time() {
        let lock = Mutex::new(());
        let guard = lock.lock().unwrap();
        thread::scope(|scope| {
            let waiters: Vec<_> =
                (0..4).map(|_| scope.spawn(|| waits_for_the_sampler(&lock))).collect();
            // Threads take a moment to get where they wait.
            thread::sleep(Duration::from_millis(300));
            let began = Instant::now();
            let window = SampledBlock::new().start().unwrap();
            thread::sleep(Duration::from_millis(700));
            let truth = began.elapsed().as_nanos() as f64;
            let files = window.close()().unwrap();
            drop(guard);
            waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
            let profile = Profile::decode(&files[0].bytes, &DecodeLimits::default()).unwrap();
            profile.check().unwrap();
            let of = |index: u32| {
                let lines = profile.lines_of(&profile.locations[index as usize]);
                lines.iter().map(|line| profile.str(profile.functions[line.function as usize].name))
            };
            let here = |stack: &[u32]| {
                stack.iter().flat_map(|&at| of(at)).any(|n| n.ends_with("waits_for_the_sampler"))
            };
            let samples = profile.samples.iter().filter(|sample| here(sample.stack));
            let (mut count, mut nanos) = (0, 0);
            for sample in samples {
                count += sample.values[0];
                nanos += sample.values[1];
            }
            assert_eq!(count, 4);
            let ratio = nanos as f64 / 4.0 / truth;
            assert!((0.8..1.1).contains(&ratio), "{ratio}");
        });
    }
}
