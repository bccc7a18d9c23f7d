//! The files mapped into this process as code: not known on this system.

use std::path::PathBuf;

/// One executable file mapped into the process.
#[derive(Clone, Debug)]
pub(crate) struct Object {
    /// Its path.
    pub(crate) path: PathBuf,
    /// What to add to an address in the file's own terms to get one of this process.
    pub(crate) bias: u64,
    /// Its executable segments.
    pub(crate) segments: Vec<Segment>,
    /// Its build id; empty where it has none.
    pub(crate) build_id: Vec<u8>,
}

/// An executable segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment {
    pub(crate) start: u64,
    pub(crate) limit: u64,
    pub(crate) offset: u64,
}

/// No objects: nothing on this system is asked for them yet.
pub(crate) fn loaded() -> Vec<Object> {
    Vec::new()
}
