//! The listener on a unix socket.

use std::fs::{File, Permissions};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use tokio::net::{UnixListener, UnixSocket, UnixStream};

use super::accept::{BACKLOG, ConnectionSource};
use super::{DebugService, ListenAddress, Server};
use crate::server::Peer;
use crate::{Error, Result};

impl ConnectionSource for UnixListener {
    type Stream = UnixStream;

    async fn next(&self) -> io::Result<(UnixStream, Peer)> {
        self.accept().await.map(|(stream, _from)| (stream, Peer::Unix))
    }
}

impl DebugService {
    /// Listens on a unix socket, on a thread of its own. Whoever may connect to the socket may ask,
    /// unless there is an authorizer; only this user may (mode 0600). The socket of a process that is
    /// gone is replaced.
    ///
    /// # Errors
    ///
    /// The socket can't be made, for example because somebody listens there, or a file has the name.
    pub fn serve_unix(self, path: impl AsRef<Path>) -> Result<Server> {
        let path = path.as_ref();
        let failed = |source| Error::Listen { address: path.display().to_string(), source };
        let socket = UnixSocket::new_stream().map_err(failed)?;
        // The socket takes its mode from here when it gets its name, so that it is nobody else's at
        // any moment.
        let file = File::from(socket.as_fd().try_clone_to_owned().map_err(failed)?);
        file.set_permissions(Permissions::from_mode(0o600)).map_err(failed)?;
        let bound = socket.bind(path).or_else(|error| match error.kind() {
            io::ErrorKind::AddrInUse if is_abandoned(path) => {
                std::fs::remove_file(path).and_then(|()| socket.bind(path))
            }
            _ => Err(error),
        });
        bound.map_err(failed)?;
        self.run(ListenAddress::Unix(path.to_owned()), move || socket.listen(BACKLOG))
            .map_err(failed)
    }
}

/// Returns whether a path is a socket that no process has. Asked for as a datagram's it is refused just
/// then, and whoever has it sees nothing of the question, nor can anybody make the answer wait.
fn is_abandoned(path: &Path) -> bool {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    let asked = UnixDatagram::unbound().and_then(|socket| socket.connect(path));
    is_socket && asked.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}
