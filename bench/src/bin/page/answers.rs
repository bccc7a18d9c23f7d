//! How long the live page's data takes, as its reader sees it: over a socket, once names are known.

use std::hint::black_box;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use profile_core::alloc;
use profile_http::server::{DebugService, Server};
use profilez_bench::engine::Engine;
use profilez_bench::run::{Figures, Line, Runner, figures};
use profilez_bench::table::{Bar, Row};

/// The line of `/stats`.
pub(crate) const STATS: Line = Line { name: "stats", rows: stats_rows, child: stats };
/// The line of `/goroutines`.
pub(crate) const GOROUTINES: Line =
    Line { name: "goroutines", rows: goroutines_rows, child: goroutines };

fn stats_rows(runner: &mut Runner) -> Vec<Row> {
    let [ours] = runner.pairs([Engine::Ours], &[]);
    vec![
        Row::new("/debug/stats with 1000 allocation sites", "ms")
            .ours(ours.spread("millis"))
            .bar(Bar::AtMost(5.0)),
        Row::new("sites that it knew, at least", "")
            .ours(ours.spread("sites"))
            .bar(Bar::AtLeast(1000.0)),
        Row::new("the page, compressed", "kB").ours(ours.spread("page")).bar(Bar::AtMost(120.0)),
    ]
}

fn goroutines_rows(runner: &mut Runner) -> Vec<Row> {
    let [ours] = runner.pairs([Engine::Ours], &[]);
    vec![
        Row::new("/debug/goroutines with 1000 threads", "ms")
            .ours(ours.spread("millis"))
            .bar(Bar::AtMost(60.0)),
    ]
}

/// Allocates at the end of a path of its own: a turn left or right for each bit.
#[inline(never)]
fn left(path: u32, depth: u32, kept: &mut Vec<Vec<u8>>) {
    turn(path >> 1, depth, kept);
    black_box(());
}

#[inline(never)]
fn right(path: u32, depth: u32, kept: &mut Vec<Vec<u8>>) {
    turn(path >> 1, depth, kept);
    black_box(depth);
}

#[inline(never)]
fn turn(path: u32, depth: u32, kept: &mut Vec<Vec<u8>>) {
    match (depth, path & 1) {
        (0, _) => kept.push(black_box(vec![1; 64 << 10])),
        (_, 0) => left(path, depth - 1, kept),
        _ => right(path, depth - 1, kept),
    }
    black_box(path);
}

fn serve() -> (Server, SocketAddr) {
    let server = DebugService::builder("bench").build().serve("127.0.0.1:0").expect("a listener");
    let address = server.local_addr().expect("an address");
    (server, address)
}

fn get(address: SocketAddr, path: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).expect("a connection");
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n"
    )
    .expect("a request");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer");
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    answer
}

/// The median of several, in milliseconds; far enough apart that none is given again.
fn median(address: SocketAddr, path: &str) -> f64 {
    for _ in 0..2 {
        get(address, path);
        thread::sleep(Duration::from_millis(150));
    }
    let mut times: Vec<f64> = (0..15)
        .map(|_| {
            thread::sleep(Duration::from_millis(120));
            let began = Instant::now();
            get(address, path);
            began.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn stats(_engine: Engine, _args: &[u32]) -> Figures {
    alloc::set_rate(4096);
    let mut kept = Vec::new();
    for path in 0..1024 {
        turn(path, 10, &mut kept);
    }
    let (server, address) = serve();
    let millis = median(address, "/debug/stats");
    let all = get(address, "/debug/stats?limit=1000");
    let sites = String::from_utf8_lossy(&all);
    let sites = sites.split("\"inuse_allocations\":").nth(1).unwrap_or_default();
    let sites = sites.split("\"history\"").next().unwrap_or_default().matches("\"id\"").count();
    let page = get(address, "/debug/").len() as f64 / 1e3;
    server.shut_down();
    drop(kept);
    figures([("millis", millis), ("sites", sites as f64), ("page", page)])
}

#[inline(never)]
fn waits_for_a_lock(lock: &Mutex<()>) {
    drop(lock.lock());
    black_box(());
}

fn goroutines(_engine: Engine, _args: &[u32]) -> Figures {
    let lock = Arc::new(Mutex::new(()));
    let held = lock.lock().expect("a lock");
    let threads: Vec<_> = (0..1000)
        .map(|n| {
            let lock = Arc::clone(&lock);
            let work = move || match n % 2 {
                0 => waits_for_a_lock(&lock),
                _ => thread::park(),
            };
            thread::Builder::new().stack_size(128 << 10).spawn(work).expect("a thread")
        })
        .collect();
    let (server, address) = serve();
    let millis = median(address, "/debug/goroutines");
    drop(held);
    server.shut_down();
    for thread in threads {
        thread.thread().unpark();
        thread.join().expect("a thread that waits");
    }
    figures([("millis", millis)])
}
