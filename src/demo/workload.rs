//! What the demo service does, so that its profiles can be held against the truth.
//!
//! - CPU: one thread, 60 % in `checkout`, 30 % in `search`, 10 % in `render`. How long a turn of each
//!   takes is measured at the start: without optimisation it depends on where the linker puts it.
//! - Memory in use: 96 MiB that `keep_upload` keeps for ever (75 %), 32 MiB in a cache that
//!   `fill_cache` made (25 %).
//! - Allocated: what `parse_request` allocates and frees, counted.

use std::hint::black_box;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// A running workload.
pub(super) struct Workload {
    stop: Arc<AtomicBool>,
    churned: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
    kept: Vec<Vec<u8>>,
}

/// A function of the workload and its known share of a sample type's total, in percent.
pub(super) struct Known {
    pub(super) entry: &'static str,
    pub(super) sample_type: &'static str,
    pub(super) function: &'static str,
    pub(super) percent: f64,
}

/// At one sample every 512 KiB a block of this size is missed once in 3000 times.
const UPLOAD: usize = 4 << 20;
const UPLOADS: usize = 24;
const CACHE_PAGES: usize = 8;
/// Large, so that most of them are sampled and what they add up to is measured well; and few, so that
/// they cost next to no CPU.
const REQUEST: usize = 1 << 20;
/// Most are handled before the window opens, so that the truth hardly changes between the moment a
/// profile is taken and the moment it is compared.
const REQUESTS_AT_START: u64 = 512;
const REQUESTS_A_SECOND: u32 = 4;

/// Takes a seed and a number of turns; gives another seed.
type Burner = fn(u64, u64) -> u64;

/// Functions, their names and their CPU shares in percent.
const SHARES: [(Burner, &str, u64); 3] =
    [(checkout, "checkout", 60), (search, "search", 30), (render, "render", 10)];

impl Workload {
    /// Starts the threads, and allocates what is kept.
    pub(super) fn start() -> io::Result<Workload> {
        let stop = Arc::new(AtomicBool::new(false));
        let churned = Arc::new(AtomicU64::new(0));
        (0..REQUESTS_AT_START).for_each(|_| handle_request(&churned));
        let mut kept: Vec<Vec<u8>> = (0..UPLOADS).map(|_| keep_upload()).collect();
        kept.extend((0..CACHE_PAGES).map(|_| fill_cache()));
        let turns = turns();
        let cpu = {
            let stop = Arc::clone(&stop);
            thread::Builder::new().name("demo-cpu".to_owned()).spawn(move || work(&stop, turns))?
        };
        let requests = {
            let (stop, churned) = (Arc::clone(&stop), Arc::clone(&churned));
            thread::Builder::new()
                .name("demo-requests".to_owned())
                .spawn(move || handle_requests(&stop, &churned))?
        };
        Ok(Workload { stop, churned, threads: vec![cpu, requests], kept })
    }

    /// The truth so far.
    pub(super) fn known(&self) -> Vec<Known> {
        let uploads = (UPLOADS * UPLOAD) as f64;
        let cache = (CACHE_PAGES * UPLOAD) as f64;
        let churned = self.churned.load(Ordering::Relaxed) as f64;
        let percent = |part: f64, whole: f64| 100.0 * part / whole;
        let mut known: Vec<Known> = SHARES
            .iter()
            .map(|&(_, function, share)| Known {
                entry: "cpu.prof",
                sample_type: "cpu",
                function,
                percent: share as f64,
            })
            .collect();
        let kept = uploads + cache;
        let all = kept + churned;
        known.extend(
            [
                ("heap.prof", "inuse_space", "keep_upload", percent(uploads, kept)),
                ("heap.prof", "inuse_space", "fill_cache", percent(cache, kept)),
                ("allocs.prof", "alloc_space", "parse_request", percent(churned, all)),
                ("allocs.prof", "alloc_space", "keep_upload", percent(uploads, all)),
            ]
            .map(|(entry, sample_type, function, percent)| Known {
                entry,
                sample_type,
                function,
                percent,
            }),
        );
        known
    }

    pub(super) fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            // A thread of the workload has nothing to say at its end.
            let _ = thread.join();
        }
        drop(self.kept);
    }
}

/// How many turns of each function take its share of a round, which is about a tenth of a second.
fn turns() -> [u64; SHARES.len()] {
    // Not a multiple of any sampling period, so that no function hides between the samples; and
    // short, because a window that ends within a round favours what comes first in it.
    const ROUND: Duration = Duration::from_millis(97);
    const TRIALS: u64 = 30;
    const TRIAL: u64 = 300_000;
    // The fastest trial is the one that nothing else held up. They take turns, so that a processor
    // that is slow for a while is slow for all of them.
    let mut fastest = [Duration::MAX; SHARES.len()];
    for seed in 0..TRIALS {
        for ((function, _, _), fastest) in SHARES.into_iter().zip(&mut fastest) {
            let began = Instant::now();
            black_box(function(black_box(seed), TRIAL));
            *fastest = began.elapsed().min(*fastest);
        }
    }
    let mut turns = [0; SHARES.len()];
    for (index, (_, _, share)) in SHARES.into_iter().enumerate() {
        let slice = ROUND.as_secs_f64() * share as f64 / 100.0;
        turns[index] = (TRIAL as f64 * slice / fastest[index].as_secs_f64()) as u64;
    }
    turns
}

fn work(stop: &AtomicBool, turns: [u64; SHARES.len()]) {
    let mut seed = 1;
    while !stop.load(Ordering::Relaxed) {
        for ((function, _, _), turns) in SHARES.into_iter().zip(turns) {
            seed = black_box(function(black_box(seed), turns));
        }
    }
}

/// Defines a function that does nothing but arithmetic, without a call, so that every sample of it
/// is its own. The constants differ, or the compiler would make one function of the three.
macro_rules! burner {
    ($name:ident, $factor:literal, $summand:literal) => {
        #[inline(never)]
        fn $name(seed: u64, turns: u64) -> u64 {
            let mut state = seed & 0xffff_ffff;
            let mut turn = 0;
            while turn < turns {
                // A step of a linear congruential generator modulo 2^32; it can't overflow.
                state = (state * $factor + $summand) & 0xffff_ffff;
                turn += 1;
            }
            state
        }
    };
}

burner!(checkout, 1_664_525, 1_013_904_223);
burner!(search, 22_695_477, 12_345);
burner!(render, 1_103_515_245, 54_321);

// The two differ, or the compiler would make one function of them.

#[inline(never)]
fn keep_upload() -> Vec<u8> {
    let mut upload = Vec::with_capacity(black_box(UPLOAD));
    upload.push(1);
    black_box(upload)
}

#[inline(never)]
fn fill_cache() -> Vec<u8> {
    black_box(vec![0; black_box(UPLOAD)])
}

#[inline(never)]
fn parse_request() -> Vec<u8> {
    black_box(Vec::with_capacity(black_box(REQUEST)))
}

fn handle_requests(stop: &AtomicBool, churned: &AtomicU64) {
    while !stop.load(Ordering::Relaxed) {
        handle_request(churned);
        thread::sleep(Duration::from_secs(1) / REQUESTS_A_SECOND);
    }
}

fn handle_request(churned: &AtomicU64) {
    drop(parse_request());
    churned.fetch_add(REQUEST as u64, Ordering::Relaxed);
}
