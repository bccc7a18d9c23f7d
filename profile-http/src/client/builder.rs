//! The settings of a client.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ureq::Agent;
use ureq::config::Config;
use ureq::http::{HeaderName, HeaderValue, header};
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{Connector as _, DefaultConnector};

use super::retry::CancelFlag;
use super::target::ServiceTarget;
#[cfg(feature = "tls")]
use super::tls;
use super::unclean::UncleanConnector;
use super::{Client, printable};
use crate::{Error, Result};

/// A socket to connect to instead of the URL's host, and what makes an agent for it.
#[derive(Debug)]
pub(super) struct SocketAgent {
    pub(super) path: PathBuf,
    pub(super) make: fn(Config, PathBuf) -> Agent,
}

/// Settings of a [`Client`].
#[derive(Debug)]
#[must_use = "a builder does nothing until it is built"]
pub struct ClientBuilder {
    pub(super) target: ServiceTarget,
    headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) socket: Option<SocketAgent>,
    timeout: Option<Duration>,
    limit: u64,
    retries: u32,
    fallback: bool,
    #[cfg(feature = "tls")]
    pub(super) tls: tls::TlsSettings,
}

/// The largest bundle that is taken, in bytes, unless set otherwise.
const DEFAULT_LIMIT: u64 = 1 << 30;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

impl ClientBuilder {
    pub(super) fn new(target: ServiceTarget, basic: Option<HeaderValue>) -> ClientBuilder {
        ClientBuilder {
            target,
            headers: basic.map(|value| (header::AUTHORIZATION, value)).into_iter().collect(),
            socket: None,
            timeout: None,
            limit: DEFAULT_LIMIT,
            retries: 0,
            fallback: true,
            #[cfg(feature = "tls")]
            tls: tls::TlsSettings::default(),
        }
    }

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

    /// Sets the path of the endpoints if the URL names a host only; `/debug` by default.
    pub fn prefix(mut self, prefix: &str) -> ClientBuilder {
        self.target.set_prefix(prefix);
        self
    }

    /// Sets the time that a collection may take in all, waits and repetitions included; two minutes
    /// beyond its window by default.
    pub fn timeout(mut self, timeout: Duration) -> ClientBuilder {
        self.timeout = Some(timeout);
        self
    }

    /// Sets the largest bundle to take, in bytes; 1 GiB by default.
    pub fn limit(mut self, limit: u64) -> ClientBuilder {
        self.limit = limit;
        self
    }

    /// Sets how often a request is repeated that fails before its answer, because the service can't
    /// be reached or answers 502, 503 or 504; not at all by default. A service that is busy is
    /// waited for in any case.
    pub fn retries(mut self, retries: u32) -> ClientBuilder {
        self.retries = retries;
        self
    }

    /// Sets whether Go's endpoints are asked one by one where there is no `/debug/profile`,
    /// which is the default.
    pub fn fallback(mut self, fallback: bool) -> ClientBuilder {
        self.fallback = fallback;
        self
    }

    /// Returns the finished client.
    pub fn build(self) -> Client {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            // Which are followed is decided here: credentials are meant for the host that was named.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .accept_encoding("identity")
            .user_agent(concat!("profilez/", env!("CARGO_PKG_VERSION")));
        #[cfg(feature = "tls")]
        let config = config.tls_config(self.tls.into_config());
        // Nothing in between can reach this host by that name. As Go's client does.
        let config = if self.target.is_loopback() || self.socket.is_some() {
            config.proxy(None).build()
        } else {
            config.build()
        };
        let agent = match self.socket {
            Some(SocketAgent { path, make }) => make(config, path),
            None => direct(config),
        };
        Client {
            target: self.target,
            agent,
            headers: self.headers,
            timeout: self.timeout,
            limit: self.limit,
            retries: self.retries,
            fallback: self.fallback,
            cancel: Arc::new(CancelFlag::default()),
        }
    }
}

/// Makes an agent that connects to the URL's host.
fn direct(config: Config) -> Agent {
    let connector = DefaultConnector::new().chain(UncleanConnector);
    Agent::with_parts(config, connector, DefaultResolver::default())
}

#[cfg(test)]
mod tests {
    use super::*;

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
