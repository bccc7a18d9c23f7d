//! The facts of a dump: how many goroutines, in which states, and what is odd.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Dump;

/// The facts of a dump. Serializes to what `inspect --json` prints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DumpFacts {
    /// `debug2` or `debug1`.
    pub format: &'static str,
    /// Number of goroutines or threads.
    pub goroutines: u64,
    /// Number of goroutines in each state, where the form has states.
    pub by_state: BTreeMap<String, u64>,
    /// Number of groups that differ in their state, in a frame's function, file or line, or in the
    /// creator's.
    pub groups: usize,
    /// The longest wait; `None` where none is known.
    pub max_wait_minutes: Option<u64>,
    /// Number of goroutines whose wait is known.
    pub waits_known: u64,
    /// Number of goroutines that have labels.
    pub with_labels: u64,
    /// Number of goroutines that are proven to be leaked.
    pub leaked: u64,
    /// Number of goroutines that are locked to their thread.
    pub locked_to_thread: u64,
    /// Number of stacks that are not whole.
    pub partial_stacks: u64,
    /// True where the program that wrote the dump crashed, or wrote as much detail as in a crash.
    pub crash: bool,
    /// True where the dump breaks off.
    pub truncated: bool,
    /// What was taken off around its lines, the outermost first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unwrapped: Vec<String>,
    /// Oddities that were found.
    pub warnings: Vec<String>,
}

/// Counts what is in a dump.
pub fn facts(dump: &Dump) -> DumpFacts {
    let mut facts = DumpFacts {
        format: dump.format().name(),
        goroutines: dump.goroutines(),
        by_state: dump.by_state(),
        groups: dump.group_count(),
        max_wait_minutes: None,
        waits_known: 0,
        with_labels: 0,
        leaked: 0,
        locked_to_thread: 0,
        partial_stacks: 0,
        crash: dump.is_crash(),
        truncated: dump.truncated(),
        unwrapped: dump.unwrapped().to_vec(),
        warnings: dump.warning_texts(),
    };
    let add = |sum: &mut u64, count: u64| *sum = sum.saturating_add(count);
    for group in dump.groups() {
        facts.max_wait_minutes = facts.max_wait_minutes.max(group.waits().max());
        add(&mut facts.waits_known, group.waits().known());
        add(&mut facts.with_labels, group.labelled());
        add(&mut facts.leaked, group.leaked());
        add(&mut facts.locked_to_thread, group.locked());
        add(&mut facts.partial_stacks, group.partial());
    }
    facts
}
