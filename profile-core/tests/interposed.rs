//! What the feature `intercept` sees of a program that links this crate and nothing else of profilez.
//! `cargo xtask ci` runs it twice: linked with a shared libc, and with a static one.

use std::hint::black_box;
use std::sync::atomic::AtomicU32;
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use profile_core::collect::{BlockProfile, MutexProfile};
use profile_core::profile::{DecodeLimits, Profile};
use profile_core::{Collector as _, Collectors, Kind};

const HOLD: Duration = Duration::from_millis(20);
const TIMES: usize = 10;

#[inline(never)]
fn holds(lock: &Mutex<()>, is_held: &mpsc::Sender<()>) {
    let guard = lock.lock().unwrap();
    is_held.send(()).unwrap();
    thread::sleep(HOLD);
    drop(black_box(guard));
}

#[inline(never)]
fn waits(lock: &Mutex<()>) -> Duration {
    let began = Instant::now();
    drop(black_box(lock.lock().unwrap()));
    began.elapsed()
}

#[inline(never)]
fn creates_threads() {
    for n in 0..TIMES {
        black_box(thread::spawn(move || black_box(n))).join().unwrap();
    }
}

/// How long one thread waited for another.
fn contend() -> Duration {
    let lock = Mutex::new(());
    let (go, going) = mpsc::channel();
    let (held, is_held) = mpsc::channel();
    thread::scope(|scope| {
        let lock = &lock;
        scope.spawn(move || going.into_iter().for_each(|()| holds(lock, &held)));
        let mut waited = Duration::ZERO;
        for _ in 0..TIMES {
            go.send(()).unwrap();
            is_held.recv().unwrap();
            waited += waits(lock);
        }
        drop(go);
        waited
    })
}

/// A wait by its own clocks, in nanoseconds.
struct Timed {
    /// From after the first yield to the sleep.
    yields: i64,
    sleep: i64,
    /// Whether the thread may have been held up between two yields, or before the sleep: then they may
    /// not count as one series.
    held_up: bool,
}

/// Waits as `parking_lot` does: yields, with a look at the lock in between, and then a sleep.
#[inline(never)]
fn yields_then_sleeps(yields: usize) -> Timed {
    const LOOK: Duration = Duration::from_micros(8);
    let mut held_up = false;
    let mut before = Instant::now();
    thread::yield_now();
    let yielded = Instant::now();
    for _ in 1..yields {
        let look = Instant::now();
        while look.elapsed() < LOOK {}
        let next = Instant::now();
        thread::yield_now();
        // From before the one yield to after the other: longer than what is between them.
        held_up |= before.elapsed() > 2 * LOOK;
        before = next;
    }
    let futex = AtomicU32::new(0);
    let timeout = libc::timespec { tv_sec: 0, tv_nsec: 50_000 };
    let operation = libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG;
    let slept = Instant::now();
    // SAFETY: futex(2) reads two values that live during the call.
    unsafe { libc::syscall(libc::SYS_futex, futex.as_ptr(), operation, 0, &raw const timeout) };
    held_up |= slept - before > 2 * LOOK || slept.elapsed() > Duration::from_millis(1);
    let [yields, sleep] = [slept - yielded, slept.elapsed()].map(|time| time.as_nanos() as i64);
    black_box(Timed { yields, sleep, held_up })
}

#[inline(never)]
fn yields_seven_times() -> Timed {
    black_box(yields_then_sleeps(black_box(7)))
}

#[inline(never)]
fn yields_twelve_times() -> Timed {
    black_box(yields_then_sleeps(black_box(12)))
}

#[test]
fn a_lock_waits_from_its_first_yield_on() {
    const WAITS: usize = 200;
    let window = BlockProfile::new().rate(1).start().unwrap();
    let times = |wait: fn() -> Timed| -> Vec<Timed> { (0..WAITS).map(|_| wait()).collect() };
    let (few, many) = (times(yields_seven_times), times(yields_twelve_times));
    let block = decode(&window.close()().unwrap()[0].bytes);

    let blocked = sum(&block, 1, "interposed::yields_seven_times");
    let least: i64 = few.iter().filter(|t| !t.held_up).map(|t| t.sleep + t.yields / 2).sum();
    assert!(blocked > least, "{blocked} of at least {least}");

    let blocked = sum(&block, 1, "interposed::yields_twelve_times");
    let most: i64 = many.iter().map(|t| t.sleep + if t.held_up { t.yields } else { 0 }).sum();
    assert!((1..=most).contains(&blocked), "{blocked} of at most {most}");
}

/// The sum of a value over the samples with a function of this name.
fn sum(profile: &Profile, value: usize, function: &str) -> i64 {
    let named = |&location: &u32| {
        let lines = profile.lines_of(&profile.locations[location as usize]);
        lines.iter().any(|line| {
            profile.str(profile.functions[line.function as usize].name).ends_with(function)
        })
    };
    let samples = profile.samples.iter().filter(|sample| sample.stack.iter().any(named));
    samples.map(|sample| sample.values[value]).sum()
}

fn decode(bytes: &[u8]) -> Profile {
    let profile = Profile::decode(bytes, &DecodeLimits::default()).unwrap();
    profile.check().unwrap();
    profile
}

#[test]
fn waits_releases_and_births_are_seen_where_they_happen() {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    assert_eq!(maps.contains("libc"), !cfg!(target_feature = "crt-static"), "{maps}");
    let (block, mutex) = (BlockProfile::new().rate(1), MutexProfile::new().rate(1));
    let windows = (block.start().unwrap(), mutex.start().unwrap());
    let waited = contend();
    let [block, mutex] = [windows.0, windows.1].map(|window| {
        let files = window.close()().unwrap();
        decode(&files[0].bytes)
    });
    let truth = waited.as_nanos() as f64;
    assert!(waited >= HOLD * TIMES as u32 / 2, "they did contend: {waited:?}");
    // Beside the kernel's part of a wait it has some spinning, and the time until it runs again.
    let blocked = sum(&block, 1, "interposed::waits") as f64;
    assert!((0.9..1.02).contains(&(blocked / truth)), "{blocked} of {truth}");
    let charged = sum(&mutex, 1, "interposed::holds") as f64;
    assert!((0.8..1.02).contains(&(charged / truth)), "{charged} of {truth}");

    creates_threads();
    let files = Collectors::new().collector(Kind::Threadcreate).snapshot().unwrap();
    let created = sum(&decode(&files[0].bytes), 0, "interposed::creates_threads");
    assert_eq!(created, TIMES as i64);
}
