//! Traces as others get and show them: streamed, with the samples of CPU time, and in speedscope.

#[cfg(feature = "intercept")]
use std::collections::BTreeMap;
use std::future::Future as _;
use std::hint::black_box;
use std::pin::pin;
#[cfg(feature = "intercept")]
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use profilez::analysis::trace::{TraceLimits, summarize};
use profilez::core::{Collectors, Kind};
use profilez::task::{self, Instrument as _};
use serde_json::Value;

use crate::support::http::get;
use crate::support::own_process::is_own_process;
use crate::support::server::{real, unpack};
use crate::tasks::{Trace, in_firefox_profiler, runtime};

/// Where this much CPU time goes.
#[inline(never)]
fn t_spins(time: Duration) {
    let until = Instant::now() + time;
    while Instant::now() < until {
        black_box((0..1000_u64).fold(1, |a, b| black_box(a) ^ b));
    }
}

/// Is ready in the next poll, which it asks for in its first.
async fn wakes_itself() {
    let mut first = true;
    std::future::poll_fn(|cx| {
        if std::mem::take(&mut first) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(())
    })
    .await;
}

/// A wake-up has an arrow from the thread and the moment of it to the beginning of the poll. A task that wakes itself,
/// or yields, has none.
#[test]
fn arrows_go_from_who_wakes_a_task_to_its_poll() {
    const TEST: &str = "traces::arrows_go_from_who_wakes_a_task_to_its_poll";
    if !is_own_process(TEST) {
        return;
    }
    const ROUNDS: usize = 10;
    let runtime = runtime(2);
    let wake = Arc::new(tokio::sync::Notify::new());
    let polled: Arc<Mutex<Vec<Instant>>> = Arc::default();
    // How often it has waited to be woken.
    let waits: Arc<AtomicUsize> = Arc::default();
    let mut wakes: Vec<(Instant, Instant)> = Vec::new();
    let work = {
        let (wake, polled, waits) = (Arc::clone(&wake), Arc::clone(&polled), Arc::clone(&waits));
        async move {
            for _ in 0..ROUNDS {
                waits.fetch_add(1, Ordering::SeqCst);
                wake.notified().await;
                polled.lock().unwrap().push(Instant::now());
                tokio::task::yield_now().await;
                wakes_itself().await;
            }
        }
    };
    // Until what it waits for is so.
    let until = |ready: &dyn Fn() -> bool| {
        let began = Instant::now();
        while !ready() {
            assert!(began.elapsed() < Duration::from_secs(20));
            thread::sleep(Duration::from_micros(100));
        }
    };
    let is_idle = || {
        let mut idle = false;
        task::all(&mut |status| idle |= status.state == task::State::Idle);
        idle
    };
    let trace = Trace::of(|| {
        let woken = task::named("t_woken").spawn_on(work, runtime.handle());
        let waker = || {
            for round in 0..ROUNDS {
                // A task that yields is idle, too: from the end of its poll until the worker wakes it.
                until(&|| waits.load(Ordering::SeqCst) > round && is_idle());
                let before = Instant::now();
                wake.notify_one();
                wakes.push((before, Instant::now()));
                until(&|| polled.lock().unwrap().len() > round);
            }
        };
        thread::scope(|scope| {
            thread::Builder::new().name("t_waker".to_owned()).spawn_scoped(scope, waker).unwrap();
        });
        runtime.block_on(woken).unwrap();
    });

    let number = |event: &Value, name: &str| event[name].as_f64().unwrap();
    let in_order = |mut events: Vec<&'_ Value>| {
        events.sort_by(|a, b| number(a, "ts").total_cmp(&number(b, "ts")));
        events.into_iter().cloned().collect::<Vec<Value>>()
    };
    let names = trace.events("__metadata", "M");
    let waker = names.iter().find(|event| event["args"]["name"] == "t_waker").unwrap();
    let starts = in_order(trace.events("woken", "s"));
    let ends = in_order(trace.events("woken", "f"));
    assert_eq!((starts.len(), ends.len()), (ROUNDS, ROUNDS), "{starts:#?} {ends:#?}");
    let polls = trace.events("task", "X");
    let polled = polled.lock().unwrap();
    for (((start, end), &wake), &polled) in starts.iter().zip(&ends).zip(&wakes).zip(&*polled) {
        assert_eq!(start["id"], end["id"]);
        assert_eq!(start["tid"], waker["tid"]);
        trace.assert_within(start, wake);
        trace.assert_within(end, (wake.0, polled));
        let of_end = |poll: &&&Value| poll["tid"] == end["tid"] && poll["ts"] == end["ts"];
        let poll = polls.iter().find(of_end).unwrap_or_else(|| panic!("{end}: {polls:#?}"));
        assert_eq!(
            (&poll["name"], &poll["args"]["task"]),
            (&end["args"]["name"], &end["args"]["task"])
        );
        let waited = number(&end["args"], "waited_micros");
        assert!((number(end, "ts") - number(start, "ts") - waited).abs() < 0.002, "{start} {end}");
    }
    in_firefox_profiler(&trace, "t_worker");
}

/// Each arrow has two ends: one where a wait ends, on the thread that waited, and one during the wait, on
/// the thread that woke it, in the poll that did so.
#[cfg(feature = "intercept")]
#[test]
fn arrows_go_from_who_wakes_to_the_end_of_the_wait() {
    const TEST: &str = "traces::arrows_go_from_who_wakes_to_the_end_of_the_wait";
    if !is_own_process(TEST) {
        return;
    }
    const ROUNDS: usize = 10;
    let runtime = runtime(2);
    let trace = Trace::of(|| {
        for _ in 0..ROUNDS {
            let (held, taken) = (Arc::new(Mutex::new(())), Arc::new(Barrier::new(2)));
            let holds = {
                let (held, taken) = (Arc::clone(&held), Arc::clone(&taken));
                async move {
                    let guard = held.lock().unwrap();
                    taken.wait();
                    thread::sleep(Duration::from_millis(20));
                    drop(guard);
                }
            };
            let holds = task::named("t_holds").spawn_on(holds, runtime.handle());
            taken.wait();
            let waits = async move { drop(held.lock().unwrap()) };
            let waits = task::named("t_waits").spawn_on(waits, runtime.handle());
            runtime.block_on(async { (holds.await.unwrap(), waits.await.unwrap()) });
        }
    });
    let number = |event: &Value, name: &str| event[name].as_f64().unwrap();
    // Times are written to the nanosecond.
    let during = |slice: &Value, end: &Value| {
        let at = number(end, "ts") - number(slice, "ts");
        slice["tid"] == end["tid"] && at >= -0.0015 && at <= number(slice, "dur") + 0.0015
    };
    let (polls, waits) = (trace.events("task", "X"), trace.events("wait", "X"));
    let by_id = |phase: &str| -> BTreeMap<u64, &Value> {
        let ends = trace.events("wake", phase);
        let by_id: BTreeMap<u64, &Value> =
            ends.iter().map(|end| (end["id"].as_u64().unwrap(), *end)).collect();
        assert_eq!(by_id.len(), ends.len(), "an id is of one arrow");
        by_id
    };
    let (starts, finishes) = (by_id("s"), by_id("f"));
    assert!(starts.keys().eq(finishes.keys()), "{starts:?} {finishes:?}");
    let mut of_tasks = 0;
    for (start, finish) in starts.values().zip(finishes.values()) {
        let ends = |wait: &&&Value| {
            let end = number(wait, "ts") + number(wait, "dur");
            wait["tid"] == finish["tid"] && (end - number(finish, "ts")).abs() < 0.0015
        };
        let wait = waits.iter().find(ends);
        let wait = wait.unwrap_or_else(|| panic!("no wait ends with {finish}: {waits:?}"));
        assert_ne!(start["tid"], finish["tid"]);
        let since = number(start, "ts") - number(wait, "ts");
        assert!((-0.0015..=number(wait, "dur") + 0.0015).contains(&since), "{start} {wait}");
        let poll_at = |name: &str, end: &Value| {
            polls.iter().any(|poll| poll["name"] == name && during(poll, end))
        };
        let long = number(wait, "dur") >= 10_000.0;
        if long && poll_at("t_waits", finish) && poll_at("t_holds", start) {
            of_tasks += 1;
        }
    }
    // A task may come to its lock late on a busy machine.
    assert!(of_tasks >= ROUNDS / 2, "{of_tasks} of {ROUNDS}: {starts:?} {finishes:?}");
}

#[cfg(feature = "sampler")]
#[test]
fn samples_of_cpu_time_are_on_the_time_line() {
    const TEST: &str = "traces::samples_of_cpu_time_are_on_the_time_line";
    if !is_own_process(TEST) {
        return;
    }
    // The engine is shared: a CPU profile is being taken all the while.
    let cpu = Collectors::new().collector(Kind::Cpu).start().unwrap();
    let before = Instant::now();
    let window = Collectors::new().collector(Kind::Trace).start().unwrap();
    let opened = Instant::now();
    thread::sleep(Duration::from_millis(300));
    let began = Instant::now();
    let work = || t_spins(Duration::from_millis(400));
    let named = thread::Builder::new().name("t_spinner".to_owned());
    thread::scope(|scope| named.spawn_scoped(scope, work).unwrap().join().unwrap());
    let ended = Instant::now();
    thread::sleep(Duration::from_millis(300));
    let bytes = window.close()().unwrap().remove(0).bytes;
    assert!(!cpu.close()().unwrap()[0].bytes.is_empty());
    let trace: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(trace["otherData"]["cpu_samples"], "100 for each second of CPU time");
    assert_eq!(trace["otherData"]["lost_cpu_samples"], 0);

    let events = trace["traceEvents"].as_array().unwrap();
    let spinner = events.iter().find(|e| e["args"]["name"] == "t_spinner").unwrap();
    let frames = &trace["stackFrames"];
    let stack = |event: &Value| {
        let mut names = Vec::new();
        let mut at = &event["sf"];
        while !at.is_null() {
            let frame = &frames[at.to_string()];
            names.push(frame["name"].as_str().unwrap());
            at = &frame["parent"];
        }
        names
    };
    let samples: Vec<&Value> = events
        .iter()
        .filter(|event| event["cat"] == "cpu" && event["ph"] == "i")
        .filter(|event| event["tid"] == spinner["tid"])
        .collect();
    // 40 where nothing else takes the machine's time.
    assert!((10..=48).contains(&samples.len()), "{} samples", samples.len());
    let slack = Duration::from_millis(1);
    for sample in &samples {
        let at = Duration::from_secs_f64(sample["ts"].as_f64().unwrap() / 1e6);
        assert!(opened + at + slack >= began && before + at <= ended + slack, "{sample}");
        let names = stack(sample);
        assert_eq!(sample["name"], names[0]);
        let text = sample["args"]["stack"].as_str().unwrap();
        assert!(text.starts_with(names[0]), "{text}");
    }
    let spins = |sample: &&&Value| stack(sample).iter().any(|name| name.ends_with("t_spins"));
    let spinning = samples.iter().filter(spins).count();
    assert!(spinning * 10 >= samples.len() * 9, "{spinning} of {}", samples.len());
}

#[cfg(not(feature = "sampler"))]
#[test]
fn a_trace_without_samples_says_why() {
    const TEST: &str = "traces::a_trace_without_samples_says_why";
    if !is_own_process(TEST) {
        return;
    }
    let window = Collectors::new().collector(Kind::Trace).start().unwrap();
    t_spins(Duration::from_millis(50));
    let bytes = window.close()().unwrap().remove(0).bytes;
    let trace: Value = serde_json::from_slice(&bytes).unwrap();
    let why = trace["otherData"]["cpu_samples"].as_str().unwrap();
    assert!(why.starts_with("none: this build has no sampler"), "{why}");
    let events = trace["traceEvents"].as_array().unwrap();
    assert!(!events.iter().any(|event| event["cat"] == "cpu"));
}

/// A trace of more than the pipe to its reader holds is written while it is read, and is the same in a
/// bundle.
#[test]
fn a_trace_is_streamed() {
    const TEST: &str = "traces::a_trace_is_streamed";
    if !is_own_process(TEST) {
        return;
    }
    let (_one, server, address) = real();
    let stop = AtomicBool::new(false);
    let (answer, bundle) = thread::scope(|scope| {
        scope.spawn(|| {
            let mut polled = pin!(std::future::pending::<()>().instrument(task::named("t_polled")));
            let mut cx = Context::from_waker(Waker::noop());
            while !stop.load(Ordering::Relaxed) {
                assert!(polled.as_mut().poll(&mut cx).is_pending());
                thread::sleep(Duration::from_micros(20));
            }
        });
        let answer = get(address, "/debug/pprof/trace?seconds=1");
        let bundle = get(address, "/debug/profile?duration=1s&profiles=trace");
        stop.store(true, Ordering::Relaxed);
        (answer, bundle)
    });
    server.shut_down();
    assert_eq!((answer.status, answer.whole), (200, true));
    assert_eq!(answer.header("content-length"), None);
    assert!(answer.body.len() > 512 * 1024, "{} bytes", answer.body.len());
    let polls = |bytes: &[u8]| {
        let summary = summarize(bytes, &TraceLimits::default()).unwrap();
        assert_eq!(summary.warnings, Vec::<String>::new());
        let ours = summary.busiest.iter().find(|task| task.name == "t_polled").unwrap();
        ours.polls
    };
    assert!(polls(&answer.body) > 1000);
    let bundle = unpack(&bundle);
    assert!(polls(&bundle.files["trace.json"]) > 1000);
    let manifest = bundle.manifest();
    assert_eq!(manifest["entries"][0]["bytes"], bundle.files["trace.json"].len());
}
