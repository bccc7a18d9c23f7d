//! One kind by itself under `/debug/pprof/`: failures, clients that leave, and names of addresses.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use profilez::core::collect::{File, Pending, Window};
use profilez::core::{Collector, Collectors, Error, Kind, Unavailable};
use profilez::http::server::{DebugService, Token};

use crate::support::fakes::{Fake, Fault, service};
use crate::support::http::{Answer, get, receive, request, send, write_head};

#[track_caller]
fn check(answer: &Answer, status: u16, text: &str) {
    assert_eq!(String::from_utf8_lossy(&answer.body), text);
    assert_eq!(answer.status, status);
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(answer.header("x-go-pprof"), Some("1"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(answer.header("content-disposition"), None);
}

#[test]
fn failures_are_told_as_go_tells_them() {
    let server = service([
        Fake::faulty(Kind::Cpu, Fault::Start),
        Fake::faulty(Kind::Trace, Fault::Start),
        Fake::faulty(Kind::Heap, Fault::Finish),
        Fake::faulty(Kind::Allocs, Fault::Panic),
        Fake::faulty(Kind::Block, Fault::Start),
        Fake::new(Kind::Mutex, 100),
    ])
    .build()
    .serve("127.0.0.1:0")
    .unwrap();
    let address = server.local_addr().unwrap();
    for (path, text) in [
        ("profile", "Could not enable CPU profiling: cpu could not be collected: told to fail\n"),
        ("trace", "Could not enable tracing: trace could not be collected: told to fail\n"),
        ("heap", "failed to collect profile: heap could not be collected: told to fail\n"),
        (
            "heap?seconds=1",
            "failed to collect profile: heap could not be collected: told to fail\n",
        ),
        ("allocs", "failed to collect profile: the allocs collector panicked: told to panic\n"),
        (
            "block?seconds=1",
            "failed to collect profile: block could not be collected: told to fail\n",
        ),
    ] {
        check(&get(address, &format!("/debug/pprof/{path}")), 500, text);
    }
    let cpu = Fake::faulty(Kind::Cpu, Fault::Finish);
    let other = service([cpu]).build().serve("127.0.0.1:0").unwrap();
    check(
        &get(other.local_addr().unwrap(), "/debug/pprof/profile?seconds=1"),
        500,
        "failed to collect profile: cpu could not be collected: told to fail\n",
    );
    other.shut_down();
    // Noise is passed on as it is, and can't be written as text.
    assert_eq!(get(address, "/debug/pprof/mutex").body.len(), 100);
    let text = get(address, "/debug/pprof/mutex?debug=1");
    assert_eq!(text.status, 500);
    server.shut_down();
}

/// Takes longer to finish than `go tool pprof` waits, and then does or fails.
struct Slow {
    kind: Kind,
    fails: bool,
}

impl Collector for Slow {
    fn kind(&self) -> Kind {
        self.kind
    }

    fn check(&self) -> Result<(), Unavailable> {
        Ok(())
    }

    fn start(&self) -> Result<Box<dyn Window>, Error> {
        Ok(Box::new(Slow { kind: self.kind, fails: self.fails }))
    }
}

impl Window for Slow {
    fn close(self: Box<Self>) -> Pending {
        Box::new(move || {
            thread::sleep(Duration::from_secs(6));
            if self.fails {
                return Err(Error::Collect { kind: self.kind, source: "told to fail".into() });
            }
            Ok(vec![File { name: self.kind.file_name(), bytes: b"finished".to_vec().into() }])
        })
    }
}

#[test]
fn an_answer_begins_before_a_large_programs_profile_is_finished() {
    let slow = |kind, fails| Slow { kind, fails };
    let collectors = Collectors::new().with(slow(Kind::Cpu, false)).with(slow(Kind::Trace, true));
    let server =
        DebugService::builder("slow").collectors(collectors).build().serve("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    thread::scope(|scope| {
        for (path, finishes) in [("profile", true), ("trace", false)] {
            scope.spawn(move || {
                let began = Instant::now();
                let path = format!("/debug/pprof/{path}?seconds=1");
                let client = send(address, "GET", &path, &[]);
                let mut head = [0; 15];
                (&client).read_exact(&mut head).unwrap();
                assert_eq!(&head, b"HTTP/1.1 200 OK");
                assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
                let mut rest = Vec::new();
                let _ = (&client).read_to_end(&mut rest);
                let text = String::from_utf8_lossy(&rest);
                // What breaks off must not look whole.
                assert_eq!(text.contains("finished\r\n0\r\n\r\n"), finishes, "{text}");
                assert_eq!(text.ends_with("0\r\n\r\n"), finishes, "{text}");
            });
        }
    });
    server.shut_down();
}

#[test]
fn a_trace_that_can_not_be_had_is_no_success() {
    let server = service([]).build().serve("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    let text = "Could not enable tracing: absent; bring it back\n";
    check(&get(address, "/debug/pprof/trace"), 501, text);
    let head = request(address, "HEAD", "/debug/pprof/trace", &[]);
    assert_eq!((head.status, head.body.len()), (501, 0));
    server.shut_down();
}

#[test]
fn windows_overlap_and_end_when_their_clients_leave() {
    let (cpu, heap, block) =
        (Fake::new(Kind::Cpu, 10), Fake::new(Kind::Heap, 10), Fake::new(Kind::Block, 10));
    let server =
        service([cpu.clone(), heap.clone(), block.clone()]).build().serve("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    let open = || cpu.on() + block.on();
    let until = |windows: usize| {
        let began = Instant::now();
        while open() != windows {
            assert!(began.elapsed() < Duration::from_secs(10), "{} windows", open());
            thread::sleep(Duration::from_millis(1));
        }
        began.elapsed()
    };
    let path = |name: &str| format!("/debug/pprof/{name}?seconds=60");
    let clients: Vec<TcpStream> = ["profile", "block", "profile", "block", "profile"]
        .map(|name| send(address, "GET", &path(name), &[]))
        .into();
    until(5);
    // A bundle and a snapshot are not in their way.
    assert_eq!(get(address, "/debug/profile?duration=20ms").status, 200);
    assert_eq!(get(address, "/debug/pprof/heap").status, 200);
    assert_eq!(open(), 5);
    drop(clients);
    let took = until(0);
    println!("undone after {took:?}");
    // And when the server goes.
    let client = send(address, "GET", &path("profile"), &[]);
    until(1);
    server.shut_down();
    assert_eq!(open(), 0);
    drop(client);
}

#[test]
fn head_collects_nothing() {
    let cpu = Fake::faulty(Kind::Cpu, Fault::Start);
    let server = service([cpu]).build().serve("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    let began = Instant::now();
    let head = request(address, "HEAD", "/debug/pprof/profile", &[]);
    assert_eq!(head.status, 200, "it would fail if it were started");
    assert_eq!(head.header("content-disposition"), Some("attachment; filename=\"profile\""));
    assert_eq!(head.header("content-length"), None, "nobody knows");
    assert!(began.elapsed() < Duration::from_secs(20));
    server.shut_down();
}

#[test]
fn there_is_an_end_to_how_many() {
    let cpu = Fake::new(Kind::Cpu, 10);
    let server = service([cpu.clone()]).build();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let ask = || {
        let request = http::Request::get("/debug/pprof/profile?seconds=60")
            .header("host", "localhost")
            .extension(profilez::http::server::Peer::Unix)
            .body(String::new())
            .unwrap();
        server.clone().respond(request)
    };
    runtime.block_on(async {
        let mut waiting: Vec<_> = (0..64).map(|_| Box::pin(ask())).collect();
        for answer in &mut waiting {
            let once = std::future::poll_fn(|context| {
                std::task::Poll::Ready(answer.as_mut().poll(context).is_pending())
            });
            assert!(once.await, "it has a minute to go");
        }
        let one_more = ask().await;
        assert_eq!(one_more.status(), 503);
        assert_eq!(one_more.headers()["retry-after"], "1");
        drop(waiting);
    });
    let began = Instant::now();
    while cpu.on() > 0 && began.elapsed() < Duration::from_secs(10) {
        thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(cpu.on(), 0);
}

#[inline(never)]
fn named_for_the_test() -> u64 {
    std::hint::black_box(4711)
}

#[test]
fn symbols_are_the_names_in_the_object_file() {
    let server = service([]).build().serve("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    assert_eq!(named_for_the_test(), 4711);
    let at = named_for_the_test as fn() -> u64 as usize;
    let words = format!("{at:#x}+0x1+{at:#x}+nonsense");
    let posted = post(address, words.as_bytes(), words.len());
    let asked = get(address, &format!("/debug/pprof/symbol?{words}"));
    for answer in [posted, asked] {
        assert_eq!(answer.status, 200);
        let text = String::from_utf8(answer.body).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert_eq!(lines[0], "num_symbols: 1");
        let (number, name) = lines[1].split_once(' ').unwrap();
        assert_eq!(number, format!("{at:#x}"));
        assert!(name.starts_with("_R") || name.starts_with("_ZN"), "mangled: {name}");
        assert!(name.contains("named_for_the_test"), "{name}");
    }
    server.shut_down();
}

fn post(address: std::net::SocketAddr, body: &[u8], length: usize) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    let length = length.to_string();
    let headers = [("Content-Length", length.as_str())];
    write_head(&mut stream, &address.to_string(), "POST", "/debug/pprof/symbol", &headers);
    // It may be refused before all of it is read.
    let _ = stream.write_all(body);
    receive(stream).unwrap()
}

#[test]
fn a_request_for_names_is_bounded_in_size_and_time() {
    let server = service([]).build().serve("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    let large = vec![b'+'; (1 << 20) + 1];
    let text = "the request is larger than 1048576 bytes\n";
    check(&post(address, &large, large.len()), 413, text);
    // Announced and never sent: given up as a head would be.
    let began = Instant::now();
    check(&post(address, b"0x1", 100), 400, "reading request: it takes too long\n");
    assert!(began.elapsed() >= Duration::from_secs(9));
    server.shut_down();
}

#[test]
fn the_index_says_what_is_not_collected() {
    let server = service([Fake::new(Kind::Heap, 10)]).build().serve("127.0.0.1:0").unwrap();
    let page = get(server.local_addr().unwrap(), "/debug/pprof/");
    let page = String::from_utf8(page.body).unwrap();
    assert!(page.contains("<tr><td>yes</td><td><a href='heap?debug=1'>heap</a></td></tr>"));
    assert!(page.contains("<tr><td>no</td><td><a href='mutex?debug=1'>mutex</a></td></tr>"));
    assert!(page.contains("<b>not collected:</b> absent; bring it back"), "{page}");
    server.shut_down();

    let server = DebugService::builder("<script>alert('x')</script>")
        .version("\"&")
        .build()
        .serve("127.0.0.1:0")
        .unwrap();
    let page = get(server.local_addr().unwrap(), "/debug/pprof/");
    let page = String::from_utf8(page.body).unwrap();
    assert!(!page.contains("<script"), "{page}");
    assert!(page.contains("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &#34;&amp;"), "{page}");
    server.shut_down();
}

#[test]
fn under_another_prefix() {
    let heap = || service([Fake::new(Kind::Heap, 10)]);
    let server = heap().prefix("/internal").build().serve("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    assert_eq!(get(address, "/internal/pprof/heap").status, 200);
    let redirect = get(address, "/internal/pprof");
    assert_eq!(redirect.header("location"), Some("/internal/pprof/"));
    assert_eq!(get(address, "/debug/pprof/heap").status, 404);
    server.shut_down();
    // Where a router took the prefix off only the last part is known.
    let server = heap().prefix("").build().serve("127.0.0.1:0").unwrap();
    let redirect = get(server.local_addr().unwrap(), "/pprof?a=b");
    assert_eq!(redirect.header("location"), Some("pprof/?a=b"));
    server.shut_down();
}

#[test]
fn access_is_decided_first_and_refused_in_words() {
    let server = service([Fake::new(Kind::Heap, 10)])
        .authorizer(Token::new("s3cret").unwrap())
        .build()
        .serve("127.0.0.1:0")
        .unwrap();
    let address = server.local_addr().unwrap();
    for path in ["", "/", "/heap", "/heap?seconds=x", "/nope", "/cmdline", "/symbol"] {
        for method in ["GET", "HEAD", "POST"] {
            let answer = request(address, method, &format!("/debug/pprof{path}"), &[]);
            assert_eq!(answer.status, 401, "{method} {path}");
            assert_eq!(answer.header("x-go-pprof"), Some("1"));
            assert!(answer.header("www-authenticate").is_some_and(|value| value.contains("Basic")));
            assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
        }
    }
    // `printf x:s3cret | base64`
    let basic = [("Authorization", "Basic eDpzM2NyZXQ=")];
    assert_eq!(request(address, "GET", "/debug/pprof/heap", &basic).status, 200);
    server.shut_down();
}
