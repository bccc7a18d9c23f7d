//! The client: one call, one bundle, streamed to wherever it is to go.
//!
//! A service that has `/debug/profile`, or an endpoint like it, is asked once. Of any other Go service the
//! profiles are fetched one by one from `/debug/pprof/` and put into the same bundle.
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

mod builder;
#[cfg(feature = "tls")]
mod builder_tls;
mod consolidated;
mod content;
mod endpoint;
mod exchange;
mod handshake;
mod index;
mod individual;
mod losses;
mod named;
mod output;
mod retry;
mod target;
#[cfg(feature = "tls")]
mod tls;
#[cfg(feature = "tls")]
mod tls_error;
mod unclean;
#[cfg(unix)]
mod unix;

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use profile_archive::{Manifest, Warning};
use profile_core::task::Detail;
use profile_core::{CpuRate, DEFAULT_WINDOW, Kind};
use profile_format::{escaped, parse_duration};
use ureq::Agent;
use ureq::http::{HeaderName, HeaderValue};

use crate::{Error, Result};
pub use builder::ClientBuilder;
pub use output::RolledBack;
use retry::{CancelFlag, RetryBudget};
use target::ServiceTarget;

/// Collects from one service.
#[derive(Clone, Debug)]
pub struct Client {
    target: ServiceTarget,
    agent: Agent,
    headers: Vec<(HeaderName, HeaderValue)>,
    timeout: Option<Duration>,
    limit: u64,
    retries: u32,
    fallback: bool,
    cancel: Arc<CancelFlag>,
}

/// The things to ask for. The default leaves duration and kinds to the server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    duration: Option<String>,
    kinds: Option<String>,
    tasks: Option<Detail>,
    hz: Option<CpuRate>,
}

/// The progress of a collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// The service is busy or out of reach, and is asked again after this time.
    Waiting(Duration),
    /// The service has begun to record.
    Recording,
    /// So many bytes have arrived.
    Received(u64),
}

/// A bundle that can be read.
#[derive(Debug)]
#[non_exhaustive]
pub struct Collected {
    /// Its size in bytes.
    pub bytes: u64,
    /// A name for its file, without any directory; `None` where there was none to trust.
    pub file_name: Option<String>,
    /// The manifest of the bundle.
    pub manifest: Manifest,
    /// Oddities of what the service sent.
    pub warnings: Vec<Warning>,
    /// The reason why it can't be called whole: it ended early, or something of it is missing or is
    /// not what was sent. The manifest says so too, unless it is the writing that failed; then
    /// there is none.
    pub broke_off: Option<Error>,
}

/// The time that a collection may take beyond its window, unless a timeout is set.
const BEYOND_WINDOW: Duration = Duration::from_secs(120);

impl Client {
    /// Returns settings for the service at `url`: `host:port`, a base such as `https://host/debug`,
    /// or one of the endpoints. A user name and password in it are sent as Basic credentials.
    /// `duration`, `profiles`, `tasks` and `hz` in its query stand for what a [`Request`] leaves
    /// open; the parameters of Go's endpoints are left out, and all others are sent. A proxy that
    /// the environment names is used for other hosts than this one.
    ///
    /// # Errors
    ///
    /// [`Error::Url`]: it can't be understood, or has a scheme other than http and https.
    pub fn builder(url: &str) -> Result<ClientBuilder> {
        let (target, basic) = ServiceTarget::parse(url)?;
        if !cfg!(feature = "tls") && target.as_str().starts_with("https:") {
            let reason = "https needs the feature `tls`".to_owned();
            return Err(Error::Url { url: target.as_str().to_owned(), reason });
        }
        Ok(ClientBuilder::new(target, basic))
    }

    /// Returns the address that is asked first, without credentials and query.
    pub fn url(&self) -> &str {
        self.target.as_str()
    }

    /// Returns a request with what it leaves open as the URL asks for it: what [`Client::collect`]
    /// sends.
    #[must_use]
    pub fn complete(&self, request: &Request) -> Request {
        self.target.complete(request)
    }

    /// Stops a collection that is under way in another thread. What arrived until then is made a
    /// bundle that says so. This client can't be used again.
    pub fn cancel(&self) {
        self.cancel.set();
        self.agent.clone().shutdown();
    }

    /// Collects a bundle into `to`, and tells of its progress. A service that is busy is waited for.
    ///
    /// Where `/debug/profile` is answered with 404 or 405, the profiles are fetched one by one from
    /// `/debug/pprof/`; any other refusal is an error. Each answer is kept in a temporary file until
    /// its turn, so that no more than one profile is in memory. That is not done for a request that asks
    /// what tasks wait in, or for a rate of the CPU profile: no other service can tell, or has one.
    ///
    /// A collection that breaks off when something of it has arrived is no error, nor is a bundle of
    /// which something is lost: see [`Collected::broke_off`]. The service's manifest is passed on in any
    /// case, with what was lost in its `errors`.
    ///
    /// # Errors
    ///
    /// The server can't be reached, refuses, or answers with something else; or `to` fails. What was
    /// written to `to` is of no use then.
    pub fn collect(
        &self,
        request: &Request,
        to: &mut dyn Write,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Collected> {
        let request = &self.complete(request);
        let window = request.window();
        let budget =
            RetryBudget::new(self.timeout.unwrap_or_else(|| window.saturating_add(BEYOND_WINDOW)));
        let collected = match consolidated::ask(self, request, budget, progress) {
            Ok(answer) => consolidated::collect(self, request, answer, to, progress)?,
            Err(error @ Error::Refused { status: 404 | 405, .. })
                if self.fallback && request.tasks.is_none() && request.hz.is_none() =>
            {
                individual::collect(self, request, budget, to, progress)?.ok_or(error)?
            }
            Err(error) => return Err(error),
        };
        Ok(collected)
    }
}

impl Request {
    /// Sets the time to record, in Go's syntax or bare seconds. The server checks it.
    #[must_use]
    pub fn duration(mut self, duration: impl Into<String>) -> Request {
        self.duration = Some(duration.into());
        self
    }

    /// Sets the kinds to collect, separated by commas. The server checks them.
    #[must_use]
    pub fn kinds(mut self, kinds: impl Into<String>) -> Request {
        self.kinds = Some(kinds.into());
        self
    }

    /// Asks also what each task waits in, by these means.
    #[must_use]
    pub fn tasks(mut self, detail: Detail) -> Request {
        self.tasks = Some(detail);
        self
    }

    /// Takes the CPU profile at this rate.
    #[must_use]
    pub fn hz(mut self, rate: CpuRate) -> Request {
        self.hz = Some(rate);
        self
    }

    /// Returns whether it names a kind: what the service doesn't have is missing only then.
    pub fn names(&self, kind: Kind) -> bool {
        let kinds = self.kinds.as_deref().unwrap_or_default();
        kinds.split(',').any(|name| name.trim().parse() == Ok(kind))
    }

    /// Returns by what means it asks what each task waits in.
    pub fn detail(&self) -> Option<Detail> {
        self.tasks
    }

    /// Returns the rate of the CPU profile that it asks for.
    pub fn rate(&self) -> Option<CpuRate> {
        self.hz
    }

    /// Returns the time that the server will record, as far as that can be told here.
    pub fn window(&self) -> Duration {
        self.duration
            .as_deref()
            .and_then(|duration| parse_duration(duration).ok())
            .unwrap_or(DEFAULT_WINDOW)
    }
}

/// Returns a text from outside on one line, bounded, and with nothing in it that is not seen.
fn printable(text: &str, most: usize) -> String {
    let on_one_line = |c| if matches!(c, '\n' | '\r' | '\t') { ' ' } else { c };
    let text: String = text.chars().map(on_one_line).take(most).collect();
    escaped(text.trim()).into_owned()
}
