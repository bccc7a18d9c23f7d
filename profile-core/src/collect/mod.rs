//! The registry that picks a collector for each kind, and what this process can give.

mod missing;

#[doc(no_inline)]
pub use profile_format::Content;

pub use crate::available::Available;
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

use profile_format::{Kind, Unavailable};

#[cfg(any(all(feature = "heap", stacks), all(feature = "jemalloc", target_os = "linux")))]
use crate::heap::profile::HeapCollector;
use crate::rate::CpuRate;
use crate::task::Detail;
#[cfg(any(all(feature = "sampler", stacks), intercepted))]
use crate::threads;

/// One collector for each kind.
#[derive(Clone)]
pub struct Collectors {
    by_kind: [Arc<dyn Collector>; Kind::ALL.len()],
}

impl Collectors {
    /// Makes the collectors that are built in. A kind without one answers [`Unavailable`].
    pub fn new() -> Collectors {
        Collectors { by_kind: Kind::ALL.map(built_in) }
    }

    /// Returns the same with `collector` in the place of its kind's.
    #[must_use]
    pub fn with(mut self, collector: impl Collector + 'static) -> Collectors {
        let kind = collector.kind();
        self.by_kind[kind as usize] = Arc::new(collector);
        self
    }

    /// Returns the same with dumps that tell what tasks wait in by these means.
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

    /// Returns the same with CPU profiles of this rate.
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

    /// Returns the collector of a kind.
    pub fn collector(&self, kind: Kind) -> &dyn Collector {
        self.by_kind[kind as usize].as_ref()
    }

    /// Asks every collector what this process can give now.
    pub fn available(&self) -> Available {
        let kinds = Kind::ALL.map(|kind| (kind, self.collector(kind).check()));
        let dumps = self.collector(Kind::Goroutine);
        let tasks = Detail::ALL.map(|detail| dumps.with_tasks(detail).map(drop));
        let rate = self.collector(Kind::Cpu).with_hz(CpuRate::LEAST).map(drop);
        let mut available = Available::new(kinds);
        (available.tasks, available.rate) = (tasks, rate);
        available
    }
}

impl Default for Collectors {
    fn default() -> Collectors {
        Collectors::new()
    }
}

/// Returns the collector of a kind that is compiled in. No other place knows which are.
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
        Kind::Heap | Kind::Allocs => Arc::new(HeapCollector::new(kind)),
        Kind::Trace => Arc::new(EventTrace::new()),
        // With every feature on no kind is left.
        #[allow(unreachable_patterns)]
        kind => Arc::new(missing::MissingCollector::new(kind)),
    }
}
