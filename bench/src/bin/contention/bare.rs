//! What is measured with our symbols in the program and without: std alone.

use std::hint::black_box;
use std::sync::Mutex;
use std::thread;
use std::time::Instant;

/// One figure: `lock`, nanoseconds of an uncontended lock and unlock; `spawn`, microseconds of a
/// thread's birth and death. The best of several goes, which nothing else held up.
pub(crate) fn measure(what: &str) -> f64 {
    let go = match what {
        "lock" => lock,
        "spawn" => spawn,
        other => panic!("nothing is called {other}"),
    };
    (0..15).map(|_| go()).fold(f64::INFINITY, f64::min)
}

fn lock() -> f64 {
    const LOCKS: u32 = 2_000_000;
    let lock = Mutex::new(0u64);
    let began = Instant::now();
    for _ in 0..LOCKS {
        *black_box(&lock).lock().expect("nobody panics") += 1;
    }
    began.elapsed().as_secs_f64() * 1e9 / f64::from(LOCKS)
}

fn spawn() -> f64 {
    const THREADS: u32 = 500;
    let began = Instant::now();
    for n in 0..THREADS {
        thread::spawn(move || black_box(n)).join().expect("it does not panic");
    }
    began.elapsed().as_secs_f64() * 1e6 / f64::from(THREADS)
}
