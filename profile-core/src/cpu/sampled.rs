//! `cpu` by our own sampler: on-CPU stacks of every thread over the window.
//!
//! What is measured: where each thread is at a random point of every period of CPU time that it uses, in
//! samples and nanoseconds. Every thread has a timer of its own clock, so that its share is right
//! whatever the others do, and a sample counts for the periods that have gone by. Cost:
//! about 3 µs of CPU per sample of 58 frames, more than half of it the kernel's delivery of a signal;
//! 4 MB while it runs, and nothing afterwards. Any number of windows share one sampler.
//!
//! Where it is blind: CPU timers tick with the kernel (100 to 1000 times a second), so that a rate
//! above that brings the right totals and no more detail, and a loop in step with the tick itself is seen at
//! the same points; a thread that lives for less than a tick is seen by chance only; threads that block
//! `SIGPROF` are not seen, and what they use is told; time in the kernel is charged to the instruction that
//! entered it; and code without unwind tables or frame pointers ends a stack.

use std::sync::Arc;

use profile_format::profile::Profile;
use profile_format::{Content, Kind, ProfileShape, Unavailable};

use crate::collector::{Collector, File, Pending, Window};
use crate::cpu::owner;
use crate::cpu::sampler::{self, CpuSubscription, SampledStacks, StartError};
use crate::error::Error;
use crate::rate::CpuRate;
use crate::stacks::locate::{AddressLocator, Symbols, unix_nanos};

/// CPU profiles by our own sampler.
#[derive(Clone, Copy, Debug)]
pub struct SampledCpu {
    hz: u32,
    symbols: Symbols,
}

/// Samples per CPU second, unless set otherwise.
const HZ: u32 = 100;
/// The highest rate: more would not give more detail on any kernel.
const MAX_HZ: u32 = 10_000;

impl SampledCpu {
    /// Makes a sampler at 100 samples per CPU second.
    pub fn new() -> SampledCpu {
        SampledCpu { hz: HZ, symbols: Symbols::Resolved }
    }

    /// Returns the same at another rate, from 1 to 10000 samples per CPU second.
    #[must_use]
    pub fn hz(self, hz: u32) -> SampledCpu {
        SampledCpu { hz: hz.clamp(1, MAX_HZ), ..self }
    }

    /// Returns the same, naming functions in the profile or leaving that to its reader.
    #[must_use]
    pub fn symbols(self, symbols: Symbols) -> SampledCpu {
        SampledCpu { symbols, ..self }
    }
}

impl Default for SampledCpu {
    fn default() -> SampledCpu {
        SampledCpu::new()
    }
}

impl Collector for SampledCpu {
    fn kind(&self) -> Kind {
        Kind::Cpu
    }

    fn check(&self) -> Result<(), Unavailable> {
        Ok(())
    }

    fn rate(&self) -> Option<u64> {
        Some(self.hz.into())
    }

    fn with_hz(&self, rate: CpuRate) -> Result<Arc<dyn Collector>, Unavailable> {
        Ok(Arc::new(self.hz(rate.hz())))
    }

    fn start(&self) -> Result<Box<dyn Window>, Error> {
        let subscription = sampler::subscribe(self.hz).map_err(not_started)?;
        Ok(Box::new(SampledCpuWindow { subscription, symbols: self.symbols }))
    }
}

/// Makes the error of an engine that could not start.
pub(crate) fn not_started(error: StartError) -> Error {
    match error {
        StartError::Owned(owner) => owner::in_use(owner),
        error => Error::Collect { kind: Kind::Cpu, source: error.to_string().into() },
    }
}

/// An open window of the sampler.
struct SampledCpuWindow {
    subscription: CpuSubscription,
    symbols: Symbols,
}

impl Window for SampledCpuWindow {
    fn close(self: Box<Self>) -> Pending {
        let symbols = self.symbols;
        let stacks = self.subscription.end();
        Box::new(move || {
            let mut bytes = Content::from(build_profile(&stacks, symbols));
            if let Some(missing) = stacks.missing.as_ref().filter(|missing| missing.is_most()) {
                bytes = bytes.with_shortfall(missing.to_string());
            }
            Ok(vec![File { name: Kind::Cpu.file_name(), bytes }])
        })
    }
}

fn build_profile(stacks: &SampledStacks, symbols: Symbols) -> Profile {
    let period = stacks.period() as i64;
    let mut builder = ProfileShape::CPU.builder(period);
    let mut locator = AddressLocator::new(&mut builder, symbols);
    for stack in stacks.iter() {
        let locations = locator.stack(&mut builder, stack.addresses.iter().copied());
        let label = builder.text_label("thread", stack.thread);
        builder.sample(&locations, &[stack.count, stack.count * period], &[label]);
    }
    builder.comment(&format!(
        "engine: profilez, a CPU timer for each thread at {} Hz, at random points of each period, unwind tables",
        stacks.hz
    ));
    if stacks.truncated > 0 {
        let truncated = stacks.truncated;
        builder.comment(&format!("truncated: {truncated} samples without a way up to their root"));
    }
    if !stacks.dropped.is_zero() {
        builder.comment(&format!("dropped: {:?} of CPU time found no room", stacks.dropped));
    }
    if !stacks.own.is_zero() {
        builder.comment(&format!("profiler: {:.1?} of its own threads is left out", stacks.own));
    }
    if let Some(missing) = &stacks.missing {
        builder.comment(&format!("missing: {missing}"));
    }
    for note in &stacks.notes {
        builder.comment(note);
    }
    let profile = builder.profile_mut();
    profile.time_nanos = unix_nanos(stacks.start);
    profile.duration_nanos = i64::try_from(stacks.duration.as_nanos()).unwrap_or(i64::MAX);
    builder.finish()
}
