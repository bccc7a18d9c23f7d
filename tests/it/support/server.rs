//! Servers with the real collectors, and what comes from them.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use profilez::core::profile::{DecodeLimits, Profile};
use profilez::http::server::{DebugService, Server};

use super::http::Answer;

/// The real collectors are the process's: one test at a time.
pub(crate) fn real() -> (MutexGuard<'static, ()>, Server, SocketAddr) {
    static ONE: Mutex<()> = Mutex::new(());
    let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let server =
        DebugService::builder("shop api").version("1.2.3").build().serve("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    (one, server, address)
}

/// A bundle as programs that others wrote read it.
pub(crate) struct Unpacked {
    pub(crate) names: Vec<String>,
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    pub(crate) modes: Vec<(u32, u64)>,
}

#[track_caller]
pub(crate) fn unpack(answer: &Answer) -> Unpacked {
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    assert!(answer.whole, "the answer breaks off");
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(&answer.body[..]));
    let mut unpacked = Unpacked { names: Vec::new(), files: BTreeMap::new(), modes: Vec::new() };
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().to_str().unwrap().to_owned();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        let header = entry.header();
        unpacked.modes.push((header.mode().unwrap(), header.mtime().unwrap()));
        unpacked.names.push(name.clone());
        unpacked.files.insert(name, bytes);
    }
    unpacked
}

impl Unpacked {
    pub(crate) fn manifest(&self) -> serde_json::Value {
        serde_json::from_slice(&self.files["manifest.json"]).unwrap()
    }

    pub(crate) fn profile(&self, name: &str) -> Profile {
        Profile::decode(&self.files[name], &DecodeLimits::default()).unwrap()
    }
}

/// Has jemalloc sample allocations, for a test in a process of its own.
pub(crate) fn sample_heap() {
    // SAFETY: `prof.active` is a C `bool` (jemalloc(3)).
    unsafe { tikv_jemalloc_ctl::raw::write(b"prof.active\0", true) }.unwrap();
}

/// Asks jemalloc if it is sampling allocations.
pub(crate) fn heap_sampling() -> bool {
    // SAFETY: `prof.active` is a C `bool` (jemalloc(3)), and the name ends in NUL.
    unsafe { tikv_jemalloc_ctl::raw::read::<bool>(b"prof.active\0") }.unwrap()
}
