//! What was recorded of waiting, however it was seen.

use std::collections::HashMap;
use std::time::SystemTime;

/// Addresses of a waiter's stack that are kept while it waits: enough to tell a lock from what isn't.
pub(crate) const SITE: usize = 8;

/// A stack: its addresses, and whether it goes on beyond the last.
pub(crate) type Stack = (Vec<u64>, bool);

/// Which of two profiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Of {
    Block,
    Mutex,
}

/// A count and a time that a sample stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Weighed {
    /// In units of [`Weighed::ONE`].
    pub(crate) count: u64,
    pub(crate) nanos: u64,
}

impl Weighed {
    /// One event. Counts are fractions: a sample of one in 1.5 events stands for 1.5.
    pub(crate) const ONE: u64 = 1 << 16;

    /// Whole events.
    pub(crate) fn count(self) -> u64 {
        (self.count + Weighed::ONE / 2) / Weighed::ONE
    }

    pub(crate) fn add(&mut self, other: Weighed) {
        self.count = self.count.saturating_add(other.count);
        self.nanos = self.nanos.saturating_add(other.nanos);
    }

    pub(crate) fn less(self, before: Weighed) -> Weighed {
        Weighed {
            count: self.count.saturating_sub(before.count),
            nanos: self.nanos.saturating_sub(before.nanos),
        }
    }
}

/// What was recorded in between.
#[derive(Debug)]
pub(crate) struct Recorded {
    pub(crate) from: Option<SystemTime>,
    pub(crate) to: SystemTime,
    pub(crate) stacks: HashMap<Stack, Weighed>,
    /// How many waits were still under way at the end.
    pub(crate) open: u64,
    /// What found no room.
    pub(crate) lost: Weighed,
    /// Waits that could not be followed while they lasted.
    pub(crate) unlisted: u64,
}
