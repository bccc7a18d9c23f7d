//! One look at the process: every figure that is known, and `None` for the rest.

use std::time::{Duration, SystemTime};

use crate::memory::MemoryStats;

/// The figures of the process at one moment, and since the look before.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Point {
    /// Time at which it was taken.
    pub taken: SystemTime,
    /// The time since the look before; `None` for the first.
    pub interval: Option<Duration>,
    /// Memory, in bytes.
    pub memory: Memory,
    /// Figures that the allocator gives, where it gives any.
    pub allocator: MemoryStats,
    /// CPU time.
    pub cpu: Cpu,
    /// Threads of the process.
    pub threads: Option<u64>,
    /// Open file descriptors.
    pub descriptors: Option<u64>,
    /// Number of descriptors that may be open.
    pub descriptor_limit: Option<u64>,
    /// Context switches since the start.
    pub switches: Option<Switches>,
    /// Figures that the async runtime gives of itself, where a source was given.
    pub runtime: Runtime,
}

/// Memory, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Memory {
    /// Bytes that are in RAM.
    pub resident: Option<u64>,
    /// The part of it that is not shared with files, as the kernel counts it.
    pub resident_private: Option<u64>,
    /// Bytes that are mapped.
    pub mapped: Option<u64>,
    /// Bytes that the control group may use: the lowest limit on the way to the root.
    pub limit: Option<u64>,
    /// Bytes that the control group with that limit uses, its page cache included.
    pub group_used: Option<u64>,
    /// The share of the last ten seconds in which some task of the control group waited for memory.
    pub pressure_percent: Option<f64>,
    /// Page faults since the start that needed no reading.
    pub minor_faults: Option<u64>,
    /// Page faults since the start that needed reading.
    pub major_faults: Option<u64>,
}

/// CPU time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Cpu {
    /// CPU time in user mode since the start of the process.
    pub user: Option<Duration>,
    /// CPU time in the kernel since the start of the process.
    pub system: Option<Duration>,
    /// CPU time in user mode in the last interval.
    pub interval_user: Option<Duration>,
    /// CPU time in the kernel in the last interval.
    pub interval_system: Option<Duration>,
    /// Both, in the last interval, in percent of one core.
    pub percent: Option<f64>,
    /// Number of cores whose time the control group may use.
    pub limit_cores: Option<f64>,
    /// Time for which the control group was held back since it was made.
    pub throttled: Option<Duration>,
    /// Time for which it was held back in the last interval.
    pub interval_throttled: Option<Duration>,
    /// Number of the quota's periods in which it was held back.
    pub throttled_periods: Option<u64>,
}

/// Context switches since the start of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Switches {
    /// Threads that had to wait.
    pub voluntary: u64,
    /// Threads that others pushed off their core.
    pub involuntary: u64,
}

/// Figures that an async runtime gives of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Runtime {
    /// Worker threads.
    pub workers: Option<u64>,
    /// Tasks that have not ended.
    pub tasks: Option<u64>,
    /// Tasks that are ready and wait in the queue that workers share.
    pub queued: Option<u64>,
    /// Time for which workers were busy since the start, all together.
    pub busy: Option<Duration>,
    /// Number of times that workers had nothing to do and went to sleep, all together.
    pub parks: Option<u64>,
}

/// Tells what an async runtime says of itself. Any closure is one.
pub trait RuntimeSource: Send + Sync {
    /// Reads the figures as they are now. Called on the collector's thread once a period, so it
    /// should be quick.
    fn read(&self) -> Runtime;
}

impl<F: Fn() -> Runtime + Send + Sync> RuntimeSource for F {
    fn read(&self) -> Runtime {
        self()
    }
}

impl Point {
    /// Returns the same point, with what has changed since an earlier look.
    pub(super) fn since(mut self, before: &Point, elapsed: Duration) -> Point {
        if elapsed.is_zero() {
            return self;
        }
        let spent =
            |now: Option<Duration>, then: Option<Duration>| Some(now?.saturating_sub(then?));
        self.interval = Some(elapsed);
        let cpu = &mut self.cpu;
        cpu.interval_user = spent(cpu.user, before.cpu.user);
        cpu.interval_system = spent(cpu.system, before.cpu.system);
        cpu.interval_throttled = spent(cpu.throttled, before.cpu.throttled);
        cpu.percent = cpu
            .interval_user
            .zip(cpu.interval_system)
            .map(|(user, system)| 100.0 * (user + system).as_secs_f64() / elapsed.as_secs_f64());
        self
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn point(user: u64, system: u64) -> Point {
        let cpu = Cpu {
            user: Some(Duration::from_millis(user)),
            system: Some(Duration::from_millis(system)),
            ..Cpu::default()
        };
        Point {
            taken: SystemTime::UNIX_EPOCH,
            interval: None,
            memory: Memory::default(),
            allocator: MemoryStats::default(),
            cpu,
            threads: None,
            descriptors: None,
            descriptor_limit: None,
            switches: None,
            runtime: Runtime::default(),
        }
    }

    #[test]
    fn percent_is_of_one_core_and_never_below_zero() {
        let later = point(1500, 700).since(&point(1000, 200), Duration::from_secs(1));
        assert_eq!(later.cpu.percent, Some(100.0));
        assert_eq!(later.cpu.interval_user, Some(Duration::from_millis(500)));
        assert_eq!(later.interval, Some(Duration::from_secs(1)));
        // Four cores' worth.
        let later = point(4000, 0).since(&point(0, 0), Duration::from_secs(1));
        assert_eq!(later.cpu.percent, Some(400.0));
        // A clock that went back is no work undone.
        let later = point(10, 10).since(&point(1000, 1000), Duration::from_secs(1));
        assert_eq!(later.cpu.percent, Some(0.0));
    }

    #[test]
    fn what_is_unknown_stays_unknown() {
        let mut blind = point(0, 0);
        blind.cpu = Cpu::default();
        let later = blind.since(&blind, Duration::from_secs(1));
        assert_eq!(later.cpu.percent, None);
        assert_eq!(point(1, 1).since(&point(0, 0), Duration::ZERO).cpu.percent, None);
    }
}
