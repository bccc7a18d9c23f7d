//! Which stacks threads were created at, since the program's start, and how many of each still
//! live.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::waits::recorded::{WaitStack, WaitWeight};
use crate::waits::{WaitEntry, WaitTable};

/// Stacks that threads were created at. The table's count is that of the threads that were created,
/// and its nanoseconds are used as a second count, of those that have ended.
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

const ONE: WaitWeight = WaitWeight { count: WaitWeight::ONE, nanos: 0 };
const ENDED: WaitWeight = WaitWeight { count: 0, nanos: 1 };

/// Counts a thread that is about to be created at a stack. Runs inside the interposed function: it
/// neither allocates nor locks.
pub(crate) fn count_birth(stack: &[u64], truncated: bool) -> Option<WaitEntry> {
    match BORN.get() {
        Some(table) => table.add(stack, truncated, ONE),
        None => {
            EARLY.fetch_add(1, Ordering::Relaxed);
            None
        }
    }
}

/// Takes back a thread that could not be created after all. Runs inside the interposed function.
pub(crate) fn undo_birth(entry: WaitEntry) {
    if let Some(table) = BORN.get() {
        table.subtract(entry, ONE);
    }
}

/// Counts a thread that ends. Runs in it, as the last of its code: it neither allocates nor locks.
pub(crate) fn count_end(entry: WaitEntry) {
    if let Some(table) = BORN.get() {
        table.add_to(entry, ENDED);
    }
}

/// Returns every stack at which threads were created, and the number of threads whose stacks are
/// not known.
pub(crate) fn list_birth_sites() -> (Vec<BirthSite>, u64) {
    let Some(table) = BORN.get() else { return (Vec::new(), EARLY.load(Ordering::Relaxed)) };
    let creators = table
        .entries()
        .map(|(entry, weighed)| {
            let total = weighed.count();
            let live = total.saturating_sub(weighed.nanos);
            BirthSite { stack: table.stack(entry), total, live }
        })
        .filter(|creator| creator.total != 0)
        .collect();
    (creators, EARLY.load(Ordering::Relaxed) + table.lost().count())
}
