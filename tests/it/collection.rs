//! Collections that succeed, in whole or in part, with the real collectors where they matter.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use profilez::core::Kind;
use profilez::core::profile::{DecodeLimits, Profile};

use crate::support::burn::burn_until;
use crate::support::fakes::{Fake, Fault, service};
use crate::support::http::{get, receive, request, send};
use crate::support::server::{heap_sampling, real, unpack};

fn sum(profile: &Profile, type_index: usize) -> i64 {
    profile.samples.iter().map(|sample| sample.values[type_index]).sum()
}

fn names_in(profile: &Profile) -> Vec<&str> {
    profile.functions.iter().map(|function| profile.str(function.name)).collect()
}

#[inline(never)]
fn burn_for_the_test(stop: &AtomicBool) {
    burn_until(stop);
    // Not the last call, which would take this function's place on the stack.
    black_box(());
}

#[inline(never)]
fn allocate_for_the_test() -> Vec<u8> {
    black_box(Vec::with_capacity(black_box(1 << 20)))
}

#[test]
fn the_default_bundle_of_a_busy_process() {
    let (_one, server, address) = real();
    let stop = AtomicBool::new(false);
    let before = SystemTime::now();
    let (answer, kept) = thread::scope(|scope| {
        scope.spawn(|| burn_for_the_test(&stop));
        let allocating = scope.spawn(|| {
            let mut kept = Vec::new();
            // What is allocated before the window opens is not sampled in this process.
            while !heap_sampling() && !stop.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(1));
            }
            while !stop.load(Ordering::Relaxed) {
                if kept.len() < 32 {
                    kept.push(allocate_for_the_test());
                }
                thread::sleep(Duration::from_millis(5));
            }
            kept
        });
        let answer = request(address, "POST", "/debug/profile?duration=1s", &[]);
        stop.store(true, Ordering::Relaxed);
        (answer, allocating.join().unwrap())
    });

    assert_eq!(answer.header("content-type"), Some("application/gzip"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    let disposition = answer.header("content-disposition").unwrap();
    let unix = disposition
        .strip_prefix("attachment; filename=\"shop-api-profile-")
        .and_then(|rest| rest.strip_suffix(".tar.gz\""))
        .unwrap_or_else(|| panic!("{disposition}"));
    let began = before.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    assert!((began..began + 5).contains(&unix.parse().unwrap()), "{disposition}");

    let bundle = unpack(&answer);
    let names = [
        "cpu.prof",
        "heap.prof",
        "allocs.prof",
        "block.prof",
        "mutex.prof",
        "goroutine.prof",
        "goroutine.txt",
        "manifest.json",
    ];
    assert_eq!(bundle.names, names);
    for &(mode, time) in &bundle.modes {
        assert_eq!(mode, 0o644);
        assert!(time >= began, "entries carry their time");
    }
    let manifest = bundle.manifest();
    assert_eq!(manifest["format"], 1);
    assert_eq!(manifest["service"], "shop api");
    assert_eq!(manifest["version"], "1.2.3");
    assert_eq!(manifest["pid"], std::process::id());
    assert_eq!(manifest["source"], "consolidated");
    assert_eq!(manifest["window_seconds"], 1.0);
    let rates = serde_json::json!({
        "allocs": 65536, "block": 1_000_000, "cpu": 100, "heap": 65536, "mutex": 1_000_000,
    });
    assert_eq!(manifest["rates"], rates);
    assert_eq!(manifest["errors"], serde_json::json!([]));
    assert!(manifest["build_id"].as_str().unwrap().len() >= 16);
    assert_eq!(manifest["unavailable"], serde_json::json!([]));
    for (entry, name) in manifest["entries"].as_array().unwrap().iter().zip(&bundle.names) {
        assert_eq!(entry["name"], name.as_str());
        assert_eq!(entry["bytes"], bundle.files[name].len());
        assert_eq!(entry["sha256"].as_str().unwrap().len(), 64);
    }
    assert!(manifest["entries"][0]["took_seconds"].as_f64().unwrap() >= 1.0);

    let cpu = bundle.profile("cpu.prof");
    cpu.check().unwrap();
    assert!(names_in(&cpu).iter().any(|name| name.ends_with("burn_for_the_test")));
    assert_eq!(sum(&cpu, 1), sum(&cpu, 0) * 10_000_000);
    assert!(sum(&cpu, 0) >= 50, "a second of CPU at 100 Hz gave {} samples", sum(&cpu, 0));
    let ended = cpu.time_nanos + cpu.duration_nanos;
    assert!(ended > began as i64 * 1_000_000_000 && cpu.duration_nanos >= 1_000_000_000);

    for (name, default) in [("heap.prof", ""), ("allocs.prof", "alloc_space")] {
        let heap = bundle.profile(name);
        heap.check().unwrap();
        let types: Vec<_> = heap.sample_types.iter().map(|&t| heap.type_name(t)).collect();
        let go = [
            "alloc_objects/count",
            "alloc_space/bytes",
            "inuse_objects/count",
            "inuse_space/bytes",
        ];
        assert_eq!(types, go);
        assert_eq!(heap.str(heap.default_sample_type), default);
        let ours: i64 = heap
            .samples
            .iter()
            .filter(|sample| {
                let locations = sample.stack.iter().map(|&at| &heap.locations[at as usize]);
                locations.flat_map(|location| heap.lines_of(location)).any(|line| {
                    let function = heap.functions[line.function as usize];
                    heap.str(function.name).ends_with("allocate_for_the_test")
                })
            })
            .map(|sample| sample.values[3])
            .sum();
        // Blocks of 1 MiB at one sample every 64 KiB are seen with a probability of 1 - e^-16, so
        // that scaling them up for the unseen ones adds no more than a few bytes.
        let exact = (kept.len() as i64) << 20;
        assert!((exact..exact + 100).contains(&ours), "{name}: {ours} instead of {exact}");
    }
    server.shut_down();
}

#[test]
fn a_chosen_subset_in_the_order_asked_for() {
    let (_one, server, address) = real();
    let answer = get(address, "/debug/profile?duration=20ms&profiles=allocs,%20CPU,cpu,allocs");
    assert_eq!(unpack(&answer).names, ["allocs.prof", "cpu.prof", "manifest.json"]);
    let manifest = unpack(&answer).manifest();
    assert_eq!(manifest["unavailable"], serde_json::json!([]), "nothing else was asked for");
    server.shut_down();
}

#[test]
fn one_collection_after_another() {
    let (_one, server, address) = real();
    for _ in 0..3 {
        let answer = get(address, "/debug/profile?duration=20ms&profiles=cpu,heap");
        assert_eq!(unpack(&answer).names, ["cpu.prof", "heap.prof", "manifest.json"]);
    }
    server.shut_down();
}

#[test]
fn a_second_request_is_told_to_wait_and_the_first_is_unharmed() {
    let (_one, server, address) = real();
    let path = "/debug/profile?duration=1500ms&profiles=cpu,heap";
    let first = send(address, "POST", path, &[]);
    let second = loop {
        // The first may not have entered yet; a short one that gets in first is soon out again.
        let answer = get(address, "/debug/profile?duration=10ms&profiles=heap");
        if answer.status != 200 {
            break answer;
        }
    };
    assert_eq!(second.status, 409);
    let (message, detail) = second.refusal();
    assert_eq!(message, "A profile collection is already in progress. Try again later.");
    assert!(
        detail.starts_with("It began at 20") && detail.contains("records until 20"),
        "{detail}"
    );
    let retry: u64 = second.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=2).contains(&retry), "{retry}");
    let first = receive(first).unwrap();
    if first.status == 200 {
        assert_eq!(unpack(&first).names, ["cpu.prof", "heap.prof", "manifest.json"]);
        assert_eq!(unpack(&first).manifest()["errors"], serde_json::json!([]));
    } else {
        // It was the first that met one of the short ones.
        assert_eq!(first.status, 409);
    }
    server.shut_down();
}

#[test]
fn a_collector_that_fails_leaves_the_others() {
    let server = service([
        Fake::new(Kind::Cpu, 100),
        Fake::faulty(Kind::Heap, Fault::Finish),
        Fake::faulty(Kind::Allocs, Fault::Panic),
        Fake::faulty(Kind::Mutex, Fault::Start),
        Fake::new(Kind::Goroutine, 100),
    ])
    .build()
    .serve("127.0.0.1:0")
    .unwrap();
    let query = "duration=20ms&profiles=cpu,heap,allocs,mutex,goroutine";
    let answer = get(server.local_addr().unwrap(), &format!("/debug/profile?{query}"));
    let bundle = unpack(&answer);
    assert_eq!(bundle.names, ["cpu.prof", "goroutine.prof", "manifest.json"]);
    assert_eq!(
        bundle.manifest()["errors"],
        serde_json::json!([
            {"kind": "heap", "error": "heap could not be collected: told to fail"},
            {"kind": "allocs", "error": "the allocs collector panicked: told to panic"},
            {"kind": "mutex", "error": "mutex could not be collected: told to fail"},
        ])
    );
    server.shut_down();
}

#[test]
fn kinds_that_only_look_back_wait_for_the_window_all_the_same() {
    let (block, mutex) = (Fake::new(Kind::Block, 10), Fake::new(Kind::Mutex, 10));
    let server = service([block.clone(), mutex]).build().serve("127.0.0.1:0").unwrap();
    let began = Instant::now();
    let answer =
        get(server.local_addr().unwrap(), "/debug/profile?duration=300ms&profiles=block,mutex");
    assert!(began.elapsed() >= Duration::from_millis(300));
    assert_eq!(unpack(&answer).names, ["block.prof", "mutex.prof", "manifest.json"]);
    assert_eq!(block.on(), 0);
    server.shut_down();
}

#[test]
fn a_request_chooses_the_rate_of_its_cpu_profile() {
    let (_one, server, address) = real();
    let period = |bytes: &[u8]| Profile::decode(bytes, &DecodeLimits::default()).unwrap().period;
    let bundle = unpack(&get(address, "/debug/profile?duration=50ms&profiles=cpu&hz=999"));
    assert_eq!(bundle.manifest()["rates"]["cpu"], 999);
    assert_eq!(period(&bundle.files["cpu.prof"]), 1_001_001);
    let single = get(address, "/debug/pprof/profile?seconds=1&hz=250");
    assert_eq!(period(&single.body), 4_000_000);
    let refused = get(address, "/debug/pprof/profile?seconds=1&hz=1001");
    assert_eq!(refused.status, 400);
    let text = String::from_utf8(refused.body).unwrap();
    assert!(text.contains("must be a whole number from 1 to 1000"), "{text}");
    server.shut_down();
}
