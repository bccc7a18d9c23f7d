//! What can go wrong while serving or collecting.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use crate::HandshakeError;

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// Serving or collecting failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address isn't loopback and there is no authorizer.
    #[error("{0} can be reached from other hosts: listening there needs an authorizer")]
    NotLoopback(SocketAddr),
    /// The token is empty, so that everybody would know it.
    #[error("the token is empty")]
    EmptyToken,
    /// The listener could not be opened.
    #[error("could not listen on {address}")]
    Listen {
        /// The address as it was given.
        address: String,
        /// The operating system's error.
        #[source]
        source: io::Error,
    },
    /// The URL can't be used.
    #[error("{url:?} is not a URL to collect from: {reason}")]
    Url {
        /// The URL as it was given, without a password.
        url: String,
        /// The fault, in words.
        reason: String,
    },
    /// A header's name or value can't be sent.
    #[error("invalid header {0:?}: expected `Name: value`")]
    Header(String),
    /// The server could not be reached, or the connection broke.
    #[error("request to {url} failed")]
    Request {
        /// The URL that was asked, without credentials.
        url: String,
        /// The failure itself.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// There was no TLS connection to be had.
    #[error("request to {url} failed")]
    Handshake {
        /// The URL that was asked, without credentials.
        url: String,
        /// The reason.
        #[source]
        source: HandshakeError,
    },
    /// The server refused.
    #[error("{url} answered {status}: {message}")]
    Refused {
        /// The URL that was asked, without credentials.
        url: String,
        /// The status code.
        status: u16,
        /// The server's message and detail, on one line.
        message: String,
        /// Time to try again, where the server said so.
        retry_after: Option<Duration>,
    },
    /// The answer isn't a bundle.
    #[error("{url} answered with {content_type:?} instead of a bundle")]
    NotABundle {
        /// The URL that was asked, without credentials.
        url: String,
        /// The answer's content type.
        content_type: String,
    },
    /// The answer says that it is a bundle, and isn't.
    #[error("{url} sent {bytes} bytes that are no bundle")]
    NoBundle {
        /// The URL that was asked, without credentials.
        url: String,
        /// Number of bytes that came.
        bytes: u64,
    },
    /// The bundle ends too early, or is damaged.
    #[error("{url} broke off: {reason}")]
    BrokeOff {
        /// The URL that was asked, without credentials.
        url: String,
        /// The fault, in words.
        reason: String,
    },
    /// The bundle has an end, but something of it is missing or is not what was sent.
    #[error("the bundle of {url} is not whole: {reason}")]
    NotWhole {
        /// The URL that was asked, without credentials.
        url: String,
        /// The loss, in words.
        reason: String,
    },
    /// The collection was called off.
    #[error("interrupted")]
    Cancelled,
    /// The request makes no sense.
    #[error(transparent)]
    Plan(profile_core::PlanError),
    /// An endpoint's answer isn't what it should be; holds what is wrong.
    #[error("{0}")]
    Content(String),
    /// None of the profiles that were asked for is there.
    #[error("{url} has none of these profiles")]
    Nothing {
        /// The index of the profiles, without credentials.
        url: String,
    },
    /// A certificate or a key can't be used; holds why.
    #[error("{0}")]
    Tls(String),
    /// An answer could not be kept until its turn.
    #[error("could not use a temporary file")]
    Spool(#[source] io::Error),
    /// One of the answers is larger than allowed.
    #[error("{url} answered with more than {limit} bytes")]
    AnswerTooLarge {
        /// The URL that was asked, without credentials.
        url: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// The answer is larger than allowed.
    #[error("the bundle is larger than the limit of {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// The data that was received could not be written.
    #[error("could not write the bundle")]
    Write(#[source] io::Error),
}

impl Error {
    /// Returns the error and its causes, on one line.
    pub fn chain(&self) -> String {
        profile_format::chain(self)
    }
}
