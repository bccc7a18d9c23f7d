//! Every way in which a request is refused, with the text that says so.

use std::io::{Read as _, Write as _};

use profilez::core::Kind;
use profilez::http::server::{DebugService, Server};

use crate::support::fakes::{Fake, Fault, service};
use crate::support::http::{Answer, get, receive, request, send};

fn serve() -> Server {
    service([Fake::new(Kind::Heap, 10)]).build().serve("127.0.0.1:0").unwrap()
}

#[track_caller]
fn check(query: &str, status: u16, message: &str, detail: &str) {
    let server = serve();
    let answer = get(server.local_addr().unwrap(), &format!("/debug/profile?{query}"));
    assert_eq!(answer.status, status, "{query}");
    let (got_message, got_detail) = answer.refusal();
    assert_eq!(got_message, message, "{query}");
    assert!(got_detail.contains(detail), "{query}: {got_detail}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    server.shut_down();
}

#[test]
fn bad_durations() {
    let range = "from 10ms to 1m0s";
    check("duration=notaduration", 400, "Invalid duration parameter.", "notaduration");
    check("duration=5d", 400, "Invalid duration parameter.", "unknown unit");
    for duration in ["abc", "1e3", "5d"] {
        let query = format!("duration={duration}");
        check(&query, 400, "Invalid duration parameter.", range);
        check(&query, 400, "Invalid duration parameter.", "Examples: 10s, 1m30s");
    }
    check("duration=0", 400, "Duration must be positive.", range);
    check("duration=-3s", 400, "Duration must be positive.", range);
    check("duration=1ns", 400, "Duration must be at least 10ms.", range);
    check("duration=5m", 400, "Duration cannot exceed 1m0s.", range);
    check("seconds=61", 400, "Duration cannot exceed 1m0s.", range);
    check("duration=999999999999999999999h", 400, "Duration cannot exceed 1m0s.", range);
    // A remote crash in one of the parsers that could have been used.
    check("duration=1%C2%B5s", 400, "Duration must be at least 10ms.", range);
}

#[test]
fn bad_kinds_and_parameters() {
    let valid = "Valid types: cpu, heap, allocs, block, mutex, goroutine, threadcreate, trace";
    check("profiles=nonexistent", 400, "Unknown profile type: \"nonexistent\".", valid);
    let many = format!("profiles={}", ["goroutine"; 3000].join(","));
    check(&many, 400, "Too many profile types: 3000, where at most 64 are read.", valid);
    check("profile=cpu", 400, "Unknown parameter: \"profile\".", "profiles");
    let twice = |name: &str| format!("Parameter {name:?} is given more than once.");
    check("duration=1s&duration=2s", 400, &twice("duration"), "two names of one parameter");
    check("duration=1s&seconds=2", 400, &twice("seconds"), "two names of one parameter");
    let server = serve();
    let path = "/debug/profile?profiles=heap&profiles=cpu";
    let answer = get(server.local_addr().unwrap(), path);
    assert_eq!(answer.refusal(), (twice("profiles"), String::new()));
    server.shut_down();
    check("profiles=%00%0d%0aX:%20y", 400, "Unknown profile type: \"\\0\\r\\nX: y\".", valid);
}

#[test]
fn bad_rates() {
    for rate in ["0", "1001", "-5", "100Hz"] {
        let range = "must be a whole number from 1 to 1000";
        check(&format!("hz={rate}"), 400, "Invalid hz parameter.", range);
    }
    check("hz=99&profiles=heap", 400, "Invalid request.", "hz is for the profile type \"cpu\"");
}

#[test]
fn a_kind_this_process_can_not_give() {
    check(
        "duration=20ms&profiles=heap,trace",
        501,
        "Profile type \"trace\" is not available in this process.",
        "absent; bring it back",
    );
}

#[test]
fn what_tasks_wait_in_where_nobody_can_tell() {
    let server = service([Fake::new(Kind::Goroutine, 10)]).build().serve("127.0.0.1:0").unwrap();
    let path = "/debug/profile?tasks=await-tree&profiles=goroutine";
    let answer = get(server.local_addr().unwrap(), path);
    assert_eq!(answer.status, 501);
    assert_eq!(answer.refusal().0, "tasks=await-tree is not available in this process.");
    server.shut_down();
}

/// Posts a body and leaves the query to the path.
fn post(address: std::net::SocketAddr, path: &str, content_type: &str, body: &str) -> Answer {
    let len = body.len().to_string();
    let headers = [("Content-Type", content_type), ("Content-Length", &len)];
    let mut stream = send(address, "POST", path, &headers);
    // The server may have refused it before it has read all of it.
    let _ = stream.write_all(body.as_bytes());
    receive(stream).unwrap()
}

#[test]
fn parameters_may_come_in_a_form() {
    const FORM: &str = "application/x-www-form-urlencoded";
    let server = serve();
    let address = server.local_addr().unwrap();
    let check = |path: &str, content_type: &str, body: &str, status: u16, message: &str| {
        let answer = post(address, path, content_type, body);
        assert_eq!(answer.status, status, "{path} {body:.40}");
        if status != 200 {
            assert_eq!(answer.refusal().0, message, "{path} {body:.40}");
        }
    };
    let path = "/debug/profile";
    let short = "/debug/profile?duration=20ms";
    check(path, FORM, "duration=20ms&profiles=heap", 200, "");
    check(short, "Application/X-WWW-form-urlencoded; charset=UTF-8", "profiles=heap", 200, "");
    check(short, FORM, "", 200, "");
    check(path, FORM, "duration=5m", 400, "Duration cannot exceed 1m0s.");
    check(short, FORM, "profiles=nonsense", 400, "Unknown profile type: \"nonsense\".");
    check(short, FORM, "debug=1", 400, "Unknown parameter: \"debug\".");
    check(short, FORM, "seconds=1", 400, "Parameter \"seconds\" is given more than once.");
    // What is no form is not looked at.
    check(short, "application/json", "{\"duration\":\"5m\"}", 200, "");
    check(short, "", "duration=5m", 200, "");
    let large = format!("profiles={}", ",".repeat(64 << 10));
    check(short, FORM, &large, 413, "the request is larger than 65536 bytes");
    check(short, FORM, &large[..64 << 10], 200, "");
    server.shut_down();
}

#[test]
fn nothing_this_process_can_give() {
    let server = service([]).build().serve("127.0.0.1:0").unwrap();
    let answer = get(server.local_addr().unwrap(), "/debug/profile");
    assert_eq!(answer.status, 501);
    let (message, detail) = answer.refusal();
    assert_eq!(message, "No profile is available in this process.");
    assert!(detail.contains("cpu: absent; bring it back"), "{detail}");
    server.shut_down();
}

#[test]
fn wrong_paths_and_methods() {
    let server = serve();
    let address = server.local_addr().unwrap();
    for path in ["/", "/debu", "/debug/profiles", "/debug/profile/", "/profile", "/debug/../etc"] {
        let answer = get(address, path);
        assert_eq!(answer.status, 404, "{path}");
        assert_eq!(answer.refusal().0, "Not found.");
    }
    for method in ["PUT", "DELETE", "OPTIONS", "PATCH"] {
        let answer = request(address, method, "/debug/profile", &[]);
        assert_eq!(answer.status, 405, "{method}");
        assert_eq!(answer.header("allow"), Some("GET, HEAD, POST"));
    }
    server.shut_down();
}

#[test]
fn a_timed_collector_that_can_not_start() {
    let (cpu, heap) = (Fake::faulty(Kind::Cpu, Fault::Start), Fake::new(Kind::Heap, 10));
    let server = service([cpu, heap.clone()]).build().serve("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    for _ in 0..2 {
        let answer = get(address, "/debug/profile?duration=20ms&profiles=heap,cpu");
        assert_eq!(answer.status, 500);
        let (message, detail) = answer.refusal();
        assert_eq!(message, "Failed to start CPU profile.");
        assert_eq!(detail, "cpu could not be collected: told to fail");
        assert_eq!(heap.on(), 0, "what was started before it is undone");
    }
    let answer = get(address, "/debug/profile?duration=20ms&profiles=heap");
    assert_eq!(answer.status, 200, "the gate is open again");
    server.shut_down();
}

#[test]
fn a_service_can_be_asked_under_another_prefix_and_maximum() {
    let server = service([Fake::new(Kind::Heap, 10)])
        .prefix("internal/debug/")
        .max_window(std::time::Duration::from_secs(2))
        .build()
        .serve("127.0.0.1:0")
        .unwrap();
    let address = server.local_addr().unwrap();
    assert_eq!(get(address, "/debug/profile").status, 404);
    let answer = get(address, "/internal/debug/profile?duration=3s");
    assert_eq!(answer.refusal().0, "Duration cannot exceed 2s.");
    assert_eq!(get(address, "/internal/debug/profile?duration=20ms").status, 200);
    server.shut_down();
}

#[test]
fn an_open_address_needs_an_authorizer() {
    let error = DebugService::builder("test").build().serve("0.0.0.0:0").unwrap_err();
    assert!(error.to_string().contains("needs an authorizer"), "{error}");
}

#[test]
fn what_is_not_http_is_refused_and_harms_nobody() {
    let server = serve();
    let address = server.local_addr().unwrap();
    let long = format!("GET /debug/profile HTTP/1.1\r\nHost: {}\r\n\r\n", "x".repeat(10 << 20));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(100_000));
    let inputs: [&[u8]; 6] = [
        b"\0\x01\xff garbage\r\n\r\n",
        b"GET /debug/profile HTTP/9.9\r\n\r\n",
        b"GET /debug/profile\x01 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
        long.as_bytes(),
        many.as_bytes(),
    ];
    for input in inputs {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(std::time::Duration::from_secs(30))).unwrap();
        // The server may close the connection before it has read all of it.
        let _ = stream.write_all(input);
        let mut answer = Vec::new();
        let _ = stream.take(1 << 20).read_to_end(&mut answer);
        let refused = answer.is_empty() || answer.starts_with(b"HTTP/1.1 4");
        assert!(refused, "{}", String::from_utf8_lossy(&answer));
    }
    assert_eq!(get(address, "/debug/profile?duration=10ms").status, 200);
    server.shut_down();
}
