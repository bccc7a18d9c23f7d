//! The stand-in for a kind whose source is not there: it says so, and what to switch on.

use profile_format::{Kind, Unavailable};

use crate::collector::{Collector, Window};
use crate::error::Error;

/// A collector that answers why its kind is missing.
pub(super) struct MissingCollector {
    why: Unavailable,
}

impl MissingCollector {
    pub(super) fn new(kind: Kind) -> MissingCollector {
        let (reason, hint) = match kind {
            Kind::Cpu
            | Kind::Heap
            | Kind::Allocs
            | Kind::Block
            | Kind::Mutex
            | Kind::Threadcreate
                if !cfg!(target_os = "linux") =>
            {
                ("profiles of this kind are taken on Linux only", "")
            }
            Kind::Cpu => (
                "no CPU profiling engine is compiled in for this system",
                "build with the feature `pprof-rs`",
            ),
            Kind::Heap | Kind::Allocs => (
                "no source of heap profiles is compiled in",
                "build with the feature `heap` and wrap the global allocator in \
                 profilez::alloc::Sampled, or with the feature `jemalloc` and make \
                 tikv-jemallocator the global allocator",
            ),
            Kind::Block | Kind::Mutex => (
                "nothing that records lock waits is compiled in for this system",
                "build with the feature `intercept`",
            ),
            Kind::Goroutine => ("nothing in this version takes thread stacks", ""),
            Kind::Threadcreate => (
                "nothing that records thread creation is compiled in for this system",
                "build with the feature `intercept`",
            ),
            Kind::Trace => ("no source of traces was given", ""),
            _ => ("nothing in this version takes profiles of this kind", ""),
        };
        MissingCollector { why: Unavailable::new(kind, reason, hint) }
    }
}

impl Collector for MissingCollector {
    fn kind(&self) -> Kind {
        self.why.kind
    }

    fn check(&self) -> Result<(), Unavailable> {
        Err(self.why.clone())
    }

    fn start(&self) -> Result<Box<dyn Window>, Error> {
        Err(self.why.clone().into())
    }
}
