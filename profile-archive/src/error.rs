//! Why a bundle could not be written, or can't be read at all.

use std::io;

use crate::{EntryName, NameError};

/// The result that this crate's functions return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A bundle could not be written, or what was given is no bundle.
///
/// Damage inside a bundle is not an error but a [`Warning`](crate::Warning), because what could be
/// read is worth having.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The writer below refused the bytes.
    #[error("the bundle could not be written")]
    Write(#[source] io::Error),
    /// An earlier write failed half-way, so that nothing sound can follow it.
    #[error("the bundle can't go on after a failed write")]
    Broken,
    /// The text can't name an entry. Nothing was written.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The name is in use or belongs to the manifest. Nothing was written.
    #[error("the entry name {0} is taken")]
    NameTaken(EntryName),
    /// The reader below failed before it could be told what the input is.
    #[error("the bundle could not be read")]
    Read(#[source] io::Error),
    /// The input is not gzip'd, nor is it a tar archive as it is.
    #[error("not a bundle: neither in gzip format nor a tar archive")]
    NotGzip,
    /// The input is gzip'd, and what is inside is no tar archive.
    #[error("not a bundle: no tar archive inside")]
    NotTar,
}
