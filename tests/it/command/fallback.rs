//! `collect` from services that have Go's endpoints only: good, old, busy, broken, hostile and dying
//! ones.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::tempdir;

use super::sources::{profile, reply, serving};
use super::{Ran, interrupt, listed, path, profilez, run, start};
use crate::support::fakes::noise;

const NOT_FOUND: &str = "404 page not found\n";

/// What each endpoint answers in a healthy service, after the window where it has one.
fn healthy(line: &str, stream: &mut TcpStream) {
    let Some((path, query)) = asked(line) else {
        return reply(stream, "404 Not Found", "text/plain; charset=utf-8", NOT_FOUND.as_bytes());
    };
    if let Some(seconds) = query.strip_prefix("seconds=") {
        thread::sleep(Duration::from_secs(seconds.parse().unwrap()));
    }
    let text = "text/plain; charset=utf-8";
    match (path, query) {
        ("", _) => {
            let names = ["allocs", "block", "goroutine", "heap", "mutex", "threadcreate"];
            let links = names.map(|name| format!("<a href=\"{name}?debug=1\">{name}</a>"));
            reply(stream, "200 OK", "text/html; charset=utf-8", links.concat().as_bytes());
        }
        ("cmdline", _) => reply(stream, "200 OK", text, b"/opt/shop\0--token=s3cret\0s3cret"),
        ("goroutine", "debug=2") => reply(stream, "200 OK", text, b"goroutine 1 [running]:\n"),
        ("trace", _) => reply(stream, "200 OK", OCTETS, b"go 1.22 trace\0\0\0and so on"),
        (name, _) => reply(stream, "200 OK", OCTETS, &profile(name).encode_gzip()),
    }
}

const OCTETS: &str = "application/octet-stream";

/// The endpoint's name and the query, of a request for one of Go's endpoints.
fn asked(line: &str) -> Option<(&str, &str)> {
    let target = line.strip_prefix("GET ")?.split(' ').next()?;
    let rest = target.strip_prefix("/debug/pprof/")?;
    Some(rest.split_once('?').unwrap_or((rest, "")))
}

/// A service that differs from a healthy one where `answer` says so.
fn odd(answer: impl Fn(&str, &str, &mut TcpStream) -> bool + Send + Sync + 'static) -> String {
    serving(move |line, stream| {
        let differs = asked(line).is_some_and(|(name, query)| answer(name, query, stream));
        if !differs {
            healthy(line, stream);
        }
    })
}

/// Collects for a second; how it went, the manifest and the names of the entries.
#[track_caller]
fn collect(url: &str, args: &[&str], code: i32) -> (Ran, Value, Vec<String>) {
    let directory = tempdir().unwrap();
    let file = path(&directory, "x.tar.gz");
    let args: Vec<&str> =
        ["collect", url, "-d1s", "-o", &file].into_iter().chain(args.iter().copied()).collect();
    let ran = run(args).code(code);
    let Some(found) = listed(&directory).pop() else { return (ran, Value::Null, Vec::new()) };
    let facts = run(["inspect", "--json", &path(&directory, found)]);
    let facts = facts.json();
    let names = facts["entries"].as_array().unwrap().iter();
    let names = names.map(|entry| entry["name"].as_str().unwrap().to_owned()).collect();
    (ran, facts["manifest"].clone(), names)
}

fn kinds(list: &Value) -> Vec<&str> {
    let mut kinds: Vec<_> =
        list.as_array().unwrap().iter().map(|entry| entry["kind"].as_str().unwrap()).collect();
    kinds.sort_unstable();
    kinds
}

/// The names that a healthy service gives by default, sorted.
const DEFAULT: [&str; 9] = [
    "allocs.prof",
    "block.prof",
    "cpu.prof",
    "goroutine.before.prof",
    "goroutine.prof",
    "goroutine.txt",
    "heap.before.prof",
    "heap.prof",
    "mutex.prof",
];

#[track_caller]
fn are(mut names: Vec<String>, expected: &[&str]) {
    names.sort();
    assert_eq!(names, expected);
}

/// `goroutineleak` of Go 1.26, and what a program made with `pprof.NewProfile`.
#[test]
fn profiles_of_the_services_own_are_taken_too() {
    let url = odd(|name, _, stream| {
        let named = ["heap", "goroutineleak", "db.conns", "broken"];
        match name {
            "" => {
                let links = named.map(|name| format!("<a href='{name}?debug=1'>{name}</a>"));
                reply(stream, "200 OK", "text/html; charset=utf-8", links.concat().as_bytes());
            }
            "broken" => reply(stream, "200 OK", "text/html", b"<html>no profile"),
            _ => return false,
        }
        true
    });
    let (_, manifest, names) = collect(&url, &[], 3);
    for name in ["goroutineleak.prof", "db.conns.prof", "heap.prof"] {
        assert!(names.iter().any(|entry| entry == name), "{name}: {names:?}");
    }
    assert!(!names.iter().any(|entry| entry.starts_with("broken")), "{names:?}");
    assert_eq!(manifest["errors"][0]["kind"], "broken");
    // Who names kinds gets those.
    are(collect(&url, &["-p", "heap"], 0).2, &["heap.before.prof", "heap.prof"]);
}

#[test]
fn a_go_service_gives_a_whole_bundle() {
    let url = serving(healthy);
    let (ran, manifest, names) = collect(&url, &[], 0);
    are(names, &DEFAULT);
    assert_eq!(manifest["source"], "individual");
    assert_eq!(manifest["window_seconds"], 1.0);
    assert_eq!(manifest["service"], "shop");
    assert_eq!(manifest["host"], url);
    assert_eq!(manifest["cmdline"], serde_json::json!(["shop", "--token=…", "…"]));
    assert!(!ran.stderr.contains("s3cret") && !manifest.to_string().contains("s3cret"));

    // By any of its addresses, and what is wanted only.
    let (_, manifest, names) =
        collect(&format!("{url}/debug/pprof/heap"), &["-p", "trace,threadcreate,heap"], 0);
    are(names, &["heap.before.prof", "heap.prof", "threadcreate.prof", "trace.out"]);
    assert_eq!(manifest["errors"], serde_json::json!([]));

    let ran = collect(&url, &["--no-fallback"], 1).0;
    assert!(ran.error().contains("answered 404"), "{}", ran.stderr);
    assert!(ran.stderr.contains("was not looked for: leave out --no-fallback"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("nor /debug/pprof/"), "{}", ran.stderr);
    let ran = collect(&url, &["-p", "nonsense"], 2).0;
    assert!(ran.error().contains("nonsense"), "{}", ran.stderr);
}

#[test]
fn a_window_in_which_nothing_is_recorded_is_waited_for_if_it_was_asked_for() {
    let url = serving(healthy);
    let began = Instant::now();
    let (_, manifest, names) = collect(&url, &["-p", "heap"], 0);
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
    are(names, &["heap.before.prof", "heap.prof"]);
    assert_eq!(manifest["window_seconds"], 1.0);

    let directory = tempdir().unwrap();
    let file = path(&directory, "x.tar.gz");
    run(["collect", &url, "-p", "heap,goroutine", "-o", &file]).code(0);
    let facts = run(["inspect", "--json", &file]).json();
    assert_eq!(facts["entries"].as_array().unwrap().len(), 3, "{facts}");
    assert_eq!(facts["manifest"]["window_seconds"], 0.0);

    // It ends when it is called off.
    let (sender, looked) = std::sync::mpsc::channel();
    let sender = std::sync::Mutex::new(sender);
    let url = odd(move |name, _, stream| {
        healthy(&format!("GET /debug/pprof/{name} "), stream);
        if name == "heap" {
            let _ = sender.lock().unwrap().send(());
        }
        true
    });
    let child = start(["collect", &url, "-d60s", "-p", "heap", "-o", &file, "--force"]);
    looked.recv_timeout(Duration::from_secs(30)).unwrap();
    // Where it is between the two, what was looked at may be lost.
    thread::sleep(Duration::from_millis(500));
    interrupt(&child);
    let began = Instant::now();
    Ran::of(child.wait_with_output().unwrap()).code(130);
    assert!(began.elapsed() < Duration::from_secs(5));
    let facts = run(["inspect", "--json", &format!("{file}.partial")]).code(3).json();
    assert_eq!(facts["manifest"]["incomplete"], "interrupted");
    assert_eq!(facts["entries"][0]["name"], "heap.prof");
}

#[test]
fn entries_stand_in_the_order_of_the_plan() {
    // Whoever is asked for first answers last.
    let url = odd(|name, query, _| {
        if query.starts_with("seconds=") {
            let late = ["block", "trace", "profile", "mutex"].iter().position(|kind| *kind == name);
            thread::sleep(Duration::from_millis(600 - 150 * late.unwrap() as u64));
        }
        false
    });
    let (_, _, names) = collect(&url, &["-p", "heap,block,trace,cpu,mutex,allocs"], 0);
    assert_eq!(
        names,
        [
            "block.prof",
            "trace.out",
            "cpu.prof",
            "mutex.prof",
            "heap.prof",
            "allocs.prof",
            "heap.before.prof",
        ]
    );
}

#[test]
fn the_query_of_a_url_is_for_the_endpoint_it_names() {
    let (sender, asked_for) = std::sync::mpsc::channel();
    let sender = std::sync::Mutex::new(sender);
    let url = serving(move |line, stream| {
        let _ = sender.lock().unwrap().send(line.split(' ').nth(1).unwrap().to_owned());
        healthy(&line.replace("t=7&", "").replace("?t=7 ", " "), stream);
    });
    let directory = tempdir().unwrap();
    let file = path(&directory, "x.tar.gz");
    let check = |rest: &str, args: &[&str], window: f64, names: &[&str], bundle: &str| {
        let url = format!("{url}/debug/{rest}");
        run(["collect", &url, "--force", "-o", &file].iter().chain(args).copied()).code(0);
        let facts = run(["inspect", "--json", &file]).json();
        assert_eq!(facts["manifest"]["window_seconds"], window, "{rest}");
        let entries = facts["entries"].as_array().unwrap().iter();
        let entries = entries.map(|entry| entry["name"].as_str().unwrap().to_owned());
        are(entries.collect(), names);
        let asked: Vec<String> = asked_for.try_iter().collect();
        assert_eq!(asked[0], format!("/debug/profile{bundle}"));
        let keeps = bundle.contains("t=7");
        for target in &asked[1..] {
            let query = target.split_once('?').map_or("", |(_, query)| query);
            let query = query.replace("t=7&", "").replace("t=7", "");
            assert_eq!(target.contains("t=7"), keeps, "{target}");
            assert!(matches!(&*query, "" | "seconds=1" | "seconds=2" | "debug=2"), "{target}");
        }
    };
    let cpu: &[&str] = &["cpu.prof"];
    let (short, heap): (&[&str], &[&str]) = (&["-d", "300ms", "-p", "cpu"], &["-p", "heap"]);
    check("pprof/heap?debug=1", heap, 0.0, &["heap.prof"], "?profiles=heap");
    check("pprof/heap?gc=1&t=7", heap, 0.0, &["heap.prof"], "?t=7&profiles=heap");
    check("pprof/profile?seconds=30", short, 1.0, cpu, "?duration=300ms&profiles=cpu");
    check("profile?duration=30s&profiles=heap", short, 1.0, cpu, "?duration=300ms&profiles=cpu");
    // Where there is no flag the URL counts.
    let asked = "profile?seconds=2&t=7&profiles=cpu";
    check(asked, &[], 2.0, cpu, "?t=7&duration=2&profiles=cpu");
    run(["collect", &format!("{url}/debug/profile?duration=1s&seconds=1")])
        .fails(2, &["not a URL", "\"seconds\" is given more than once"]);
}

#[test]
fn the_report_reads_such_a_bundle() {
    let directory = tempdir().unwrap();
    let file = path(&directory, "x.tar.gz");
    run(["collect", &serving(healthy), "-d1s", "-o", &file, "-p", "cpu,heap,trace"]).code(0);
    let ran = run(["report", &file]).code(0);
    for part in ["shop on 127.0.0.1:", "cpu.prof", "heap.prof"] {
        assert!(ran.text().contains(part), "{part}: {}", ran.text());
    }
    for part in [", pid", ".before", "trace.out"] {
        assert!(!ran.text().contains(part), "{part}: {}", ran.text());
    }
}

#[test]
fn only_404_and_405_lead_to_single_profiles() {
    for (status, falls_back) in [
        ("404 Not Found", true),
        ("405 Method Not Allowed", true),
        ("401 Unauthorized", false),
        ("403 Forbidden", false),
        ("500 Internal Server Error", false),
        ("501 Not Implemented", false),
        ("302 Found", false),
    ] {
        let asked_for = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked_for);
        let url = serving(move |line, stream| {
            if asked(line).is_some() {
                counted.fetch_add(1, Ordering::SeqCst);
                healthy(line, stream);
            } else {
                reply(stream, status, "text/plain", b"no");
            }
        });
        let (ran, ..) = collect(&url, &["-p", "heap"], if falls_back { 0 } else { 1 });
        assert_eq!(asked_for.load(Ordering::SeqCst) > 0, falls_back, "{status}");
        if !falls_back {
            assert!(ran.error().contains(&format!("answered {}", &status[..3])), "{}", ran.stderr);
        }
        if status.starts_with("40") && !falls_back {
            assert!(ran.stderr.contains("is the token right?"), "{}", ran.stderr);
        }
    }
}

#[test]
fn an_index_that_is_closed_ends_it_with_a_hint() {
    let url = odd(|_, _, stream| {
        reply(stream, "401 Unauthorized", "text/plain", b"who are you?");
        true
    });
    let (ran, _, names) = collect(&url, &["--token", "s3cret"], 1);
    assert!(ran.error().contains("answered 401: who are you?"), "{}", ran.stderr);
    assert!(ran.stderr.contains("is the token right?") && !ran.stderr.contains("s3cret"));
    assert!(names.is_empty());
}

#[test]
fn what_an_old_service_does_not_have_is_not_available() {
    // No index, no `seconds` for snapshots, no trace.
    let url = odd(|name, query, stream| match name {
        "" | "trace" | "mutex" | "cmdline" => {
            reply(stream, "404 Not Found", "text/plain", b"Unknown profile\n");
            true
        }
        "block" if !query.is_empty() => {
            reply(stream, "200 OK", OCTETS, &profile("block").encode_gzip());
            true
        }
        _ => false,
    });
    let (ran, manifest, mut names) = collect(&url, &[], 0);
    assert_eq!(kinds(&manifest["unavailable"]), ["mutex"]);
    assert!(ran.stderr.contains("mutex is not collected: the service has no /debug/pprof/mutex"));
    assert_eq!(manifest["service"], "");
    names.retain(|name| name.starts_with("block"));
    are(names, &["block.before.prof", "block.prof"]);
    // What was named is missed.
    let (_, manifest, names) = collect(&url, &["-p", "heap,trace"], 3);
    assert_eq!(kinds(&manifest["unavailable"]), ["trace"]);
    are(names, &["heap.before.prof", "heap.prof"]);
    let named = format!("{url}/debug/profile?profiles=heap,trace");
    assert_eq!(kinds(&collect(&named, &[], 3).1["unavailable"]), ["trace"]);
    collect(&named, &["-p", "heap"], 0);
    let ran = collect(&url, &["-p", "trace"], 1).0;
    assert!(ran.error().contains("answered 404"), "{}", ran.stderr);
}

#[test]
fn a_profiler_that_is_in_use_is_waited_for() {
    let busy = "Could not enable CPU profiling: cpu profiling already in use\n";
    let tries = AtomicUsize::new(0);
    let url = odd(move |name, _, stream| {
        let is_busy = name == "profile" && tries.fetch_add(1, Ordering::SeqCst) < 2;
        if is_busy {
            reply(stream, "500 Internal Server Error", "text/plain", busy.as_bytes());
        }
        is_busy
    });
    let (_, manifest, names) = collect(&url, &["-p", "cpu"], 0);
    are(names, &["cpu.prof"]);
    assert_eq!(manifest["errors"], serde_json::json!([]));

    let url = odd(move |name, _, stream| {
        let is_busy = name == "profile";
        if is_busy {
            reply(stream, "500 Internal Server Error", "text/plain", busy.as_bytes());
        }
        is_busy
    });
    let (_, manifest, names) = collect(&url, &["--timeout", "4s"], 3);
    assert_eq!(kinds(&manifest["errors"]), ["cpu"]);
    let text = manifest["errors"][0]["error"].as_str().unwrap();
    assert!(text.contains("already in use"), "{text}");
    assert!(names.contains(&"heap.prof".to_owned()), "{names:?}");
}

#[test]
fn what_is_wrong_with_one_profile_is_no_harm_to_the_others() {
    let check = |what: &str, hostile: fn(&mut TcpStream), expected: &str| {
        let url = odd(move |name, _, stream| {
            let is_it = name == "allocs";
            if is_it {
                hostile(stream);
            }
            is_it
        });
        let (_, manifest, names) =
            collect(&url, &["-p", "allocs,heap,threadcreate", "--timeout", "4s"], 3);
        assert_eq!(kinds(&manifest["errors"]), ["allocs"], "{what}");
        let text = manifest["errors"][0]["error"].as_str().unwrap();
        assert!(text.contains(expected) && text.len() < 1000, "{what}: {text}");
        are(names, &["heap.before.prof", "heap.prof", "threadcreate.prof"]);
    };
    check("html", |s| reply(s, "200 OK", "text/html", b"<html>log in</html>"), "text/html");
    check("text", |s| reply(s, "200 OK", "text/plain", b"cpu is busy"), "no profile");
    check("empty", |s| reply(s, "200 OK", OCTETS, b""), "empty");
    check("error", |s| reply(s, "500 Oh", "text/plain", &[b'x'; 1 << 20]), "answered 500: xxx");
    check("hangs up", |_| {}, "request to http://");
    check("nonsense", |s| drop(s.write_all(b"nonsense\r\n\r\n")), "request to http://");
    check(
        "cut off",
        |s| {
            let head = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n";
            drop(s.write_all(head.as_bytes()).and_then(|()| s.write_all(&[0x1f, 0x8b, 8])));
        },
        "request to http://",
    );
    check(
        "elsewhere",
        |s| drop(s.write_all(b"HTTP/1.1 302 Found\r\nLocation: http://h.example/\r\n\r\n")),
        "answered 302",
    );
    // What is beyond the fifth redirect is not asked for.
    check(
        "in circles",
        |s| {
            let to = "HTTP/1.1 301 Moved\r\nLocation: /debug/pprof/allocs\r\nContent-Length: 0\r\n";
            drop(s.write_all(format!("{to}Connection: close\r\n\r\n").as_bytes()));
        },
        "more than 5 redirects",
    );
}

#[test]
fn a_profile_that_can_not_be_read_is_kept_all_the_same() {
    let url = odd(|name, _, stream| {
        let is_it = name == "heap";
        if is_it {
            let bytes = profile("heap").encode_gzip();
            reply(stream, "200 OK", OCTETS, &bytes[..bytes.len() - 10]);
        }
        is_it
    });
    let (_, manifest, names) = collect(&url, &["-p", "heap"], 3);
    assert_eq!(kinds(&manifest["errors"]), ["heap", "heap"]);
    are(names, &["heap.before.prof", "heap.prof"]);
}

#[test]
fn an_answer_without_an_end_is_bounded_in_size_and_time() {
    let endless = |stream: &mut TcpStream, pause: Duration| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n\x1f\x8b");
        while stream.write_all(&[0; 4096]).is_ok() {
            thread::sleep(pause);
        }
    };
    let url = odd(move |name, _, stream| {
        match name {
            "heap" => endless(stream, Duration::ZERO),
            "profile" => endless(stream, Duration::from_millis(50)),
            _ => return false,
        }
        true
    });
    let began = Instant::now();
    let args = ["-p", "cpu,heap,allocs", "--max-size", "1", "--timeout", "6s"];
    let (_, manifest, names) = collect(&url, &args, 3);
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    assert_eq!(kinds(&manifest["errors"]), ["cpu", "heap"]);
    let text = manifest["errors"].to_string();
    assert!(text.contains("timeout") && text.contains("more than"), "{text}");
    are(names, &["allocs.prof"]);
}

#[test]
fn redirects_within_the_service_are_followed() {
    let url = serving(|line, stream| {
        let target = line.split(' ').nth(1).unwrap_or_default();
        if let Some(rest) = target.strip_prefix("/debug/pprof/") {
            let head = format!(
                "HTTP/1.1 301 Moved\r\nLocation: /moved/{rest}\r\nContent-Length: 0\r\n\
                 Connection: close\r\n\r\n"
            );
            let _ = stream.write_all(head.as_bytes());
        } else {
            healthy(&line.replace("/moved/", "/debug/pprof/"), stream);
        }
    });
    let (_, _, names) = collect(&url, &["-p", "allocs,threadcreate"], 0);
    are(names, &["allocs.prof", "threadcreate.prof"]);

    // Five of them.
    let url = odd(|name, _, stream| {
        match name.strip_prefix("allocs") {
            Some("/////") => healthy("GET /debug/pprof/allocs ", stream),
            Some(slashes) => {
                let head = format!(
                    "HTTP/1.1 302 Found\r\nLocation: /debug/pprof/allocs{slashes}/\r\n\
                     Content-Length: 0\r\nConnection: close\r\n\r\n"
                );
                let _ = stream.write_all(head.as_bytes());
            }
            None => return false,
        }
        true
    });
    let (_, _, names) = collect(&url, &["-p", "allocs"], 0);
    are(names, &["allocs.prof"]);
}

#[test]
fn a_service_that_dies_leaves_what_was_taken_before() {
    let dead = Arc::new(AtomicUsize::new(0));
    let url = odd(move |name, query, _| {
        if query.starts_with("seconds=") || name == "threadcreate" {
            dead.store(1, Ordering::SeqCst);
        }
        // Hangs up without a word.
        dead.load(Ordering::SeqCst) == 1
    });
    let directory = tempdir().unwrap();
    let file = path(&directory, "x.tar.gz");
    let ran = run(["collect", &url, "-d1s", "-o", &file]).code(3);
    let kept = format!("{file}.partial");
    assert_eq!(ran.text(), format!("{kept}\n"));
    assert_eq!(listed(&directory), ["x.tar.gz.partial"]);
    assert!(ran.error().contains("request to http://"), "{}", ran.stderr);
    let facts = run(["inspect", "--json", &kept]).code(3).json();
    assert_eq!(facts["truncated"], true);
    assert!(facts["manifest"]["incomplete"].as_str().unwrap().contains("request to"), "{facts}");
    let entries = facts["entries"].as_array().unwrap();
    assert_eq!(entries[0]["name"], "heap.prof");
    assert_eq!(entries[1]["name"], "goroutine.prof");
    assert_eq!(kinds(&facts["manifest"]["errors"]).len(), 6, "{facts}");
    let ran = run(["report", &kept]).code(3);
    assert!(ran.text().contains("heap.prof"), "{}", ran.text());
}

#[test]
fn an_interrupt_keeps_what_was_taken_before() {
    let (sender, recording) = std::sync::mpsc::channel();
    let sender = std::sync::Mutex::new(sender);
    let url = odd(move |_, query, stream| {
        let is_window = query.starts_with("seconds=");
        if is_window {
            let _ = sender.lock().unwrap().send(());
            let _ = stream.read(&mut [0]);
        }
        is_window
    });
    let directory = tempdir().unwrap();
    let file = path(&directory, "x.tar.gz");
    let child = start(["collect", &url, "-d60s", "-o", &file, "--json"]);
    recording.recv_timeout(Duration::from_secs(30)).unwrap();
    interrupt(&child);
    let began = Instant::now();
    let ran = Ran::of(child.wait_with_output().unwrap()).code(130);
    assert!(began.elapsed() < Duration::from_secs(5));
    assert_eq!(ran.error(), "interrupted");
    let line = ran.json();
    assert_eq!((&line["complete"], &line["error"]), (&false.into(), &"interrupted".into()));
    let kept = format!("{file}.partial");
    assert_eq!(line["file"], kept);
    let facts = run(["inspect", "--json", &kept]).code(3).json();
    assert_eq!(facts["manifest"]["incomplete"], "interrupted");
    assert_eq!(facts["entries"][0]["name"], "heap.prof");
}

#[test]
fn a_full_disk_keeps_what_fitted() {
    // Can't be compressed.
    let noise = noise(200_000);
    let url = odd(move |name, query, stream| {
        let is_it = name == "goroutine" && query == "debug=2";
        if is_it {
            let dump = [b"goroutine 1 [running]:\n", &noise[..]].concat();
            reply(stream, "200 OK", "text/plain", &dump);
        }
        is_it
    });
    let directory = tempdir().unwrap();
    let file = path(&directory, "x.tar.gz");
    // As a full disk does, the limit fails the write that passes it.
    let limited = "trap '' XFSZ; ulimit -f 64; exec \"$@\"";
    let collect = profilez(["collect", &url, "-p", "heap,goroutine,threadcreate", "-o", &file]);
    let mut command = std::process::Command::new("bash");
    command.args(["-c", limited, "bash"]).arg(collect.get_program()).args(collect.get_args());
    let ran = Ran::of(command.output().unwrap()).code(3);
    assert!(ran.error().contains("could not write the bundle"), "{}", ran.stderr);
    let facts = run(["inspect", "--json", &format!("{file}.partial")]).code(3).json();
    assert_eq!(facts["entries"][0]["name"], "heap.prof");
    assert_eq!(facts["entries"][1]["name"], "goroutine.prof");
    assert_eq!(facts["entries"].as_array().unwrap().len(), 2);
    let why = facts["manifest"]["incomplete"].as_str().unwrap();
    assert!(why.contains("could not write the bundle"), "{why}");
    assert_eq!(kinds(&facts["manifest"]["errors"]), ["goroutine", "threadcreate"]);
}

#[test]
fn a_service_that_comes_late_is_asked_again() {
    let tries = AtomicUsize::new(0);
    let url = serving(move |line, stream| match tries.fetch_add(1, Ordering::SeqCst) {
        0 => {}
        1 => reply(stream, "503 Service Unavailable", "text/plain", b"starting"),
        _ => healthy(line, stream),
    });
    collect(&url, &["-p", "heap", "--retries", "2"], 0);
    let ran = collect(&super::sources::nobody(), &["--retries", "1"], 1).0;
    assert!(ran.error().contains("refused"), "{}", ran.stderr);
}

#[test]
fn another_server_s_bundle_gets_a_manifest() {
    let archive = |names: &[(&str, &[u8])]| {
        let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(
            Vec::new(),
            flate2::Compression::default(),
        ));
        for (name, bytes) in names {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, name, *bytes).unwrap();
        }
        tar.into_inner().unwrap().finish().unwrap()
    };
    let cpu = profile("cpu").encode_gzip();
    let whole = archive(&[("cpu.prof", &cpu), ("trace.out", b"go 1.22 trace\0\0\0x")]);
    let holed = archive(&[("cpu.prof", &cpu), ("block.prof", b"")]);
    let url = serving(move |line, stream| {
        let body = match line.split(' ').nth(1).unwrap_or_default() {
            target if target.starts_with("/api/v2/debug/profile?") => &whole[..],
            target if target.starts_with("/holed/profile?") => &holed,
            _ => &whole[..whole.len() - 12],
        };
        assert!(line.starts_with("POST "));
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/gzip\r\nContent-Disposition: attachment; \
             filename=\"coderd-profile-1700000000.tar.gz\"\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body)).unwrap();
    });
    let (ran, manifest, names) =
        collect(&format!("{url}/api/v2/debug/profile"), &["-H", "Coder-Session-Token: s3cret"], 0);
    are(names, &["cpu.prof", "trace.out"]);
    assert_eq!(manifest["source"], "consolidated");
    assert_eq!(manifest["service"], "coderd");
    assert_eq!(manifest["entries"][1]["kind"], "trace");
    assert!(!ran.stderr.contains("warning"), "{}", ran.stderr);

    let (_, manifest, _) = collect(&format!("{url}/holed"), &[], 3);
    assert_eq!(kinds(&manifest["errors"]), ["block"]);

    let (_, manifest, names) = collect(&format!("{url}/half"), &[], 3);
    assert!(names.contains(&"cpu.prof".to_owned()), "{names:?}");
    assert!(manifest["incomplete"].as_str().unwrap().contains("broke off"), "{manifest}");
}

/// What tasks wait in only our own endpoint can say: that it was not there is no reason to leave it out.
#[test]
fn what_tasks_wait_in_has_no_fallback() {
    let directory = tempdir().unwrap();
    let url = serving(healthy);
    let file = path(&directory, "x.tar.gz");
    let collect = |url: &str, more: &[&str]| {
        run(["collect", url, "-p", "goroutine", "-o", &file].iter().chain(more).copied())
    };
    let asking = format!("{url}/debug/profile?tasks=await-tree");
    for ran in [collect(&url, &["--tasks", "await-tree"]), collect(&asking, &[])] {
        let ran = ran.code(1);
        assert!(ran.stderr.contains("leave out --tasks, or tasks= in the URL"), "{}", ran.stderr);
        assert!(listed(&directory).is_empty());
    }
    collect(&url, &[]).code(0);
}

#[test]
fn a_rate_is_in_its_range_and_has_no_fallback() {
    let directory = tempdir().unwrap();
    let url = serving(healthy);
    let file = path(&directory, "x.tar.gz");
    let ran = run(["collect", &url, "--hz", "1001", "-o", &file]).code(2);
    assert!(ran.stderr.contains("must be a whole number from 1 to 1000"), "{}", ran.stderr);
    let ran = run(["collect", &url, "--hz", "99", "-o", &file]).code(1);
    assert!(ran.stderr.contains("leave out --hz, or hz= in the URL"), "{}", ran.stderr);
}

#[test]
fn settings_come_from_the_environment_too() {
    let directory = tempdir().unwrap();
    let url = serving(|line, stream| {
        if line.contains(" /ops/pprof/") {
            healthy(&line.replace("/ops/", "/debug/"), stream);
        } else {
            reply(stream, "404 Not Found", "text/plain", NOT_FOUND.as_bytes());
        }
    });
    let file = path(&directory, "x.tar.gz");
    let collect = |variables: &[(&str, &str)]| {
        let mut command = profilez(["collect", &url, "-o", &file, "--force"]);
        command.env("PROFILEZ_PROFILES", "heap").envs(variables.iter().copied());
        Ran::of(command.output().unwrap())
    };
    collect(&[]).code(1);
    collect(&[("PROFILEZ_PREFIX", "/ops")]).code(0);
    fs::remove_file(&file).unwrap();
    collect(&[("PROFILEZ_PREFIX", "/ops"), ("PROFILEZ_NO_FALLBACK", "1")]).code(1);
}
