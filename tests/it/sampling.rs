//! The CPU engine against the kernel's own account of each thread's time.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use profilez::core::collect::{SampledCpu, Window};
use profilez::core::profile::{DecodeLimits, Profile};
use profilez::core::{Collector, Kind};

use crate::own_process::is_own_process;

#[inline(never)]
fn work_for_the_sampler(stop: &AtomicBool) {
    let mut state = 1u64;
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..1000 {
            state = (state * 1_664_525 + 1_013_904_223) & 0xffff_ffff;
        }
        black_box(state);
    }
}

/// CPU time that a thread has used, by its own clock: what `/proc` says of a running one is as old as
/// the last tick.
fn cpu_of(tid: u32) -> Duration {
    const PER_THREAD_SCHEDULED: i32 = 6;
    let clock = !(tid as i32) << 3 | PER_THREAD_SCHEDULED;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: clock_gettime(2) writes a `timespec`.
    assert_eq!(unsafe { libc::clock_gettime(clock, &raw mut time) }, 0);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Ends the work also where a check fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn own_tid() -> u32 {
    let link = std::fs::read_link("/proc/thread-self").unwrap();
    link.file_name().unwrap().to_str().unwrap().parse().unwrap()
}

/// A window, and what the thread had used when it was opened.
struct Open {
    hz: u32,
    window: Box<dyn Window>,
    cpu: Duration,
}

fn open(hz: u32, tid: u32) -> Open {
    let window = SampledCpu::new().hz(hz).start().unwrap();
    Open { hz, window, cpu: cpu_of(tid) }
}

impl Open {
    /// Closes the window, and compares its samples of the thread with the thread's time.
    #[track_caller]
    fn check(self, tid: u32) {
        let used = cpu_of(tid) - self.cpu;
        let files = self.window.close()().unwrap();
        let profile = Profile::decode(&files[0].bytes, &DecodeLimits::default()).unwrap();
        profile.check().unwrap();
        let of_the_thread = profile.samples.iter().filter(|sample| {
            let locations = sample.stack.iter().map(|&at| &profile.locations[at as usize]);
            locations.flat_map(|location| profile.lines_of(location)).any(|line| {
                let name = profile.functions[line.function as usize].name;
                profile.str(name).ends_with("work_for_the_sampler")
            })
        });
        let samples: i64 = of_the_thread.map(|sample| sample.values[0]).sum();
        let expected = used.as_secs_f64() * f64::from(self.hz);
        // A kernel's tick at either end, and a period's phase.
        let slack = 2.0 + 0.010 * f64::from(self.hz);
        assert!(
            (samples as f64 - expected).abs() <= slack,
            "{samples} samples where {expected:.1} were expected at {} Hz",
            self.hz
        );
    }
}

#[test]
fn three_windows_at_once_each_have_the_right_total() {
    if !is_own_process("sampling::three_windows_at_once_each_have_the_right_total") {
        return;
    }
    let (stop, tid) = (AtomicBool::new(false), AtomicU32::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            tid.store(own_tid(), Ordering::Relaxed);
            work_for_the_sampler(&stop);
        });
        let _stop = Stop(&stop);
        while tid.load(Ordering::Relaxed) == 0 {
            thread::yield_now();
        }
        let tid = tid.load(Ordering::Relaxed);
        let pause = || thread::sleep(Duration::from_millis(400));
        let first = open(100, tid);
        pause();
        let second = open(250, tid);
        pause();
        let third = open(999, tid);
        pause();
        first.check(tid);
        pause();
        third.check(tid);
        pause();
        second.check(tid);
    });
    let timers = std::fs::read_to_string("/proc/self/timers").unwrap();
    assert_eq!(timers, "", "no window, no timer");
}

#[test]
fn opening_and_closing_never_stops_working() {
    if !is_own_process("sampling::opening_and_closing_never_stops_working") {
        return;
    }
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| work_for_the_sampler(&stop));
        let _stop = Stop(&stop);
        thread::scope(|scope| {
            for worker in 0..4u32 {
                scope.spawn(move || {
                    for round in 0..50 {
                        let window = SampledCpu::new().hz(100 * (worker + 1)).start().unwrap();
                        if round % 2 == 0 {
                            drop(window);
                        } else {
                            drop(window.close());
                        }
                    }
                });
            }
        });
    });
    assert_eq!(SampledCpu::new().kind(), Kind::Cpu);
}
