//! The files mapped into this process as code.

use std::path::PathBuf;

#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
mod raw;

/// One executable file mapped into the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LoadedObject {
    /// Its path, or a name in brackets where it has none.
    pub(crate) path: PathBuf,
    /// Number to add to an address in the file's own terms to get one of this process.
    pub(crate) bias: u64,
    /// Its executable segments.
    pub(crate) segments: Vec<CodeSegment>,
    /// Its build id; empty where it has none.
    pub(crate) build_id: Vec<u8>,
    /// Its bytes, where no file has them: the vDSO's.
    pub(crate) image: Option<&'static [u8]>,
}

/// An executable segment, widened to whole pages as `/proc/self/maps` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CodeSegment {
    pub(crate) start: u64,
    pub(crate) limit: u64,
    pub(crate) offset: u64,
}

/// Lists every object, where the system can be asked.
static LISTS: &[fn() -> Vec<LoadedObject>] = &[
    #[cfg(target_os = "linux")]
    raw::loaded,
];

/// Lists every object, the main program first. Empty on systems that are not asked for them yet.
pub(crate) fn loaded() -> Vec<LoadedObject> {
    LISTS.iter().flat_map(|list| list()).collect()
}

/// Formats bytes in lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
