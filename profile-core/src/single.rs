//! One kind by itself: no plan, no gate, and as many at a time as its collector allows.
//!
//! What goes wrong in a collector, a panic included, is an error here, and what the profiler itself
//! allocates is left out of the heap profile, as in a session.

use crate::collect::Collectors;
use crate::collector::{File, Pending, Window};
use crate::error::Error;
use crate::session::contain;
use profile_format::Kind;

/// The open window of one kind. Dropping it ends the window and throws away what it recorded.
#[must_use = "dropping it ends the window and throws away what it recorded"]
pub struct Single {
    kind: Kind,
    window: Box<dyn Window>,
}

/// A closed window of one kind, whose profile is still to be finished.
#[must_use = "the profile is not finished"]
pub struct Unfinished {
    kind: Kind,
    pending: Pending,
}

/// Opens a window.
///
/// # Errors
///
/// The kind can't be recorded now; nothing stays switched on.
///
/// ```
/// use profile_core::{Collectors, Kind, single};
///
/// # fn main() -> Result<(), profile_core::Error> {
/// # if !cfg!(target_os = "linux") || !cfg!(feature = "sampler") { return Ok(()) }
/// let window = single::open(&Collectors::new(), Kind::Goroutine)?;
/// let files = window.close()?.finish()?;
/// assert_eq!(files[0].name, "goroutine.prof");
/// # Ok(())
/// # }
/// ```
pub fn open(collectors: &Collectors, kind: Kind) -> Result<Single, Error> {
    let window = contain(kind, || collectors.collector(kind).start())?;
    Ok(Single { kind, window })
}

/// What a kind holds now, without a window; see [`Collector::snapshot`](crate::collector::Collector::snapshot).
///
/// # Errors
///
/// The kind can't be had now.
pub fn snapshot(collectors: &Collectors, kind: Kind) -> Result<Vec<File>, Error> {
    contain(kind, || collectors.collector(kind).snapshot())
}

impl Single {
    /// Closes the window. What it switched on is switched back before this returns.
    ///
    /// # Errors
    ///
    /// The collector panicked.
    pub fn close(self) -> Result<Unfinished, Error> {
        let Single { kind, window } = self;
        let pending = contain(kind, || Ok(window.close()))?;
        Ok(Unfinished { kind, pending })
    }
}

impl Unfinished {
    /// Takes, encodes and compresses the profile, which may be slow.
    ///
    /// # Errors
    ///
    /// The collector failed.
    pub fn finish(self) -> Result<Vec<File>, Error> {
        contain(self.kind, self.pending)
    }
}
