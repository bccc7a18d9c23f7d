//! `go tool pprof` reads every profile of a bundle: names, inlined frames, lines and build ids.

use std::hint::black_box;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use profilez::core::Collector as _;
use profilez::core::collect::{SampledCpu, Symbols};

use crate::support::go::{go, pprof};
use crate::support::http::get;
use crate::support::server::{heap_sampling, real, unpack};

/// A name that readers cut at the first `<` if they take it for C++.
trait Grow<T> {
    fn grow(&mut self, stop: &AtomicBool, by: T) -> u64;
}

struct Holder<T>(Vec<T>);

impl Grow<u64> for Holder<u64> {
    #[inline(never)]
    fn grow(&mut self, stop: &AtomicBool, by: u64) -> u64 {
        let mut state = by;
        while !stop.load(Ordering::Relaxed) {
            state = mixed_in_line(state);
        }
        self.0.push(state);
        state
    }
}

/// The lines of [`mixed_in_line`]'s loop.
const LOOP: std::ops::RangeInclusive<u32> = line!() + 5..=line!() + 7;

/// Part of its caller's machine code, and a function of its own in a profile.
#[inline(always)]
fn mixed_in_line(mut state: u64) -> u64 {
    for _ in 0..10_000 {
        state = (state * 1_664_525 + 1_013_904_223) & 0xffff_ffff;
    }
    black_box(state)
}

#[inline(never)]
fn keep_for_pprof() -> Vec<u8> {
    // Functions that are alike become one in an optimised build.
    black_box("keep_for_pprof");
    black_box(Vec::with_capacity(black_box(1 << 20)))
}

#[test]
fn go_tool_pprof_reads_every_profile() {
    let Some(go) = go() else { return };
    let (_one, server, address) = real();
    let stop = AtomicBool::new(false);
    let answer = thread::scope(|scope| {
        scope.spawn(|| Holder(Vec::new()).grow(&stop, 1));
        let keeping = scope.spawn(|| {
            while !heap_sampling() && !stop.load(Ordering::Relaxed) {
                thread::sleep(std::time::Duration::from_millis(1));
            }
            (0..16).map(|_| keep_for_pprof()).collect::<Vec<_>>()
        });
        let answer = get(address, "/debug/profile?duration=1500ms");
        stop.store(true, Ordering::Relaxed);
        drop(keeping.join().unwrap());
        answer
    });
    server.shut_down();
    let bundle = unpack(&answer);
    let directory = tempfile::tempdir().unwrap();
    for name in ["cpu.prof", "heap.prof", "allocs.prof", "goroutine.prof"] {
        let path = directory.path().join(name);
        std::fs::write(&path, &bundle.files[name]).unwrap();
        let path = path.to_str().unwrap();
        let raw = pprof(&go, &["-raw", path]);
        check_mappings(&raw, bundle.manifest()["build_id"].as_str().unwrap());
        let diff = pprof(&go, &["-top", "-diff_base", path, path]);
        assert!(diff.contains("Showing nodes accounting for 0"), "{name}: {diff}");
    }

    let cpu = directory.path().join("cpu.prof");
    let cpu = cpu.to_str().unwrap();
    let grow = "<it::pprof::Holder<u64> as it::pprof::Grow<u64>>::grow";
    let top = pprof(&go, &["-top", "-cum", cpu]);
    assert!(top.contains(grow), "{grow} is not in\n{top}");
    let inlined = top.lines().find(|line| line.contains("mixed_in_line")).expect("inlined frame");
    assert!(inlined.trim_end().ends_with("(inline)"), "{inlined}");
    // All of the time falls on the lines of the loop.
    let lines = pprof(&go, &["-top", "-lines", cpu]);
    let leaf = lines.lines().find(|line| line.contains("mixed_in_line")).unwrap();
    let line = leaf.split("pprof.rs:").nth(1).and_then(|rest| rest.split([' ', ':']).next());
    let line: u32 = line.and_then(|line| line.parse().ok()).unwrap_or_else(|| panic!("{leaf}"));
    assert!(LOOP.contains(&line), "line {line} is not in {LOOP:?}: {leaf}");
    let list = pprof(&go, &["-list", "Holder<u64>", cpu]);
    assert!(list.contains("state = mixed_in_line(state);"), "{list}");

    for (name, index) in [("heap.prof", "inuse_space"), ("allocs.prof", "alloc_space")] {
        let path = directory.path().join(name);
        let path = path.to_str().unwrap();
        let top = pprof(&go, &["-top", "-cum", "-nodefraction=0", "-unit=kB", path]);
        assert!(top.contains(&format!("Type: {index}")), "the default of {name}: {top}");
        let row = top.lines().find(|line| line.ends_with("it::pprof::keep_for_pprof"));
        let row = row.unwrap_or_else(|| panic!("{name}: {top}"));
        assert!(row.contains("16384kB"), "{row}");
        assert!(!top.contains("_rjem_") && !top.contains("__rust_alloc"), "{top}");
        let list = pprof(&go, &["-list", "keep_for_pprof", path]);
        assert!(list.contains("Vec::with_capacity(black_box(1 << 20))"), "{list}");
    }
}

#[test]
fn go_tool_pprof_resolves_a_raw_profile_itself() {
    let Some(go) = go() else { return };
    let (_one, server, _address) = real();
    server.shut_down();
    let stop = AtomicBool::new(false);
    let files = thread::scope(|scope| {
        scope.spawn(|| Holder(Vec::new()).grow(&stop, 1));
        let window = SampledCpu::new().symbols(Symbols::Raw).start().unwrap();
        thread::sleep(std::time::Duration::from_millis(500));
        let files = window.close()().unwrap();
        stop.store(true, Ordering::Relaxed);
        files
    });
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("raw.prof");
    std::fs::write(&path, &files[0].bytes).unwrap();
    let path = path.to_str().unwrap();
    let raw = pprof(&go, &["-raw", "-symbolize=none", path]);
    assert!(!raw.contains("grow"), "nothing is resolved: {raw}");
    // It finds the program by the mapping's path and build id; its names are what addr2line says.
    let top = pprof(&go, &["-top", "-cum", path]);
    assert!(top.lines().any(|line| line.ends_with("grow")), "{top}");
}

/// Every mapping has a build id, and the first is the program.
fn check_mappings(raw: &str, build_id: &str) {
    let (_, mappings) = raw.split_once("Mappings\n").unwrap();
    let mappings: Vec<&str> = mappings.lines().filter(|line| !line.trim().is_empty()).collect();
    assert!(mappings[0].contains(build_id), "{}", mappings[0]);
    let is_id = |word: &str| word.len() >= 16 && word.chars().all(|c| c.is_ascii_hexdigit());
    for mapping in mappings {
        assert!(mapping.split_whitespace().any(is_id), "no build id: {mapping}");
        assert!(mapping.contains("[FN][FL][LN][IN]"), "{mapping}");
    }
}

#[test]
fn go_tool_pprof_names_the_lock_of_the_demo_its_waiter_and_its_holders() {
    let Some(go) = go() else { return };
    let (_one, server, _address) = real();
    server.shut_down();
    let directory = tempfile::tempdir().unwrap();
    let bundle = directory.path().join("demo.tar.gz");
    let demo = Command::new(env!("CARGO_BIN_EXE_profilez"))
        .args(["demo", "-d2s", "-o"])
        .arg(&bundle)
        .output()
        .unwrap();
    assert!(demo.status.success(), "{}", String::from_utf8_lossy(&demo.stderr));
    let bytes = std::fs::read(&bundle).unwrap();
    let bundle = profilez::archive::Bundle::read(&bytes[..], &Default::default()).unwrap();
    let expected = [
        ("block.prof", &["lock_contended", "::reserve_stock", "::await_payment"][..]),
        ("mutex.prof", &["::count_stock", "::ship_order"][..]),
    ];
    for (name, functions) in expected {
        let path = directory.path().join(name);
        std::fs::write(&path, &bundle.entry(name).unwrap().data).unwrap();
        let path = path.to_str().unwrap();
        let top = pprof(&go, &["-top", path]);
        assert!(top.contains("Type: delay"), "{name}: {top}");
        for function in functions {
            assert!(top.contains(function), "{function} is not in {name}: {top}");
        }
        // What has nothing to do is not among them.
        assert!(!top.contains("tokio"), "{name}: {top}");
        let raw = pprof(&go, &["-raw", path]);
        assert!(raw.contains("PeriodType: contentions count"), "{raw}");
    }
}
