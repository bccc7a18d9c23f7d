//! Those who were not let in, many at a time: they keep nobody out, and don't stay.

use std::io::{self, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use profilez::core::Kind;
use profilez::http::server::{Server, Token};

use crate::support::fakes::{Fake, noise, service};
use crate::support::http::{get, receive, receive_head, request, send, write_head};
use crate::support::own_process::is_own_process;

/// How long whoever was let in may wait for an answer that takes no time.
const AT_ONCE: Duration = Duration::from_secs(1);
/// How long a connection may stay on which nobody was let in, with what a busy machine adds to it.
const STAY: Duration = Duration::from_secs(15);

const HEAD: &str = "GET /debug/ HTTP/1.1\r\nHost: localhost\r\nAccept: text/html\r\n\r\n";

/// What a connection without credentials does.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Habit {
    Silent,
    /// A part of a head, and nothing more.
    HalfOpen,
    /// A head that goes on for ever, a byte at a time.
    DripsHead,
    /// Many requests, whose answers it doesn't read.
    DoesNotRead,
    /// Many requests, whose answers it reads in bits.
    ReadsSlowly,
    /// A form that is announced and doesn't come.
    OwesBody,
    /// A body in pieces without end.
    DripsChunks,
    /// A request after the other, on a connection each.
    ComesAgain,
}

use Habit::*;

const HABITS: [Habit; 8] =
    [Silent, HalfOpen, DripsHead, DoesNotRead, ReadsSlowly, OwesBody, DripsChunks, ComesAgain];

impl Habit {
    /// What it says first, and from then on at each turn.
    fn says(self) -> (String, &'static str) {
        let post = "POST /debug/profile HTTP/1.1\r\nHost: localhost\r\n\
                    Content-Type: application/x-www-form-urlencoded\r\n";
        match self {
            Silent => (String::new(), ""),
            HalfOpen => (HEAD[..30].to_owned(), ""),
            DripsHead => ("GET / HTTP/1.1\r\nX: ".to_owned(), "x"),
            DoesNotRead | ReadsSlowly => (HEAD.repeat(150), ""),
            OwesBody => (format!("{post}Content-Length: 60000\r\n\r\nduration="), ""),
            DripsChunks => (format!("{post}Transfer-Encoding: chunked\r\n\r\n"), "1\r\nx\r\n"),
            ComesAgain => (HEAD.to_owned(), ""),
        }
    }

    /// How much it reads at a turn.
    fn reads(self) -> usize {
        match self {
            DoesNotRead => 0,
            ReadsSlowly => 10,
            _ => 4096,
        }
    }
}

/// A connection without credentials.
struct Stranger {
    habit: Habit,
    stream: TcpStream,
    is_gone: bool,
}

impl Stranger {
    fn come(address: SocketAddr, habit: Habit) -> io::Result<Stranger> {
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(10))?;
        stream.write_all(habit.says().0.as_bytes())?;
        stream.set_nonblocking(true)?;
        Ok(Stranger { habit, stream, is_gone: false })
    }

    /// Does what it always does, and fails once the server has closed the connection.
    fn take_turn(&mut self) -> io::Result<()> {
        let waits = |error: io::Error| match error.kind() {
            ErrorKind::WouldBlock => Ok(0),
            _ => Err(error),
        };
        // As much of it as there is room for.
        let _ = self.stream.write(self.habit.says().1.as_bytes()).or_else(waits)?;
        if let Some(error) = self.stream.take_error()? {
            return Err(error);
        }
        let mut bytes = vec![0; self.habit.reads()];
        match self.stream.read(&mut bytes) {
            Ok(0) if !bytes.is_empty() => Err(ErrorKind::UnexpectedEof.into()),
            Ok(_) => Ok(()),
            Err(error) => waits(error).map(drop),
        }
    }
}

/// Strangers who come again whenever they are sent away, until this is dropped.
struct Crowd {
    over: Arc<AtomicBool>,
    rounds: mpsc::Receiver<()>,
    thread: Option<JoinHandle<()>>,
}

impl Crowd {
    /// Returns when all are there and have had a turn.
    fn gather(address: SocketAddr, habits: impl IntoIterator<Item = Habit>) -> Crowd {
        let over = Arc::new(AtomicBool::new(false));
        let (round, rounds) = mpsc::sync_channel(0);
        let stop = Arc::clone(&over);
        let mut strangers: Vec<Stranger> =
            habits.into_iter().map(|habit| Stranger::come(address, habit).unwrap()).collect();
        let apart = strangers.len() / 10;
        let thread = thread::spawn(move || {
            for turn in 0.. {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                for (at, stranger) in strangers.iter_mut().enumerate() {
                    stranger.is_gone |= stranger.take_turn().is_err();
                    // Ten at a time, which makes 500 in a second: they are to hold the server, and not
                    // the machine.
                    if stranger.is_gone
                        && (turn + at) % apart == 0
                        && let Ok(again) = Stranger::come(address, stranger.habit)
                    {
                        *stranger = again;
                    }
                }
                let _ = round.try_send(());
                // The pace of the crowd: those who drip and read slowly do it so often.
                thread::sleep(Duration::from_millis(20));
            }
        });
        let crowd = Crowd { over, rounds, thread: Some(thread) };
        crowd.take_turns();
        crowd
    }

    /// Waits until each of them has had another turn.
    fn take_turns(&self) {
        for _ in 0..2 {
            self.rounds.recv().unwrap();
        }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        let _ = self.thread.take().unwrap().join();
    }
}

const TOKEN: (&str, &str) = ("Authorization", "Bearer s3cret");

fn serve() -> (Server, SocketAddr) {
    let server = service([Fake::new(Kind::Heap, 10)])
        .authorizer(Token::new("s3cret").unwrap())
        .build()
        .serve("127.0.0.1:0")
        .unwrap();
    let address = server.local_addr().unwrap();
    (server, address)
}

#[track_caller]
fn is_answered_at_once(address: SocketAddr, headers: &[(&str, &str)]) -> Duration {
    let began = Instant::now();
    let answer = request(address, "GET", "/debug/metrics", headers);
    let took = began.elapsed();
    assert_eq!(answer.status, 200);
    assert!(took < AT_ONCE, "answered after {took:?}");
    took
}

/// Lets this process have as many descriptors as it may: both ends of every connection are its own.
fn raise_descriptor_limit() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both are given a limit that lives as long as the call (getrlimit(2)).
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit), 0);
        limit.rlim_cur = limit.rlim_max;
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit), 0);
    }
}

#[test]
fn whoever_has_the_token_is_answered_at_once_beside_any_crowd() {
    raise_descriptor_limit();
    let (server, address) = serve();
    let check = |crowd: Vec<Habit>| {
        let name = format!("{} who are {:?} …", crowd.len(), &crowd[..2]);
        let crowd = Crowd::gather(address, crowd);
        let mut longest = Duration::ZERO;
        for _ in 0..5 {
            longest = longest.max(is_answered_at_once(address, &[TOKEN]));
            crowd.take_turns();
        }
        println!("{name}: answered within {longest:?}");
    };
    for habit in HABITS {
        check(vec![habit; 200]);
    }
    check(HABITS.into_iter().cycle().take(200).collect());
    check(vec![Silent; 1000]);
    server.shut_down();
}

#[test]
fn a_crowd_ends_neither_a_collection_nor_a_connection_that_is_kept() {
    raise_descriptor_limit();
    let heap = Fake::new(Kind::Heap, 10);
    let server = service([heap.clone()])
        .authorizer(Token::new("s3cret").unwrap())
        .build()
        .serve("127.0.0.1:0")
        .unwrap();
    let address = server.local_addr().unwrap();
    let collection = send(address, "POST", "/debug/profile?duration=2s", &[TOKEN]);
    while heap.on() == 0 {
        thread::yield_now();
    }
    let mut kept = TcpStream::connect(address).unwrap();
    kept.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut ask = || {
        let head = "GET /debug/metrics HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer s3cret\r\n\r\n";
        kept.write_all(head.as_bytes()).unwrap();
        let mut reader = BufReader::new(&kept);
        let (status, headers) = receive_head(&mut reader).unwrap();
        assert_eq!(status, 200);
        let len = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        let mut body = vec![0; len.unwrap().1.parse().unwrap()];
        reader.read_exact(&mut body).unwrap();
    };
    ask();
    let crowd = Crowd::gather(address, HABITS.into_iter().cycle().take(200));
    for _ in 0..10 {
        ask();
        crowd.take_turns();
    }
    let answer = receive(collection).unwrap();
    assert_eq!(answer.status, 200);
    assert!(answer.whole);
    drop(crowd);
    server.shut_down();
}

#[test]
fn without_a_token_silence_and_foreign_host_names_keep_nobody_out() {
    raise_descriptor_limit();
    let server = service([Fake::new(Kind::Heap, 10)]).build().serve("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    // The requests of the others would be let in.
    let crowd = Crowd::gather(address, [Silent, HalfOpen, DripsHead].into_iter().cycle().take(200));
    for _ in 0..5 {
        is_answered_at_once(address, &[]);
        crowd.take_turns();
    }
    drop(crowd);
    let foreign = HEAD.replace("localhost", "evil.example").repeat(150);
    let refused: Vec<TcpStream> = (0..200)
        .map(|_| {
            let mut stream = TcpStream::connect(address).unwrap();
            // It may be closed while the last of them are on their way.
            let _ = stream.write_all(foreign.as_bytes());
            stream
        })
        .collect();
    is_answered_at_once(address, &[]);
    drop(refused);
    server.shut_down();
}

#[test]
fn a_unix_socket_is_kept_open_for_its_owner() {
    raise_descriptor_limit();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("debug.sock");
    let server = service([Fake::new(Kind::Heap, 10)]).build().serve_unix(&path).unwrap();
    let silent: Vec<UnixStream> = (0..200).map(|_| UnixStream::connect(&path).unwrap()).collect();
    let began = Instant::now();
    let mut stream = UnixStream::connect(&path).unwrap();
    write_head(&mut stream, "any.example", "GET", "/debug/metrics", &[]);
    assert_eq!(receive(stream).unwrap().status, 200);
    assert!(began.elapsed() < AT_ONCE, "answered after {:?}", began.elapsed());
    drop(silent);
    server.shut_down();
}

#[test]
fn nobody_stays_who_was_not_let_in() {
    let (server, address) = serve();
    let began = Instant::now();
    let mut staying: Vec<Stranger> =
        HABITS.into_iter().map(|habit| Stranger::come(address, habit).unwrap()).collect();
    // One was let in, and then drips its next request.
    let mut stream = TcpStream::connect(address).unwrap();
    let head = "GET /debug/metrics HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer s3cret\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    assert_eq!(receive_head(&mut BufReader::new(&stream)).unwrap().0, 200);
    stream.set_nonblocking(true).unwrap();
    staying.push(Stranger { habit: DripsHead, stream, is_gone: false });
    while !staying.is_empty() {
        // A broken connection can be told by those alone who write or read.
        staying
            .retain_mut(|stranger| stranger.take_turn().is_ok() && stranger.habit != DoesNotRead);
        let habits: Vec<Habit> = staying.iter().map(|stranger| stranger.habit).collect();
        assert!(began.elapsed() < STAY, "{habits:?} are still there");
        thread::sleep(Duration::from_millis(20));
    }
    println!("all gone after {:?}", began.elapsed());
    server.shut_down();
}

#[test]
fn who_was_let_in_may_read_slowly() {
    const LEN: usize = 32 << 20;
    let server = service([Fake::new(Kind::Heap, LEN)])
        .authorizer(Token::new("s3cret").unwrap())
        .build()
        .serve("127.0.0.1:0")
        .unwrap();
    let address = server.local_addr().unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    // A connection that is kept for a next request, which is waited for only when all is sent.
    let head = "GET /debug/pprof/heap HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer s3cret\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let mut got = Vec::new();
    let began = Instant::now();
    let mut read = 0;
    // For longer than a connection may stay that nobody was let in on, and never near the end.
    while began.elapsed() < STAY - Duration::from_secs(3) {
        got.resize(read + (64 << 10), 0);
        stream.read_exact(&mut got[read..]).unwrap();
        read = got.len();
        thread::sleep(Duration::from_millis(200));
    }
    assert!(read < LEN / 2, "{read}");
    let mut reader = BufReader::new(io::Cursor::new(got).chain(stream));
    assert_eq!(receive_head(&mut reader).unwrap().0, 200);
    let mut body = vec![0; LEN];
    reader.read_exact(&mut body).unwrap();
    assert!(body == noise(LEN));
    server.shut_down();
}

/// What a server says to these bytes until it closes the connection.
fn said_to(address: SocketAddr, bytes: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream.write_all(bytes.as_bytes()).unwrap();
    let mut said = Vec::new();
    match stream.read_to_end(&mut said) {
        Ok(_) => {}
        // What it didn't read makes it reset the connection, after its answer.
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("{error}"),
    }
    String::from_utf8_lossy(&said).into_owned()
}

#[test]
fn a_refusal_is_small_and_the_last_answer() {
    let (server, address) = serve();
    let check = |status: &str, head: &str| {
        let said = said_to(address, &head.repeat(3));
        assert!(said.starts_with(&format!("HTTP/1.1 {status}")), "{said}");
        assert!(said.to_ascii_lowercase().contains("\r\nconnection: close\r\n"), "{said}");
        assert_eq!(said.matches("HTTP/1.1").count(), 1, "{said}");
        let challenges = said.to_ascii_lowercase().contains("\r\nwww-authenticate: bearer realm=");
        assert_eq!(challenges, status == "401", "{said}");
        assert!(said.len() < 4 << 10, "{}: {said}", said.len());
    };
    check("401", HEAD);
    for path in ["/debug/", "/debug/profile", "/debug/pprof/heap", "/nowhere"] {
        check("401", &format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
        check(
            "401",
            &format!("GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer no\r\n\r\n"),
        );
        check(
            "403",
            &format!("GET {path} HTTP/1.1\r\nHost: x\r\nSec-Fetch-Site: cross-site\r\n\r\n"),
        );
    }
    check("401", "POST /debug/profile HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab");
    server.shut_down();
}

#[test]
fn without_free_descriptors_a_stranger_makes_room() {
    if !is_own_process("crowds::without_free_descriptors_a_stranger_makes_room") {
        return;
    }
    let (server, address) = serve();
    get(address, "/debug/metrics");
    let strangers: Vec<TcpStream> = (0..20).map(|_| TcpStream::connect(address).unwrap()).collect();
    is_answered_at_once(address, &[TOKEN]);
    // What the next client needs is there, and nothing more.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    let mut taken = Vec::new();
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: as above.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit), 0);
        limit.rlim_cur = 256.min(limit.rlim_cur);
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit), 0);
    }
    while let Ok(file) = std::fs::File::open("/dev/null") {
        taken.push(file);
    }
    // A runtime has descriptors, too.
    taken.truncate(taken.len() - 8);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        taken.push(file);
    }
    let began = Instant::now();
    let stream = runtime.block_on(socket.connect(address)).unwrap().into_std().unwrap();
    stream.set_nonblocking(false).unwrap();
    write_head(&mut &stream, "x", "GET", "/debug/nowhere", &[TOKEN]);
    let answer = receive(&stream).unwrap();
    assert_eq!(answer.status, 404);
    assert!(began.elapsed() < AT_ONCE, "answered after {:?}", began.elapsed());
    drop((taken, strangers));
    server.shut_down();
}
