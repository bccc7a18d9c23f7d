//! The contract of what writes the record of allocations, and of what reads it.

use std::collections::HashMap;
use std::sync::Arc;

use profile_format::BoxError;

use crate::heap::{Feeder, Frame, Top};

/// Writes the record of allocations.
pub(crate) struct HeapFeed {
    pub(crate) feeder: Feeder,
    /// Begins to write, where that is possible. Returns whether it writes now.
    pub(crate) install: fn() -> bool,
    /// Returns whether it writes.
    pub(crate) is_installed: fn() -> bool,
    /// Returns the bytes between two samples; 0 while sampling is off.
    pub(crate) rate: fn() -> u64,
    /// Returns the bytes between two samples while sampling is on.
    pub(crate) rate_when_on: fn() -> u64,
    /// Switches sampling on, if it is off, until the value is dropped.
    pub(crate) sampling: fn() -> Result<Box<dyn Send>, BoxError>,
}

/// Stacks by the identity of their sites.
pub(crate) type NamedStacks = HashMap<u64, Arc<[Frame]>>;

/// Reads the record of allocations.
pub(crate) struct HeapRecord {
    pub(crate) top: fn(usize, &HeapFeed) -> Top,
    pub(crate) stacks_in_full: fn(&[u64]) -> NamedStacks,
    pub(crate) rate: fn() -> u64,
    pub(crate) set_rate: fn(u64) -> u64,
}
