//! The data of the live page: names, meanings, refusals, and what two readers share.

use std::collections::{BTreeMap, BTreeSet};
use std::hint::black_box;
use std::io::Read as _;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use flate2::read::GzDecoder;
use profilez::analysis::rules::RuleSet;
use profilez::core::Kind;
use profilez::core::stats::Settings;
use profilez::http::server::{DebugService, DebugServiceBuilder, Server, Token};
use serde_json::Value;

use crate::support::fakes::{Fake, service};
use crate::support::http::{get, receive, request, send};
use crate::support::own_process::is_own_process;
use crate::support::server::{real, sample_heap};

fn serve(service: DebugServiceBuilder) -> (Server, SocketAddr) {
    let server = service.build().serve("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    (server, address)
}

/// The names of the contract, a path a line. One that ends in `?` may be missing; the rest may be
/// `null`.
const STATS: &str = include_str!("../data/live/stats.txt");
const GOROUTINES: &str = include_str!("../data/live/goroutines.txt");

/// Holds the names of an answer against the list of known ones.
#[track_caller]
fn has_the_names(json: &Value, golden: &str) {
    let known: BTreeSet<&str> = golden.lines().map(|line| line.trim_end_matches('?')).collect();
    let mut found = BTreeSet::new();
    names(json, String::new(), &mut found);
    let new: Vec<&String> = found.iter().filter(|name| !known.contains(name.as_str())).collect();
    assert!(new.is_empty(), "not in the contract: {new:?}");
    // Rows that are not there have no names.
    let empty = |name: &str| {
        name.match_indices("[]").any(|(at, _)| {
            let list = format!("/{}", name[..at].replace("[]", "/0").replace('.', "/"));
            json.pointer(&list).and_then(Value::as_array).is_none_or(Vec::is_empty)
        })
    };
    let missing: Vec<&str> = golden
        .lines()
        .filter(|line| !line.ends_with('?') && !found.contains(*line) && !empty(line))
        .collect();
    assert!(missing.is_empty(), "gone: {missing:?}");
}

fn names(json: &Value, path: String, found: &mut BTreeSet<String>) {
    match json {
        Value::Object(fields) => {
            for (name, value) in fields {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                names(value, path, found);
            }
        }
        Value::Array(items) => {
            items.iter().for_each(|item| names(item, format!("{path}[]"), found));
        }
        _ => {
            found.insert(path);
        }
    }
}

#[test]
fn the_figures_have_the_contracts_names_and_are_true() {
    let _real = real();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let task = runtime.spawn(std::future::pending::<()>());
    let (server, address) =
        serve(DebugService::builder("shop").version("1.2").runtime(runtime.handle()));
    let before = get(address, "/debug/stats");
    assert_eq!((before.status, before.header("cache-control")), (200, Some("no-store")));
    let before = before.json();
    has_the_names(&before, STATS);
    assert_eq!(before["runtime"]["num_tasks"], 1);
    assert_eq!(before["process"]["service"], "shop");
    assert_eq!(before["process"]["pid"], std::process::id());
    let kept = black_box(vec![1u8; 96 << 20]);
    // An answer that is a moment old is given again.
    let after = loop {
        let after = get(address, "/debug/stats").json();
        if after["timestamp"] != before["timestamp"] {
            break after;
        }
        thread::yield_now();
    };
    let grown = |name: &str| {
        let of = |json: &Value| json["memory"][name].as_i64().unwrap();
        of(&after) - of(&before)
    };
    // Other threads of this process free little meanwhile.
    for name in ["alloc", "heap_inuse", "sys"] {
        assert!(grown(name) > 64 << 20, "{name}: {}", grown(name));
    }
    assert!(grown("total_alloc") >= 96 << 20);
    let runtime_figures = &after["runtime"];
    let threads = runtime_figures["num_threads"].as_u64().unwrap();
    assert_eq!(runtime_figures["num_goroutine"].as_u64().unwrap(), threads + 1);
    assert!(!after["history"].as_array().unwrap().is_empty());
    drop((kept, task));
    server.shut_down();
}

#[test]
fn what_is_not_known_is_null_and_never_zero() {
    let none: Option<Settings> = None;
    let (server, address) = serve(service([]).stats(none));
    let json = get(address, "/debug/stats").json();
    has_the_names(&json, STATS);
    for (part, names) in [
        ("memory", &["alloc", "total_alloc", "heap_inuse", "heap_objects", "sys"][..]),
        ("cpu", &["usage_percent", "user_time", "system_time"]),
        ("runtime", &["num_goroutine", "num_threads", "num_tasks"]),
    ] {
        for name in names {
            assert!(json[part][name].is_null(), "{part}.{name}: {}", json[part][name]);
        }
    }
    assert_eq!(json["history"], serde_json::json!([]));
    assert_eq!(json["errors"][0], "the statistics collector is off");
    // A kind that can't be given is refused with its reason, as JSON.
    let refused = get(address, "/debug/goroutines");
    assert_eq!(refused.status, 501);
    assert!(refused.refusal().1.contains("bring it back"), "{:?}", refused.refusal());
    assert_eq!(get(address, "/debug/flame?kind=cpu").status, 501);
    server.shut_down();
}

#[test]
fn threads_come_in_groups_with_the_raw_dump_where_it_is_asked_for() {
    let _real = real();
    let rules = "[[rule]]\nid = \"ours\"\ncategory = \"per-request\"\n\
                 match = { any_frame = [\"*threads_come_in_groups*\"] }\n";
    let rules = RuleSet::parse(rules).unwrap();
    let (server, address) = serve(DebugService::builder("shop").rules(rules));
    let json = get(address, "/debug/goroutines").json();
    has_the_names(&json, GOROUTINES);
    let groups = json["groups"].as_array().unwrap();
    let total: u64 = groups.iter().map(|group| group["count"].as_u64().unwrap()).sum();
    assert_eq!(json["total_goroutines"].as_u64().unwrap(), total);
    assert!(
        groups.iter().any(|group| group["rule"] == "ours" && group["category"] == "per-request")
    );
    assert!(json.get("raw_profile").is_none());
    let raw = get(address, "/debug/goroutines?raw=true").json();
    assert!(raw["raw_profile"].as_str().unwrap().starts_with("goroutine "));
    server.shut_down();
}

#[test]
fn two_readers_share_one_computation() {
    let _real = real();
    let (server, address) = serve(DebugService::builder("shop"));
    let path = "/debug/goroutines";
    let shared = (0..50).any(|_| {
        let streams = [(); 4].map(|()| send(address, "GET", path, &[]));
        let answers = streams.map(|stream| receive(stream).unwrap().json()["timestamp"].clone());
        answers.iter().all(|taken| *taken == answers[0])
    });
    assert!(shared, "each reader had its own");
    server.shut_down();
}

#[test]
fn metrics_are_in_prometheus_form() {
    let (server, address) = serve(DebugService::builder("a \"shop\"\\\n"));
    let answer = get(address, "/debug/metrics");
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let text = String::from_utf8(answer.body).unwrap();
    assert!(text.ends_with('\n'));
    assert!(text.contains("profilez_info{service=\"a \\\"shop\\\"\\\\\\n\","), "{text}");
    let mut typed = BTreeSet::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(["gauge", "counter"].contains(&kind), "{line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            assert!(typed.insert(name), "{line} twice");
        } else if !line.starts_with("# HELP ") {
            let (series, value) = line.rsplit_once(' ').unwrap();
            assert!(value.parse::<f64>().unwrap().is_finite(), "{line}");
            assert!(typed.contains(series.split('{').next().unwrap()), "{line} has no type");
        }
    }
    assert!(typed.contains("process_cpu_seconds_total"), "{text}");
    server.shut_down();
}

#[test]
fn each_path_has_its_method_and_its_parameters() {
    let (server, address) = serve(service([]));
    for path in ["/", "/stats", "/goroutines", "/flame", "/metrics"] {
        let refused = request(address, "POST", &format!("/debug{path}"), &[]);
        assert_eq!((refused.status, refused.header("allow")), (405, Some("GET, HEAD")), "{path}");
        assert_eq!(refused.refusal().0, "Method not allowed.");
    }
    let refused = request(address, "PUT", "/debug/profile", &[]);
    assert_eq!((refused.status, refused.header("allow")), (405, Some("GET, HEAD, POST")));
    for bad in ["stats?limit=0", "goroutines?raw=maybe", "flame?kind=trace", "stats?what=1"] {
        let refused = get(address, &format!("/debug/{bad}"));
        assert_eq!(refused.status, 400, "{bad}");
        refused.refusal();
    }
    let moved = get(address, "/debug");
    assert_eq!((moved.status, moved.header("location")), (308, Some("debug/")));
    assert_eq!(get(address, "/debugger").status, 404);
    assert_eq!(get(address, "/").status, 404);
    server.shut_down();
}

#[test]
fn the_head_says_what_there_would_be_and_collects_nothing() {
    let _real = real();
    let (server, address) = serve(DebugService::builder("shop"));
    for path in
        ["/", "/stats", "/goroutines", "/flame?seconds=60", "/metrics", "/profile?profiles=cpu"]
    {
        let began = Instant::now();
        let head = request(address, "HEAD", &format!("/debug{path}"), &[]);
        assert_eq!((head.status, head.body.len()), (200, 0), "{path}");
        assert!(began.elapsed() < Duration::from_secs(5), "{path}");
        assert!(head.header("content-type").is_some(), "{path}");
    }
    let picture = request(address, "HEAD", "/debug/flame?format=svg", &[]);
    assert_eq!(picture.header("content-type"), Some("image/svg+xml; charset=utf-8"));
    for (path, status) in [("stats?limit=0", 400), ("profile?duration=5m", 400), ("x", 404)] {
        assert_eq!(
            request(address, "HEAD", &format!("/debug/{path}"), &[]).status,
            status,
            "{path}"
        );
    }
    server.shut_down();
}

/// The stacks of an answer's rows, by their ids.
fn stacks(json: &Value) -> BTreeMap<String, Value> {
    let lists = ["top_allocations", "inuse_allocations", "potential_leaks"];
    let rows = lists.iter().flat_map(|list| json[list].as_array().unwrap());
    rows.map(|row| (row["id"].as_str().unwrap().to_owned(), row["stack"].clone())).collect()
}

#[test]
fn data_is_packed_for_whoever_takes_that() {
    if !is_own_process("live::data_is_packed_for_whoever_takes_that") {
        return;
    }
    sample_heap();
    let (server, address) = serve(DebugService::builder("shop"));
    let kept = black_box(vec![1u8; 96 << 20]);
    let plain = get(address, "/debug/stats?limit=200");
    assert_eq!(
        (plain.header("content-encoding"), plain.header("vary")),
        (None, Some("Accept-Encoding"))
    );
    let packed =
        request(address, "GET", "/debug/stats?limit=200", &[("Accept-Encoding", "br, gzip")]);
    assert_eq!(packed.header("content-encoding"), Some("gzip"));
    assert!(packed.body.len() < 100 << 10, "{}", packed.body.len());
    let mut json = String::new();
    GzDecoder::new(&packed.body[..]).read_to_string(&mut json).unwrap();
    let packed: Value = serde_json::from_str(&json).unwrap();
    has_the_names(&packed, STATS);

    // With a table the same stacks stand there in another form, and whole names are no shorter.
    let table = get(address, "/debug/stats?limit=200&stacks=table").json();
    has_the_names(&table, STATS);
    let frames = table["frames"].as_array().unwrap();
    let lines: BTreeSet<&str> = frames.iter().map(|line| line.as_str().unwrap()).collect();
    assert_eq!(lines.len(), frames.len(), "each frame once");
    let full = stacks(&get(address, "/debug/stats?limit=200&names=full").json());
    let (plain, mut compared) = (stacks(&plain.json()), 0);
    for (id, numbers) in stacks(&table) {
        let numbers = numbers.as_array().unwrap().iter();
        let stack: Value =
            numbers.map(|number| frames[number.as_u64().unwrap() as usize].clone()).collect();
        if let (Some(lines), Some(full)) = (plain.get(&id), full.get(&id)) {
            assert_eq!(&stack, lines);
            // Whole names are longer where they were cut.
            let texts = |stack: &Value| -> Vec<usize> {
                stack.as_array().unwrap().iter().map(|line| line.as_str().unwrap().len()).collect()
            };
            let (cut, full) = (texts(lines), texts(full));
            assert_eq!(cut.len(), full.len());
            assert!(cut.iter().zip(&full).all(|(cut, full)| cut <= full), "{lines}");
            compared += 1;
        }
    }
    assert!(compared > 0);
    drop(kept);
    server.shut_down();
}

#[test]
fn a_picture_comes_straight_from_a_request() {
    let _real = real();
    let (server, address) = serve(DebugService::builder("shop"));
    for (format, content_type, begins) in [
        ("svg", "image/svg+xml; charset=utf-8", "<?xml "),
        ("html", "text/html; charset=utf-8", "<!doctype html>"),
        ("folded", "text/plain; charset=utf-8", ""),
    ] {
        let picture = get(address, &format!("/debug/flame?kind=goroutine&format={format}&_=17"));
        assert_eq!((picture.status, picture.header("content-type")), (200, Some(content_type)));
        assert_eq!(picture.header("content-security-policy").is_some(), format != "folded");
        let text = String::from_utf8(picture.body).unwrap();
        assert!(text.to_lowercase().starts_with(begins), "{}", &text[..100.min(text.len())]);
        assert!(text.contains("a_picture_comes_straight"), "{format}");
    }
    assert_eq!(get(address, "/debug/flame?format=png").status, 400);
    server.shut_down();
}

#[test]
fn a_flame_is_a_tree_and_is_undone_when_its_reader_leaves() {
    let fake = Fake::new(Kind::Cpu, 100);
    let (server, address) = serve(service([fake.clone()]));
    let reader = send(address, "GET", "/debug/flame?kind=cpu&seconds=60", &[]);
    while fake.on() == 0 {
        thread::yield_now();
    }
    drop(reader);
    while fake.on() > 0 {
        thread::yield_now();
    }
    // What is no profile is a failure.
    assert_eq!(get(address, "/debug/flame?kind=cpu&seconds=10ms").status, 500);
    server.shut_down();

    let _real = real();
    let (server, address) = serve(DebugService::builder("shop"));
    let flame = get(address, "/debug/flame?kind=goroutine").json();
    let own: i64 = flame["own"].as_array().unwrap().iter().map(|own| own.as_i64().unwrap()).sum();
    assert_eq!(flame["total"].as_i64().unwrap(), own);
    assert!(flame["names"].as_array().unwrap().len() > 3);
    server.shut_down();
}

#[test]
fn a_person_at_a_browser_is_asked_for_the_token_by_a_page_without_data() {
    let service = DebugService::builder("secret-name").authorizer(Token::new("s3cret").unwrap());
    let (server, address) = serve(service);
    let html = [("Accept", "text/html,*/*;q=0.8"), ("Accept-Encoding", "gzip, br")];
    let locked = request(address, "GET", "/debug/", &html);
    assert_eq!(locked.status, 401);
    assert_eq!(locked.header("www-authenticate"), Some("Bearer realm=\"debug\""));
    assert_eq!(locked.header("content-encoding"), Some("gzip"));
    assert!(locked.body.len() < 120 << 10);
    let plain = request(address, "GET", "/debug/", &html[..1]);
    let text = String::from_utf8(plain.body).unwrap();
    assert!(text.contains("<html lang=\"en\" data-locked>"));
    assert!(!text.contains("secret-name"));
    // Programs, and every other path, get the refusal that they always got.
    for (path, headers) in [("/debug/", &[][..]), ("/debug/stats", &html[..1]), ("/x", &html[..1])]
    {
        let refused = request(address, "GET", path, headers);
        assert_eq!(refused.status, 401, "{path}");
        refused.refusal();
    }
    let open = request(
        address,
        "GET",
        "/debug/",
        &[("Authorization", "Bearer s3cret"), ("Accept", "text/html")],
    );
    assert_eq!(open.status, 200);
    let policy = open.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; script-src 'sha256-"), "{policy}");
    assert!(!String::from_utf8(open.body).unwrap().contains("data-locked>"));
    server.shut_down();
}
