//! A listener for programs that have no HTTP server of their own: one thread, a handful of
//! connections.
//!
//! `accept` takes them, `seats` says who stays and who goes, and `connection` speaks HTTP on one.

mod accept;
mod connection;
mod seats;
#[cfg(unix)]
mod unix;

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use profile_core::OwnWork;
use tokio::sync::oneshot;

use super::{DebugService, ServiceState};
use crate::{Error, Result};
use accept::{BACKLOG, ConnectionSource};

/// A running listener. It goes on when this is dropped; [`Server::shut_down`] ends it.
pub struct Server {
    address: ListenAddress,
    shared: Arc<ServiceState>,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

#[derive(Debug)]
enum ListenAddress {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Server {
    /// Returns the address it listens on; `None` for a unix socket. Useful after asking for port 0.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match &self.address {
            ListenAddress::Tcp(address) => Some(*address),
            ListenAddress::Unix(_) => None,
        }
    }

    /// Stops listening and closes every connection. A collection that is under way is undone before
    /// this returns.
    pub fn shut_down(self) {
        let _ = self.stop.send(());
        // The thread has no way to panic that would be worth passing on.
        let _ = self.thread.join();
        self.shared.wait_for_collections();
        if let ListenAddress::Unix(path) = &self.address {
            let _ = std::fs::remove_file(path);
        }
    }
}

impl DebugService {
    /// Listens on a TCP address, on a thread of its own.
    ///
    /// # Errors
    ///
    /// The address is not loopback and there is no authorizer, or it can't be listened on.
    pub fn serve(self, address: impl ToSocketAddrs + std::fmt::Debug) -> Result<Server> {
        let failed = |source| Error::Listen { address: format!("{address:?}"), source };
        let addresses: Vec<SocketAddr> = address.to_socket_addrs().map_err(failed)?.collect();
        if self.shared.authorizer.is_none()
            && let Some(open) = addresses.iter().find(|a| !a.ip().to_canonical().is_loopback())
        {
            return Err(Error::NotLoopback(*open));
        }
        let socket = accept::bind(&addresses).map_err(failed)?;
        let local = socket.local_addr().map_err(failed)?;
        self.run(ListenAddress::Tcp(local), move || socket.listen(BACKLOG)).map_err(failed)
    }

    /// Listens as [`DebugService::serve`] does. Where that fails it says why in an event, or on standard
    /// error where nobody takes events, and the program goes on without: no service is to stay down for
    /// want of its debug endpoints.
    pub fn serve_or_log(self, address: impl ToSocketAddrs + std::fmt::Debug) -> Option<Server> {
        self.serve(address).map_err(|error| log_failure(&error)).ok()
    }

    fn run<S: ConnectionSource>(
        self,
        address: ListenAddress,
        listen: impl FnOnce() -> io::Result<S>,
    ) -> io::Result<Server> {
        for why in self.available().missing() {
            tracing::info!(
                target: "profilez",
                kind = why.kind.name(),
                reason = why.reason,
                hint = why.hint,
                "not collected"
            );
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let source = {
            let _context = runtime.enter();
            listen()?
        };
        let (stop, stopped) = oneshot::channel();
        let shared = Arc::clone(&self.shared);
        let thread = thread::Builder::new().name("profilez-http".to_owned()).spawn(move || {
            let _own = OwnWork::of_thread();
            runtime.spawn(accept::accept(self, source));
            runtime.block_on(async {
                if stopped.await.is_err() {
                    // A handle that was dropped is not a wish to stop.
                    std::future::pending::<()>().await;
                }
            });
        })?;
        Ok(Server { address, shared, stop, thread })
    }
}

/// Says why nothing is served.
fn log_failure(error: &Error) {
    let reason = error.chain();
    if tracing::event_enabled!(target: "profilez", tracing::Level::ERROR) {
        tracing::error!(target: "profilez", reason, "no debug endpoints");
    } else {
        eprintln!("profilez: no debug endpoints: {reason}");
    }
}
