//! `cpu` through the `pprof` crate: on-CPU stacks of every thread over the window.
//!
//! What is measured: where the process is each time it has used another period of CPU time
//! (`ITIMER_PROF`), in samples and nanoseconds. Cost: about 13 to 31 µs of CPU per sample, 0.3 % of
//! a core at 100 Hz; about 80 MB of memory while it runs; the first start takes 100 to 250 ms.
//!
//! Where it is blind: samples that land inside `libgcc` (a panic being unwound) are left out,
//! because unwinding from there crashes; samples that come while another thread is being sampled
//! are lost; and the crate keeps one address for each function of a stack, the first that was seen,
//! so that two lines of one function count as one. It is held to 100 Hz, above which it takes fewer
//! samples than it says.

use std::time::{Duration, SystemTime};

use profile_format::profile::Profile;
use profile_format::{Kind, ProfileShape, Unavailable};

use crate::collector::{Collector, File, Pending, Window};
use crate::cpu::owner;
use crate::cpu::raw::pprof_handler;
use crate::cpu::raw::sigprof::{self, SigprofOwner};
use crate::error::Error;
use crate::stacks::locate::{AddressLocator, Symbols, unix_nanos};

/// The `pprof` crate as CPU engine.
#[derive(Clone, Copy, Debug)]
pub struct PprofCpu {
    hz: u32,
}

/// Samples per CPU second. More is not offered: from about 250 Hz on the timer can't keep up and
/// the crate counts too little without saying so.
const HZ: u32 = 100;

impl PprofCpu {
    /// Makes the engine, at 100 samples per CPU second.
    pub fn new() -> PprofCpu {
        PprofCpu { hz: HZ }
    }
}

impl Default for PprofCpu {
    fn default() -> PprofCpu {
        PprofCpu::new()
    }
}

impl Collector for PprofCpu {
    fn kind(&self) -> Kind {
        Kind::Cpu
    }

    fn check(&self) -> Result<(), Unavailable> {
        Ok(())
    }

    fn rate(&self) -> Option<u64> {
        Some(self.hz.into())
    }

    fn start(&self) -> Result<Box<dyn Window>, Error> {
        match sigprof::find_owner(Some(pprof_handler::address())) {
            SigprofOwner::Free => {}
            owner => return Err(owner::in_use(owner)),
        }
        let guard = pprof::ProfilerGuardBuilder::default()
            .frequency(self.hz as i32)
            .blocklist(&["libgcc"])
            .build()
            .map_err(|error| match error {
                pprof::Error::Running => {
                    in_use("the pprof crate, started elsewhere in this program")
                }
                error => failed(error),
            })?;
        Ok(Box::new(PprofWindow { guard, hz: self.hz }))
    }
}

fn in_use(holder: &str) -> Error {
    Error::InUse { kind: Kind::Cpu, what: "SIGPROF", holder: holder.to_owned() }
}

fn failed(error: pprof::Error) -> Error {
    Error::Collect { kind: Kind::Cpu, source: Box::new(error) }
}

/// An open window of the `pprof` crate.
struct PprofWindow {
    guard: pprof::ProfilerGuard<'static>,
    hz: u32,
}

/// The stacks of a window, as raw addresses.
struct PprofStacks {
    stacks: Vec<PprofStack>,
    /// Samples without the handler's frame, whose leaf therefore isn't known.
    headless: i64,
    start: SystemTime,
    duration: Duration,
    hz: u32,
}

/// One stack of a window.
struct PprofStack {
    /// The interrupted instruction first, then the callers' return addresses.
    addresses: Vec<u64>,
    thread: String,
    count: i64,
}

impl Window for PprofWindow {
    fn close(self: Box<Self>) -> Pending {
        let stacks = take(&self.guard, self.hz);
        // Stops the timer, and gives the crate's table back.
        drop(self);
        Box::new(move || {
            let bytes = build_profile(&stacks?);
            Ok(vec![File { name: Kind::Cpu.file_name(), bytes: bytes.into() }])
        })
    }
}

fn take(guard: &pprof::ProfilerGuard<'static>, hz: u32) -> Result<PprofStacks, Error> {
    let report = guard.report().build_unresolved().map_err(failed)?;
    let mut stacks = PprofStacks {
        stacks: Vec::with_capacity(report.data.len()),
        headless: 0,
        start: report.timing.start_time,
        duration: report.timing.duration,
        hz,
    };
    for (frames, count) in &report.data {
        let count = *count as i64;
        // The stack begins in the signal handler. Above it stands the kernel's return trampoline,
        // above that the interrupted function.
        let handler = frames
            .frames
            .iter()
            .position(|frame| frame.symbol_address() as usize == pprof_handler::address());
        let interrupted = handler.and_then(|at| frames.frames.get(at + 2..));
        match interrupted {
            Some(interrupted) if !interrupted.is_empty() => stacks.stacks.push(PprofStack {
                addresses: interrupted.iter().map(|frame| frame.ip() as u64).collect(),
                thread: String::from_utf8_lossy(&frames.thread_name[..frames.thread_name_length])
                    .into_owned(),
                count,
            }),
            _ => stacks.headless += count,
        }
    }
    Ok(stacks)
}

fn build_profile(stacks: &PprofStacks) -> Profile {
    let period = 1_000_000_000 / i64::from(stacks.hz);
    let mut builder = ProfileShape::CPU.builder(period);
    let mut locator = AddressLocator::new(&mut builder, Symbols::Resolved);
    for stack in &stacks.stacks {
        let instructions = stack.addresses.iter().enumerate().map(|(depth, &address)| {
            // A return address may belong to the next line or function: the call is before it.
            if depth == 0 { address } else { address.wrapping_sub(1) }
        });
        let locations = locator.stack(&mut builder, instructions);
        let label = builder.text_label("thread", &stack.thread);
        builder.sample(&locations, &[stack.count, stack.count * period], &[label]);
    }
    builder.comment(&format!(
        "engine: pprof crate, ITIMER_PROF at {} Hz, unwinder of libgcc, samples inside libgcc left out",
        stacks.hz
    ));
    if stacks.headless > 0 {
        builder.comment(&format!("dropped: {} samples without a leaf", stacks.headless));
    }
    let profile = builder.profile_mut();
    profile.time_nanos = unix_nanos(stacks.start);
    profile.duration_nanos = i64::try_from(stacks.duration.as_nanos()).unwrap_or(i64::MAX);
    builder.finish()
}
