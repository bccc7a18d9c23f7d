//! Where the figures come from on Linux. Descriptors stay open, and texts are read into the stack.

use std::fs::File;
use std::time::SystemTime;

use crate::memory;
use crate::stats::cgroup::ControlGroup;
use crate::stats::point::{Cpu, Memory, Point, Runtime, Switches};
use crate::stats::text::FileText;
/// Looks which threads have run, for those who ask how long they have waited.
static WATCHERS: &[fn(&NumberedDirectory)] = &[
    #[cfg(all(feature = "sampler", stacks))]
    waits::note,
];

#[cfg(all(feature = "sampler", stacks))]
use crate::stats::waits;
use crate::sys::own_work::own_threads;
use crate::sys::raw::directory::NumberedDirectory;
use crate::sys::raw::usage;

/// The open files. One that can't be opened costs its figures.
#[derive(Debug)]
pub(crate) struct FigureSource {
    statm: Option<File>,
    descriptors: Option<NumberedDirectory>,
    tasks: Option<NumberedDirectory>,
    group: ControlGroup,
    page: u64,
}

impl FigureSource {
    pub(crate) fn open() -> FigureSource {
        FigureSource {
            statm: File::open("/proc/self/statm").ok(),
            descriptors: NumberedDirectory::open("/proc/self/fd").ok(),
            tasks: NumberedDirectory::open("/proc/self/task").ok(),
            group: ControlGroup::open(),
            page: usage::page_size(),
        }
    }

    /// Looks which threads have run since the last time.
    pub(crate) fn note_waits(&mut self) {
        if let Some(tasks) = &self.tasks {
            WATCHERS.iter().for_each(|note| note(tasks));
        }
    }

    pub(crate) fn read(&mut self, runtime: Runtime) -> Point {
        let used = usage::usage();
        let group = self.group.read();
        let [mapped, resident, shared] = self.pages();
        let names =
            |directory: &Option<NumberedDirectory>| directory.as_ref()?.numbers(|_| ()).ok();
        Point {
            taken: SystemTime::now(),
            interval: None,
            memory: Memory {
                resident,
                resident_private: resident
                    .zip(shared)
                    .map(|(all, shared)| all.saturating_sub(shared)),
                mapped,
                limit: group.memory_limit,
                group_used: group.memory_used,
                pressure_percent: group.memory_pressure,
                minor_faults: used.map(|used| used.minor_faults),
                major_faults: used.map(|used| used.major_faults),
            },
            allocator: memory::stats(),
            cpu: Cpu {
                user: used.map(|used| used.user),
                system: used.map(|used| used.system),
                limit_cores: group.cpu_limit,
                throttled: group.throttled,
                throttled_periods: group.throttled_periods,
                ..Cpu::default()
            },
            // Those of the program.
            threads: names(&self.tasks)
                .map(|threads| threads.saturating_sub(own_threads().len() as u64)),
            descriptors: names(&self.descriptors),
            descriptor_limit: usage::descriptor_limit(),
            switches: used.map(|used| Switches {
                voluntary: used.voluntary_switches,
                involuntary: used.involuntary_switches,
            }),
            runtime,
        }
    }

    /// Reads the mapped, resident and shared bytes: the first three words of `statm`, in pages.
    fn pages(&self) -> [Option<u64>; 3] {
        let text = FileText::<128>::read(self.statm.as_ref());
        let mut words = text.as_str().split_ascii_whitespace();
        [(); 3].map(|()| Some(words.next()?.parse::<u64>().ok()?.saturating_mul(self.page)))
    }
}
