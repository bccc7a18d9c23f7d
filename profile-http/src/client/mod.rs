//! The client: one request, one bundle, streamed to wherever it is to go.
//!
//! ```no_run
//! use profile_http::client::{Client, Request};
//!
//! # fn main() -> profile_http::Result<()> {
//! let client = Client::builder("localhost:6060")?.token("s3cret").build();
//! let request = Request::default().duration("5s").kinds("cpu,heap");
//! let mut bundle = Vec::new();
//! let collected = client.collect(&request, &mut bundle, &mut |progress| eprintln!("{progress:?}"))?;
//! println!("{} bytes", collected.bytes);
//! # Ok(())
//! # }
//! ```

mod target;
#[cfg(unix)]
mod unix;

use std::io::{self, Read as _, Write};
use std::path::PathBuf;
use std::time::Duration;

use profile_core::{DEFAULT_WINDOW, parse_duration};
use serde::Deserialize;
use ureq::Agent;
use ureq::http::{HeaderMap, HeaderName, HeaderValue, Response, header};

use crate::{Error, Result};
use target::Target;

/// Collects from one service.
#[derive(Clone, Debug)]
pub struct Client {
    target: Target,
    agent: Agent,
    headers: Vec<(HeaderName, HeaderValue)>,
    timeout: Option<Duration>,
    limit: u64,
}

/// Settings of a [`Client`].
#[derive(Debug)]
#[must_use = "a builder does nothing until it is built"]
pub struct ClientBuilder {
    target: Target,
    headers: Vec<(HeaderName, HeaderValue)>,
    unix_socket: Option<PathBuf>,
    timeout: Option<Duration>,
    limit: u64,
}

/// What to ask for. The default leaves both to the server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    duration: Option<String>,
    kinds: Option<String>,
}

/// How far a collection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// The server has begun to record.
    Recording,
    /// So many bytes have arrived.
    Received(u64),
}

/// A bundle that arrived whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collected {
    /// Its size in bytes.
    pub bytes: u64,
    /// The name the server gave it, without any directory; `None` where there was none to trust.
    pub file_name: Option<String>,
}

/// The largest bundle that is taken, unless set otherwise.
const DEFAULT_LIMIT: u64 = 1 << 30;
/// What a collection may take beyond its window, unless a timeout is set.
const BEYOND_WINDOW: Duration = Duration::from_secs(120);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The first pieces of a bundle come while the window is still open.
const RECORDING: u64 = 64;

impl Client {
    /// Settings for the service at `url`: `host:port`, a base such as `https://host/debug`, or the
    /// endpoint itself. A user name and password in it are sent as Basic credentials. A proxy that
    /// the environment names is used for other hosts than this one.
    ///
    /// # Errors
    ///
    /// [`Error::Url`]: it can't be understood, or has a scheme other than http and https.
    pub fn builder(url: &str) -> Result<ClientBuilder> {
        let (target, basic) = Target::parse(url)?;
        if !cfg!(feature = "tls") && target.as_str().starts_with("https:") {
            let reason = "https needs the feature `tls`".to_owned();
            return Err(Error::Url { url: target.as_str().to_owned(), reason });
        }
        Ok(ClientBuilder {
            target,
            headers: basic.map(|value| (header::AUTHORIZATION, value)).into_iter().collect(),
            unix_socket: None,
            timeout: None,
            limit: DEFAULT_LIMIT,
        })
    }

    /// The address that is asked, without credentials and query.
    pub fn url(&self) -> &str {
        self.target.as_str()
    }

    /// Stops a collection that is under way in another thread; it ends with an error.
    pub fn cancel(&self) {
        self.agent.clone().shutdown();
    }

    /// Collects a bundle into `to`, and tells of its progress.
    ///
    /// # Errors
    ///
    /// The server can't be reached, refuses, answers with something else, or breaks off. What
    /// arrived until then has been written to `to`.
    pub fn collect(
        &self,
        request: &Request,
        to: &mut dyn Write,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Collected> {
        let response = self.ask(request)?;
        let file_name = file_name(response.headers());
        progress(Progress::Recording);
        let mut body = response.into_body().into_reader();
        let mut buffer = vec![0; 64 * 1024];
        let mut bytes = 0u64;
        loop {
            let len = match body.read(&mut buffer) {
                Ok(0) => break,
                Ok(len) => len,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.failed(error)),
            };
            bytes += len as u64;
            if bytes > self.limit {
                return Err(Error::TooLarge { limit: self.limit });
            }
            to.write_all(&buffer[..len]).map_err(Error::Write)?;
            if bytes > RECORDING {
                progress(Progress::Received(bytes));
            }
        }
        to.flush().map_err(Error::Write)?;
        Ok(Collected { bytes, file_name })
    }

    fn ask(&self, request: &Request) -> Result<Response<ureq::Body>> {
        let timeout = self.timeout.unwrap_or_else(|| request.window() + BEYOND_WINDOW);
        // POST, so that nothing on the way repeats it or answers from a cache.
        let mut asked = self.agent.post(self.target.with_query(request));
        for (name, value) in &self.headers {
            asked = asked.header(name, value);
        }
        let response = asked
            .config()
            .timeout_global(Some(timeout))
            .build()
            .send_empty()
            .map_err(|error| self.failed(error))?;
        if !response.status().is_success() {
            return Err(self.refused(response));
        }
        let content_type = response
            .headers()
            .get(header::CONTENT_TYPE)
            .map_or("", |value| value.to_str().unwrap_or("?"));
        let is_bundle = ["application/gzip", "application/x-gzip", "application/octet-stream"]
            .iter()
            .any(|gzip| content_type.starts_with(gzip));
        if !is_bundle {
            return Err(Error::NotABundle {
                url: self.url().to_owned(),
                content_type: content_type.chars().take(100).collect(),
            });
        }
        Ok(response)
    }

    fn failed(&self, error: impl std::error::Error + Send + Sync + 'static) -> Error {
        Error::Request { url: self.url().to_owned(), source: Box::new(error) }
    }

    /// The server's reason, from a JSON body such as ours or else from a text.
    fn refused(&self, mut response: Response<ureq::Body>) -> Error {
        const MOST: u64 = 64 * 1024;
        #[derive(Deserialize)]
        struct Reason {
            message: String,
            #[serde(default)]
            detail: String,
        }
        let status = response.status();
        let retry_after = response
            .headers()
            .get(header::RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.parse().ok())
            .map(Duration::from_secs);
        let mut text = Vec::new();
        // A reason that can't be read is left out; the status says the most important thing.
        let _ = response.body_mut().as_reader().take(MOST).read_to_end(&mut text);
        let message = match serde_json::from_slice::<Reason>(&text) {
            Ok(Reason { message, detail }) if detail.is_empty() => message,
            Ok(Reason { message, detail }) => format!("{message} {detail}"),
            Err(_) => String::from_utf8_lossy(&text).into_owned(),
        };
        let message = printable(&message, 500);
        Error::Refused {
            url: self.url().to_owned(),
            status: status.as_u16(),
            message: if message.is_empty() {
                status.canonical_reason().unwrap_or("no reason given").to_owned()
            } else {
                message
            },
            retry_after,
        }
    }
}

impl ClientBuilder {
    /// Sends a token as `Authorization: Bearer`, in place of credentials in the URL.
    pub fn token(mut self, token: &str) -> ClientBuilder {
        if let Ok(value) = HeaderValue::from_str(&format!("Bearer {}", token.trim())) {
            self.send(header::AUTHORIZATION, value);
        }
        self
    }

    /// Sends a header, given as `Name: value`. One of `Authorization` takes the place of a token
    /// and of credentials in the URL.
    ///
    /// # Errors
    ///
    /// [`Error::Header`]: it is not of that form, or holds a character that a header can't.
    pub fn header(mut self, line: &str) -> Result<ClientBuilder> {
        // Only the name is repeated in the error: the value may be a secret.
        let (name, value) =
            line.split_once(':').ok_or_else(|| Error::Header(printable(line, 20)))?;
        let invalid = || Error::Header(printable(name, 100));
        let parsed: HeaderName = name.trim().parse().map_err(|_| invalid())?;
        let value = HeaderValue::from_str(value.trim()).map_err(|_| invalid())?;
        self.send(parsed, value);
        Ok(self)
    }

    /// Adds a header whose value is nobody else's business. Of two credentials a server may take
    /// either, so that there is only one.
    fn send(&mut self, name: HeaderName, mut value: HeaderValue) {
        if name == header::AUTHORIZATION {
            self.headers.retain(|(known, _)| *known != name);
        }
        value.set_sensitive(true);
        self.headers.push((name, value));
    }

    /// Connects to a unix socket instead of the URL's host.
    #[cfg(unix)]
    pub fn unix_socket(mut self, path: impl Into<PathBuf>) -> ClientBuilder {
        self.unix_socket = Some(path.into());
        self
    }

    /// How long a collection may take in all; two minutes beyond its window by default.
    pub fn timeout(mut self, timeout: Duration) -> ClientBuilder {
        self.timeout = Some(timeout);
        self
    }

    /// The largest bundle to take, in bytes; 1 GiB by default.
    pub fn limit(mut self, limit: u64) -> ClientBuilder {
        self.limit = limit;
        self
    }

    /// The finished client.
    pub fn build(self) -> Client {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            // Credentials are meant for the host that was named.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .accept_encoding("identity")
            .user_agent(concat!("profilez/", env!("CARGO_PKG_VERSION")));
        // Nothing in between can reach this host by that name. As Go's client does.
        let config = if self.target.is_loopback() || self.unix_socket.is_some() {
            config.proxy(None).build()
        } else {
            config.build()
        };
        #[cfg(unix)]
        let agent = match self.unix_socket {
            Some(path) => unix::agent(config, path),
            None => config.new_agent(),
        };
        #[cfg(not(unix))]
        let agent = config.new_agent();
        Client {
            target: self.target,
            agent,
            headers: self.headers,
            timeout: self.timeout,
            limit: self.limit,
        }
    }
}

impl Request {
    /// How long to record, in Go's syntax or bare seconds. The server checks it.
    #[must_use]
    pub fn duration(mut self, duration: impl Into<String>) -> Request {
        self.duration = Some(duration.into());
        self
    }

    /// The kinds to collect, separated by commas. The server checks them.
    #[must_use]
    pub fn kinds(mut self, kinds: impl Into<String>) -> Request {
        self.kinds = Some(kinds.into());
        self
    }

    /// How long the server will record, as far as that can be told here.
    pub fn window(&self) -> Duration {
        self.duration
            .as_deref()
            .and_then(|duration| parse_duration(duration).ok())
            .unwrap_or(DEFAULT_WINDOW)
    }
}

/// The base name in `Content-Disposition: attachment; filename="..."`, if it is a plain one.
fn file_name(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_DISPOSITION)?.to_str().ok()?;
    let (_, name) = value.split_once("filename=")?;
    let name = name.split(';').next()?.trim().trim_matches('"');
    let base = name.rsplit(['/', '\\']).next()?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let safe = !base.is_empty() && base.len() <= 200 && base.chars().all(plain);
    (safe && !base.starts_with('.')).then(|| base.to_owned())
}

/// A text from outside on one line, without control characters and bounded.
fn printable(text: &str, most: usize) -> String {
    let text: String =
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(most).collect();
    text.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_from_outside_is_a_plain_name_or_none() {
        let name = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_str(value).unwrap());
            file_name(&headers)
        };
        assert_eq!(name("attachment; filename=\"a-1.tar.gz\""), Some("a-1.tar.gz".into()));
        assert_eq!(name("attachment; filename=a.tar.gz; size=3"), Some("a.tar.gz".into()));
        assert_eq!(name("attachment; filename=\"../../etc/cron\""), Some("cron".into()));
        for bad in [
            "attachment",
            "filename=\"..\"",
            "filename=\".bashrc\"",
            "filename=\"a b\"",
            "filename=\"\"",
            "filename=\"/\"",
        ] {
            assert_eq!(name(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_bad_header_is_refused_without_its_value() {
        let builder = || Client::builder("localhost:1").unwrap();
        assert!(builder().header("X-Key: abc").is_ok());
        for bad in ["no colon", "bad name: x", "X: a\nb", ": x"] {
            let error = builder().header(bad).unwrap_err();
            assert!(matches!(error, Error::Header(_)), "{bad}");
        }
        let error = builder().header("bad name: s3cret").unwrap_err();
        assert!(!error.to_string().contains("s3cret"));
    }

    #[test]
    fn secrets_do_not_show() {
        let client = Client::builder("http://x:s3cret@localhost:1/?a=s3cret")
            .unwrap()
            .token("s3cret")
            .build();
        assert!(!format!("{client:?}").contains("s3cret"), "{client:?}");
        assert!(!client.url().contains("s3cret"));
    }
}
