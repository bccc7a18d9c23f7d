//! The kinds of profile, by the names that Go tools already ask for.

use std::fmt;
use std::str::FromStr;

/// One kind of profile.
///
/// The names, and what the profiles hold, are those of Go's `runtime/pprof`, so that tools which
/// read Go profiles read ours unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Kind {
    /// On-CPU stacks of every thread over the window.
    Cpu,
    /// Sampled allocations, the live ones by default.
    Heap,
    /// Sampled allocations since the process started.
    Allocs,
    /// Time spent waiting, at the waiter's stack.
    Block,
    /// Time others waited, at the stack that released the lock.
    Mutex,
    /// Every OS thread and every known async task.
    Goroutine,
    /// The stack that created each thread.
    Threadcreate,
    /// What happened when, as Chrome trace events.
    Trace,
}

impl Kind {
    /// Every kind, in the order of the documentation.
    pub const ALL: [Kind; 8] = [
        Kind::Cpu,
        Kind::Heap,
        Kind::Allocs,
        Kind::Block,
        Kind::Mutex,
        Kind::Goroutine,
        Kind::Threadcreate,
        Kind::Trace,
    ];

    /// The kinds of a request that names none, less what the process can't give.
    pub const DEFAULT: [Kind; 6] =
        [Kind::Cpu, Kind::Heap, Kind::Allocs, Kind::Block, Kind::Mutex, Kind::Goroutine];

    /// The kind's name, as it stands in requests, manifests and file names.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Cpu => "cpu",
            Kind::Heap => "heap",
            Kind::Allocs => "allocs",
            Kind::Block => "block",
            Kind::Mutex => "mutex",
            Kind::Goroutine => "goroutine",
            Kind::Threadcreate => "threadcreate",
            Kind::Trace => "trace",
        }
    }

    /// The name of the kind's main file in a bundle.
    pub const fn file_name(self) -> &'static str {
        match self {
            Kind::Cpu => "cpu.prof",
            Kind::Heap => "heap.prof",
            Kind::Allocs => "allocs.prof",
            Kind::Block => "block.prof",
            Kind::Mutex => "mutex.prof",
            Kind::Goroutine => "goroutine.prof",
            Kind::Threadcreate => "threadcreate.prof",
            Kind::Trace => "trace.json",
        }
    }

    /// Whether the kind exists only as a recording of the window, so that a failure to start it
    /// leaves nothing to wait for.
    pub const fn is_timed(self) -> bool {
        matches!(self, Kind::Cpu | Kind::Trace)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A word that names no [`Kind`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown profile type {0:?}")]
pub struct UnknownKind(pub String);

impl FromStr for Kind {
    type Err = UnknownKind;

    /// Reads a kind's name, in either case.
    fn from_str(text: &str) -> Result<Kind, UnknownKind> {
        Kind::ALL
            .into_iter()
            .find(|kind| kind.name().eq_ignore_ascii_case(text))
            .ok_or_else(|| UnknownKind(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for kind in Kind::ALL {
            assert_eq!(kind.name().parse(), Ok(kind));
            assert_eq!(kind.name().to_uppercase().parse(), Ok(kind));
        }
        assert_eq!("heaps".parse::<Kind>(), Err(UnknownKind("heaps".into())));
        assert!("".parse::<Kind>().is_err());
    }
}
