//! Thread dumps: what threads wait for, and that they go on waiting.

use std::io::ErrorKind;
use std::net::{TcpListener, UdpSocket};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use profilez::core::{Collectors, Kind};

/// A dump as text.
fn dump() -> String {
    let window = Collectors::new().collector(Kind::Goroutine).start().unwrap();
    let files = window.close()().unwrap();
    let text = files.into_iter().find(|file| file.name == "goroutine.txt").unwrap();
    String::from_utf8(text.bytes.into_vec()).unwrap()
}

/// The block of a dump about the thread of this name.
fn thread_block<'a>(dump: &'a str, name: &str) -> Option<&'a str> {
    let header = format!("{{thread: {name}}}:");
    dump.split("\n\n")
        .find(|block| block.lines().next().is_some_and(|line| line.ends_with(&header)))
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    thread::Builder::new().name(name.to_owned()).spawn(work).unwrap()
}

/// Dumps until `seen` says that every thread has come to where it waits.
fn dump_when(seen: impl Fn(&str) -> bool) -> String {
    let began = Instant::now();
    loop {
        let dump = dump();
        if seen(&dump) {
            return dump;
        }
        assert!(began.elapsed() < Duration::from_secs(10), "not seen:\n{dump}");
    }
}

#[test]
fn says_what_each_thread_waits_for_and_where() {
    let (_sender, receiver) = mpsc::channel::<()>();
    let receiver = Mutex::new(receiver);
    let lock = Arc::new(Mutex::new(()));
    let held = lock.lock().unwrap();
    let (theirs, condition) = (Arc::clone(&lock), Arc::new((Mutex::new(()), Condvar::new())));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    spawn("w_receive", move || {
        let _ = receiver.lock().unwrap().recv();
    });
    let locker = spawn("w_lock", move || drop(theirs.lock()));
    spawn("w_sleep", || thread::sleep(Duration::from_secs(600)));
    spawn("w_accept", move || drop(listener.accept()));
    spawn("w_park", || {
        loop {
            thread::park();
        }
    });
    spawn("w_condvar", move || {
        let guard = condition.0.lock().unwrap();
        drop(condition.1.wait(guard));
    });
    let expected = [
        ("w_receive", "futex wait", "recv"),
        ("w_lock", "futex wait", "lock_contended"),
        ("w_sleep", "sleep", "sleep"),
        ("w_accept", "accept", "accept"),
        ("w_park", "futex wait", "park"),
        ("w_condvar", "futex wait", "wait"),
    ];
    let dump = dump_when(|dump| {
        expected.iter().all(|(name, state, function)| {
            thread_block(dump, name).is_some_and(|block| {
                block.contains(&format!("[{state}]")) && block.contains(function)
            })
        })
    });
    for (name, ..) in expected {
        let block = thread_block(&dump, name).unwrap();
        assert!(block.contains("says_what_each_thread_waits_for_and_where"), "{block}");
        // The first function of every thread is at the end.
        assert!(block.contains("thread_start()"), "{block}");
    }
    drop(held);
    locker.join().unwrap();
}

#[test]
fn a_thread_that_waits_is_not_disturbed() {
    const TIMEOUT: Duration = Duration::from_secs(4);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(TIMEOUT)).unwrap();
    let waiting = thread::Builder::new()
        .name("w_udp".to_owned())
        .spawn(move || {
            let began = Instant::now();
            (socket.recv(&mut [0]).map_err(|error| error.kind()), began.elapsed())
        })
        .unwrap();
    let mut seen = 0;
    while !waiting.is_finished() {
        let dump = dump();
        let block = thread_block(&dump, "w_udp");
        seen += usize::from(block.is_some_and(|block| block.contains("[receive]")));
    }
    let (result, took) = waiting.join().unwrap();
    assert!(seen > 0, "the thread was never seen waiting");
    // A signal would have ended the wait early, with an error that this call shows.
    assert_eq!(result, Err(ErrorKind::WouldBlock), "after {took:?}");
    assert!(took >= TIMEOUT);
}

#[test]
fn a_running_thread_answers_itself() {
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let theirs = Arc::clone(&stop);
    let busy = spawn("w_busy", move || {
        while !theirs.load(std::sync::atomic::Ordering::Relaxed) {
            std::hint::spin_loop();
        }
    });
    let dump = dump_when(|dump| {
        thread_block(dump, "w_busy").is_some_and(|block| block.contains("[running]"))
    });
    let block = thread_block(&dump, "w_busy").unwrap();
    assert!(block.contains("a_running_thread_answers_itself"), "{block}");
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    busy.join().unwrap();
}
