//! The facts that tell one process from another: what a bundle says of where it comes from.

use crate::stacks::objects;
use crate::sys::raw::host;

/// The identity of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// The process id.
    pub pid: u32,
    /// The host's name; empty where the system doesn't tell.
    pub host: String,
    /// The program's file name, without its directory; empty where unknown.
    pub program: String,
    /// The program's build id in hex; empty where the linker wrote none.
    pub build_id: String,
}

impl Process {
    /// Returns the identity of this process.
    pub fn current() -> Process {
        let program = std::env::current_exe()
            .ok()
            .and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()))
            .unwrap_or_default();
        let build_id =
            objects::loaded().first().map(|main| objects::hex(&main.build_id)).unwrap_or_default();
        Process { pid: std::process::id(), host: host::host_name(), program, build_id }
    }
}
