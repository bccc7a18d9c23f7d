//! Where the figures come from on systems without `/proc`: what getrusage(2) tells.

use std::time::SystemTime;

use crate::memory;
use crate::stats::point::{Cpu, Memory, Point, Runtime, Switches};
use crate::sys::raw::usage;

#[derive(Debug)]
pub(crate) struct FigureSource;

impl FigureSource {
    pub(crate) fn open() -> FigureSource {
        FigureSource
    }

    pub(crate) fn note_waits(&mut self) {}

    pub(crate) fn read(&mut self, runtime: Runtime) -> Point {
        let used = usage::usage();
        Point {
            taken: SystemTime::now(),
            interval: None,
            memory: Memory {
                minor_faults: used.map(|used| used.minor_faults),
                major_faults: used.map(|used| used.major_faults),
                ..Memory::default()
            },
            allocator: memory::stats(),
            cpu: Cpu {
                user: used.map(|used| used.user),
                system: used.map(|used| used.system),
                ..Cpu::default()
            },
            threads: None,
            descriptors: None,
            descriptor_limit: usage::descriptor_limit(),
            switches: used.map(|used| Switches {
                voluntary: used.voluntary_switches,
                involuntary: used.involuntary_switches,
            }),
            runtime,
        }
    }
}
