//! Takes connections as they come, and gives each a seat and a task.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::super::{DebugService, Peer};
use super::connection::{self, STAY};
use super::seats::SeatTable;

/// The most connections at a time: more than a debug endpoint has any use for. For the next one
/// another goes.
const MOST_CONNECTIONS: usize = 64;
/// Number of connections that may wait to be taken, for a burst that comes between two of the
/// listener's turns. Who comes when that many wait is not told, and tries again a second later.
pub(super) const BACKLOG: u32 = 4096;

/// A socket that connections come from.
pub(super) trait ConnectionSource: Send + 'static {
    type Stream: AsyncRead + AsyncWrite + Send + 'static;

    /// Takes the next connection.
    fn next(&self) -> impl Future<Output = io::Result<(Self::Stream, Peer)>> + Send;
}

impl ConnectionSource for TcpListener {
    type Stream = TcpStream;

    async fn next(&self) -> io::Result<(TcpStream, Peer)> {
        let (stream, from) = self.accept().await?;
        // Pieces of a bundle go out as they are made.
        let _ = stream.set_nodelay(true);
        Ok((stream, Peer::Ip(from.ip())))
    }
}

/// Binds a socket to the first of these addresses that can be had.
pub(super) fn bind(addresses: &[SocketAddr]) -> io::Result<TcpSocket> {
    let bind = |&address: &SocketAddr| {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // A service that is started again gets its port while old connections are closing. On Windows
        // it would get it from a service that is running.
        if !cfg!(windows) {
            socket.set_reuseaddr(true)?;
        }
        socket.bind(address)?;
        Ok(socket)
    };
    let mut result = Err(io::Error::new(io::ErrorKind::InvalidInput, "no address"));
    for address in addresses {
        result = bind(address);
        if result.is_ok() {
            break;
        }
    }
    result
}

/// Serves whoever connects, for ever.
pub(super) async fn accept(service: DebugService, source: impl ConnectionSource) {
    let seats = SeatTable::new(MOST_CONNECTIONS, STAY);
    loop {
        match source.next().await {
            // A newcomer's first request is looked at before the next newcomer could take its seat,
            // and what was evicted is closed.
            Ok((stream, peer)) => {
                let seat = seats.take().await;
                let served = connection::serve(service.clone(), stream, peer, Arc::clone(&seat));
                tokio::spawn(served);
                tokio::task::yield_now().await;
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            // Most likely no file descriptor is free, and one of those that go first has one.
            Err(_) if seats.evict() => tokio::task::yield_now().await,
            // There may be one in a moment.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}
