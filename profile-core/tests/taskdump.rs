//! tokio's own task dump in dumps, of real runtimes: what it shows, and what happens where it can't be had.
#![cfg(all(tokio_unstable, target_os = "linux"))]

use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use profile_core::profile::{DecodeLimits, Profile};
use profile_core::task::{self, DETAIL_TIMEOUT, Detail, Instrument as _, Registration};
use profile_core::{Collectors, Kind, single};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;

/// All runtimes that are watched are asked: tests take turns.
fn turn() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn runtime(workers: usize) -> (Runtime, Registration) {
    let mut builder = Builder::new_multi_thread();
    let runtime = builder.worker_threads(workers).enable_all().build().unwrap();
    let watched = task::watch(runtime.handle());
    (runtime, watched)
}

fn dump() -> (Profile, String) {
    let collectors = Collectors::new().with_tasks(Detail::TaskDump).unwrap();
    let mut files = single::snapshot(&collectors, Kind::Goroutine).unwrap().into_iter();
    let profile = Profile::decode(&files.next().unwrap().bytes, &DecodeLimits::default()).unwrap();
    profile.check().unwrap();
    (profile, String::from_utf8(files.next().unwrap().bytes.into_vec()).unwrap())
}

/// Waits until this many tasks of this file wait, and the others are where `ready` says.
fn await_tasks(ready: impl Fn(&[task::Status]) -> bool) {
    let began = Instant::now();
    loop {
        let mut tasks = Vec::new();
        task::all(&mut |status| tasks.push(status.clone()));
        if ready(&tasks) {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "{tasks:?}");
        thread::sleep(Duration::from_millis(5));
    }
}

fn all_wait(tasks: &[task::Status]) -> bool {
    tasks.iter().all(|task| task.state == task::State::Idle)
}

/// The blocks of a dump with this text in their first line.
fn blocks<'a>(dump: &'a str, header: &str) -> Vec<&'a str> {
    dump.split("\n\n").filter(|block| block.lines().next().unwrap().contains(header)).collect()
}

/// The place in a function of this file that its first line is: what is inlined has no whole name.
fn inside(function: &str) -> String {
    let begins = |line: &str| line.starts_with(&format!("async fn {function}("));
    let line = include_str!("taskdump.rs").lines().position(begins).unwrap() + 2;
    format!("tests/taskdump.rs:{line}\n")
}

async fn waits_for_stock(stock: Arc<Notify>) {
    stock.notified().await;
}

async fn waits_for_both(stock: Arc<Notify>) {
    tokio::join!(left(Arc::clone(&stock)), right(stock));
}

async fn left(stock: Arc<Notify>) {
    stock.notified().await;
}

async fn right(stock: Arc<Notify>) {
    stock.notified().await;
}

#[test]
fn stacks_of_tasks_stand_in_their_blocks() {
    let _turn = turn();
    let (runtime, _watched) = runtime(2);
    let stock = Arc::new(Notify::new());
    let one = async { waits_for_stock(Arc::clone(&stock)).await };
    // Polled by nobody, and so nowhere.
    drop(one.instrument(task::named("t_never")));
    let handle = runtime.handle();
    let _one = task::named("t_one").per_request().spawn_on(waits_for_stock(stock.clone()), handle);
    let _both = task::named("t_both").spawn_on(waits_for_both(stock.clone()), handle);
    let (polled, is_polled) = mpsc::channel();
    let nobodys = stock.clone();
    let _nobody = runtime.spawn(async move {
        polled.send(()).unwrap();
        waits_for_stock(nobodys).await;
    });
    is_polled.recv().unwrap();
    await_tasks(all_wait);
    let (profile, text) = dump();
    let [one] = blocks(&text, "{task: t_one, category: \"per-request\"}:")[..] else {
        panic!("{text}")
    };
    assert!(one.contains(&inside("waits_for_stock")), "{one}");
    assert!(one.contains("Notified"), "tokio's own frames are there: {one}");
    assert!(!one.contains("profile_core::"), "ours are not: {one}");
    assert!(one.contains("created by task spawn\n"), "{one}");
    let [both] = blocks(&text, "{task: t_both, category: unknown}:")[..] else { panic!("{text}") };
    for place in [inside("left"), inside("right"), "(2 at once)\n".to_owned()] {
        assert!(both.contains(&place), "{place}: {both}");
    }
    // Known by its id at tokio only, and so no longer counted as unknown.
    let [nobody] = blocks(&text, "{task: \"(unnamed)\", key: ")[..] else { panic!("{text}") };
    assert!(nobody.contains(&inside("waits_for_stock")), "{nobody}");
    assert!(blocks(&text, "[task unknown]").is_empty(), "{text}");
    assert!(!text.contains("\n# "), "nothing is missing: {text}");
    let names: Vec<&str> = profile.functions.iter().map(|f| profile.str(f.name)).collect();
    assert!(names.iter().any(|name| name.contains("poll_notified")), "{names:?}");
}

/// tokio issue 8391: of a runtime with one thread this would be a panic in the scheduler.
#[test]
fn a_task_may_wake_itself_while_it_is_dumped() {
    let _turn = turn();
    let (runtime, _watched) = runtime(2);
    let polls = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&polls);
    let wakes_itself = poll_fn(move |cx| {
        // In the second poll, which is the dump's.
        if count.fetch_add(1, Ordering::Relaxed) == 1 {
            cx.waker().wake_by_ref();
        }
        Poll::<()>::Pending
    });
    let _task = task::named("t_wakes_itself").spawn_on(wakes_itself, runtime.handle());
    await_tasks(|tasks| all_wait(tasks) && polls.load(Ordering::Relaxed) == 1);
    let (_, text) = dump();
    assert!(!text.contains("\n# "), "{text}");
    assert!(polls.load(Ordering::Relaxed) >= 2);
    let began = Instant::now();
    while polls.load(Ordering::Relaxed) < 3 {
        assert!(began.elapsed() < Duration::from_secs(30), "it was woken");
    }
    // What tokio has counted by now nobody knows.
    let why = Detail::TaskDump.check().unwrap_err();
    assert!(why.reason.starts_with("tasks=taskdump: the runtime was dumped before"), "{why}");
}

fn blocks_its_worker(done: &mpsc::Receiver<()>) {
    let _ = done.recv();
    std::hint::black_box(());
}

#[test]
fn where_a_worker_is_blocked_the_others_are_left_alone() {
    let _turn = turn();
    let (runtime, _watched) = runtime(2);
    let (done, is_done) = mpsc::channel();
    let (here, is_here) = mpsc::channel();
    let blocking = async move {
        here.send(()).unwrap();
        blocks_its_worker(&is_done);
    };
    let _blocking = task::named("t_blocks").spawn_on(blocking, runtime.handle());
    is_here.recv().unwrap();
    await_tasks(|tasks| tasks.iter().all(|task| task.since > Duration::from_millis(150)));
    let began = Instant::now();
    let (profile, text) = dump();
    assert!(began.elapsed() < DETAIL_TIMEOUT, "it is not tried at all");
    let note = text.lines().find(|line| line.starts_with("# ")).unwrap();
    assert!(note.starts_with("# tasks=taskdump: worker "), "{note}");
    let comments = profile.comments.iter().map(|&comment| profile.str(comment));
    assert!(comments.into_iter().any(|comment| note.ends_with(comment)));
    let [blocking] = blocks(&text, "[task blocking] {task: t_blocks")[..] else { panic!("{text}") };
    assert!(blocking.contains("taskdump::blocks_its_worker()"), "{blocking}");
    // The other worker still works, at once.
    let (sent, received) = mpsc::channel();
    runtime.spawn(async move { sent.send(()).unwrap() });
    received.recv_timeout(Duration::from_secs(10)).unwrap();
    drop(done);
}

#[test]
fn a_dump_that_does_not_end_is_given_up() {
    let _turn = turn();
    let (runtime, _watched) = runtime(2);
    let (done, is_done) = mpsc::channel::<()>();
    let (polled, is_polled) = mpsc::channel();
    let is_done = Mutex::new(is_done);
    let mut first = true;
    // Blocks in its second poll, which only a dump does.
    let blocks_later = poll_fn(move |_| {
        if std::mem::take(&mut first) {
            polled.send(()).unwrap();
            return Poll::Pending;
        }
        blocks_its_worker(&is_done.lock().unwrap());
        Poll::Ready(())
    });
    let blocking = task::named("t_blocks_later").spawn_on(blocks_later, runtime.handle());
    is_polled.recv().unwrap();
    await_tasks(all_wait);
    let began = Instant::now();
    let (_, text) = dump();
    let took = began.elapsed();
    assert!(took >= DETAIL_TIMEOUT && took < DETAIL_TIMEOUT + Duration::from_secs(10), "{took:?}");
    assert!(text.contains("\n# tasks=taskdump: timed out after 2s\n"), "{text}");
    assert_eq!(blocks(&text, "{task: t_blocks_later").len(), 1, "the rest is there: {text}");
    assert!(Detail::TaskDump.check().is_err(), "once only");
    drop(done);
    runtime.block_on(blocking).unwrap();
}

#[test]
fn a_runtime_of_one_thread_is_refused() {
    let _turn = turn();
    let nobody = Detail::TaskDump.check().unwrap_err();
    assert_eq!(nobody.reason, "tasks=taskdump: no tokio runtime was handed over");
    let runtime = Builder::new_current_thread().build().unwrap();
    let _watched = task::watch(runtime.handle());
    let why = Collectors::new().with_tasks(Detail::TaskDump).err().unwrap();
    let reason = "tasks=taskdump: only tasks of a multi-threaded runtime can be dumped";
    assert_eq!(why.reason, reason);
    assert!(Collectors::new().available().check_tasks(Detail::TaskDump).is_err());
    // Beside one that can be dumped it is named in the dump.
    let (_other, _watched) = self::runtime(1);
    let (_, text) = dump();
    assert!(text.contains(&format!("\n# {reason}\n")), "{text}");
}
