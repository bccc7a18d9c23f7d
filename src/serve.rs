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
