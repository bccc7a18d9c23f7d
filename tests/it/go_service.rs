//! A Go program with a known workload: what `collect` gets of it is right, over TCP, a unix socket and
//! TLS.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use tempfile::tempdir;

use crate::command::{path, run};
use crate::support::go::{go, pprof};

/// The program while it runs; it ends with its standard input.
struct Service {
    child: Child,
    stdin: Option<ChildStdin>,
    address: String,
}

impl Service {
    fn start(program: &Path, args: &[&str]) -> Service {
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut address = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut address).unwrap();
        Service { stdin: child.stdin.take(), child, address: address.trim().to_owned() }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.stdin.take();
        let _ = self.child.wait();
    }
}

/// The program, built once.
fn built(go: &Path) -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("go-service");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/go/service/main.go");
        let mut build = Command::new(go);
        build.arg("build").arg("-o").arg(&program).arg(source).env("CGO_ENABLED", "0");
        assert!(build.status().unwrap().success());
        program
    })
}

const ALL: &str = "cpu,heap,allocs,block,mutex,goroutine,threadcreate,trace";

#[test]
fn every_profile_of_a_go_service_is_right() {
    let Some(go) = go() else { return };
    let service = Service::start(built(&go), &["-token", "s3cret"]);
    let directory = tempdir().unwrap();
    let file = path(&directory, "x.tar.gz");
    let ran = run(["collect", &service.address, "-d2s", "-p", ALL, "-o", &file]).code(0);
    assert!(!ran.stderr.contains("s3cret"), "{}", ran.stderr);

    let facts = run(["inspect", "--json", &file]).code(0).json();
    let manifest = &facts["manifest"];
    assert_eq!(manifest["service"], "go-service");
    assert_eq!(manifest["cmdline"], serde_json::json!(["go-service", "…", "…"]));
    assert_eq!(facts["warnings"], serde_json::json!([]));
    let mut names: Vec<_> = facts["entries"].as_array().unwrap().iter().collect();
    names.sort_by_key(|entry| entry["name"].as_str());
    let names: Vec<_> = names.iter().map(|entry| entry["name"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        [
            "allocs.prof",
            "block.prof",
            "cpu.prof",
            "goroutine.before.prof",
            "goroutine.prof",
            "goroutine.txt",
            "heap.before.prof",
            "heap.prof",
            "mutex.prof",
            "threadcreate.prof",
            "trace.out",
        ]
    );

    // What the workload does is what the profiles say, to Go and to us.
    let unpacked = Command::new("tar").args(["xzf", &file, "-C"]).arg(directory.path()).status();
    assert!(unpacked.unwrap().success());
    let top = |name: &str, args: &[&str]| {
        let profile = path(&directory, name);
        let args: Vec<&str> = ["-top"].iter().chain(args).copied().chain([&*profile]).collect();
        pprof(&go, &args)
    };
    assert!(top("cpu.prof", &[]).contains("main.burn"));
    let heap = top("heap.prof", &["-unit=MB"]);
    let leaked = heap.lines().find(|line| line.contains("main.leak")).unwrap();
    let flat: f64 = leaked.trim().split("MB").next().unwrap().parse().unwrap();
    assert!((64.0..66.0).contains(&flat), "{heap}");
    for name in ["block.prof", "mutex.prof"] {
        let waits = top(name, &["-cum"]);
        assert!(waits.contains("main.contend"), "{waits}");
        assert!(waits.contains("Duration: "), "an increase has a window: {waits}");
    }
    assert!(top("goroutine.prof", &["-cum"]).contains("main.contend"));
    let report = run(["report", &file]).code(0);
    for part in ["go-service on 127.0.0.1:", "main.burn", "main.leak"] {
        assert!(report.text().contains(part), "{part}: {}", report.text());
    }
}

#[test]
fn two_at_once_take_turns_with_the_cpu_profiler() {
    let Some(go) = go() else { return };
    let service = Service::start(built(&go), &[]);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                run(["collect", &service.address, "-d1s", "-p", "cpu", "-o", "/dev/null"]).code(0);
            });
        }
    });
}

#[test]
fn a_go_service_that_ends_leaves_a_partial_bundle() {
    let Some(go) = go() else { return };
    let service = Service::start(built(&go), &[]);
    let directory = tempdir().unwrap();
    let file = path(&directory, "x.tar.gz");
    let url = service.address.clone();
    let killer = thread::spawn(move || {
        thread::sleep(Duration::from_secs(2));
        drop(service);
    });
    run(["collect", &url, "-d30s", "-o", &file]).code(3);
    killer.join().unwrap();
    let facts = run(["inspect", "--json", &format!("{file}.partial")]).code(3).json();
    assert_eq!(facts["entries"][0]["name"], "heap.prof");
    assert!(facts["manifest"]["incomplete"].as_str().unwrap().contains("request to"), "{facts}");
}

#[test]
fn a_unix_socket_is_as_good() {
    let Some(go) = go() else { return };
    let directory = tempdir().unwrap();
    let socket = path(&directory, "debug.sock");
    let _service = Service::start(built(&go), &["-unix", &socket]);
    let file = path(&directory, "x.tar.gz");
    run(["collect", "--unix-socket", &socket, "-d1s", "-p", "heap,cpu", "-o", &file]).code(0);
    run(["report", &file]).code(0);
}

#[test]
fn certificates_are_asked_for_and_shown() {
    let Some(go) = go() else { return };
    let directory = tempdir().unwrap();
    let certificates = directory.path().to_str().unwrap();
    let service = Service::start(built(&go), &["-certificates", certificates]);
    let url = format!("https://{}", service.address);
    let [authority, client, server] =
        ["authority.pem", "client.pem", "server.pem"].map(|name| path(&directory, name));
    let collect = |args: &[&str]| {
        run(["collect", &url, "-d1s", "-p", "heap", "-o", "/dev/null"]
            .into_iter()
            .chain(args.iter().copied()))
    };
    collect(&["--cacert", &authority, "--cert", &client]).code(0);
    collect(&["--cacert", &authority, "--cert", &client, "--key", &client]).code(0);
    collect(&["--insecure", "--cert", &client]).code(0);
    // Nobody vouches for the server; the wrong one does; the client doesn't say who it is.
    collect(&["--cert", &client]).fails(1, &["request to https://", "certificate"]);
    collect(&["--cacert", &client, "--cert", &client]).fails(1, &["request to https://"]);
    collect(&["--cacert", &authority]).fails(1, &["request to https://"]);
    collect(&["--cacert", "/nowhere/ca.pem"]).fails(1, &["/nowhere/ca.pem"]);
    std::fs::write(&server, "no certificate").unwrap();
    collect(&["--cacert", &server]).fails(2, &["no certificate"]);
    collect(&["--cert", &server]).fails(2, &["no certificate"]);
    run(["collect", &url, "--key", &client]).code(2);
}
