//! Debug endpoints for Rust services, and the client that collects from them.
//!
//! This is the one crate that knows status codes. The server half is a `hyper` and `tower` service
//! that mounts in an existing server, or listens on its own; the client half collects a bundle from
//! such a service over HTTP.
//!
//! What you must do: give the service an [`Authorizer`](server::Authorizer), unless it listens on
//! loopback or a unix socket only. What it does for you: one collection at a time, streamed while it
//! is made, undone at once when the client leaves. It is *not* for taking profiles (`profile-core`)
//! nor for reading them (`profile-analysis`).
//!
//! # Features
//!
//! - `server`: the service, its authorizers and the listener.
//! - `tower`: a layer that makes each request a task in dumps and traces.
//! - `client`: the blocking client. Builds without any collector, and without C code.
//! - `tls`: https for the client.
#![forbid(unsafe_code)]

#[cfg(feature = "client")]
pub mod client;
mod error;
mod handshake;
#[cfg(feature = "server")]
pub mod server;
#[cfg(feature = "tower")]
pub mod tasks;

pub use error::{Error, Result};
pub use handshake::HandshakeError;
