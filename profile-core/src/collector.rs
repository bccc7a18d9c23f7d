//! The contract of collectors: what takes one kind of profile, and the window that it opens.

use std::sync::Arc;

use profile_format::{Content, Kind, Unavailable};

use crate::error::Error;
use crate::rate::CpuRate;
use crate::task::Detail;

/// Takes one kind of profile. Put your own in with [`Collectors::with`](crate::Collectors::with).
pub trait Collector: Send + Sync {
    /// Returns the kind that it takes.
    fn kind(&self) -> Kind;

    /// Checks that this process can give the kind now.
    ///
    /// # Errors
    ///
    /// Says why not, and what to switch on.
    fn check(&self) -> Result<(), Unavailable>;

    /// Returns the present sampling rate, in the kind's own unit: samples per CPU second for `cpu`,
    /// bytes per sample for `heap` and `allocs`. `None` where nothing is sampled.
    fn rate(&self) -> Option<u64> {
        None
    }

    /// Takes what the kind holds now, without opening a window: for a timed kind an empty profile,
    /// for one that counts since the start what it has counted.
    ///
    /// # Errors
    ///
    /// As those of [`Collector::start`], and what can go wrong in finishing.
    fn snapshot(&self) -> Result<Vec<File>, Error> {
        self.start()?.close()()
    }

    /// Opens the window: switches on what the kind needs.
    ///
    /// # Errors
    ///
    /// The kind can't be recorded now; nothing stays switched on.
    fn start(&self) -> Result<Box<dyn Window>, Error>;

    /// Returns a collector of the same kind that tells what tasks wait in by these means, where a
    /// request asks for that by name. Of use for `goroutine` only.
    ///
    /// # Errors
    ///
    /// Says why it can't be told, and what to switch on.
    fn with_tasks(&self, detail: Detail) -> Result<Arc<dyn Collector>, Unavailable> {
        let reason = format!("tasks={detail}: the {} collector does not know of it", self.kind());
        Err(Unavailable::new(self.kind(), reason, ""))
    }

    /// Returns a collector of the same kind that samples at this rate, where a request asks for
    /// that. Of use for `cpu` only.
    ///
    /// # Errors
    ///
    /// Says why it has one rate only, and what to do about it.
    fn with_hz(&self, rate: CpuRate) -> Result<Arc<dyn Collector>, Unavailable> {
        let reason = format!("hz={rate}: the {} collector has a rate of its own", self.kind());
        Err(Unavailable::new(self.kind(), reason, "leave out hz"))
    }
}

/// An open window of one kind. Dropping it switches back what was switched on.
pub trait Window: Send {
    /// Closes the window: switches back what was switched on, takes what there is at this moment, and gives
    /// the rest of the work, which may be slow, as a function.
    fn close(self: Box<Self>) -> Pending;
}

/// The rest of the work once a window is closed: name, encode and compress.
pub type Pending = Box<dyn FnOnce() -> Result<Vec<File>, Error> + Send>;

/// One finished file of a kind.
#[derive(Debug)]
pub struct File {
    /// Its name in a bundle.
    pub name: &'static str,
    /// Its content.
    pub bytes: Content,
}
