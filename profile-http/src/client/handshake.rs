//! Reads out of a failure what of TLS or of HTTP it is about.

use std::error::Error as StdError;

use crate::HandshakeError;

/// What reads an error of TLS, where there is TLS in this build.
const READERS: &[fn(&(dyn StdError + 'static)) -> Option<HandshakeError>] = &[
    #[cfg(feature = "tls")]
    super::tls_error::read,
];

/// A sign of a listener for TLS that was asked without.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotHttp {
    #[error("the answer is no HTTP; if TLS is spoken there, the URL begins with https")]
    Answer(#[source] ureq::Error),
    #[error("there was no answer; if TLS is spoken there, the URL begins with https")]
    Nothing(#[source] ureq::Error),
}

/// Returns the error of TLS that a failure is about, if it is about one.
pub(super) fn read(error: &(dyn StdError + 'static)) -> Option<HandshakeError> {
    READERS.iter().find_map(|read| read(error))
}

/// Returns whether the other side hung up before the answer.
pub(super) fn is_hung_up(error: &ureq::Error) -> bool {
    let ends = |error: &std::io::Error| error.kind() == std::io::ErrorKind::UnexpectedEof;
    matches!(error, ureq::Error::Io(error) if ends(error))
}

/// Returns whether the other side hung up within the handshake. After that `rustls` has words of
/// its own for it.
pub(super) fn is_hung_up_early(error: &ureq::Error) -> bool {
    is_hung_up(error) && matches!(error, ureq::Error::Io(error) if error.get_ref().is_none())
}
