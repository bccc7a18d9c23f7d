//! What was recorded of waiting, however it was seen.

use std::collections::HashMap;
use std::time::SystemTime;

/// Addresses of a waiter's stack that are kept while it waits: enough to tell a lock from what
/// isn't.
pub(crate) const SITE: usize = 8;

/// A stack: its addresses, and whether it goes on beyond the last.
pub(crate) type WaitStack = (Vec<u64>, bool);

/// Names one of the two profiles of waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaitProfile {
    Block,
    Mutex,
}

/// A count and a time that a sample stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct WaitWeight {
    /// Number of events, in units of [`WaitWeight::ONE`].
    pub(crate) count: u64,
    pub(crate) nanos: u64,
}

impl WaitWeight {
    /// One event. Counts are fractions: a sample of one in 1.5 events stands for 1.5.
    pub(crate) const ONE: u64 = 1 << 16;

    /// Returns the number of whole events.
    pub(crate) fn count(self) -> u64 {
        (self.count + WaitWeight::ONE / 2) / WaitWeight::ONE
    }

    pub(crate) fn add(&mut self, other: WaitWeight) {
        self.count = self.count.saturating_add(other.count);
        self.nanos = self.nanos.saturating_add(other.nanos);
    }

    pub(crate) fn saturating_sub(self, before: WaitWeight) -> WaitWeight {
        WaitWeight {
            count: self.count.saturating_sub(before.count),
            nanos: self.nanos.saturating_sub(before.nanos),
        }
    }
}

/// Stacks and waits that were recorded in a window.
#[derive(Debug)]
pub(crate) struct RecordedWaits {
    pub(crate) from: Option<SystemTime>,
    pub(crate) to: SystemTime,
    pub(crate) stacks: HashMap<WaitStack, WaitWeight>,
    /// Number of waits that were still under way at the end.
    pub(crate) open: u64,
    /// Waits that found no room.
    pub(crate) lost: WaitWeight,
    /// Waits that could not be followed while they lasted.
    pub(crate) unlisted: u64,
}
