//! What the demo service does, so that its profiles can be held against the truth.
//!
//! - CPU: one thread in `work`, 60 % of that in `checkout`, 30 % in `search`, 10 % in `render`, by the
//!   thread's own clock. What the profiler itself uses in this process is no part of it.
//! - Memory in use: 96 MiB that `keep_upload` keeps for ever (75 %), 32 MiB in a cache that
//!   `fill_cache` made (25 %).
//! - Allocated: what `parse_request` allocates and frees, counted.
//! - Waiting: `reserve_stock` for a lock that `count_stock` holds for 15 ms and `ship_order` for 5 ms in
//!   turn, and `await_payment` for a message every 40 ms; timed by those who wait.

use std::hint::black_box;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::thread_clock::cpu_time;

/// A running workload.
pub(super) struct DemoWorkload {
    stop: Arc<AtomicBool>,
    churned: Arc<AtomicU64>,
    waited: Arc<WaitedTime>,
    threads: Vec<JoinHandle<()>>,
    kept: Vec<Vec<u8>>,
}

/// A function of the workload and its known share of a sample type, in percent.
pub(super) struct KnownShare {
    pub(super) entry: &'static str,
    pub(super) sample_type: &'static str,
    pub(super) function: &'static str,
    /// The function whose calls are the whole; `None` where the total is.
    pub(super) of: Option<&'static str>,
    pub(super) percent: f64,
}

/// Size of an upload in bytes. At one sample every 512 KiB a block of this size is missed once in
/// 3000 times.
const UPLOAD: usize = 4 << 20;
const UPLOADS: usize = 24;
const CACHE_PAGES: usize = 8;
/// Size of a request in bytes. Large, so that most of them are sampled and what they add up to is
/// measured well; and few, so that they cost next to no CPU.
const REQUEST: usize = 1 << 20;
/// Number of requests that are handled at the start. They are most of all, so that the truth hardly
/// changes between the moment a profile is taken and the moment it is compared.
const REQUESTS_AT_START: u64 = 512;
const REQUESTS_A_SECOND: u32 = 4;

/// A function that takes a seed and a number of turns and returns another seed.
type BurnFunction = fn(u64, u64) -> u64;

/// Functions, their names and their CPU shares in percent.
const SHARES: [(BurnFunction, &str, u32); 3] =
    [(checkout, "checkout", 60), (search, "search", 30), (render, "render", 10)];

impl DemoWorkload {
    /// Starts the threads, and allocates what is kept.
    pub(super) fn start() -> io::Result<DemoWorkload> {
        let stop = Arc::new(AtomicBool::new(false));
        let churned = Arc::new(AtomicU64::new(0));
        (0..REQUESTS_AT_START).for_each(|_| handle_request(&churned));
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
        let waited = Arc::new(WaitedTime::default());
        let mut threads = vec![cpu, requests];
        threads.extend(start_waiting(&stop, &waited)?);
        Ok(DemoWorkload { stop, churned, waited, threads, kept })
    }

    /// Returns the truth so far.
    pub(super) fn known(&self) -> Vec<KnownShare> {
        let uploads = (UPLOADS * UPLOAD) as f64;
        let cache = (CACHE_PAGES * UPLOAD) as f64;
        let churned = self.churned.load(Ordering::Relaxed) as f64;
        let percent = |part: f64, whole: f64| 100.0 * part / whole;
        let mut known: Vec<KnownShare> = SHARES
            .iter()
            .map(|&(_, function, share)| KnownShare {
                entry: "cpu.prof",
                sample_type: "cpu",
                function,
                of: Some("work"),
                percent: f64::from(share),
            })
            .collect();
        let kept = uploads + cache;
        let all = kept + churned;
        let nanos = |sum: &AtomicU64| sum.load(Ordering::Relaxed) as f64;
        let [counting, shipping] = self.waited.for_holder.each_ref().map(nanos);
        let (lock, payment) = (counting + shipping, nanos(&self.waited.for_payment));
        known.extend(
            [
                ("heap.prof", "inuse_space", "keep_upload", percent(uploads, kept)),
                ("heap.prof", "inuse_space", "fill_cache", percent(cache, kept)),
                ("allocs.prof", "alloc_space", "parse_request", percent(churned, all)),
                ("allocs.prof", "alloc_space", "keep_upload", percent(uploads, all)),
                ("block.prof", "delay", "reserve_stock", percent(lock, lock + payment)),
                ("block.prof", "delay", "await_payment", percent(payment, lock + payment)),
                ("mutex.prof", "delay", "count_stock", percent(counting, lock)),
                ("mutex.prof", "delay", "ship_order", percent(shipping, lock)),
            ]
            .map(|(entry, sample_type, function, percent)| KnownShare {
                entry,
                sample_type,
                function,
                of: None,
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

#[inline(never)]
fn work(stop: &AtomicBool) {
    // Not a multiple of any sampling period, so that no function hides between the samples; and
    // short, because a window that ends within a round favours what comes first in it.
    const ROUND: Duration = Duration::from_millis(97);
    // Some thousandths of a round. What a function runs over its time, the next one has less.
    const TURNS: u64 = 500_000;
    let began = cpu_time();
    let mut due = Duration::ZERO;
    let mut seed = 1;
    while !stop.load(Ordering::Relaxed) {
        for (function, _, share) in SHARES {
            due += ROUND * share / 100;
            while cpu_time() - began < due {
                seed = black_box(function(black_box(seed), TURNS));
            }
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

/// Time that threads have waited, in nanoseconds, by their own clocks.
#[derive(Default)]
struct WaitedTime {
    /// Time of waits for the lock, by the function that released it: `count_stock`, `ship_order`.
    for_holder: [AtomicU64; 2],
    for_payment: AtomicU64,
}

/// The value that the lock protects: who held it last.
#[derive(Default)]
struct StockHolder {
    holder: usize,
}

fn start_waiting(
    stop: &Arc<AtomicBool>,
    waited: &Arc<WaitedTime>,
) -> io::Result<[JoinHandle<()>; 4]> {
    let stock = Arc::new(Mutex::new(StockHolder::default()));
    let (pay, paid) = mpsc::channel();
    let spawn = |name: &str, work: Box<dyn Fn(&WaitedTime) + Send>| {
        let (stop, waited) = (Arc::clone(stop), Arc::clone(waited));
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                work(&waited);
            }
        })
    };
    let theirs = Arc::clone(&stock);
    Ok([
        spawn(
            "demo-stock",
            Box::new(move |_| {
                for hold in [count_stock, ship_order] {
                    hold(&theirs);
                    thread::sleep(Duration::from_millis(2));
                }
            }),
        )?,
        spawn(
            "demo-orders",
            Box::new(move |waited| {
                reserve_stock(&stock, waited);
                thread::sleep(Duration::from_millis(1));
            }),
        )?,
        spawn(
            "demo-bank",
            Box::new(move |_| {
                thread::sleep(Duration::from_millis(40));
                // Who waits may have stopped already.
                let _ = pay.send(());
            }),
        )?,
        spawn(
            "demo-payments",
            Box::new(move |waited| {
                await_payment(&paid, waited);
                thread::sleep(Duration::from_millis(24));
            }),
        )?,
    ])
}

#[inline(never)]
fn count_stock(stock: &Mutex<StockHolder>) {
    let mut stock = stock.lock().unwrap_or_else(PoisonError::into_inner);
    stock.holder = 0;
    thread::sleep(Duration::from_millis(15));
    drop(black_box(stock));
}

#[inline(never)]
fn ship_order(stock: &Mutex<StockHolder>) {
    let mut stock = stock.lock().unwrap_or_else(PoisonError::into_inner);
    stock.holder = 1;
    thread::sleep(Duration::from_millis(5));
    drop(black_box(stock));
}

#[inline(never)]
fn reserve_stock(stock: &Mutex<StockHolder>, waited: &WaitedTime) {
    let began = Instant::now();
    let stock = stock.lock().unwrap_or_else(PoisonError::into_inner);
    let nanos = began.elapsed().as_nanos() as u64;
    waited.for_holder[stock.holder].fetch_add(nanos, Ordering::Relaxed);
    drop(black_box(stock));
}

#[inline(never)]
fn await_payment(paid: &Receiver<()>, waited: &WaitedTime) {
    let began = Instant::now();
    // There is none left to wait for when the bank has stopped.
    let _ = black_box(paid.recv());
    waited.for_payment.fetch_add(began.elapsed().as_nanos() as u64, Ordering::Relaxed);
}
