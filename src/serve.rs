//! The shortest way in: the debug endpoints on a thread of their own.

use std::fmt::Debug;
use std::net::ToSocketAddrs;

use profile_core::Process;
use profile_http::server::{DebugService, Server};

/// Serves the debug endpoints of this process on a loopback address, on a thread of their own.
///
/// The service is called after the program. For a name of your own, an authorizer or another
/// address, use [`DebugService::builder`].
///
/// # Errors
///
/// The address is not loopback, or can't be listened on.
pub fn serve(address: impl ToSocketAddrs + Debug) -> profile_http::Result<Server> {
    DebugService::builder(Process::current().program).build().serve(address)
}

/// Serves as [`serve`] does, and never keeps the program from starting: where that fails it says why, in
/// an event of `tracing` or on standard error, and returns `None`.
///
/// ```
/// let server = profilez::serve_or_log("127.0.0.1:0");
/// assert!(server.is_some());
/// // Loopback only: other addresses need an authorizer.
/// assert!(profilez::serve_or_log("192.0.2.1:6060").is_none());
/// ```
pub fn serve_or_log(address: impl ToSocketAddrs + Debug) -> Option<Server> {
    DebugService::builder(Process::current().program).build().serve_or_log(address)
}
