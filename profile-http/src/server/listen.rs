//! A listener for programs that have no HTTP server of their own: one thread, a handful of
//! connections.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::Sleep;
use tokio_io_timeout::TimeoutStream;

use profile_core::{BoxError, OwnWork};

use super::{DebugService, Peer, Shared};
use crate::{Error, Result};

/// More connections than a debug endpoint has any use for. The next ones wait.
const MAX_CONNECTIONS: usize = 64;
/// How long a client may take to send a request's head, then its body, and an idle connection is
/// kept.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a write may stand still before the connection is closed.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// A running listener. It goes on when this is dropped; [`Server::shut_down`] ends it.
pub struct Server {
    address: Address,
    shared: Arc<Shared>,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

#[derive(Debug)]
enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Server {
    /// The address it listens on; `None` for a unix socket. Useful after asking for port 0.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match &self.address {
            Address::Tcp(address) => Some(*address),
            Address::Unix(_) => None,
        }
    }

    /// Stops listening and closes every connection. A collection that is under way is undone before
    /// this returns.
    pub fn shut_down(self) {
        let _ = self.stop.send(());
        // The thread has no way to panic that would be worth passing on.
        let _ = self.thread.join();
        self.shared.wait_for_collections();
        if let Address::Unix(path) = &self.address {
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
        let listener = TcpListener::bind(&addresses[..]).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let local = listener.local_addr().map_err(failed)?;
        self.run(Address::Tcp(local), move || {
            tokio::net::TcpListener::from_std(listener).map(Listener::Tcp)
        })
        .map_err(failed)
    }

    /// Listens on a unix socket, on a thread of its own. Whoever may connect to the socket may ask,
    /// unless there is an authorizer; only this user may (mode 0600).
    ///
    /// # Errors
    ///
    /// The socket can't be made, for example because the path exists.
    #[cfg(unix)]
    pub fn serve_unix(self, path: impl AsRef<Path>) -> Result<Server> {
        use std::fs::{File, Permissions};
        use std::os::fd::AsFd as _;
        use std::os::unix::fs::PermissionsExt as _;

        let path = path.as_ref();
        let failed = |source| Error::Listen { address: path.display().to_string(), source };
        let socket = tokio::net::UnixSocket::new_stream().map_err(failed)?;
        // The socket takes its mode from here when it gets its name, so that it is nobody else's at
        // any moment.
        let file = File::from(socket.as_fd().try_clone_to_owned().map_err(failed)?);
        file.set_permissions(Permissions::from_mode(0o600)).map_err(failed)?;
        socket.bind(path).map_err(failed)?;
        self.run(Address::Unix(path.to_owned()), move || {
            socket.listen(MAX_CONNECTIONS as u32).map(Listener::Unix)
        })
        .map_err(failed)
    }

    fn run(
        self,
        address: Address,
        listener: impl FnOnce() -> io::Result<Listener> + Send + 'static,
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
        let listener = {
            let _context = runtime.enter();
            listener()?
        };
        let (stop, stopped) = oneshot::channel();
        let shared = Arc::clone(&self.shared);
        let thread = thread::Builder::new().name("profilez-http".to_owned()).spawn(move || {
            let _own = OwnWork::begin();
            runtime.spawn(accept(self, listener));
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

enum Listener {
    Tcp(tokio::net::TcpListener),
    #[cfg(unix)]
    Unix(tokio::net::UnixListener),
}

async fn accept(service: DebugService, listener: Listener) {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        let service = service.clone();
        let accepted = match &listener {
            Listener::Tcp(listener) => listener.accept().await.map(|(stream, from)| {
                // Pieces of a bundle go out as they are made.
                let _ = stream.set_nodelay(true);
                let peer = Peer::Ip(from.ip());
                tokio::spawn(async move {
                    connection(service, stream, peer).await;
                    drop(slot);
                });
            }),
            #[cfg(unix)]
            Listener::Unix(listener) => listener.accept().await.map(|(stream, _from)| {
                tokio::spawn(async move {
                    connection(service, stream, Peer::Unix).await;
                    drop(slot);
                });
            }),
        };
        if accepted.is_err() {
            // Most likely no file descriptor is free; there may be one in a moment.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// The body of a request that has to come as fast as a head does.
struct InTime {
    body: Incoming,
    /// Begins when the body is asked for.
    until: Option<Pin<Box<Sleep>>>,
}

impl Body for InTime {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, BoxError>>> {
        let InTime { body, until } = &mut *self;
        if let Poll::Ready(frame) = Pin::new(body).poll_frame(context) {
            return Poll::Ready(frame.map(|frame| frame.map_err(BoxError::from)));
        }
        let until = until.get_or_insert_with(|| Box::pin(tokio::time::sleep(HEAD_TIMEOUT)));
        until.as_mut().poll(context).map(|()| Some(Err("it takes too long".into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

async fn connection(
    service: DebugService,
    stream: impl AsyncRead + AsyncWrite + Send + 'static,
    peer: Peer,
) {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE_TIMEOUT));
    let handle = service_fn(move |mut request: http::Request<Incoming>| {
        request.extensions_mut().insert(peer);
        let service = service.clone();
        let request = request.map(|body| InTime { body, until: None });
        async move { Ok::<_, std::convert::Infallible>(service.respond(request).await) }
    });
    // A connection that breaks is the client's business; its collection ends with it.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(Box::pin(stream)), handle)
        .await;
}
