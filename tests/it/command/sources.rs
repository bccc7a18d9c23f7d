//! Where the command's input comes from: files, and servers that say what they are told to say.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use profilez::archive::{BundleWriter, Header, Source};
use profilez::core::profile::{Builder, Function, Line, Profile};

/// A profile of one stack, `main` to `name`.
pub(super) fn profile(name: &str) -> Profile {
    let mut builder = Builder::new(&[("samples", "count"), ("cpu", "nanoseconds")]);
    let mut location = |name: &str, address| {
        let name = builder.str(name);
        let function = builder.function(Function { name, ..Function::default() });
        builder.location(None, address, &[Line { function, line: 7, column: 0 }])
    };
    let stack = [location(name, 0x1000), location("main", 0x2000)];
    builder.sample(&stack, &[3, 30_000_000], &[]);
    builder.period("cpu", "nanoseconds", 10_000_000);
    builder.comment(&format!("a comment on {name}"));
    builder.finish()
}

/// What a bundle of this service says of itself.
pub(crate) fn header(service: &str) -> Header {
    Header {
        service: service.to_owned(),
        version: "1.2.3".to_owned(),
        host: "host".to_owned(),
        pid: 7,
        build_id: String::new(),
        started: SystemTime::UNIX_EPOCH,
        window: Duration::from_secs(1),
        source: Source::Consolidated,
        rates: BTreeMap::new(),
    }
}

/// A bundle that holds `heap.prof` first and `cpu.prof` second, and how long it is after the first.
pub(super) fn bundle(service: &str) -> (Vec<u8>, usize) {
    let mut bytes = Vec::new();
    let mut writer = BundleWriter::new(&mut bytes, header(service)).unwrap();
    let profile = profile(service).encode_gzip();
    let mut append = |kind: &str| {
        let name = format!("{kind}.prof").parse().unwrap();
        writer.append_bytes(kind, &name, &profile, Duration::ZERO).unwrap();
        writer.flush().unwrap();
    };
    append("heap");
    append("cpu");
    writer.finish().unwrap();
    // The entry's bytes stand in the stream as they are, since they are compressed already.
    let at = |from: usize| {
        let found = bytes[from..].windows(profile.len()).position(|window| window == profile);
        from + found.unwrap()
    };
    let second = at(at(0) + 1);
    (bytes, second)
}

/// The head of an answer that is a bundle, to be closed by the end of the connection.
pub(super) const HEAD: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: application/gzip\r\nTransfer-Encoding: chunked\r\n\r\n";

/// One piece of an answer that is chunked.
pub(super) fn chunk(bytes: &[u8]) -> Vec<u8> {
    let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
    chunk.extend_from_slice(bytes);
    chunk.extend_from_slice(b"\r\n");
    chunk
}

/// What a server does when it has said everything.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Then {
    HangUp,
    /// Waits until the client hangs up.
    Hold,
}

/// A server that answers one request with these bytes; its address, and the head of the request.
pub(super) fn answering(answer: Vec<u8>, then: Then) -> (String, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(reader.read_line(&mut head).unwrap(), 0, "{head}");
        }
        // A client that has seen enough hangs up.
        let _ = stream.write_all(&answer);
        if then == Then::Hold {
            let mut rest = Vec::new();
            let _ = std::io::Read::read_to_end(&mut reader, &mut rest);
        }
        head
    });
    (address, server)
}

/// A server for any number of requests: `answer` gets the first line of each, and the connection.
/// It lasts as long as the tests.
pub(super) fn serving(answer: impl Fn(&str, &mut TcpStream) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let answer = Arc::new(answer);
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let answer = Arc::clone(&answer);
            thread::spawn(move || {
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let Some(Ok(first)) = lines.next() else { return };
                while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
                answer(&first, &mut stream);
            });
        }
    });
    address
}

/// A whole answer, after which the connection is closed.
pub(super) fn reply(stream: &mut TcpStream, status: &str, content_type: &str, body: &[u8]) {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        body.len()
    );
    // A client that has seen enough hangs up.
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
}

/// An address at which nobody listens.
pub(super) fn nobody() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}
