//! What the process uses, over time: memory, CPU, threads, descriptors, and a runtime's own
//! figures.
//!
//! What is measured: totals that the kernel, the control group and the allocator keep anyway, read
//! once every period (10 s unless set otherwise) into a ring (five minutes). Cost: one thread,
//! about 0.1 ms a period and a few kilobytes; nothing is allocated once the ring is full. Where it
//! is blind: a figure that the system doesn't keep is `None`, never 0.
//!
//! ```
//! use profile_core::stats::{Settings, Stats};
//!
//! # fn main() -> std::io::Result<()> {
//! let stats = Stats::start(Settings::default())?;
//! let now = stats.now();
//! println!("{:?} bytes resident, {:?} threads", now.memory.resident, now.threads);
//! # Ok(())
//! # }
//! ```

#[cfg(target_os = "linux")]
mod cgroup;
mod collect;
mod point;
mod source;
#[cfg(target_os = "linux")]
mod text;
#[cfg(all(feature = "sampler", stacks))]
pub(crate) mod waits;

pub use crate::stats::collect::{Settings, Stats};
pub use crate::stats::point::{Cpu, Memory, Point, Runtime, RuntimeSource, Switches};
