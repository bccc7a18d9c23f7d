//! A dump of 1000 blocked threads: what it costs, whether every stack is right, and whether a system
//! call ended early because of it. There is no peer: nothing else reads them without a signal.

use std::hint::black_box;
use std::net::UdpSocket;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use profile_core::{Collectors, Kind};
use profilez_bench::clock::process_cpu;
use profilez_bench::engine::Engine;
use profilez_bench::run::{Figures, Line, Runner, figures};
use profilez_bench::spread::Spread;
use profilez_bench::table::{Bar, Row};

/// The line.
pub(crate) const LINE: Line = Line { name: "dump", rows, child };

const THREADS: u32 = 1000;

fn rows(runner: &mut Runner) -> Vec<Row> {
    let [ours] = runner.pairs([Engine::Ours], &[THREADS]);
    vec![
        Row::new("CPU of a dump of 1000 blocked threads", "ms")
            .ours(ours.spread("cpu"))
            .bar(Bar::AtMost(25.0)),
        // It reads the program's debug information, which is the same for any number of threads.
        Row::new("the same, the first dump of all", "ms").ours(ours.spread("first")),
        Row::new("stacks of 1000 that are wrong or missing", "")
            .ours(ours.spread("wrong"))
            .bar(Bar::AtMost(0.0)),
        Row::new("system calls that a dump ended early", "")
            .ours(ours.spread("interrupted"))
            .bar(Bar::AtMost(0.0)),
    ]
}

#[inline(never)]
fn waits_for_a_lock(lock: &Mutex<()>) {
    drop(lock.lock());
    black_box(());
}

#[inline(never)]
fn waits_asleep() {
    thread::sleep(Duration::from_secs(600));
    black_box(());
}

#[inline(never)]
fn waits_for_a_message(receiver: &Receiver<()>) {
    let _ = receiver.recv();
    black_box(());
}

/// A receive with a timeout is a call that shows a signal to the program.
#[inline(never)]
fn waits_for_a_packet(socket: &UdpSocket, interrupted: &AtomicU64) {
    let error = socket.recv(&mut [0]).map_err(|error| error.kind());
    if error == Err(std::io::ErrorKind::Interrupted) {
        interrupted.fetch_add(1, Ordering::Relaxed);
    }
}

const PLACES: [&str; 4] =
    ["waits_for_a_lock()", "waits_asleep()", "waits_for_a_message()", "waits_for_a_packet()"];

fn child(_engine: Engine, args: &[u32]) -> Figures {
    let &[threads] = args else { panic!("how many threads") };
    let lock = Arc::new(Mutex::new(()));
    let _held = lock.lock();
    let interrupted = Arc::new(AtomicU64::new(0));
    let mut senders = Vec::new();
    for n in 0..threads {
        let (lock, interrupted) = (Arc::clone(&lock), Arc::clone(&interrupted));
        let (sender, receiver) = mpsc::channel();
        senders.push(sender);
        let work = move || match n % 4 {
            0 => waits_for_a_lock(&lock),
            1 => waits_asleep(),
            2 => waits_for_a_message(&receiver),
            _ => {
                let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
                socket.set_read_timeout(Some(Duration::from_secs(600))).expect("a timeout");
                waits_for_a_packet(&socket, &interrupted);
            }
        };
        thread::Builder::new().stack_size(128 << 10).spawn(work).expect("a thread");
    }
    // One place calls all dumps: a stack that is new has to be named, as in the first.
    let (begun, mut first, mut dumps) = (Instant::now(), None, Vec::new());
    while dumps.len() < 5 {
        let before = process_cpu();
        let text = dump();
        let cpu = process_cpu() - before;
        let right = right(&text);
        if first.is_none() {
            first = Some(cpu);
        } else if right == threads || begun.elapsed() > Duration::from_secs(20) {
            dumps.push((cpu, right));
        } else {
            // Not all have come to where they wait.
            dumps.clear();
        }
    }
    let fewest = dumps.iter().map(|&(_, right)| right).min().unwrap_or(0);
    let cpu = dumps.iter().map(|&(cpu, _)| cpu);
    let cpu = Spread::of(cpu).expect("five figures").median;
    // A call that was interrupted takes a moment to say so.
    thread::sleep(Duration::from_millis(100));
    figures([
        ("cpu", cpu * 1e3),
        ("first", first.unwrap_or_default() * 1e3),
        ("wrong", f64::from(threads - fewest)),
        ("interrupted", interrupted.load(Ordering::Relaxed) as f64),
    ])
}

fn dump() -> String {
    let window = Collectors::new().collector(Kind::Goroutine).start().expect("a dump");
    let files = window.close()().expect("a dump");
    let text = files.into_iter().find(|file| file.name == "goroutine.txt").expect("its text");
    String::from_utf8(text.bytes.into_vec()).expect("UTF-8")
}

/// Threads whose stack has the place where they wait, and goes on to their first function.
fn right(dump: &str) -> u32 {
    let is_right = |block: &&str| {
        PLACES.iter().any(|place| block.contains(place)) && block.contains("thread_start()")
    };
    dump.split("\n\n").filter(is_right).count() as u32
}
