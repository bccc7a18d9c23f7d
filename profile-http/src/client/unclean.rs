//! Connections that end without an end: reset, or closed without a word in TLS.
//!
//! Where nothing else says how long an answer is, `ureq` takes such an end for the answer's own. It is none:
//! what came before it may have been cut (RFC 9112, 9.8).

use std::io::{self, ErrorKind};

use ureq::Error;
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, Transport};

/// A connector that makes an unclean end an error, whatever is being read.
#[derive(Debug)]
pub(super) struct UncleanConnector;

impl<In: Transport> Connector<In> for UncleanConnector {
    type Out = UncleanTransport<In>;

    fn connect(
        &self,
        _: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<UncleanTransport<In>>, Error> {
        Ok(chained.map(UncleanTransport))
    }
}

#[derive(Debug)]
pub(super) struct UncleanTransport<T>(T);

impl<T: Transport> Transport for UncleanTransport<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.0.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.0.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.0.await_input(timeout).map_err(|error| match error {
            Error::Io(error) if is_unclean(error.kind()) => Error::Io(plain_error(&error)),
            error => error,
        })
    }

    fn is_open(&mut self) -> bool {
        self.0.is_open()
    }

    fn is_tls(&self) -> bool {
        self.0.is_tls()
    }
}

/// Returns whether the kind is one of those that `ureq` looks for.
fn is_unclean(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset
    )
}

/// Makes an error of the same text that is none of these kinds. `rustls` points to its manual.
fn plain_error(error: &io::Error) -> io::Error {
    match error.kind() {
        ErrorKind::UnexpectedEof => io::Error::other("the server hung up without ending TLS"),
        _ => io::Error::other(error.to_string()),
    }
}
