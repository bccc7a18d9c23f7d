//! What can go wrong in a command. The kind decides the exit code; the text is for a person.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

/// The result of a command or of a part of one.
pub(crate) type Result<T> = std::result::Result<T, Error>;

/// Why a command stopped.
#[derive(Debug)]
pub(crate) enum Error {
    /// The command line makes no sense; exit code 2.
    Usage(String),
    /// A program could not be started.
    Start { command: String, source: io::Error },
    /// A program ran and failed.
    Failed { command: String, status: ExitStatus },
    /// A file or directory could not be read or written.
    File { path: PathBuf, source: io::Error },
    /// A check found the repository or the machine wanting.
    Check(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(text) | Self::Check(text) => f.write_str(text),
            Self::Start { command, source } => write!(f, "could not start `{command}`: {source}"),
            Self::Failed { command, status } => write!(f, "`{command}` failed: {status}"),
            Self::File { path, source } => write!(f, "{}: {source}", path.display()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Start { source, .. } | Self::File { source, .. } => Some(source),
            Self::Usage(_) | Self::Failed { .. } | Self::Check(_) => None,
        }
    }
}
