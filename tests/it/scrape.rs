//! A scraper's rhythm: every kind again and again, windows side by side, while bundles are collected
//! and `go tool pprof` attaches. Nobody is refused, and memory and descriptors stay as they are.

use std::hint::black_box;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use profilez::core::profile::{DecodeLimits, Profile};
use profilez::http::server::DebugService;

use crate::support::burn::compute;
use crate::support::go::go;
use crate::support::http::get;
use crate::support::own_process::is_own_process;
use crate::support::server::unpack;

/// How long the rhythm goes on, and how long one beat is.
struct Rhythm {
    whole: Duration,
    period: Duration,
    window: u64,
}

/// What Alloy and Parca ask for unless told otherwise, and the rest.
const PATHS: [&str; 7] =
    ["profile", "allocs", "block", "goroutine", "mutex", "heap", "threadcreate"];

/// The process's own memory in KiB, without pages of files such as its debug information, and its open
/// files.
#[derive(Clone, Copy, Debug)]
struct Footprint {
    memory: u64,
    files: usize,
}

fn footprint() -> Footprint {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let memory = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    let memory = memory.trim().trim_end_matches(" kB").parse().unwrap();
    Footprint { memory, files: std::fs::read_dir("/proc/self/fd").unwrap().count() }
}

fn work(stop: &AtomicBool) {
    let mut kept = std::collections::VecDeque::new();
    let mut state = 1u64;
    while !stop.load(Ordering::Relaxed) {
        state = compute(state, 100_000);
        kept.push_back(black_box(vec![state as u8; 100_000]));
        if kept.len() > 50 {
            kept.pop_front();
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// Asks for one path at every beat, until the time is up.
fn scrape(address: SocketAddr, path: &str, rhythm: &Rhythm, until: Instant) -> usize {
    let mut beats = 0;
    while Instant::now() < until {
        let began = Instant::now();
        let answer = get(address, &format!("/debug/pprof/{path}?seconds={}", rhythm.window));
        let body = String::from_utf8_lossy(&answer.body);
        assert_eq!(answer.status, 200, "{path} at beat {beats}: {body}");
        let profile = Profile::decode(&answer.body, &DecodeLimits::default()).unwrap();
        profile.check().unwrap();
        if path == "profile" {
            assert!(!profile.samples.is_empty(), "beat {beats}: a busy thread and no samples");
        }
        beats += 1;
        thread::sleep(rhythm.period.saturating_sub(began.elapsed()));
    }
    beats
}

#[track_caller]
fn keep_up(rhythm: &Rhythm) {
    let server = DebugService::builder("scraped").build().serve("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    let stop = AtomicBool::new(false);
    let began = Instant::now();
    let until = began + rhythm.whole;
    let footprints = Mutex::new(Vec::new());
    let (bundles, attached) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        scope.spawn(|| work(&stop));
        // Scrapers know nothing of each other. Without optimisation one is enough to keep two
        // processors busy, with reading debug information.
        let count = if cfg!(debug_assertions) { 1 } else { 2 };
        let scrapers: Vec<_> = (0..count)
            .flat_map(|_| {
                PATHS.map(|path| scope.spawn(move || scrape(address, path, rhythm, until)))
            })
            .collect();
        scope.spawn(|| {
            while Instant::now() < until {
                let answer = get(address, "/debug/profile?duration=1s");
                let manifest = unpack(&answer).manifest();
                assert_eq!(manifest["errors"], serde_json::json!([]));
                bundles.fetch_add(1, Ordering::Relaxed);
                thread::sleep(rhythm.period / 3);
            }
        });
        scope.spawn(|| {
            let Some(go) = go() else { return };
            let directory = tempfile::tempdir().unwrap();
            // It waits for an answer's head for five seconds beyond the window.
            let window = format!("-seconds={}", rhythm.window);
            while Instant::now() < until {
                let output = Command::new(&go)
                    .env("PPROF_TMPDIR", directory.path())
                    .args(["tool", "pprof", "-top", &window, &address.to_string()])
                    .output()
                    .unwrap();
                let errors = String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success(), "{errors}");
                attached.fetch_add(1, Ordering::Relaxed);
                thread::sleep(rhythm.period / 3);
            }
        });
        scope.spawn(|| {
            // The first beat is for what is made once.
            thread::sleep(rhythm.period);
            while Instant::now() < until {
                footprints.lock().unwrap().push(footprint());
                thread::sleep(Duration::from_millis(100));
            }
        });
        let beats: usize = scrapers.into_iter().map(|scraper| scraper.join().unwrap()).sum();
        let least =
            PATHS.len() * count * (rhythm.whole.as_secs() / rhythm.period.as_secs()) as usize;
        println!("{beats} profiles, {least} if all are on time");
        // Without optimisation a busy machine has no time for that many.
        assert!(cfg!(debug_assertions) || 2 * beats >= least, "profiles wait for each other");
        stop.store(true, Ordering::Relaxed);
    });
    server.shut_down();
    println!(
        "{} bundles, go tool pprof attached {} times",
        bundles.into_inner(),
        attached.into_inner()
    );
    let footprints = footprints.into_inner().unwrap();
    let (first, second) = footprints.split_at(footprints.len() / 2);
    let most = |half: &[Footprint]| Footprint {
        memory: half.iter().map(|footprint| footprint.memory).max().unwrap_or(0),
        files: half.iter().map(|footprint| footprint.files).max().unwrap_or(0),
    };
    let (first, second) = (most(first), most(second));
    println!("at most {first:?} in the first half, {second:?} in the second");
    // What a beat needs for a moment differs by who meets whom.
    assert!(second.memory <= first.memory + first.memory / 4, "memory grows");
    assert!(second.files <= first.files + 8, "files stay open");
    let at_rest = footprint();
    println!("afterwards {at_rest:?}");
    assert!(at_rest.files < first.files, "the scrapers' connections are closed");
    let timers = std::fs::read_to_string("/proc/self/timers").unwrap();
    assert_eq!(timers, "", "no window, no timer");
}

#[test]
fn a_scrapers_rhythm_is_kept() {
    if is_own_process("scrape::a_scrapers_rhythm_is_kept") {
        let (whole, period) = (Duration::from_secs(20), Duration::from_secs(4));
        keep_up(&Rhythm { whole, period, window: 3 });
    }
}

#[test]
#[ignore = "takes five minutes: `cargo xtask stress scrape` runs it"]
fn a_scrapers_rhythm_is_kept_for_five_minutes() {
    let (whole, period) = (Duration::from_secs(300), Duration::from_secs(15));
    keep_up(&Rhythm { whole, period, window: 14 });
}
