//! Which stacks threads were created at, since the program's start, and how many of each still
//! live.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::waits::recorded::{WaitStack, WaitWeight};
use crate::waits::{WaitEntry, WaitTable};

/// Stacks that threads were created at, weighed by [`BirthCounts`].
static BORN: OnceLock<WaitTable> = OnceLock::new();
/// Threads that were created before there was a table.
static EARLY: AtomicU64 = AtomicU64::new(0);

/// A stack at which threads were created, how many there, and how many of them live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BirthSite {
    pub(crate) stack: WaitStack,
    pub(crate) total: u64,
    pub(crate) live: u64,
}

/// Makes the room for records. Not to be called from an interposed function.
pub(crate) fn prepare() {
    BORN.get_or_init(WaitTable::new);
}

/// Threads that were created at a stack, and those of them that have ended. A table of waits keeps it
/// in the place of a wait's count and its nanoseconds.
#[derive(Clone, Copy)]
struct BirthCounts {
    born: u64,
    ended: u64,
}

impl BirthCounts {
    const fn into_weight(self) -> WaitWeight {
        WaitWeight { count: self.born * WaitWeight::ONE, nanos: self.ended }
    }

    fn of_weight(weight: WaitWeight) -> BirthCounts {
        BirthCounts { born: weight.count(), ended: weight.nanos }
    }

    /// Returns the number of those that live. One may have ended that is not counted as born yet.
    fn live(self) -> u64 {
        self.born.saturating_sub(self.ended)
    }
}

const BIRTH: WaitWeight = BirthCounts { born: 1, ended: 0 }.into_weight();
const END: WaitWeight = BirthCounts { born: 0, ended: 1 }.into_weight();

/// Counts a thread that is about to be created at a stack. Runs inside the interposed function: it
/// neither allocates nor locks.
pub(crate) fn count_birth(stack: &[u64], truncated: bool) -> Option<WaitEntry> {
    match BORN.get() {
        Some(table) => table.add(stack, truncated, BIRTH),
        None => {
            EARLY.fetch_add(1, Ordering::Relaxed);
            None
        }
    }
}

/// Takes back a thread that could not be created after all. Runs inside the interposed function.
pub(crate) fn undo_birth(entry: WaitEntry) {
    if let Some(table) = BORN.get() {
        table.subtract(entry, BIRTH);
    }
}

/// Counts a thread that ends. Runs in it, as the last of its code: it neither allocates nor locks.
pub(crate) fn count_end(entry: WaitEntry) {
    if let Some(table) = BORN.get() {
        table.add_to(entry, END);
    }
}

/// Returns every stack at which threads were created, and the number of threads whose stacks are
/// not known.
pub(crate) fn list_birth_sites() -> (Vec<BirthSite>, u64) {
    let Some(table) = BORN.get() else { return (Vec::new(), EARLY.load(Ordering::Relaxed)) };
    let sites = table
        .entries()
        .map(|(entry, weight)| {
            let counts = BirthCounts::of_weight(weight);
            BirthSite { stack: table.stack(entry), total: counts.born, live: counts.live() }
        })
        .filter(|site| site.total != 0)
        .collect();
    (sites, EARLY.load(Ordering::Relaxed) + table.lost().count())
}
