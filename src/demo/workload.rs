//! What the demo service does, so that its profiles can be held against the truth.
//!
//! - CPU: one thread, 60 % in `checkout`, 30 % in `search`, 10 % in `render`. The three do the same
//!   arithmetic, so that equal numbers of turns are equal times.
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
const REQUEST: usize = 64 << 10;
const REQUESTS_A_SECOND: u64 = 1024;

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
        let mut kept: Vec<Vec<u8>> = (0..UPLOADS).map(|_| keep_upload()).collect();
        kept.extend((0..CACHE_PAGES).map(|_| fill_cache()));
        let cpu = {
            let stop = Arc::clone(&stop);
            thread::Builder::new().name("demo-cpu".to_owned()).spawn(move || work(&stop))?
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

/// Turns of 60 : 30 : 10, a round in about a quarter of a second.
fn work(stop: &AtomicBool) {
    // Not a multiple of any sampling period, so that no function hides between the samples.
    const ROUND: Duration = Duration::from_millis(237);
    const TRIAL: u64 = 2_000_000;
    let began = Instant::now();
    black_box(checkout(1, TRIAL));
    let turns_a_round = TRIAL as f64 * ROUND.as_secs_f64() / began.elapsed().as_secs_f64();
    let percent = (turns_a_round / 100.0) as u64;
    let mut seed = 1;
    while !stop.load(Ordering::Relaxed) {
        for (function, _, share) in SHARES {
            seed = black_box(function(black_box(seed), percent * share));
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
    const BATCH: u64 = 16;
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..BATCH {
            drop(parse_request());
        }
        churned.fetch_add(BATCH * REQUEST as u64, Ordering::Relaxed);
        thread::sleep(Duration::from_secs(1) * BATCH as u32 / REQUESTS_A_SECOND as u32);
    }
}
