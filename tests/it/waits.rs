//! Waiting for locks and creating threads, in workloads whose truth is known.

use std::sync::{Arc, Barrier, Condvar, Mutex, RwLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use profilez::core::collect::{BlockProfile, MutexProfile};
use profilez::core::profile::{DecodeLimits, Profile};
use profilez::core::{Collector, Collectors, Kind, waits};

use crate::support::own_process::is_own_process;

/// The profile of what happens in a window of this collector.
fn window(collector: &impl Collector, during: impl FnOnce()) -> Profile {
    let window = collector.start().unwrap();
    during();
    let files = window.close()().unwrap();
    let profile = Profile::decode(&files[0].bytes, &DecodeLimits::default()).unwrap();
    profile.check().unwrap();
    profile
}

/// The sums over samples with a function of this name.
fn sums(profile: &Profile, function: &str) -> Vec<i64> {
    let mut sums = vec![0; profile.sample_types.len()];
    for sample in profile.samples.iter() {
        if functions(profile, sample.stack).any(|name| name.contains(function)) {
            sums.iter_mut().zip(sample.values).for_each(|(sum, value)| *sum += value);
        }
    }
    sums
}

fn functions<'a>(profile: &'a Profile, stack: &'a [u32]) -> impl Iterator<Item = &'a str> {
    stack.iter().flat_map(|&location| {
        let lines = profile.lines_of(&profile.locations[location as usize]);
        lines.iter().map(|line| profile.str(profile.functions[line.function as usize].name))
    })
}

fn label<'a>(profile: &'a Profile, function: &str, key: &str) -> Option<&'a str> {
    let sample = profile
        .samples
        .iter()
        .find(|sample| functions(profile, sample.stack).any(|name| name.contains(function)))?;
    let label = sample.labels.iter().find(|label| profile.str(label.key) == key)?;
    Some(profile.str(label.str))
}

fn comments(profile: &Profile) -> String {
    profile.comments.iter().map(|&comment| profile.str(comment).to_owned() + "\n").collect()
}

/// What a kind of wait needs: how to hold, and how to wait.
struct Site {
    name: &'static str,
    word: &'static str,
    waited: Duration,
}

const HOLD: Duration = Duration::from_millis(2);
const TIMES: u32 = 60;

macro_rules! waits_at {
    ($name:ident, $wait:expr) => {
        #[inline(never)]
        fn $name<T>(shared: &T, wait: impl Fn(&T)) -> Duration {
            let began = Instant::now();
            wait(shared);
            let waited = began.elapsed();
            std::hint::black_box(waited)
        }
    };
}

waits_at!(waits_for_mutex, ());
waits_at!(waits_to_read, ());
waits_at!(waits_to_write, ());
waits_at!(waits_for_condition, ());
waits_at!(waits_to_receive, ());

/// Lets a thread hold something for [`HOLD`] while this one waits for it, over and over.
fn contend(mut hold: impl FnMut(&dyn Fn()) + Send, mut wait: impl FnMut() -> Duration) -> Duration {
    let (go, going) = mpsc::channel();
    let (held, is_held) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(move || {
            while going.recv().is_ok() {
                hold(&|| {
                    held.send(()).unwrap();
                    thread::sleep(HOLD);
                });
            }
        });
        let mut waited = Duration::ZERO;
        for _ in 0..TIMES {
            go.send(()).unwrap();
            is_held.recv().unwrap();
            waited += wait();
        }
        drop(go);
        waited
    })
}

#[test]
fn each_kind_of_wait_is_measured_at_its_place() {
    if !is_own_process("waits::each_kind_of_wait_is_measured_at_its_place") {
        return;
    }
    let mut sites = Vec::new();
    let every_wait = BlockProfile::new().rate(1);
    let profile = window(&every_wait, || {
        let mutex = Mutex::new(());
        let hold = |held: &dyn Fn()| {
            let guard = mutex.lock().unwrap();
            held();
            drop(guard);
        };
        let wait = || waits_for_mutex(&mutex, |mutex| drop(mutex.lock().unwrap()));
        let waited = contend(hold, wait);
        sites.push(Site { name: "waits_for_mutex", word: "mutex", waited });

        let lock = RwLock::new(());
        let writes = |held: &dyn Fn()| {
            let guard = lock.write().unwrap();
            held();
            drop(guard);
        };
        let wait = || waits_to_read(&lock, |lock| drop(lock.read().unwrap()));
        let waited = contend(writes, wait);
        sites.push(Site { name: "waits_to_read", word: "rwlock", waited });
        let wait = || waits_to_write(&lock, |lock| drop(lock.write().unwrap()));
        let waited = contend(writes, wait);
        sites.push(Site { name: "waits_to_write", word: "rwlock", waited });

        let (flag, condition) = (Mutex::new(false), Condvar::new());
        let tells = |held: &dyn Fn()| {
            held();
            *flag.lock().unwrap() = true;
            condition.notify_one();
        };
        let wait = || {
            waits_for_condition(&(), |()| {
                let mut told = flag.lock().unwrap();
                while !*told {
                    told = condition.wait(told).unwrap();
                }
                *told = false;
            })
        };
        let waited = contend(tells, wait);
        sites.push(Site { name: "waits_for_condition", word: "condvar", waited });

        let (sender, receiver) = mpsc::channel();
        let sends = move |held: &dyn Fn()| {
            held();
            sender.send(()).unwrap();
        };
        let wait = || waits_to_receive(&receiver, |receiver| receiver.recv().unwrap());
        let waited = contend(sends, wait);
        sites.push(Site { name: "waits_to_receive", word: "channel", waited });
    });
    assert!(comments(&profile).contains("every wait"), "{}", comments(&profile));
    for Site { name, word, waited } in sites {
        let sums = sums(&profile, name);
        let ratio = sums[1] as f64 / waited.as_nanos() as f64;
        // Entering and leaving a wait takes time on a busy machine; the bench has the narrow bars.
        assert!((0.85..=1.05).contains(&ratio), "{name}: {ratio} of {waited:?}");
        assert!(sums[0] >= i64::from(TIMES) * 9 / 10, "{name}: {sums:?}");
        assert_eq!(label(&profile, name, "wait"), Some(word), "{name}");
        assert_eq!(label(&profile, name, "idle"), None, "{name}");
    }
}

#[inline(never)]
fn holds_briefly(lock: &Mutex<()>, held: &dyn Fn()) {
    let guard = lock.lock().unwrap();
    held();
    drop(guard);
    std::hint::black_box(());
}

#[inline(never)]
fn holds_long(lock: &Mutex<()>, held: &dyn Fn()) {
    let guard = lock.lock().unwrap();
    held();
    thread::sleep(2 * HOLD);
    drop(guard);
    std::hint::black_box(());
}

#[test]
fn who_releases_is_charged_with_what_others_waited() {
    if !is_own_process("waits::who_releases_is_charged_with_what_others_waited") {
        return;
    }
    let mut truth = [Duration::ZERO; 2];
    let profile = window(&MutexProfile::new().rate(1), || {
        let lock = Mutex::new(());
        for (holder, waited) in [holds_briefly, holds_long].into_iter().zip(&mut truth) {
            *waited = contend(
                |held| holder(&lock, held),
                || waits_for_mutex(&lock, |lock| drop(lock.lock().unwrap())),
            );
        }
        // Nobody holds a condition or a channel.
        let (sender, receiver) = mpsc::channel();
        let sends = |held: &dyn Fn()| {
            held();
            sender.send(()).unwrap();
        };
        contend(sends, || waits_to_receive(&receiver, |receiver| receiver.recv().unwrap()));
    });
    for (name, waited) in ["holds_briefly", "holds_long"].into_iter().zip(truth) {
        let ratio = sums(&profile, name)[1] as f64 / waited.as_nanos() as f64;
        assert!((0.85..=1.05).contains(&ratio), "{name}: {ratio} of {waited:?}");
    }
    let all: i64 = profile.samples.iter().map(|sample| sample.values[1]).sum();
    let holders = sums(&profile, "::holds_")[1];
    assert!(holders as f64 > 0.95 * all as f64, "{holders} of {all}");
}

#[test]
fn waits_that_do_not_end_are_counted_and_only_within_the_window() {
    if !is_own_process("waits::waits_that_do_not_end_are_counted_and_only_within_the_window") {
        return;
    }
    const BEFORE: Duration = Duration::from_millis(400);
    const WINDOW: Duration = Duration::from_millis(300);
    // With the program's own rate waits are followed from their beginning; without it they are found.
    for rate in [0, 1] {
        assert_eq!(waits::set_block_profile_rate(rate), 0);
        let lock = Arc::new(Mutex::new(()));
        let guard = lock.lock().unwrap();
        let waiters: Vec<_> = (0..3)
            .map(|_| {
                let lock = Arc::clone(&lock);
                thread::spawn(move || waits_for_mutex(&lock, |lock| drop(lock.lock().unwrap())))
            })
            .collect();
        thread::sleep(BEFORE);
        let began = Instant::now();
        let mut truth = Duration::ZERO;
        let profile = window(&BlockProfile::new(), || {
            thread::sleep(WINDOW);
            truth = began.elapsed() * 3;
        });
        let slack = began.elapsed() * 3 - truth;
        let sum = Duration::from_nanos(sums(&profile, "waits_for_mutex")[1] as u64);
        assert!(sum + Duration::from_millis(60) > truth, "rate {rate}: {sum:?} of {truth:?}");
        assert!(sum <= truth + slack, "rate {rate}: {sum:?} of {truth:?} and {slack:?}");
        assert!(
            comments(&profile).contains("waits were still under way"),
            "{}",
            comments(&profile)
        );
        // One that ends in the window counts from its beginning, too.
        let mut truth = Duration::ZERO;
        let began = Instant::now();
        let profile = window(&BlockProfile::new(), || {
            thread::sleep(WINDOW);
            drop(guard);
            for waiter in waiters {
                waiter.join().unwrap();
            }
            truth = began.elapsed() * 3;
        });
        let sum = Duration::from_nanos(sums(&profile, "waits_for_mutex")[1] as u64);
        assert!(sum <= truth && sum * 10 > truth * 8, "rate {rate}: {sum:?} of {truth:?}");
        assert_eq!(waits::set_block_profile_rate(0), rate, "the rate is put back");
    }
}

#[inline(never)]
fn creates_threads(count: u32) -> u32 {
    (0..count).map(|n| thread::spawn(move || n).join().unwrap()).sum()
}

#[inline(never)]
fn creates_a_thread_that_stays(until: mpsc::Receiver<()>) -> thread::JoinHandle<()> {
    std::hint::black_box(thread::spawn(move || {
        let _ = until.recv();
    }))
}

#[test]
fn every_thread_is_counted_where_it_was_created() {
    if !is_own_process("waits::every_thread_is_counted_where_it_was_created") {
        return;
    }
    const THREADS: u32 = 500;
    let (stay, until) = mpsc::channel();
    let stays = creates_a_thread_that_stays(until);
    assert_eq!(creates_threads(THREADS), THREADS * (THREADS - 1) / 2);
    let profile = {
        let files = Collectors::new().collector(Kind::Threadcreate).snapshot().unwrap();
        Profile::decode(&files[0].bytes, &DecodeLimits::default()).unwrap()
    };
    profile.check().unwrap();
    assert_eq!(sums(&profile, "creates_threads"), [i64::from(THREADS)]);
    assert_eq!(sums(&profile, "creates_a_thread_that_stays"), [1]);
    assert_eq!(label(&profile, "creates_a_thread_that_stays", "state"), Some("live"));
    assert_eq!(label(&profile, "creates_threads", "state"), Some("ended"));
    drop(stay);
    stays.join().unwrap();
}

#[inline(never)]
fn locks_one_and_then_the_other(first: &Mutex<u32>, second: &Mutex<u32>, both: &Barrier) -> u32 {
    let one = first.lock().unwrap();
    both.wait();
    let other = second.lock().unwrap();
    std::hint::black_box(*one + *other)
}

#[test]
fn threads_that_wait_for_each_other_are_a_finding() {
    if !is_own_process("waits::threads_that_wait_for_each_other_are_a_finding") {
        return;
    }
    let dump = || {
        let files = Collectors::new().collector(Kind::Goroutine).snapshot().unwrap();
        let text = String::from_utf8(files[1].bytes.to_vec()).unwrap();
        (Profile::decode(&files[0].bytes, &DecodeLimits::default()).unwrap(), text)
    };
    let (a, b) = (Arc::new(Mutex::new(1)), Arc::new(Mutex::new(2)));
    // Two that wait for a lock which a third holds are none.
    let third = Arc::new(Mutex::new(3));
    let guard = third.lock().unwrap();
    for _ in 0..2 {
        let (a, third) = (Arc::clone(&a), Arc::clone(&third));
        thread::spawn(move || drop((third.lock().unwrap(), a)));
    }
    let both = Arc::new(Barrier::new(2));
    thread::sleep(Duration::from_millis(700));
    let (profile, text) = dump();
    assert!(!comments(&profile).contains("DEADLOCK?"), "{}{text}", comments(&profile));
    for (name, first, second) in [("one_way", &a, &b), ("other_way", &b, &a)] {
        let (first, second, both) = (Arc::clone(first), Arc::clone(second), Arc::clone(&both));
        let work = move || locks_one_and_then_the_other(&first, &second, &both);
        thread::Builder::new().name(name.to_owned()).spawn(work).unwrap();
    }
    let began = Instant::now();
    let (profile, text) = loop {
        let (profile, text) = dump();
        if comments(&profile).contains("DEADLOCK?") {
            break (profile, text);
        }
        assert!(began.elapsed() < Duration::from_secs(10), "{}{text}", comments(&profile));
        thread::sleep(Duration::from_millis(100));
    };
    let finding = comments(&profile);
    let finding = finding.lines().find(|line| line.starts_with("DEADLOCK?")).unwrap();
    assert!(finding.contains("one_way") && finding.contains("other_way"), "{finding}");
    let function = "locks_one_and_then_the_other";
    assert_eq!(label(&profile, function, "deadlock"), Some("cycle_1"));
    assert_eq!(text.matches("deadlock: cycle_1").count(), 2, "{text}");
    // They wait for ever; the process does not wait for them.
    drop(guard);
}
