//! Workloads that know how much CPU they used, and where.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::clock;

/// Arithmetic that takes the same time wherever the compiler puts it: each turn needs the result of
/// the one before, and two can't be folded into one. About two nanoseconds a turn.
#[inline(always)]
pub fn turns(count: u64) {
    let mut state = count;
    for _ in 0..count {
        state = (state ^ state >> 13).wrapping_mul(6_364_136_223_846_793_005);
    }
    black_box(state);
}

/// Calls `work` from so many frames further down.
#[inline(never)]
pub fn deep(frames: u32, work: &mut dyn FnMut()) {
    if frames == 0 {
        work();
    } else {
        deep(frames - 1, work);
    }
    // Something to come back for, so that no call is a jump.
    black_box(frames);
}

/// The CPU time that a thread says it has used: its own clock, no older than the thread's last
/// [`Meter::read`].
#[derive(Debug, Default)]
pub struct Meter(AtomicU64);

impl Meter {
    /// Notes the calling thread's clock.
    pub fn read(&self) {
        self.0.store(clock::thread_cpu_nanos(), Ordering::Relaxed);
    }

    /// Seconds, as of the last reading.
    pub fn seconds(&self) -> f64 {
        self.0.load(Ordering::Relaxed) as f64 / 1e9
    }
}

/// A thread that never waits, 30 frames down, with a reading of its clock every half millisecond.
#[inline(never)]
pub fn busy(meter: &Meter, stop: &AtomicBool) {
    const TURNS: u64 = 300_000;
    deep(30, &mut || {
        while !stop.load(Ordering::Relaxed) {
            turns(TURNS);
            meter.read();
        }
    });
}

/// What each meter says.
pub fn readings(meters: &[Meter]) -> Vec<f64> {
    meters.iter().map(Meter::seconds).collect()
}

/// Waits until every meter was read once: until every thread is at work.
pub fn wait_for_start(meters: &[Meter]) {
    while meters.iter().any(|meter| meter.seconds() == 0.0) {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}
