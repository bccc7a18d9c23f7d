//! Speedscope itself, in Chromium, shows flame graphs and traces as they are: what its page says, and
//! the file that it exports, which has every call as it understood it.

mod page;

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use profilez::core::profile::{Builder, Function, Line};
use profilez::task::{self, Instrument as _};
use serde_json::Value;
use tempfile::tempdir;

use crate::command::{path, run};
use crate::support::own_process::is_own_process;
use crate::tasks::{Trace, Truth, polled, runtime, waiter};
use page::{Shown, show};

/// A profile of stacks given root first.
fn profile(types: &[(&str, &str)], stacks: &[(&[&str], &[i64])]) -> Vec<u8> {
    let mut builder = Builder::new(types);
    for &(stack, values) in stacks {
        let mut place = |name: &&str| {
            let name = builder.str(name);
            let function = builder.function(Function { name, ..Function::default() });
            builder.location(None, 1, &[Line { function, line: 7, column: 0 }])
        };
        let places: Vec<u32> = stack.iter().rev().map(&mut place).collect();
        builder.sample(&places, values, &[]);
    }
    builder.finish().encode_gzip()
}

const HOSTILE: &str = "</script><img src=x onerror=alert(1)>";

#[test]
fn flame_graphs_are_shown_as_they_are() {
    let directory = tempdir().unwrap();
    let file = path(&directory, "p.prof");
    let types = [("samples", "count"), ("cpu", "nanoseconds"), ("inuse_space", "bytes")];
    let stacks: [(&[&str], &[i64]); 5] = [
        (&["main", "run", "run", "parse"], &[50, 500_000_000, 512]),
        (&["main", "run"], &[20, 200_000_000, 0]),
        (&["main", "idle"], &[25, 250_000_000, 1 << 30]),
        (&["main", "run", "parse"], &[5, 50_000_000, 512]),
        (&[HOSTILE, "idle"], &[1100, 1_000_000_000, 3 << 30]),
    ];
    fs::write(&file, profile(&types, &stacks)).unwrap();
    let check = |kind: &str, column: usize, expected: &[[&str; 3]]| {
        let drawn = path(&directory, format!("{kind}.speedscope.json"));
        run(["flame", &file, "--type", kind, "-o", &drawn]).code(0);
        let Some(shown) = show("p.speedscope.json", &fs::read(&drawn).unwrap()) else { return };
        let [shown] = &shown[..] else { panic!("{} profiles", shown.len()) };
        assert_eq!(shown.title, kind);
        let mut rows = shown.rows.clone();
        rows.sort();
        assert_eq!(rows, expected);

        // To the last nanosecond and byte.
        let mut sums: BTreeMap<Vec<&str>, i64> = BTreeMap::new();
        for call in &shown.calls {
            let stack = call.stack.iter().map(String::as_str).collect();
            *sums.entry(stack).or_default() += call.itself as i64;
        }
        sums.retain(|_, sum| *sum != 0);
        let known = stacks.map(|(stack, values)| (stack.to_owned(), values[column]));
        assert_eq!(sums, known.into_iter().filter(|(_, value)| *value != 0).collect());
    };
    check(
        "samples",
        0,
        &[
            [HOSTILE, "1,100 (92%)", "0 (<0.01%)"],
            ["idle", "1,125 (94%)", "1,125 (94%)"],
            ["main", "100 (8.3%)", "0 (<0.01%)"],
            ["parse", "55 (4.6%)", "55 (4.6%)"],
            ["run", "75 (6.3%)", "20 (1.7%)"],
        ],
    );
    check(
        "cpu",
        1,
        &[
            [HOSTILE, "1.00s (50%)", "0.00ns (<0.01%)"],
            ["idle", "1.25s (63%)", "1.25s (63%)"],
            ["main", "1.00s (50%)", "0.00ns (<0.01%)"],
            ["parse", "550.00ms (28%)", "550.00ms (28%)"],
            ["run", "750.00ms (38%)", "200.00ms (10%)"],
        ],
    );
    check(
        "inuse_space",
        2,
        &[
            [HOSTILE, "3.00 GB (75%)", "0 B (<0.01%)"],
            ["idle", "4.00 GB (>99%)", "4.00 GB (>99%)"],
            ["main", "1.00 GB (25%)", "0 B (<0.01%)"],
            ["parse", "1.00 KB (<0.01%)", "1.00 KB (<0.01%)"],
            ["run", "1.00 KB (<0.01%)", "0 B (<0.01%)"],
        ],
    );
}

/// The number of the thread that a profile is of.
fn thread_of(shown: &Shown) -> u64 {
    let (_, id) = shown.title.split_once("(tid ").unwrap();
    id.split(')').next().unwrap().parse().unwrap()
}

/// A time of the table, which has two decimals, in microseconds, and by how much it may be off.
fn micros(cell: &str) -> (f64, f64) {
    let (time, _) = cell.split_once(" (").unwrap_or_else(|| panic!("{cell}"));
    let units = [("ns", 1e-3), ("µs", 1.0), ("ms", 1e3), ("s", 1e6)];
    let (number, unit) = units
        .iter()
        .find_map(|&(name, unit)| Some((time.strip_suffix(name)?, unit)))
        .unwrap_or_else(|| panic!("{cell}"));
    (number.parse::<f64>().unwrap() * unit, 0.006 * unit)
}

#[test]
fn traces_are_shown_as_they_are() {
    const TEST: &str = "speedscope::traces_are_shown_as_they_are";
    if !is_own_process(TEST) {
        return;
    }
    const NAMES: [&str; 4] = ["t_a", "t_b", "t_c", "t_d"];
    const POLLS: usize = 25;
    const TIGHT: usize = 200;
    let runtime = runtime(2);
    let truths: Vec<Truth> = NAMES.iter().map(|_| Truth::default()).collect();
    let waited = Truth::default();
    let held = Arc::new(Mutex::new(()));
    let (_done, is_done) = mpsc::channel::<()>();
    let trace = Trace::of(|| {
        let spawn = |(truth, name): (&Truth, &'static str)| {
            task::named(name).spawn_on(polled(POLLS, Arc::clone(truth)), runtime.handle())
        };
        let tasks: Vec<_> = truths.iter().zip(NAMES).map(spawn).collect();
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
        // Polls of nothing, one in the other, as close as they come.
        let inner = async {
            for _ in 0..TIGHT {
                tokio::task::yield_now().await;
            }
        };
        let outer = async { inner.instrument(task::named("t_tight_inner")).await };
        let tight = task::named("t_tight").spawn_on(outer, runtime.handle());
        runtime.block_on(tight).unwrap();
        // One in the other, and neither is over when the window closes.
        let inner = async move { assert!(is_done.recv().is_err()) };
        let outer = async { inner.instrument(task::named("t_inner")).await };
        let _outer = task::named("t_outer").spawn_on(outer, runtime.handle());
        thread::sleep(Duration::from_millis(100));
    });
    let Some(shown) = show("trace.json", &trace.bytes) else { return };

    // Every slice is a call of the same thread, at the same time, and there are no others.
    let slices: Vec<&Value> =
        ["task", "wait", "span"].iter().flat_map(|category| trace.events(category, "X")).collect();
    let number = |slice: &Value, name: &str| slice[name].as_f64().unwrap();
    for shown in &shown {
        let thread = thread_of(shown);
        let mut ours: Vec<&Value> = slices.iter().copied().filter(|s| s["tid"] == thread).collect();
        // Its times begin with the thread's first slice.
        let first = ours.iter().map(|slice| number(slice, "ts")).fold(f64::INFINITY, f64::min);
        for call in &shown.calls {
            let (name, arguments) = call.stack.last().unwrap().split_once(' ').unwrap();
            let arguments: Value = serde_json::from_str(arguments).unwrap();
            let same = |slice: &&Value| {
                let at = number(slice, "ts") - first;
                slice["name"] == name
                    && slice["args"] == arguments
                    && (call.at - at).abs() < 0.0005
                    && (call.until - at - number(slice, "dur")).abs() < 0.0005
            };
            let found = ours.iter().position(same);
            ours.swap_remove(found.unwrap_or_else(|| panic!("{call:?} is none of {ours:?}")));
        }
        assert_eq!(ours, Vec::<&Value>::new());
    }
    let threads: HashSet<u64> = slices.iter().map(|s| s["tid"].as_u64().unwrap()).collect();
    assert_eq!(threads, shown.iter().map(thread_of).collect());

    // The table's sums are those of the polls that there were.
    let rows = |name: &str| -> Vec<(f64, f64)> {
        let rows = shown.iter().flat_map(|shown| &shown.rows);
        let named = rows.filter(|[full, ..]| full.split(' ').next() == Some(name));
        named.map(|[_, total, _]| micros(total)).collect()
    };
    for (truth, name) in truths.iter().zip(NAMES) {
        let truth = truth.lock().unwrap();
        let mut polls: Vec<&Value> =
            slices.iter().copied().filter(|slice| slice["name"] == name).collect();
        polls.sort_by(|a, b| number(a, "ts").total_cmp(&number(b, "ts")));
        // The last poll does nothing but end.
        assert_eq!((truth.len(), polls.len()), (POLLS, POLLS + 1));
        for (poll, &known) in polls.iter().zip(truth.iter()) {
            trace.assert_covers(poll, known);
        }
        let sum: f64 = polls.iter().map(|poll| number(poll, "dur")).sum();
        let (total, off) =
            rows(name).iter().fold((0.0, 0.0), |sum, row| (sum.0 + row.0, sum.1 + row.1));
        assert!((total - sum).abs() <= off, "{name}: {total} for {sum}");
    }
    let tight = slices.iter().filter(|slice| slice["name"] == "t_tight_inner");
    assert_eq!(tight.count(), TIGHT + 1);
    let unfinished = |name: &str| {
        let [(total, off)] = rows(name)[..] else { panic!("{:?}", rows(name)) };
        // They began before the last 100 ms.
        assert!(total + off >= 90_000.0 && total < 5e6, "{name}: {total}");
        let mut calls = shown.iter().flat_map(|shown| &shown.calls);
        calls.find(|call| call.stack.last().unwrap().starts_with(name)).unwrap()
    };
    let (outer, inner) = (unfinished("t_outer"), unfinished("t_inner"));
    assert_eq!((outer.stack.len(), &inner.stack[..1]), (1, &outer.stack[..]));

    if cfg!(feature = "intercept") {
        let waiter = shown.iter().find(|shown| shown.title.contains(", t_waiter (tid ")).unwrap();
        let longest = waiter.rows.iter().map(|[_, total, _]| micros(total).0).fold(0.0, f64::max);
        let (began, ended) = waited.lock().unwrap()[0];
        let known = (ended - began).as_secs_f64() * 1e6;
        assert!((20_000.0..=known + 10.0).contains(&longest), "{longest} of {known}");
    }
}
