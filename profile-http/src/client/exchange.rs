//! One request and its answer: what is sent, which redirects are followed, and what a refusal says.

use std::io::{self, Read, Write as _};
use std::time::{Duration, Instant};

use serde::Deserialize;
use tempfile::SpooledTempFile;
use ureq::http::{HeaderMap, Response, header};
use ureq::{Body, RequestBuilder};
use url::Url;

use super::handshake::{self, NotHttp};
use super::{Client, printable};
use crate::{Error, HandshakeError, Result};

/// An answer as it came: in memory while it is small, else in a file without a name.
#[derive(Debug)]
pub(super) struct HttpAnswer {
    spool: SpooledTempFile,
    pub(super) bytes: u64,
    pub(super) took: Duration,
    pub(super) content_type: String,
}

/// The most bytes of one answer that are kept in memory.
const IN_MEMORY: usize = 256 * 1024;
/// The longest time that a service is taken to stay away, whatever it says.
const LONGEST_ABSENCE: Duration = Duration::from_secs(24 * 3600);
/// The most redirects that are followed for one request.
const REDIRECTS: usize = 5;

impl HttpAnswer {
    pub(super) fn read(mut self) -> Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(usize::try_from(self.bytes).unwrap_or_default());
        let rewound = io::Seek::rewind(&mut self.spool);
        rewound
            .and_then(|()| self.spool.read_to_end(&mut bytes))
            .map_err(Error::Spool)
            .map(|_| bytes)
    }
}

impl Client {
    /// Asks for something that is to be taken once. Redirects are not followed.
    pub(super) fn post(&self, url: &Url, within: Duration) -> Result<Response<Body>> {
        // POST, so that nothing on the way repeats it or answers from a cache.
        let answer = self.prepared(self.agent.post(url.as_str()), within).send_empty();
        require_success(url, answer.map_err(|error| no_answer_error(url, error))?)
    }

    /// Asks for something that may be asked for again. A redirect is followed where it doesn't leave
    /// the origin: the credentials are for the host that was named.
    pub(super) fn get(&self, url: &Url, within: Duration) -> Result<Response<Body>> {
        let began = Instant::now();
        let mut at = url.clone();
        // One request more than there are redirects.
        for _ in 0..=REDIRECTS {
            let left = within.saturating_sub(began.elapsed());
            let answer = self.prepared(self.agent.get(at.as_str()), left).call();
            let answer = answer.map_err(|error| no_answer_error(&at, error))?;
            match redirect_target(&at, &answer) {
                Some(next) => at = next,
                None => return require_success(&at, answer),
            }
        }
        let error = io::Error::other(format!("more than {REDIRECTS} redirects"));
        Err(request_error(url, error))
    }

    /// Gets all of an answer of at most `limit` bytes.
    pub(super) fn fetch(&self, url: &Url, within: Duration, limit: u64) -> Result<HttpAnswer> {
        let began = Instant::now();
        let response = self.get(url, within)?;
        let content_type = content_type(response.headers());
        let mut spool = SpooledTempFile::new(IN_MEMORY);
        let mut body = response.into_body().into_reader();
        let mut buffer = vec![0; 64 * 1024];
        let mut bytes = 0;
        loop {
            let len = match body.read(&mut buffer) {
                Ok(0) => break,
                Ok(len) => len,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(request_error(url, error)),
            };
            bytes += len as u64;
            if bytes > limit {
                return Err(Error::AnswerTooLarge { url: redacted(url), limit });
            }
            spool.write_all(&buffer[..len]).map_err(Error::Spool)?;
        }
        Ok(HttpAnswer { spool, bytes, took: began.elapsed(), content_type })
    }

    fn prepared<B>(&self, mut request: RequestBuilder<B>, within: Duration) -> RequestBuilder<B> {
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        // Without any time left there is no limit.
        let within = within.max(Duration::from_millis(1));
        request.config().timeout_global(Some(within)).build()
    }
}

/// Returns the address that a redirect leads to, within the same origin.
fn redirect_target(from: &Url, answer: &Response<Body>) -> Option<Url> {
    if !matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let location = answer.headers().get(header::LOCATION)?.to_str().ok()?;
    let mut next = from.join(location).ok()?;
    if next.origin() != from.origin() {
        return None;
    }
    if next.query().is_none() {
        next.set_query(from.query());
    }
    Some(next)
}

/// Returns an answer whose status is a success, and refuses any other.
fn require_success(url: &Url, answer: Response<Body>) -> Result<Response<Body>> {
    if answer.status().is_success() { Ok(answer) } else { Err(refusal_error(url, answer)) }
}

/// Makes an error of a request that came to no answer.
pub(super) fn no_answer_error(url: &Url, error: ureq::Error) -> Error {
    match (url.scheme(), error) {
        ("https", error) if handshake::is_hung_up_early(&error) => {
            Error::Handshake { url: redacted(url), source: HandshakeError::HungUp }
        }
        ("http", error @ ureq::Error::Protocol(_)) => request_error(url, NotHttp::Answer(error)),
        ("http", error) if handshake::is_hung_up(&error) => {
            request_error(url, NotHttp::Nothing(error))
        }
        (_, error) => request_error(url, error),
    }
}

/// Makes an error of a request that came to no answer, or to half of one.
pub(super) fn request_error(
    url: &Url,
    error: impl std::error::Error + Send + Sync + 'static,
) -> Error {
    match handshake::read(&error) {
        Some(source) => Error::Handshake { url: redacted(url), source },
        None => Error::Request { url: redacted(url), source: Box::new(error) },
    }
}

/// Makes an error with the server's reason, from a JSON body such as ours or else from a text.
fn refusal_error(url: &Url, mut response: Response<Body>) -> Error {
    const MOST: u64 = 64 * 1024;
    #[derive(Deserialize)]
    struct FailureReason {
        message: String,
        #[serde(default)]
        detail: String,
    }
    let status = response.status();
    let retry_after = response
        .headers()
        .get(header::RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.trim().parse().ok())
        .map(|seconds| Duration::from_secs(seconds).min(LONGEST_ABSENCE));
    let mut text = Vec::new();
    // A reason that can't be read is left out; the status says the most important thing.
    let _ = response.body_mut().as_reader().take(MOST).read_to_end(&mut text);
    let message = match serde_json::from_slice::<FailureReason>(&text) {
        Ok(FailureReason { message, detail }) if detail.is_empty() => message,
        Ok(FailureReason { message, detail }) => format!("{message} {detail}"),
        Err(_) => String::from_utf8_lossy(&text).into_owned(),
    };
    let message = printable(&message, 500);
    Error::Refused {
        url: redacted(url),
        status: status.as_u16(),
        message: if message.is_empty() {
            status.canonical_reason().unwrap_or("no reason given").to_owned()
        } else {
            message
        },
        retry_after,
    }
}

/// Returns a URL without what may be a secret.
pub(super) fn redacted(url: &Url) -> String {
    let mut shown = url.clone();
    // Neither fails for a URL with a host.
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    shown.set_query(None);
    shown.into()
}

pub(super) fn content_type(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE);
    printable(value.map_or("", |value| value.to_str().unwrap_or("?")), 100)
}
