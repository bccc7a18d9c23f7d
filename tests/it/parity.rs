//! Every path and parameter of `/debug/pprof/*` against a Go program that serves the same: status,
//! headers, and bodies where they are fixed.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

use crate::support::go::go;
use crate::support::http::{Answer, get, receive, request, send};
use crate::support::server::real;

/// The Go program, until it is dropped.
struct Reference {
    child: Child,
    address: SocketAddr,
    _directory: tempfile::TempDir,
}

impl Reference {
    fn start(go: &Path) -> Reference {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("parity");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/go/parity/main.go");
        let built = Command::new(go).args(["build", "-o"]).args([&program, &source]).output();
        let built = built.unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        let mut child =
            Command::new(&program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Reference { child, address: line.trim().parse().unwrap(), _directory: directory }
    }
}

impl Drop for Reference {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What is compared beside the status.
const HEADERS: [&str; 6] = [
    "content-type",
    "content-disposition",
    "x-content-type-options",
    "x-go-pprof",
    "allow",
    "location",
];

/// Whether a body is fixed, or of the process that is asked.
#[derive(Clone, Copy, PartialEq)]
enum Body {
    Fixed,
    Own,
}

#[track_caller]
fn compare(ours: &Answer, gos: &Answer, of: &str, body: Body) {
    assert_eq!(ours.status, gos.status, "{of}: {}", String::from_utf8_lossy(&ours.body));
    for name in HEADERS {
        // Ours has this one everywhere.
        if name == "x-content-type-options" && gos.header(name).is_none() {
            continue;
        }
        assert_eq!(ours.header(name), gos.header(name), "{name} of {of}");
    }
    if body == Body::Fixed {
        let text = |answer: &Answer| String::from_utf8_lossy(&answer.body).into_owned();
        assert_eq!(text(ours), text(gos), "{of}");
    } else {
        assert_eq!(ours.body.is_empty(), gos.body.is_empty(), "{of}");
    }
}

const SNAPSHOTS: [&str; 6] = ["allocs", "block", "goroutine", "heap", "mutex", "threadcreate"];

/// Every request that both answer alike.
fn table() -> Vec<(&'static str, String, Body)> {
    let mut table = Vec::new();
    let mut row = |method, path: &str, body| table.push((method, path.to_owned(), body));
    for path in ["", "?x=1", "?seconds=x"] {
        row("GET", path, Body::Fixed);
    }
    for path in ["/", "/?debug=1", "/cmdline", "/cmdline?seconds=x"] {
        row("GET", path, Body::Own);
        row("HEAD", path, Body::Own);
    }
    for path in ["/symbol", "/symbol?0x1", "/symbol?0x0+zz+12+", "/symbol?seconds=1"] {
        row("GET", path, Body::Fixed);
        row("HEAD", path, Body::Fixed);
    }
    for name in SNAPSHOTS {
        for query in ["", "?debug=0", "?debug=x", "?debug=1.5", "?seconds=", "?gc=1", "?gc=x"] {
            row("GET", &format!("/{name}{query}"), Body::Own);
        }
        for query in ["?debug=1", "?debug=2", "?debug=3&gc=1", "?debug=99999999999999999999"] {
            row("GET", &format!("/{name}{query}"), Body::Own);
        }
        for query in [
            "?seconds=x",
            "?seconds=0",
            "?seconds=-1",
            "?seconds=1.5",
            "?seconds=1s",
            "?seconds=%20",
            "?seconds=99999999999999999999",
            "?seconds=x&debug=1",
            "?seconds=1&debug=1",
            "?seconds=1&debug=2&gc=1",
            "?seconds=1&seconds=x&debug=1",
            "?debug=-1&seconds=1",
        ] {
            row("GET", &format!("/{name}{query}"), Body::Fixed);
            row("HEAD", &format!("/{name}{query}"), Body::Fixed);
        }
        row("HEAD", &format!("/{name}"), Body::Own);
        row("HEAD", &format!("/{name}?debug=1"), Body::Own);
    }
    for path in ["/nope", "/heap/", "/HEAP", "/profile/", "/nope?seconds=x", "/cpu"] {
        row("GET", path, Body::Fixed);
        row("HEAD", path, Body::Fixed);
    }
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
        for path in ["", "/", "/heap", "/heap?seconds=x", "/profile", "/trace", "/cmdline", "/nope"]
        {
            row(method, path, Body::Fixed);
        }
    }
    table
}

#[test]
fn every_path_and_parameter_is_answered_as_go_does() {
    let Some(go) = go() else { return };
    let reference = Reference::start(&go);
    let (_one, server, address) = real();
    for (method, path, body) in table() {
        let path = format!("/debug/pprof{path}");
        let ours = request(address, method, &path, &[]);
        let gos = request(reference.address, method, &path, &[]);
        compare(&ours, &gos, &format!("{method} {path}"), body);
    }
    // Those that take a second, all at once.
    let windows: Vec<String> = SNAPSHOTS
        .iter()
        .flat_map(|name| [format!("{name}?seconds=1"), format!("{name}?seconds=1&debug=0&gc=1")])
        .chain(["profile?seconds=1".to_owned()])
        .collect();
    thread::scope(|scope| {
        for path in &windows {
            let reference = reference.address;
            scope.spawn(move || {
                let path = format!("/debug/pprof/{path}");
                let gos = send(reference, "GET", &path, &[]);
                let ours = get(address, &path);
                compare(&ours, &receive(gos).unwrap(), &path, Body::Own);
            });
        }
    });
    server.shut_down();
}

/// Where we differ from Go, and how.
#[test]
fn where_go_is_not_followed() {
    let (_one, server, address) = real();
    let check = |method: &str, path: &str, status: u16, body: &str| {
        let answer = request(address, method, &format!("/debug/pprof{path}"), &[]);
        assert_eq!(answer.status, status, "{method} {path}");
        assert_eq!(String::from_utf8_lossy(&answer.body), body, "{method} {path}");
        if status >= 400 && status != 405 {
            assert_eq!(answer.header("x-go-pprof"), Some("1"), "{method} {path}");
            assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
            assert_eq!(answer.header("content-disposition"), None);
        }
    };
    // Windows end: Go's do not.
    let range = "invalid value for \"seconds\" - must be from 1 to 60\n";
    let parts = "invalid value for \"seconds\" - must be greater than 0, and at most 60\n";
    for (path, range) in [
        ("/profile?seconds=61", range),
        ("/heap?seconds=61", range),
        ("/trace?seconds=61", parts),
        ("/trace?seconds=1e9", parts),
    ] {
        check("GET", path, 400, range);
        check("HEAD", path, 400, "");
    }
    check("GET", "/goroutine?seconds=9223372036854775807", 400, range);
    // Go's router lets nobody post; its own reader of profiles does.
    check("POST", "/symbol", 200, "num_symbols: 1\n");
    check("PUT", "/symbol", 405, "Method Not Allowed\n");
    let allowed = request(address, "PUT", "/debug/pprof/symbol", &[]);
    assert_eq!(allowed.header("allow"), Some("GET, HEAD, POST"));
    // A kind that Go has and no Rust program can have.
    check("GET", "/goroutineleak", 404, "Unknown profile\n");
    // Nothing asks for a trace by default, so that there is no reason to send an empty one.
    if profilez::core::Collectors::new().available().check(profilez::core::Kind::Trace).is_err() {
        let answer = get(address, "/debug/pprof/trace?seconds=0.1");
        assert_eq!(answer.status, 501);
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(text.starts_with("Could not enable tracing: "), "{text}");
    }
    server.shut_down();
}
