//! An HTTP client of a few lines that shares nothing with the one under test.

use std::io::{self, BufRead as _, BufReader, Read};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Says that the body ended as its framing says.
    pub(crate) whole: bool,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    /// The `message` and `detail` of a refusal.
    #[track_caller]
    pub(crate) fn refusal(&self) -> (String, String) {
        assert_eq!(self.header("content-type"), Some("application/json; charset=utf-8"));
        let json = self.json();
        let text = |name: &str| json[name].as_str().unwrap_or_default().to_owned();
        (text("message"), text("detail"))
    }
}

pub(crate) fn get(address: SocketAddr, path: &str) -> Answer {
    request(address, "GET", path, &[])
}

pub(crate) fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> Answer {
    let stream = send(address, method, path, headers);
    receive(stream).unwrap()
}

/// Sends a request and leaves the answer to the caller.
pub(crate) fn send(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    write_head(&mut stream, &address.to_string(), method, path, headers);
    stream
}

pub(crate) fn write_head(
    stream: &mut impl io::Write,
    host: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
) {
    let mut head = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        head.push_str(&format!("Host: {host}\r\n"));
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).unwrap();
}

/// Reads an answer to its end, good or bad.
pub(crate) fn receive(stream: impl Read) -> io::Result<Answer> {
    let mut reader = BufReader::new(stream);
    let (status, headers) = receive_head(&mut reader)?;
    let mut answer = Answer { status, headers, body: Vec::new(), whole: false };
    if answer.header("transfer-encoding") == Some("chunked") {
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                break;
            }
            let len = u64::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
            let got = (&mut reader).take(len).read_to_end(&mut answer.body)?;
            let mut end = [0; 2];
            if got as u64 != len || reader.read_exact(&mut end).is_err() {
                break;
            }
            if len == 0 {
                answer.whole = true;
                break;
            }
        }
    } else {
        reader.read_to_end(&mut answer.body)?;
        let len = answer.header("content-length").and_then(|len| len.parse().ok());
        answer.whole = len == Some(answer.body.len());
    }
    Ok(answer)
}

/// Reads the status and the headers, and nothing of the body.
pub(crate) fn receive_head(
    reader: &mut BufReader<impl Read>,
) -> io::Result<(u16, Vec<(String, String)>)> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let status = line
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .ok_or_else(|| io::Error::other(format!("no status in {line:?}")))?;
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    Ok((status, headers))
}
