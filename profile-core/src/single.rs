//! One kind by itself: no plan, no gate, and as many at a time as its collector allows. A
//! [`session`](crate::session) is several of them at a time.
//!
//! What goes wrong in a collector, a panic included, is an error here, and what the profiler itself
//! allocates is left out of the heap profile.

use std::any::Any;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};

use profile_format::{Content, Kind};

use crate::collect::Collectors;
use crate::collector::{File, Pending, Window};
use crate::error::Error;
use crate::sys::own_work::OwnWork;

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

/// The finished files of one kind: its main one, and what stands beside it in a bundle.
#[derive(Debug)]
pub struct KindFiles {
    kind: Kind,
    files: Vec<File>,
}

impl KindFiles {
    /// Returns the main file, which has the name that the kind's profiles have in a bundle.
    ///
    /// # Errors
    ///
    /// The collector gave others only.
    pub fn main(self) -> Result<Content, Error> {
        let KindFiles { kind, files } = self;
        let main = files.into_iter().find(|file| file.name == kind.file_name());
        let source = || format!("its collector gave no {}", kind.file_name()).into();
        main.map(|file| file.bytes).ok_or_else(|| Error::Collect { kind, source: source() })
    }
}

impl Deref for KindFiles {
    type Target = [File];

    fn deref(&self) -> &[File] {
        &self.files
    }
}

impl IntoIterator for KindFiles {
    type Item = File;
    type IntoIter = std::vec::IntoIter<File>;

    fn into_iter(self) -> Self::IntoIter {
        self.files.into_iter()
    }
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
/// let profile = window.close()?.finish()?.main()?.into_vec();
/// assert!(!profile.is_empty());
/// # Ok(())
/// # }
/// ```
pub fn open(collectors: &Collectors, kind: Kind) -> Result<Single, Error> {
    let window = run_isolated(kind, || collectors.collector(kind).start())?;
    Ok(Single { kind, window })
}

/// Takes what a kind holds now, without a window; see
/// [`Collector::snapshot`](crate::collector::Collector::snapshot).
///
/// # Errors
///
/// The kind can't be had now.
pub fn snapshot(collectors: &Collectors, kind: Kind) -> Result<KindFiles, Error> {
    let files = run_isolated(kind, || collectors.collector(kind).snapshot())?;
    Ok(KindFiles { kind, files })
}

impl Single {
    /// Closes the window. What it switched on is switched back before this returns.
    ///
    /// # Errors
    ///
    /// The collector panicked.
    pub fn close(self) -> Result<Unfinished, Error> {
        let Single { kind, window } = self;
        let pending = run_isolated(kind, || Ok(window.close()))?;
        Ok(Unfinished { kind, pending })
    }
}

impl Unfinished {
    /// Takes, encodes and compresses the profile, which may be slow.
    ///
    /// # Errors
    ///
    /// The collector failed.
    pub fn finish(self) -> Result<KindFiles, Error> {
        let Unfinished { kind, pending } = self;
        let files = run_isolated(kind, pending)?;
        Ok(KindFiles { kind, files })
    }
}

/// Runs a collector's code so that its panic is its own failure and not that of a whole session.
/// What it allocates is the profiler's own and left out of the heap profile.
fn run_isolated<T>(kind: Kind, run: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    let _own = OwnWork::begin();
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        Err(Error::Panicked { kind, message: panic_message(panic.as_ref()).to_owned() })
    })
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
