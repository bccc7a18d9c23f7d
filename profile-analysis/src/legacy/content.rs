//! What a legacy profile holds, as it is read.

use std::collections::HashMap;

use crate::hash::KeyedHashBuilder;

/// Number of warnings that are kept; more are only counted.
const MOST_WARNINGS: usize = 20;

/// The content of the text, not yet put together to a profile.
#[derive(Debug)]
pub(super) struct LegacyText {
    pub(super) header: LegacyHeader,
    pub(super) cycles_per_second: u64,
    /// Events between two samples of a contention profile; of a CPU profile nanoseconds.
    pub(super) period: u64,
    pub(super) duration_nanos: i64,
    /// Unit of a profile of Java's, which says it.
    pub(super) resolution: String,
    pub(super) samples: Vec<LegacySample>,
    /// The places of all stacks, one after the other: indices of `addresses`.
    pub(super) stacks: Vec<u32>,
    /// The addresses of calls, each once.
    pub(super) addresses: Vec<u64>,
    pub(super) index: HashMap<u64, u32, KeyedHashBuilder>,
    /// The functions at an address, the innermost first.
    pub(super) frames: HashMap<u32, Vec<LegacyFrame>, KeyedHashBuilder>,
    /// The first sample that named the functions of each address.
    pub(super) named_by: Vec<u32>,
    pub(super) regions: Vec<LegacyMapping>,
    pub(super) warnings: Vec<String>,
    pub(super) more_warnings: usize,
    /// The index in the last stack of the address that was named last.
    pub(super) named: usize,
}

/// The form and the sampling, as the first line says them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LegacyHeader {
    /// Blocks and bytes in use and allocated; of these one in `rate` bytes was sampled.
    Heap { rate: u64 },
    /// Bytes by which the heap has grown.
    Growth,
    /// Cycles and waits.
    Contention,
    /// Bytes and blocks in use of a Java program.
    JavaHeap,
    /// Delays and waits of a Java program.
    JavaContention,
    /// Threads, each with its stack.
    Threads,
    /// Samples and nanoseconds.
    Cpu { is_java: bool },
}

impl LegacyHeader {
    /// Returns the address of the call at a place of a stack: before where it returns to, but for
    /// a leaf that was interrupted, and for numbers of Java's, which are no addresses.
    fn call(self, place: usize, address: u64) -> u64 {
        match self {
            LegacyHeader::JavaHeap
            | LegacyHeader::JavaContention
            | LegacyHeader::Cpu { is_java: true } => address,
            LegacyHeader::Threads | LegacyHeader::Cpu { .. } if place == 0 => address,
            _ => address.saturating_sub(1),
        }
    }

    /// Returns whether lines name places as Java's agents do.
    pub(super) fn is_java(self) -> bool {
        use LegacyHeader::{Cpu, JavaContention, JavaHeap};
        matches!(self, JavaHeap | JavaContention | Cpu { is_java: true })
    }
}

#[derive(Debug)]
pub(super) struct LegacySample {
    /// One, two or four values in the order of the text.
    pub(super) values: [i64; 4],
    /// The end of its places.
    pub(super) end: usize,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct LegacyFrame {
    pub(super) name: String,
    pub(super) file: String,
    pub(super) line: i64,
}

/// A mapped file.
#[derive(Debug)]
pub(super) struct LegacyMapping {
    pub(super) start: u64,
    pub(super) limit: u64,
    pub(super) offset: u64,
    pub(super) file: String,
}

impl LegacyText {
    pub(super) fn new(header: LegacyHeader) -> LegacyText {
        let period = 1;
        LegacyText {
            header,
            cycles_per_second: 0,
            period,
            duration_nanos: 0,
            resolution: String::new(),
            samples: Vec::new(),
            stacks: Vec::new(),
            addresses: Vec::new(),
            index: HashMap::default(),
            frames: HashMap::default(),
            named_by: Vec::new(),
            regions: Vec::new(),
            warnings: Vec::new(),
            more_warnings: 0,
            named: 0,
        }
    }

    pub(super) fn warn_at(&mut self, problem: &str, offset: usize) {
        if self.warnings.len() < MOST_WARNINGS {
            self.warnings.push(format!("{problem} at byte {offset}"));
        } else {
            self.more_warnings += 1;
        }
    }

    /// Adds a sample, given by its return addresses.
    pub(super) fn add_stack(&mut self, stack: &[u64], values: [i64; 4]) {
        for (place, &address) in stack.iter().enumerate() {
            let call = self.header.call(place, address);
            let next = self.addresses.len() as u32;
            let index = *self.index.entry(call).or_insert(next);
            if index == next {
                self.addresses.push(call);
                self.named_by.push(u32::MAX);
            }
            self.stacks.push(index);
        }
        self.named = 0;
        self.samples.push(LegacySample { values, end: self.stacks.len() });
    }

    /// Returns where the places of the last sample begin.
    pub(super) fn last_begin(&self) -> usize {
        self.samples.len().checked_sub(2).map_or(0, |before| self.samples[before].end)
    }
}
