//! Ctrl-C, timeouts, and readers that go away.

use std::fs;
use std::io::Read as _;
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use profilez::core::Kind;
use tempfile::tempdir;

use super::sources::{HEAD, Then, answering, bundle, chunk};
use super::{Ran, interrupt, listed, path, run, start};
use crate::support::fakes::{Fake, service};

/// Waits for what will come, or fails.
#[track_caller]
fn wait_for(what: impl Fn() -> bool) {
    let began = Instant::now();
    while !what() {
        assert!(began.elapsed() < Duration::from_secs(30), "waited in vain");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn an_interrupt_in_the_window_leaves_nothing_behind() {
    let directory = tempdir().unwrap();
    let fake = Fake::new(Kind::Heap, 10);
    let server = service([fake.clone()]).build().serve("127.0.0.1:0").unwrap();
    let url = server.local_addr().unwrap().to_string();
    let child = start(["collect", &url, "-d60s", "-o", &path(&directory, "x.tar.gz")]);
    wait_for(|| fake.on() == 1);
    let began = Instant::now();
    interrupt(&child);
    let ran = Ran::of(child.wait_with_output().unwrap());
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    ran.fails(130, &["interrupted"]);
    assert!(listed(&directory).is_empty(), "{:?}", listed(&directory));
    wait_for(|| fake.on() == 0);
    server.shut_down();
}

#[test]
fn an_interrupt_later_keeps_what_arrived() {
    let directory = tempdir().unwrap();
    let file = path(&directory, "x.tar.gz");
    let kept = format!("{file}.partial");
    let (bundle, second) = bundle("shop");
    let mut answer = HEAD.as_bytes().to_vec();
    answer.extend(chunk(&bundle[..second]));
    let (url, server) = answering(answer, Then::Hold);
    let child = start(["collect", &url, "-o", &file]);
    // The first entry has been handed on.
    wait_for(|| fs::metadata(&kept).is_ok_and(|found| found.len() > 100));
    interrupt(&child);
    let ran = Ran::of(child.wait_with_output().unwrap()).code(130);
    assert_eq!(ran.error(), "interrupted");
    assert_eq!(ran.text(), format!("{kept}\n"));
    let bytes = fs::metadata(&kept).unwrap().len();
    assert!(ran.stderr.contains(&format!("what arrived ({bytes} bytes) is in {kept}")));
    let facts = run(["inspect", "--json", &kept]).code(3).json();
    assert_eq!(facts["manifest"]["incomplete"], "interrupted");
    assert_eq!(facts["entries"][0]["name"], "heap.prof");
    server.join().unwrap();
}

#[test]
fn an_interrupt_ends_the_wait_for_a_connection() {
    let directory = tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // Nobody accepts, and once the queue is full the next one waits.
    let connect = || TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok();
    let queue: Vec<TcpStream> = std::iter::from_fn(connect).collect();
    let child = start(["collect", &address.to_string(), "-o", &path(&directory, "x.tar.gz")]);
    // Address, port, and the state SYN_SENT, as proc_net_tcp(5) has them.
    let waiting = format!(" 0100007F:{:04X} 02 ", address.port());
    wait_for(|| fs::read_to_string("/proc/net/tcp").unwrap().contains(&waiting));
    let began = Instant::now();
    interrupt(&child);
    let ran = Ran::of(child.wait_with_output().unwrap());
    // Connecting gives up by itself after ten seconds.
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    ran.fails(130, &["interrupted"]);
    assert!(listed(&directory).is_empty());
    drop(queue);
}

#[test]
fn a_collection_takes_no_longer_than_it_may() {
    let directory = tempdir().unwrap();
    let file = path(&directory, "x.tar.gz");
    for answer in ["", HEAD] {
        let (url, _) = answering(answer.into(), Then::Hold);
        let began = Instant::now();
        let ran = run(["collect", &url, "-d10ms", "--timeout", "300ms", "-o", &file]);
        ran.fails(1, &["failed", "timeout"]);
        assert!(began.elapsed() >= Duration::from_millis(300));
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
        assert!(listed(&directory).is_empty());
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let directory = tempdir().unwrap();
    let file = path(&directory, "x.tar.gz");
    fs::write(&file, bundle("shop").0).unwrap();
    for args in [["inspect", &file], ["report", &file]] {
        let mut child = start(args);
        drop(child.stdout.take());
        let mut stderr = String::new();
        child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0), "{stderr}");
        assert_eq!(stderr, "");
    }
}
