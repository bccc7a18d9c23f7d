//! Heap dumps of jemalloc in its `heap_v2` text form: what they hold, and what it means.
//!
//! A dump is read by [`HeapDump::parse`], from any process's dump, and becomes a [`Profile`] by
//! [`HeapDump::to_profile`]; [`convert`] does both at once and writes the profile's bytes. Taking a
//! dump is left to the collectors, and so is naming its addresses.
//!
//! [`Profile`]: crate::profile::Profile

mod addresses;
mod convert;
mod parse;
mod place_cache;
mod previous_line;

use std::fmt;

pub use convert::{convert, unbias};
pub use parse::preamble;

/// A `heap_v2` dump as it stands: sampled counts, not yet scaled up by [`unbias`], and return
/// addresses.
#[derive(Clone, Debug, Default)]
pub struct HeapDump {
    /// Mean bytes between two samples.
    pub rate: u64,
    /// The header's totals. They need not equal the sums over the stacks, which are read at
    /// different moments.
    pub total: Counts,
    /// Regions of memory of the process, from its `/proc/self/maps`.
    pub regions: Vec<MappedRegion>,
    /// Warnings of what could not be read, in the order of the bytes.
    pub warnings: Vec<Warning>,
    addresses: Vec<u64>,
    ends: Vec<usize>,
    counts: Vec<Counts>,
}

/// Sampled blocks and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Blocks that were live.
    pub cur_objects: u64,
    /// Bytes of those.
    pub cur_bytes: u64,
    /// Blocks ever allocated; 0 where jemalloc ran without `prof_accum`.
    pub accum_objects: u64,
    /// Bytes of those.
    pub accum_bytes: u64,
}

/// One stack of a dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeapStack<'a> {
    /// Return addresses, the leaf first. The first few are in jemalloc itself.
    pub addresses: &'a [u64],
    /// Counts of what was allocated there.
    pub counts: Counts,
}

/// A region of memory of the process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MappedRegion {
    /// First address.
    pub start: u64,
    /// Address after the last.
    pub limit: u64,
    /// Offset in the file of the first address.
    pub offset: u64,
    /// True where the region holds code.
    pub executable: bool,
    /// The file, a name in brackets such as `[heap]`, or nothing.
    pub path: String,
}

/// Something in a dump that could not be read, and was left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The byte of the dump at which it stands.
    pub offset: usize,
    /// The fault that is there.
    pub message: &'static str,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.message, self.offset)
    }
}

/// Limits on how much of a dump is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeapDumpLimits {
    /// Stacks; what follows is left out, with a warning.
    pub max_stacks: usize,
    /// Warnings; what is wrong after those is left out in silence.
    pub max_warnings: usize,
}

impl Default for HeapDumpLimits {
    /// Returns limits of ten million stacks and a hundred warnings.
    fn default() -> HeapDumpLimits {
        HeapDumpLimits { max_stacks: 10_000_000, max_warnings: 100 }
    }
}

/// The reason why bytes are no `heap_v2` dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeapDumpError {
    /// The dump does not begin with `heap_v2/`.
    #[error("no heap_v2 header")]
    NoHeader,
    /// The header names no sampling rate.
    #[error("no sampling rate after heap_v2/")]
    NoRate,
}

impl HeapDump {
    /// Returns the stacks in order.
    pub fn stacks(&self) -> impl ExactSizeIterator<Item = HeapStack<'_>> {
        self.counts.iter().enumerate().map(|(index, &counts)| {
            let start = if index == 0 { 0 } else { self.ends[index - 1] };
            HeapStack { addresses: &self.addresses[start..self.ends[index]], counts }
        })
    }
}
