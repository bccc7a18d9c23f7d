//! Connecting through a unix socket.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Weak};

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, ShutdownHandle, Transport,
};
use ureq::{Agent, Error};

use super::builder::{ClientBuilder, SocketAgent};
use super::unclean::UncleanConnector;

impl ClientBuilder {
    /// Connects to a unix socket instead of the URL's host.
    pub fn unix_socket(mut self, path: impl Into<PathBuf>) -> ClientBuilder {
        self.socket = Some(SocketAgent { path: path.into(), make: agent });
        self
    }
}

/// Makes an agent whose every connection goes to the socket at `path`.
fn agent(config: Config, path: PathBuf) -> Agent {
    Agent::with_parts(config, SocketConnector { path }.chain(UncleanConnector), NoResolver)
}

#[derive(Debug)]
struct SocketConnector {
    path: PathBuf,
}

impl Connector for SocketConnector {
    type Out = SocketTransport;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        _chained: Option<()>,
    ) -> Result<Option<SocketTransport>, Error> {
        let socket = Arc::new(UnixConnector(UnixStream::connect(&self.path)?));
        let handle: Weak<dyn ShutdownHandle> = Arc::downgrade(&(Arc::clone(&socket) as _));
        (details.register_shutdown)(handle)?;
        let (input, output) =
            (details.config.input_buffer_size(), details.config.output_buffer_size());
        Ok(Some(SocketTransport { socket, buffers: LazyBuffers::new(input, output) }))
    }
}

#[derive(Debug)]
struct UnixConnector(UnixStream);

impl ShutdownHandle for UnixConnector {
    fn shutdown(&self) {
        // An error means that it is closed already.
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

#[derive(Debug)]
struct SocketTransport {
    socket: Arc<UnixConnector>,
    buffers: LazyBuffers,
}

impl Transport for SocketTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let timeout = timeout.for_write();
        let mut stream = &self.socket.0;
        stream.set_write_timeout(timeout.not_zero().map(|timeout| *timeout))?;
        let output = &self.buffers.output()[..amount];
        stream.write_all(output).map_err(|error| timeout_error(error, timeout))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let timeout = timeout.for_read();
        let mut stream = &self.socket.0;
        stream.set_read_timeout(timeout.not_zero().map(|timeout| *timeout))?;
        let read = stream.read(self.buffers.input_append_buf());
        let amount = read.map_err(|error| timeout_error(error, timeout))?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        // Every request opens a connection of its own.
        false
    }
}

/// Turns "would block", which sockets say where a timeout has passed, into a timeout.
fn timeout_error(error: std::io::Error, timeout: NextTimeout) -> Error {
    match error.kind() {
        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut => {
            Error::Timeout(timeout.reason)
        }
        _ => Error::Io(error),
    }
}

/// A resolver that resolves nothing: the host in the URL is for the `Host` header only, and need
/// not exist.
#[derive(Debug)]
struct NoResolver;

impl Resolver for NoResolver {
    fn resolve(
        &self,
        _uri: &Uri,
        _config: &Config,
        _timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let mut addresses = self.empty();
        addresses.push(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        Ok(addresses)
    }
}
