//! Takes connections as they come, and gives each a seat and a task.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpSocket;

use super::super::{DebugService, Peer};
use super::connection::{self, STAY};
use super::seats::SeatTable;

/// The most connections at a time: more than a debug endpoint has any use for. For the next one
/// another goes.
const MOST_CONNECTIONS: usize = 64;
/// Number of connections that may wait to be taken, for a burst that comes between two of the
/// listener's turns. Who comes when that many wait is not told, and tries again a second later.
pub(super) const BACKLOG: u32 = 4096;

pub(super) enum SocketListener {
    Tcp(tokio::net::TcpListener),
    #[cfg(unix)]
    Unix(tokio::net::UnixListener),
}

/// Binds a socket to the first of these addresses that can be had.
pub(super) fn bind(addresses: &[SocketAddr]) -> io::Result<TcpSocket> {
    let bind = |&address: &SocketAddr| {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // A service that is started again gets its port while old connections are closing. On Windows
        // it would get it from a service that is running.
        #[cfg(not(windows))]
        socket.set_reuseaddr(true)?;
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
pub(super) async fn accept(service: DebugService, listener: SocketListener) {
    let seats = SeatTable::new(MOST_CONNECTIONS, STAY);
    loop {
        let accepted = match &listener {
            SocketListener::Tcp(listener) => match listener.accept().await {
                Ok((stream, from)) => {
                    // Pieces of a bundle go out as they are made.
                    let _ = stream.set_nodelay(true);
                    seat_connection(&seats, &service, stream, Peer::Ip(from.ip())).await;
                    Ok(())
                }
                Err(error) => Err(error),
            },
            #[cfg(unix)]
            SocketListener::Unix(listener) => match listener.accept().await {
                Ok((stream, _from)) => {
                    seat_connection(&seats, &service, stream, Peer::Unix).await;
                    Ok(())
                }
                Err(error) => Err(error),
            },
        };
        match accepted {
            // A newcomer's first request is looked at before the next newcomer could take its seat,
            // and what was evicted is closed.
            Ok(()) => tokio::task::yield_now().await,
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            // Most likely no file descriptor is free, and one of those that go first has one.
            Err(_) if seats.evict() => tokio::task::yield_now().await,
            // There may be one in a moment.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

/// Gives a connection a seat, and a task that ends when the seat is another's.
async fn seat_connection(
    seats: &SeatTable,
    service: &DebugService,
    stream: impl AsyncRead + AsyncWrite + Send + 'static,
    peer: Peer,
) {
    let seat = seats.take().await;
    tokio::spawn(connection::serve(service.clone(), stream, peer, Arc::clone(&seat)));
}
