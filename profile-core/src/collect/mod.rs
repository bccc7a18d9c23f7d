//! The collectors, one a file, and the registry that picks one for each kind.

#[cfg(intercepted)]
mod block;
#[cfg(all(feature = "sampler", stacks))]
mod block_sampled;
#[cfg(all(feature = "sampler", stacks))]
mod cpu;
#[cfg(all(any(feature = "sampler", feature = "pprof-rs"), target_os = "linux"))]
mod cpu_owner;
#[cfg(all(feature = "pprof-rs", target_os = "linux"))]
mod cpu_pprof;
#[cfg(all(feature = "sampler", stacks))]
mod deadlock;
mod empty;
#[cfg(all(feature = "sampler", stacks))]
mod goroutine;
#[cfg(all(feature = "sampler", stacks))]
mod goroutine_tasks;
#[cfg(any(all(feature = "heap", stacks), all(feature = "jemalloc", target_os = "linux")))]
mod heap;
#[cfg(all(feature = "_symbols", target_os = "linux"))]
mod locate;
mod missing;
#[cfg(intercepted)]
mod mutex;
#[cfg(intercepted)]
mod threadcreate;
#[cfg(all(feature = "sampler", stacks, not(intercepted)))]
mod threadcreate_names;
mod trace;
#[cfg(all(any(feature = "sampler", intercepted), stacks))]
mod wait_site;
#[cfg(all(any(feature = "sampler", intercepted), stacks))]
mod waits;

#[cfg(intercepted)]
pub use block::BlockProfile;
#[cfg(all(feature = "sampler", stacks))]
pub use block_sampled::SampledBlock;
#[cfg(all(feature = "sampler", stacks))]
pub use cpu::SampledCpu;
#[cfg(all(feature = "sampler", stacks))]
pub(crate) use cpu::not_started as cpu_not_started;
#[cfg(all(feature = "pprof-rs", target_os = "linux"))]
pub use cpu_pprof::PprofCpu;
pub use empty::empty_profile;
#[cfg(all(feature = "_symbols", target_os = "linux"))]
pub use locate::Symbols;
#[cfg(intercepted)]
pub use mutex::MutexProfile;
#[doc(no_inline)]
pub use profile_format::Content;
pub use trace::EventTrace;

use std::sync::Arc;
use std::time::Duration;

use crate::task::Detail;
use crate::{CpuRate, DEFAULT_MAX_WINDOW, Error, Kind, Unavailable};

/// Takes one kind of profile. Put your own in with [`Collectors::with`].
pub trait Collector: Send + Sync {
    /// The kind it takes.
    fn kind(&self) -> Kind;

    /// Whether this process can give the kind now.
    ///
    /// # Errors
    ///
    /// Says why not, and what to switch on.
    fn check(&self) -> Result<(), Unavailable>;

    /// The sampling rate in force, in the kind's own unit: samples per CPU second for `cpu`, bytes
    /// per sample for `heap` and `allocs`. `None` where nothing is sampled.
    fn rate(&self) -> Option<u64> {
        None
    }

    /// What the kind holds now, without opening a window: for a timed kind an empty profile, for one
    /// that counts since the start what it has counted.
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

    /// A collector of the same kind that tells what tasks wait in by these means, where a request asks for
    /// that by name. Of use for `goroutine` only.
    ///
    /// # Errors
    ///
    /// Says why it can't be told, and what to switch on.
    fn with_tasks(&self, detail: Detail) -> Result<Arc<dyn Collector>, Unavailable> {
        let reason = format!("tasks={detail}: the {} collector does not know of it", self.kind());
        Err(Unavailable::new(self.kind(), reason, ""))
    }

    /// A collector of the same kind that samples at this rate, where a request asks for that. Of use for
    /// `cpu` only.
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
    /// Closes the window: switches back what was switched on, and gives the rest of the work, which
    /// may be slow, as a function.
    fn close(self: Box<Self>) -> Pending;
}

/// What is left to do once a window is closed: take, encode and compress.
pub type Pending = Box<dyn FnOnce() -> Result<Vec<File>, Error> + Send>;

/// One finished file of a kind.
#[derive(Debug)]
pub struct File {
    /// Its name in a bundle.
    pub name: &'static str,
    /// Its content.
    pub bytes: Content,
}

/// One collector for each kind.
#[derive(Clone)]
pub struct Collectors {
    by_kind: [Arc<dyn Collector>; Kind::ALL.len()],
}

impl Collectors {
    /// The collectors that are built in. A kind without one answers [`Unavailable`].
    pub fn new() -> Collectors {
        Collectors { by_kind: Kind::ALL.map(built_in) }
    }

    /// The same, with `collector` in the place of its kind's.
    #[must_use]
    pub fn with(mut self, collector: impl Collector + 'static) -> Collectors {
        let kind = collector.kind();
        self.by_kind[kind as usize] = Arc::new(collector);
        self
    }

    /// The same, with dumps that tell what tasks wait in by these means.
    ///
    /// # Errors
    ///
    /// Says why this process can't tell, and what to switch on.
    pub fn with_tasks(&self, detail: Detail) -> Result<Collectors, Unavailable> {
        let mut collectors = self.clone();
        let dumps = &mut collectors.by_kind[Kind::Goroutine as usize];
        *dumps = dumps.with_tasks(detail)?;
        Ok(collectors)
    }

    /// The same, with CPU profiles of this rate.
    ///
    /// # Errors
    ///
    /// Says why they have one rate only, and what to do about it.
    pub fn with_hz(&self, rate: CpuRate) -> Result<Collectors, Unavailable> {
        let mut collectors = self.clone();
        let cpu = &mut collectors.by_kind[Kind::Cpu as usize];
        *cpu = cpu.with_hz(rate)?;
        Ok(collectors)
    }

    /// The collector of a kind.
    pub fn collector(&self, kind: Kind) -> &dyn Collector {
        self.by_kind[kind as usize].as_ref()
    }

    /// What this process can give now.
    pub fn available(&self) -> Available {
        let kinds = Kind::ALL.map(|kind| (kind, self.collector(kind).check()));
        let dumps = self.collector(Kind::Goroutine);
        let tasks = Detail::ALL.map(|detail| dumps.with_tasks(detail).map(drop));
        let rate = self.collector(Kind::Cpu).with_hz(CpuRate::LEAST).map(drop);
        Available { tasks, rate, ..Available::new(kinds) }
    }
}

impl Default for Collectors {
    fn default() -> Collectors {
        Collectors::new()
    }
}

/// The one place that knows which back ends are compiled in.
fn built_in(kind: Kind) -> Arc<dyn Collector> {
    match kind {
        #[cfg(all(feature = "sampler", stacks))]
        Kind::Cpu => {
            crate::sys::sampler::prepare();
            Arc::new(SampledCpu::new())
        }
        #[cfg(all(feature = "sampler", stacks))]
        Kind::Goroutine => {
            crate::sys::dump::prepare();
            Arc::new(goroutine::ThreadDump::default())
        }
        #[cfg(all(feature = "pprof-rs", target_os = "linux", not(feature = "sampler")))]
        Kind::Cpu => Arc::new(PprofCpu::new()),
        #[cfg(intercepted)]
        Kind::Block => Arc::new(BlockProfile::new()),
        #[cfg(intercepted)]
        Kind::Mutex => Arc::new(MutexProfile::new()),
        #[cfg(intercepted)]
        Kind::Threadcreate => Arc::new(threadcreate::ThreadCreate),
        #[cfg(all(feature = "sampler", stacks, not(intercepted)))]
        Kind::Block => Arc::new(SampledBlock::new()),
        #[cfg(all(feature = "sampler", stacks, not(intercepted)))]
        Kind::Threadcreate => Arc::new(threadcreate_names::ThreadNames),
        #[cfg(any(all(feature = "heap", stacks), all(feature = "jemalloc", target_os = "linux")))]
        Kind::Heap | Kind::Allocs => Arc::new(heap::Heap::new(kind)),
        Kind::Trace => Arc::new(EventTrace::new()),
        // With every feature on no kind is left.
        #[allow(unreachable_patterns)]
        kind => Arc::new(missing::Missing::new(kind)),
    }
}

/// What a process can give: for each kind yes, or why not; and the longest window.
#[derive(Clone, Debug)]
pub struct Available {
    by_kind: [Result<(), Unavailable>; Kind::ALL.len()],
    tasks: [Result<(), Unavailable>; Detail::ALL.len()],
    rate: Result<(), Unavailable>,
    max_window: Duration,
}

impl Available {
    /// What can be given, kind by kind. A kind that is not named is taken as available.
    pub fn new(kinds: impl IntoIterator<Item = (Kind, Result<(), Unavailable>)>) -> Available {
        let mut by_kind = Kind::ALL.map(|_| Ok(()));
        for (kind, answer) in kinds {
            by_kind[kind as usize] = answer;
        }
        let tasks = Detail::ALL.map(Detail::check);
        Available { by_kind, tasks, rate: Ok(()), max_window: DEFAULT_MAX_WINDOW }
    }

    /// The same, with another longest window.
    #[must_use]
    pub fn with_max_window(self, max_window: Duration) -> Available {
        Available { max_window, ..self }
    }

    /// Whether a kind can be given.
    ///
    /// # Errors
    ///
    /// Why it can't.
    pub fn check(&self, kind: Kind) -> Result<(), &Unavailable> {
        self.by_kind[kind as usize].as_ref().copied()
    }

    /// Whether a dump can tell what tasks wait in by these means.
    ///
    /// # Errors
    ///
    /// Why it can't.
    pub fn check_tasks(&self, detail: Detail) -> Result<(), &Unavailable> {
        self.tasks[detail as usize].as_ref().copied()
    }

    /// Whether CPU profiles can have the rate that a request asks for.
    ///
    /// # Errors
    ///
    /// Why they have one only.
    pub fn check_rate(&self) -> Result<(), &Unavailable> {
        self.rate.as_ref().copied()
    }

    /// Every kind that can't be given, with the reason: what to log when a program starts.
    pub fn missing(&self) -> impl Iterator<Item = &Unavailable> {
        self.by_kind.iter().filter_map(|answer| answer.as_ref().err())
    }

    /// The longest window.
    pub fn max_window(&self) -> Duration {
        self.max_window
    }
}
