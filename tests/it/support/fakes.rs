//! Collectors that do as they are told, and services that use them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use profilez::core::collect::{File, Pending, Window};
use profilez::core::{Collector, Collectors, Error, Gate, Kind, Unavailable};
use profilez::http::server::{DebugService, DebugServiceBuilder};

/// A collector whose profile is so many bytes, and that counts how often it is switched on.
#[derive(Clone)]
pub(crate) struct Fake {
    kind: Kind,
    bytes: usize,
    fault: Option<Fault>,
    on: Arc<AtomicUsize>,
}

#[derive(Clone, Copy)]
pub(crate) enum Fault {
    Start,
    Finish,
    Panic,
}

impl Fake {
    pub(crate) fn new(kind: Kind, bytes: usize) -> Fake {
        Fake { kind, bytes, fault: None, on: Arc::default() }
    }

    pub(crate) fn faulty(kind: Kind, fault: Fault) -> Fake {
        Fake { fault: Some(fault), ..Fake::new(kind, 10) }
    }

    /// Counts the windows that are open.
    pub(crate) fn on(&self) -> usize {
        self.on.load(Ordering::SeqCst)
    }
}

impl Collector for Fake {
    fn kind(&self) -> Kind {
        self.kind
    }

    fn check(&self) -> Result<(), Unavailable> {
        Ok(())
    }

    fn start(&self) -> Result<Box<dyn Window>, Error> {
        if matches!(self.fault, Some(Fault::Start)) {
            return Err(Error::Collect { kind: self.kind, source: "told to fail".into() });
        }
        self.on.fetch_add(1, Ordering::SeqCst);
        Ok(Box::new(FakeWindow { fake: self.clone() }))
    }
}

struct FakeWindow {
    fake: Fake,
}

impl Drop for FakeWindow {
    fn drop(&mut self) {
        self.fake.on.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Window for FakeWindow {
    fn close(self: Box<Self>) -> Pending {
        let Fake { kind, bytes, fault, .. } = self.fake;
        Box::new(move || match fault {
            Some(Fault::Finish) => Err(Error::Collect { kind, source: "told to fail".into() }),
            Some(Fault::Panic) => panic!("told to panic"),
            // Noise, so that nothing on the way makes it smaller.
            _ => Ok(vec![File { name: kind.file_name(), bytes: noise(bytes).into() }]),
        })
    }
}

/// The bytes of a xorshift generator. They repeat themselves from further back than deflate sees.
pub(crate) fn noise(len: usize) -> Vec<u8> {
    const BLOCK: usize = 64 << 10;
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut bytes = Vec::with_capacity(len + BLOCK);
    while bytes.len() < len.min(BLOCK) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    while bytes.len() < len {
        bytes.extend_from_within(..BLOCK);
    }
    bytes.truncate(len);
    bytes
}

/// A kind that can't be given.
struct Absent(Kind);

impl Collector for Absent {
    fn kind(&self) -> Kind {
        self.0
    }

    fn check(&self) -> Result<(), Unavailable> {
        Err(Unavailable::new(self.0, "absent", "bring it back"))
    }

    fn start(&self) -> Result<Box<dyn Window>, Error> {
        Err(Unavailable::new(self.0, "absent", "bring it back").into())
    }
}

/// A service with these collectors alone and a gate of its own, so that tests don't meet.
pub(crate) fn service(fakes: impl IntoIterator<Item = Fake>) -> DebugServiceBuilder {
    let none = Kind::ALL.map(Absent).into_iter().fold(Collectors::new(), Collectors::with);
    let collectors = fakes.into_iter().fold(none, Collectors::with);
    DebugService::builder("test").collectors(collectors).gate(Gate::new())
}
