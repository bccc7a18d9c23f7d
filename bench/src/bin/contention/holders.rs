//! Whether what others waited is charged to who released the lock: two holders with shares of 1 to 3.

use std::hint::black_box;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use profile_core::collect::MutexProfile;
use profilez_bench::engine::Engine;
use profilez_bench::run::{Figures, Line, Runner, figures};
use profilez_bench::table::{Bar, Row};

use crate::profile::{sum, window};

/// The line.
pub(crate) const LINE: Line = Line { name: "holders", rows, child };

fn rows(runner: &mut Runner) -> Vec<Row> {
    let millis = if runner.quick { 2000 } else { 4000 };
    let [ours] = runner.pairs([Engine::Ours], &[millis]);
    vec![
        Row::new("share charged to the holder of 3 in 4, less the true one", "points")
            .ours(ours.spread("points"))
            .bar(Bar::Within(-3.0, 3.0)),
        Row::new("charged to both / true wait", "").ours(ours.spread("total")),
    ]
}

fn child(_: Engine, args: &[u32]) -> Figures {
    let &[millis] = args else { panic!("milliseconds of the run") };
    let mut truth = [0u64; 2];
    let profile = window(&MutexProfile::new(), || {
        truth = hold_and_wait(Duration::from_millis(millis.into()));
    });
    let charged = ["holds_for_3_ms", "holds_for_1_ms"].map(|name| sum(&profile, 1, name));
    let share = |[long, short]: [f64; 2]| 100.0 * long / (long + short);
    let truth = truth.map(|nanos| nanos as f64);
    figures([
        ("points", share(charged) - share(truth)),
        ("total", (charged[0] + charged[1]) / (truth[0] + truth[1])),
    ])
}

/// What a thread waited for each holder, which says itself that it holds the lock.
fn hold_and_wait(time: Duration) -> [u64; 2] {
    let (lock, stop) = (Mutex::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                holds_for_3_ms(&lock);
                thread::sleep(Duration::from_millis(1));
                holds_for_1_ms(&lock);
                thread::sleep(Duration::from_millis(1));
            }
        });
        let waiting = scope.spawn(|| {
            let mut waited = [0; 2];
            while !stop.load(Ordering::Relaxed) {
                let began = Instant::now();
                let holder = *lock.lock().expect("nobody panics");
                waited[holder] += began.elapsed().as_nanos() as u64;
                thread::sleep(Duration::from_micros(200));
            }
            waited
        });
        thread::sleep(time);
        stop.store(true, Ordering::Relaxed);
        waiting.join().expect("it does not panic")
    })
}

#[inline(never)]
fn holds_for_3_ms(lock: &Mutex<usize>) {
    let mut guard = lock.lock().expect("nobody panics");
    *guard = 0;
    thread::sleep(Duration::from_millis(3));
    drop(black_box(guard));
}

#[inline(never)]
fn holds_for_1_ms(lock: &Mutex<usize>) {
    let mut guard = lock.lock().expect("nobody panics");
    *guard = 1;
    thread::sleep(Duration::from_millis(1));
    drop(black_box(guard));
}
