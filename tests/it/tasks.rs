//! Tasks in dumps and traces, in workloads whose truth is known.

use std::collections::HashMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use profilez::analysis;
use profilez::analysis::rules::RuleSet;
use profilez::analysis::trace::{TraceLimits, findings, summarize};
use profilez::core::profile::{DecodeLimits, Profile};
use profilez::core::{Collectors, Kind};
use profilez::task::{self, Instrument as _};
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};

use crate::support::own_process::is_own_process;

pub(crate) fn runtime(workers: usize) -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(workers)
        .thread_name("t_worker")
        .enable_all()
        .build()
        .unwrap()
}

/// The dump as a profile and as text.
fn dump() -> (Profile, String) {
    let window = Collectors::new().collector(Kind::Goroutine).start().unwrap();
    let mut files = window.close()().unwrap().into_iter();
    let profile = Profile::decode(&files.next().unwrap().bytes, &DecodeLimits::default()).unwrap();
    profile.check().unwrap();
    (profile, String::from_utf8(files.next().unwrap().bytes.into_vec()).unwrap())
}

/// The blocks of a dump whose header has this text.
pub(crate) fn blocks<'a>(dump: &'a str, header: &str) -> Vec<&'a str> {
    dump.split("\n\n").filter(|block| block.lines().next().unwrap().contains(header)).collect()
}

#[inline(never)]
fn blocks_its_worker(done: &mpsc::Receiver<()>) {
    let _ = done.recv();
    std::hint::black_box(());
}

#[test]
fn a_dump_shows_what_each_task_does() {
    const TEST: &str = "tasks::a_dump_shows_what_each_task_does";
    if !is_own_process(TEST) {
        return;
    }
    let runtime = runtime(2);
    let watched = task::watch(runtime.handle());
    let (_done, is_done) = mpsc::channel();
    let line = line!();
    let _waits = task::named("t_waits")
        .per_request()
        .spawn_on(async { std::future::pending::<()>().await_point().await }, runtime.handle());
    for _ in 0..3 {
        runtime.spawn(std::future::pending::<()>());
    }
    let _blocking = task::named("t_blocks")
        .background()
        .spawn_on(async move { blocks_its_worker(&is_done) }, runtime.handle());
    let began = Instant::now();
    let (profile, text) = loop {
        let (profile, text) = dump();
        let seen = !blocks(&text, "[task blocking]").is_empty()
            && !blocks(&text, "[task idle] {task: t_waits").is_empty();
        if seen {
            break (profile, text);
        }
        assert!(began.elapsed() < Duration::from_secs(20), "{text}");
    };
    let [idle] = blocks(&text, "{task: t_waits, category: \"per-request\"}:")[..] else {
        panic!("{text}");
    };
    let (place, site) = (format!("tasks.rs:{}", line + 3), format!("tasks.rs:{}", line + 1));
    let lines: Vec<&str> = idle.lines().collect();
    assert_eq!(lines[1], "t_waits::await()");
    assert!(lines[2].ends_with(&place), "{idle}");
    assert!(lines[4].ends_with(&site), "{idle}");
    assert!(idle.contains("created by task spawn\n"), "{idle}");

    // The thread's own block has the same stack.
    let [blocking] = blocks(&text, "{task: t_blocks, category: background, worker: ")[..] else {
        panic!("{text}");
    };
    assert!(blocking.starts_with("goroutine 1000"), "beyond every thread's id: {blocking}");
    assert!(blocking.contains("tasks::blocks_its_worker()"), "{blocking}");
    assert!(blocking.contains("worker::Context::run"), "{blocking}");
    let worker = blocking.split("worker: ").nth(1).unwrap().split('}').next().unwrap();
    let [thread] = blocks(&text, &format!("goroutine {worker} ["))[..] else { panic!("{text}") };
    assert!(thread.contains("{thread: t_worker}"), "{thread}");

    let [unnamed] = blocks(&text, "[task unknown] {tasks: 3}:")[..] else { panic!("{text}") };
    assert!(unnamed.contains("unnamed_tasks()"), "{unnamed}");

    let label = |labels: &[profilez::core::profile::Label], key: &str| {
        let label = labels.iter().find(|label| profile.str(label.key) == key);
        label.map(|label| profile.str(label.str).to_owned()).unwrap_or_default()
    };
    let samples: HashMap<String, (String, i64)> = profile
        .samples
        .iter()
        .filter(|sample| !label(sample.labels, "task").is_empty())
        .map(|s| (label(s.labels, "task"), (label(s.labels, "state"), s.values[0])))
        .collect();
    assert_eq!(samples["t_waits"], ("task idle".to_owned(), 1));
    assert_eq!(samples["t_blocks"], ("task blocking".to_owned(), 1));
    assert_eq!(samples["(unnamed)"], ("task unknown".to_owned(), 3));
    drop(watched);
    let (_, text) = dump();
    assert!(blocks(&text, "[task unknown]").is_empty(), "nobody counts any more");
    drop(_done);
}

#[inline(never)]
fn sleeps_in_a_poll() {
    thread::sleep(Duration::from_millis(400));
    std::hint::black_box(());
}

#[inline(never)]
fn sleeps_where_it_may() {
    thread::sleep(Duration::from_millis(400));
    std::hint::black_box(());
}

/// Tasks that nobody named hold a lock over a sleep, and wait for it: each look finds both workers. What
/// sleeps on the pool for that, or says that it will, blocks nobody; neither does an idle worker.
#[test]
fn a_worker_that_a_task_without_a_name_blocks_is_found() {
    const TEST: &str = "tasks::a_worker_that_a_task_without_a_name_blocks_is_found";
    if !is_own_process(TEST) {
        return;
    }
    // Where this fails it is not waited for.
    let runtime: &Runtime = Box::leak(Box::new(runtime(4)));
    let lock = Arc::new(Mutex::new(()));
    for _ in 0..2 {
        let lock = Arc::clone(&lock);
        runtime.spawn(async move {
            loop {
                let guard = lock.lock().unwrap();
                sleeps_in_a_poll();
                drop(guard);
                tokio::task::yield_now().await;
            }
        });
    }
    runtime.spawn_blocking(|| {
        loop {
            sleeps_where_it_may();
        }
    });
    runtime.spawn(async {
        loop {
            tokio::task::block_in_place(sleeps_where_it_may);
            tokio::task::yield_now().await;
        }
    });
    thread::sleep(Duration::from_millis(100));
    for _ in 0..5 {
        let (profile, text) = dump();
        let blocked = blocks(&text, "blocks: worker}");
        // The one that sleeps, the one that waits for it, or both.
        assert!((1..=2).contains(&blocked.len()), "{text}");
        assert!(!blocked.iter().any(|block| block.contains("sleeps_where_it_may")), "{text}");
        let comments = profile.comments.iter().map(|&comment| profile.str(comment));
        let told = comments.filter(|comment| comment.contains("has been blocked in a task's poll"));
        assert_eq!(told.count(), blocked.len());
        let dump = analysis::dump::parse(text.as_bytes());
        let groups = analysis::groups::group(&dump, RuleSet::shipped(), &Default::default());
        let stuck = groups.rows[0].stuck.as_ref().expect("stands first");
        assert_eq!(stuck.evidence, analysis::groups::Evidence::BlocksWorker);
    }
}

#[test]
fn a_dump_tells_woken_tasks_from_waiting_ones() {
    const TEST: &str = "tasks::a_dump_tells_woken_tasks_from_waiting_ones";
    if !is_own_process(TEST) {
        return;
    }
    let runtime = runtime(1);
    let wake = Arc::new(tokio::sync::Notify::new());
    let notified = Arc::clone(&wake);
    let _woken =
        task::named("t_woken").spawn_on(async move { notified.notified().await }, runtime.handle());
    let _waits = task::named("t_waits").spawn_on(std::future::pending::<()>(), runtime.handle());
    let await_dump = |what: &str| {
        let began = Instant::now();
        loop {
            let (profile, text) = dump();
            if !blocks(&text, what).is_empty() {
                break (profile, text);
            }
            assert!(began.elapsed() < Duration::from_secs(20), "{what}: {text}");
        }
    };
    await_dump("[task idle] {task: t_woken");
    await_dump("[task idle] {task: t_waits");
    // The only worker does something else.
    let (done, is_done) = mpsc::channel();
    let _blocking = task::named("t_blocks")
        .spawn_on(async move { blocks_its_worker(&is_done) }, runtime.handle());
    await_dump("[task blocking]");
    wake.notify_one();
    let (profile, text) = dump();
    assert_eq!(blocks(&text, "[task woken] {task: t_woken").len(), 1, "{text}");
    assert_eq!(blocks(&text, "[task idle] {task: t_waits").len(), 1, "{text}");
    assert!(profile.strings.iter().any(|text| text == "task woken"));
    drop(done);
    let began = Instant::now();
    while dump().1.contains("t_woken") {
        assert!(began.elapsed() < Duration::from_secs(20), "it was polled and ended");
    }
}

/// When something began and ended, by std's clock.
pub(crate) type Truth = Arc<Mutex<Vec<(Instant, Instant)>>>;

/// A task whose polls do nothing but write down when they were.
pub(crate) async fn polled(times: usize, truth: Truth) {
    for _ in 0..times {
        let began = Instant::now();
        thread::sleep(Duration::from_millis(2));
        truth.lock().unwrap_or_else(PoisonError::into_inner).push((began, Instant::now()));
        tokio::task::yield_now().await;
    }
}

pub(crate) struct Trace {
    json: Value,
    pub(crate) bytes: Vec<u8>,
    /// The window opened between these.
    opened: (Instant, Instant),
}

impl Trace {
    pub(crate) fn of(during: impl FnOnce()) -> Trace {
        let before = Instant::now();
        let window = Collectors::new().collector(Kind::Trace).start().unwrap();
        let opened = (before, Instant::now());
        during();
        let bytes = window.close()().unwrap().remove(0).bytes.into_vec();
        Trace { json: serde_json::from_slice(&bytes).unwrap(), bytes, opened }
    }

    pub(crate) fn events(&self, category: &str, phase: &str) -> Vec<&Value> {
        let events = self.json["traceEvents"].as_array().unwrap().iter();
        events.filter(|event| event["cat"] == category && event["ph"] == phase).collect()
    }

    /// Whether an event can have been from before `began` until after `ended`.
    #[track_caller]
    pub(crate) fn assert_covers(&self, event: &Value, (began, ended): (Instant, Instant)) {
        let micros = |name: &str| Duration::from_secs_f64(event[name].as_f64().unwrap() / 1e6);
        // Times are written to the nanosecond, and rounded on the way.
        let slack = Duration::from_micros(1);
        let (at, until) = (micros("ts"), micros("ts") + micros("dur"));
        assert!(self.opened.0 + at <= began + slack, "{event} begins too late");
        assert!(self.opened.1 + until + slack >= ended, "{event} ends too early");
        // And by no more than a millisecond's work and what the machine may take away.
        let longest = ended - began + Duration::from_secs(2);
        assert!(until - at <= longest, "{event} is too long");
    }
}

impl Trace {
    /// Whether an event can have been at a moment between these.
    #[track_caller]
    pub(crate) fn assert_within(&self, event: &Value, (began, ended): (Instant, Instant)) {
        let at = Duration::from_secs_f64(event["ts"].as_f64().unwrap() / 1e6);
        let slack = Duration::from_micros(1);
        assert!(self.opened.0 + at <= ended + slack, "{event} is too late");
        assert!(self.opened.1 + at + slack >= began, "{event} is too early");
    }
}

/// Waits for a lock, on a thread named `t_waiter`, and says how long.
pub(crate) fn waiter(held: &Arc<Mutex<()>>, waited: &Truth) -> thread::JoinHandle<()> {
    let (held, waited) = (Arc::clone(held), Arc::clone(waited));
    let work = move || {
        let began = Instant::now();
        drop(held.lock());
        waited.lock().unwrap().push((began, Instant::now()));
    };
    thread::Builder::new().name("t_waiter".to_owned()).spawn(work).unwrap()
}

#[test]
fn a_trace_shows_every_poll_and_wait_when_it_was() {
    const TEST: &str = "tasks::a_trace_shows_every_poll_and_wait_when_it_was";
    if !is_own_process(TEST) {
        return;
    }
    const TASKS: usize = 4;
    const POLLS: usize = 25;
    let runtime = runtime(2);
    let _watched = task::watch(runtime.handle());
    let truths: Vec<Truth> = (0..TASKS).map(|_| Truth::default()).collect();
    let waited = Truth::default();
    let held = Arc::new(Mutex::new(()));
    let trace = Trace::of(|| {
        let tasks: Vec<_> = truths
            .iter()
            .zip(["t_a", "t_b", "t_c", "t_d"])
            .map(|(truth, name)| {
                task::named(name).spawn_on(polled(POLLS, Arc::clone(truth)), runtime.handle())
            })
            .collect();
        let guard = held.lock().unwrap();
        let waiter = waiter(&held, &waited);
        thread::sleep(Duration::from_millis(50));
        drop(guard);
        waiter.join().unwrap();
        runtime.block_on(async {
            for task in tasks {
                task.await.unwrap();
            }
        });
        // The counters are read now and then.
        thread::sleep(Duration::from_millis(300));
    });

    let polls = trace.events("task", "X");
    for (truth, name) in truths.iter().zip(["t_a", "t_b", "t_c", "t_d"]) {
        let truth = truth.lock().unwrap();
        let mut ours: Vec<&&Value> = polls.iter().filter(|event| event["name"] == name).collect();
        ours.sort_by(|a, b| a["ts"].as_f64().unwrap().total_cmp(&b["ts"].as_f64().unwrap()));
        // The last poll does nothing but end.
        assert_eq!((truth.len(), ours.len()), (POLLS, POLLS + 1));
        for (event, &known) in ours.iter().zip(truth.iter()) {
            trace.assert_covers(event, known);
        }
        assert!(ours.iter().all(|event| event["args"]["task"] == ours[0]["args"]["task"]));
    }
    assert_nested(&trace);

    // The lock's waiter has a wait that ends with an arrow from the thread that let go.
    let names: HashMap<u64, &str> = trace
        .events("__metadata", "M")
        .into_iter()
        .filter(|event| event["name"] == "thread_name")
        .map(|event| (event["tid"].as_u64().unwrap(), event["args"]["name"].as_str().unwrap()))
        .collect();
    let of_waiter =
        |event: &&&Value| names.get(&event["tid"].as_u64().unwrap()) == Some(&"t_waiter");
    let waits = trace.events("wait", "X");
    let longest = waits
        .iter()
        .filter(of_waiter)
        .max_by(|a, b| a["dur"].as_f64().unwrap().total_cmp(&b["dur"].as_f64().unwrap()))
        .unwrap_or_else(|| panic!("no wait of the waiter in {waits:?}"));
    assert!(longest["dur"].as_f64().unwrap() >= 20_000.0, "{longest}");
    let (began, ended) = waited.lock().unwrap()[0];
    let end = longest["ts"].as_f64().unwrap() + longest["dur"].as_f64().unwrap();
    assert!(trace.opened.0 + Duration::from_secs_f64(end / 1e6) <= ended, "{longest}");
    assert!(trace.opened.1 + Duration::from_secs_f64(end / 1e6) >= began, "{longest}");
    let (starts, ends) = (trace.events("wake", "s"), trace.events("wake", "f"));
    assert_eq!(starts.len(), ends.len());
    let arrow =
        ends.iter().filter(of_waiter).find(|e| (e["ts"].as_f64().unwrap() - end).abs() < 0.1);
    let arrow = arrow.unwrap_or_else(|| panic!("no arrow ends at {end} in {ends:?}"));
    let from = starts.iter().find(|start| start["id"] == arrow["id"]).unwrap();
    assert!(from["ts"].as_f64() <= arrow["ts"].as_f64(), "{from} {arrow}");
    assert_ne!(from["tid"], arrow["tid"]);

    for counter in ["memory", "cpu", "tasks", "queue"] {
        let counted = trace.events("counter", "C");
        assert!(counted.iter().any(|event| event["name"] == counter), "{counter}: {counted:?}");
    }
    let summary = summarize(&trace.bytes, &TraceLimits::default()).unwrap();
    assert_eq!(summary.busiest.iter().map(|task| task.polls).sum::<u64>(), polls.len() as u64);
    assert!(summary.warnings.is_empty() && summary.lost_events == 0, "{summary:?}");

    in_firefox_profiler(&trace, "t_waiter");
}

/// Slices of a thread lie within each other or apart.
fn assert_nested(trace: &Trace) {
    let mut threads: HashMap<u64, Vec<(f64, f64)>> = HashMap::new();
    for event in trace.json["traceEvents"].as_array().unwrap() {
        if event["ph"] == "X" {
            let (at, dur) = (event["ts"].as_f64().unwrap(), event["dur"].as_f64().unwrap());
            threads.entry(event["tid"].as_u64().unwrap()).or_default().push((at, at + dur));
        }
    }
    assert!(threads.len() >= 3, "{threads:?}");
    for slices in threads.values_mut() {
        slices.sort_by(|a, b| a.0.total_cmp(&b.0).then(b.1.total_cmp(&a.1)));
        let mut open: Vec<(f64, f64)> = Vec::new();
        for &slice in slices.iter() {
            open.retain(|outer| outer.1 > slice.0);
            for outer in &open {
                assert!(slice.1 <= outer.1 + 0.002, "{slice:?} sticks out of {outer:?}");
            }
            open.push(slice);
        }
    }
}

/// The command line of the Firefox Profiler, as `cargo xtask tools` installs it. Without it what it
/// would check is skipped, except in CI.
fn profiler_cli() -> Option<PathBuf> {
    let cli = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("target/tools/node/node_modules/@firefox-devtools/profiler-cli/dist/profiler-cli.js");
    if cli.exists() {
        return Some(cli);
    }
    let message = "profiler-cli is missing: run `cargo xtask tools`";
    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{message}");
    eprintln!("skipped: {message}");
    None
}

/// The Firefox Profiler finds the same threads, one of this name among them, and the same polls and waits at
/// the same times.
pub(crate) fn in_firefox_profiler(trace: &Trace, thread: &str) {
    let Some(cli) = profiler_cli() else { return };
    // Its sessions lie in the home directory.
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("trace.json");
    std::fs::File::create(&file).unwrap().write_all(&trace.bytes).unwrap();
    let run = |arguments: &[&str]| {
        let mut command = Command::new("node");
        command
            .arg(&cli)
            .args(arguments)
            .env("HOME", home.path())
            .env("XDG_RUNTIME_DIR", home.path());
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.success(), text, String::from_utf8_lossy(&output.stderr).into_owned())
    };
    struct Stop(Vec<String>);
    impl Drop for Stop {
        fn drop(&mut self) {
            for pid in &self.0 {
                let _ = Command::new("kill").arg(pid).output();
            }
        }
    }
    let mut daemons = Stop(Vec::new());
    let mut load = || {
        let (ok, text, errors) = run(&["load", file.to_str().unwrap()]);
        // Where it gave up on its daemon it says which that is.
        let pid = errors.split("pid ").nth(1).and_then(|rest| rest.split([',', ' ']).next());
        daemons.0.extend(pid.map(str::to_owned));
        (ok, text, errors)
    };
    // It waits half a second for its daemon, which goes on starting where that is not enough.
    let began = Instant::now();
    let mut loaded = load();
    let (list, errors) = loop {
        let (ok, list, errors) = run(&["thread", "list", "--json"]);
        if ok {
            break (list, errors);
        }
        assert!(began.elapsed() < Duration::from_secs(90), "{loaded:?} {list}{errors}");
        thread::sleep(Duration::from_millis(500));
        if began.elapsed() > Duration::from_secs(20) {
            loaded = load();
        }
    };
    let threads: Value = serde_json::from_str(&list).unwrap_or_else(|_| panic!("{list}{errors}"));
    let handles: Vec<(String, String)> = threads["threads"]
        .as_array()
        .unwrap_or_else(|| panic!("{list}"))
        .iter()
        .map(|thread| {
            let text = |name: &str| thread[name].as_str().unwrap_or_default().to_owned();
            (text("threadHandle"), text("name"))
        })
        .collect();
    let mut seen: Vec<(String, f64, f64)> = Vec::new();
    for (handle, _) in &handles {
        let arguments =
            ["thread", "markers", "--thread", handle, "--top-n", "1000", "--limit", "0", "--json"];
        let (ok, text, errors) = run(&arguments);
        assert!(ok, "{text}{errors}");
        let markers: Value = serde_json::from_str(&text).unwrap();
        for kind in markers["byType"].as_array().into_iter().flatten() {
            let name = kind["markerName"].as_str().unwrap().to_owned();
            for marker in kind["topMarkers"].as_array().unwrap() {
                let number = |field: &str| marker[field].as_f64().unwrap_or(0.0);
                seen.push((name.clone(), number("start") * 1e3, number("duration") * 1e3));
            }
        }
    }
    run(&["stop", "--all"]);
    assert!(handles.iter().any(|(_, name)| name.contains(thread)), "{handles:?}");
    // Its times begin with the first slice that it shows.
    let events = trace.json["traceEvents"].as_array().unwrap();
    let timed = || events.iter().filter(|event| event["ph"] == "X");
    let earliest = |times: &mut dyn Iterator<Item = f64>| times.fold(f64::INFINITY, f64::min);
    let first = earliest(&mut timed().map(|event| event["ts"].as_f64().unwrap()))
        - earliest(&mut seen.iter().map(|&(_, start, _)| start));
    for event in timed() {
        let (at, dur) = (event["ts"].as_f64().unwrap() - first, event["dur"].as_f64().unwrap());
        let same = |(name, start, duration): &(String, f64, f64)| {
            event["name"] == *name.as_str()
                && (start - at).abs() < 1.0
                && (duration - dur).abs() < 1.0
        };
        assert!(seen.iter().any(same), "{event} is not among the markers: {seen:?}");
    }
}

#[test]
fn a_trace_finds_what_is_wrong() {
    const TEST: &str = "tasks::a_trace_finds_what_is_wrong";
    if !is_own_process(TEST) {
        return;
    }
    let runtime = runtime(1);
    let stuck = task::named("t_stuck").per_request();
    let _stuck = stuck
        .spawn_on(async { std::future::pending::<()>().await_point().await }, runtime.handle());
    let waits = task::named("t_background").background();
    let _waits = waits.spawn_on(std::future::pending::<()>(), runtime.handle());
    let (_done, is_done) = mpsc::channel();
    // Both are polled once before the window opens.
    while !dump().1.contains("[task idle] {task: t_stuck") {}
    let trace = Trace::of(|| {
        let slow = async { thread::sleep(Duration::from_millis(15)) };
        runtime.block_on(task::named("t_slow").spawn_on(slow, runtime.handle())).unwrap();
        let _blocks = task::named("t_blocks")
            .spawn_on(async move { blocks_its_worker(&is_done) }, runtime.handle());
        thread::sleep(Duration::from_millis(250));
    });
    let found = findings(&summarize(&trace.bytes, &TraceLimits::default()).unwrap());
    let text = |what: &str| -> Vec<&str> {
        found.iter().filter(|f| f.what == what).map(|f| f.text.as_str()).collect()
    };
    let [blocked] = text("blocked worker")[..] else { panic!("{found:?}") };
    assert!(blocked.starts_with("task t_blocks (tests/it/tasks.rs:"), "{blocked}");
    assert!(
        blocked.contains("thread t_worker") && blocked.ends_with("and still does"),
        "{blocked}"
    );
    let [never] = text("never polled again")[..] else { panic!("{found:?}") };
    assert!(never.starts_with("task t_stuck (tests/it/tasks.rs:"), "{never}");
    assert!(never.contains("waits at tests/it/tasks.rs:"), "{never}");
    let slow = text("slow polls");
    assert!(slow.iter().any(|text| text.starts_with("task t_slow (")), "{found:?}");
}

#[cfg(feature = "tracing")]
#[test]
fn spans_and_events_of_tracing_are_on_the_time_line() {
    const TEST: &str = "tasks::spans_and_events_of_tracing_are_on_the_time_line";
    if !is_own_process(TEST) {
        return;
    }
    use tracing_subscriber::layer::SubscriberExt as _;
    let layer = profilez::trace::layer(tracing::Level::INFO);
    let subscriber = tracing_subscriber::registry().with(layer);
    tracing::subscriber::with_default(subscriber, || {
        let long = tracing::info_span!("made_before_the_window");
        let trace = Trace::of(|| {
            let _entered = long.enter();
            let inner = tracing::info_span!("inner").entered();
            tracing::info!("a \"message\" that is {} long", "somewhat ".repeat(20));
            tracing::debug!("not wanted");
            drop(inner);
        });
        let spans = trace.events("span", "X");
        let names: Vec<&Value> = spans.iter().map(|span| &span["name"]).collect();
        assert_eq!(names, ["inner", "made_before_the_window"]);
        let [event] = trace.events("event", "i")[..] else { panic!("{:?}", trace.json) };
        let message = event["args"]["message"].as_str().unwrap();
        assert!(message.starts_with("a \"message\" that is somewhat somewhat"), "{message}");
        assert_eq!(message.len(), 120);
        assert!(event["args"]["site"].as_str().unwrap().contains("tasks.rs:"), "{event}");
    });
}

#[cfg(feature = "tower")]
#[test]
fn a_request_is_a_task_while_it_is_served() {
    use std::convert::Infallible;
    use std::task::{Context, Poll};

    use tower_layer::Layer as _;
    use tower_service::Service;

    struct Slow;

    impl Service<http::Request<()>> for Slow {
        type Response = ();
        type Error = Infallible;
        type Future = std::future::Pending<Result<(), Infallible>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: http::Request<()>) -> Self::Future {
            std::future::pending()
        }
    }

    let request = http::Request::post("/t_users/4711/orders?id=secret").body(()).unwrap();
    let (layer, line) = (profilez::http::tasks::RequestTasks::new(), line!());
    let served = layer.layer(Slow).call(request);
    let mut seen = Vec::new();
    let look = |seen: &mut Vec<task::Status>| {
        task::all(&mut |status| {
            if status.kind.name().contains("t_users") {
                seen.push(status.clone());
            }
        });
    };
    look(&mut seen);
    let [status] = &seen[..] else { panic!("{seen:?}") };
    assert_eq!(status.kind.name(), "POST /t_users/{id}/orders");
    assert_eq!(status.kind.category(), task::Category::PerRequest);
    assert_eq!((status.kind.file(), status.kind.line()), (file!(), line));
    drop(served);
    seen.clear();
    look(&mut seen);
    assert!(seen.is_empty(), "{seen:?}");
}
