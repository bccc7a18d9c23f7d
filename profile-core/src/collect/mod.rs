//! The registry that picks a collector for each kind, and what this process can give.

mod missing;

#[doc(no_inline)]
pub use profile_format::Content;

pub use crate::collector::{Collector, File, Pending, Window};
#[cfg(all(feature = "pprof-rs", target_os = "linux"))]
pub use crate::cpu::pprof::PprofCpu;
#[cfg(all(feature = "sampler", stacks))]
pub use crate::cpu::sampled::SampledCpu;
pub use crate::empty::empty_profile;
#[cfg(all(feature = "_symbols", target_os = "linux"))]
pub use crate::stacks::locate::Symbols;
pub use crate::trace::collector::EventTrace;
#[cfg(intercepted)]
pub use crate::waits::block::BlockProfile;
#[cfg(all(feature = "sampler", stacks))]
pub use crate::waits::block_sampled::SampledBlock;
#[cfg(intercepted)]
pub use crate::waits::mutex::MutexProfile;

use std::sync::Arc;
use std::time::Duration;

#[cfg(any(all(feature = "heap", stacks), all(feature = "jemalloc", target_os = "linux")))]
use crate::heap::profile::Heap;
use crate::task::Detail;
#[cfg(any(all(feature = "sampler", stacks), intercepted))]
use crate::threads;
use crate::{CpuRate, DEFAULT_MAX_WINDOW, Kind, Unavailable};

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
            crate::cpu::sampler::prepare();
            Arc::new(SampledCpu::new())
        }
        #[cfg(all(feature = "sampler", stacks))]
        Kind::Goroutine => {
            threads::raw::prepare();
            Arc::new(threads::dump::ThreadDump::default())
        }
        #[cfg(all(feature = "pprof-rs", target_os = "linux", not(feature = "sampler")))]
        Kind::Cpu => Arc::new(PprofCpu::new()),
        #[cfg(intercepted)]
        Kind::Block => Arc::new(BlockProfile::new()),
        #[cfg(intercepted)]
        Kind::Mutex => Arc::new(MutexProfile::new()),
        #[cfg(intercepted)]
        Kind::Threadcreate => Arc::new(threads::threadcreate::ThreadCreate),
        #[cfg(all(feature = "sampler", stacks, not(intercepted)))]
        Kind::Block => Arc::new(SampledBlock::new()),
        #[cfg(all(feature = "sampler", stacks, not(intercepted)))]
        Kind::Threadcreate => Arc::new(threads::threadcreate_names::ThreadNames),
        #[cfg(any(all(feature = "heap", stacks), all(feature = "jemalloc", target_os = "linux")))]
        Kind::Heap | Kind::Allocs => Arc::new(Heap::new(kind)),
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
