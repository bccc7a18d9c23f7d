//! What can go wrong while a profile is taken.

use profile_format::{BoxError, Kind, Unavailable, chain};

/// A profile could not be taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// This process can't give the kind.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// Another profiler holds what the kind needs.
    #[error("{kind} can't start: {what} is in use by {holder}")]
    InUse {
        /// The kind that was to start.
        kind: Kind,
        /// The thing that is in use, for example `SIGPROF`.
        what: &'static str,
        /// Its user, as far as that can be told.
        holder: String,
    },
    /// A collector failed.
    #[error("{kind} could not be collected")]
    Collect {
        /// The kind that failed.
        kind: Kind,
        /// The collector's error.
        #[source]
        source: BoxError,
    },
    /// A collector panicked; the panic was contained.
    #[error("the {kind} collector panicked: {message}")]
    Panicked {
        /// The kind that failed.
        kind: Kind,
        /// The panic's message.
        message: String,
    },
}

impl Error {
    /// Returns the error and its sources, joined by `: `, as one line.
    pub fn chain(&self) -> String {
        chain(self)
    }
}
