//! An entry of a bundle, as a reader lists it.

use crate::EntryName;

/// One entry of [`Contents`](crate::Contents).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name, or the nearest good name: a label, not a path.
    pub name: EntryName,
    /// Number of bytes of it that arrived.
    pub bytes: u64,
    /// The SHA-256 of its bytes in lower-case hex; empty where it is not complete.
    pub sha256: String,
    /// True if all of it arrived.
    pub complete: bool,
}
