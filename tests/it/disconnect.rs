//! Clients that leave, and clients that do not read: what was switched on is switched back.

use std::io::{BufReader, Read as _};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use profilez::core::{Gate, Kind};

use crate::support::fakes::{Fake, service};
use crate::support::http::{get, receive_head, send};
use crate::support::server::{heap_sampling, real, unpack};

/// What the real collectors switch on, as the system tells it.
#[derive(Debug, PartialEq)]
struct Switches {
    /// The engine's thread, and the kernel's timers that send it signals.
    cpu_sampling: (bool, bool),
    heap_sampling: bool,
}

fn switches() -> Switches {
    let mut tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let engine = tasks.any(|task| {
        let name = std::fs::read_to_string(task.unwrap().path().join("comm"));
        name.is_ok_and(|name| name.trim() == "profilez-cpu")
    });
    let timers = !std::fs::read_to_string("/proc/self/timers").unwrap().is_empty();
    Switches { cpu_sampling: (engine, timers), heap_sampling: heap_sampling() }
}

const OFF: Switches = Switches { cpu_sampling: (false, false), heap_sampling: false };
const ON: Switches = Switches { cpu_sampling: (true, true), heap_sampling: true };

/// How long it takes until `done`, at most five seconds.
fn until(done: impl Fn() -> bool) -> Duration {
    let began = Instant::now();
    while !done() && began.elapsed() < Duration::from_secs(5) {
        std::thread::sleep(Duration::from_millis(1));
    }
    began.elapsed()
}

/// Whether the process's gate is open.
fn gate_is_open() -> bool {
    Gate::process().try_enter(Duration::ZERO).is_ok()
}

#[test]
fn a_client_that_leaves_in_mid_window_leaves_nothing_behind() {
    let (_one, server, address) = real();
    // The first start takes longer than a window is open here; it is not what is measured.
    unpack(&get(address, "/debug/profile?duration=10ms&profiles=cpu"));
    assert_eq!(switches(), OFF);
    for _ in 0..5 {
        let client = send(address, "POST", "/debug/profile?duration=60s", &[]);
        let (status, _) = receive_head(&mut BufReader::new(&client)).unwrap();
        assert_eq!(status, 200, "the answer begins with the window");
        assert_eq!(switches(), ON);
        drop(client);
        let took = until(|| switches() == OFF && gate_is_open());
        println!("undone after {took:?}");
        assert!(took < Duration::from_millis(100), "undone after {took:?}");
    }
    server.shut_down();
}

#[test]
fn a_client_that_leaves_before_the_answer_begins() {
    let (_one, server, address) = real();
    for _ in 0..5 {
        let mut client = send(address, "POST", "/debug/profile?duration=60s", &[]);
        client.shutdown(Shutdown::Write).unwrap();
        // The server closes its side once it has seen that the client is gone. It may have said
        // before that another collection is not undone yet.
        client.read_to_end(&mut Vec::new()).unwrap();
    }
    until(|| switches() == OFF && gate_is_open());
    assert_eq!(switches(), OFF);
    assert!(gate_is_open());
    server.shut_down();
}

#[test]
fn shutting_down_ends_a_collection() {
    let (_one, server, address) = real();
    let client = send(address, "POST", "/debug/profile?duration=60s", &[]);
    let (status, _) = receive_head(&mut BufReader::new(&client)).unwrap();
    assert_eq!(status, 200);
    assert_eq!(switches(), ON);
    server.shut_down();
    assert_eq!(switches(), OFF);
    assert!(gate_is_open());
}

#[test]
fn a_client_that_does_not_read_loses_the_gate() {
    let heap = Fake::new(Kind::Heap, 64 << 20);
    let server = service([heap, Fake::new(Kind::Allocs, 10)])
        .patience(Duration::from_millis(500))
        .build()
        .serve("127.0.0.1:0")
        .unwrap();
    let address = server.local_addr().unwrap();
    let client = send(address, "POST", "/debug/profile?duration=20ms&profiles=heap", &[]);
    let mut reader = BufReader::new(&client);
    receive_head(&mut reader).unwrap();
    let busy = || get(address, "/debug/profile?duration=10ms&profiles=allocs").status == 409;
    assert!(busy(), "64 MiB don't fit into the buffers on the way");
    let took = until(|| !busy());
    assert!(took < Duration::from_secs(2), "the gate opened after {took:?}");
    // What it gets when it reads at last must not look whole.
    let mut rest = Vec::new();
    let _ = reader.read_to_end(&mut rest);
    assert!(!rest.ends_with(b"\r\n0\r\n\r\n"), "a cut bundle that ends well");
    server.shut_down();
}
