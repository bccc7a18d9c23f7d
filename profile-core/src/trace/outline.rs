//! What is to be known of a trace before its first event is written: the names of threads, who woke
//! whom, and what had not ended.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;

use crate::events::ring::TraceEvent;
use crate::task::{State, Status};
use crate::trace::tree::{ResolveSamples, SampleTree};
use crate::trace::window::RecordedTrace;

/// A trace with what is to be known before the first event is written.
pub(super) struct TraceOutline {
    pub(super) trace: RecordedTrace,
    pub(super) tree: SampleTree,
    pub(super) program: String,
    /// The names of threads, by their ids.
    pub(super) threads: BTreeMap<u32, String>,
    /// Wake-ups of each address: when, and by which thread.
    wakes: HashMap<u64, Vec<(u64, u32)>>,
    /// Polls that had not ended yet, by task and beginning.
    unfinished: HashSet<(u64, u64)>,
}

impl TraceOutline {
    pub(super) fn new(trace: RecordedTrace, samples: ResolveSamples) -> TraceOutline {
        let tree = samples();
        let mut wakes: HashMap<u64, Vec<(u64, u32)>> = HashMap::new();
        let mut threads: BTreeMap<u32, String> = BTreeMap::new();
        let running = |status: &Status| (status.id, poll_start(&trace, status));
        let mut unfinished: HashSet<(u64, u64)> = trace.running.iter().map(running).collect();
        for chunk in trace.events.chunks() {
            threads.insert(chunk.thread, chunk.name());
            for event in chunk.events() {
                match event {
                    TraceEvent::Wake { at, address } => {
                        wakes.entry(address).or_default().push((at, chunk.thread));
                    }
                    // It may have done nothing else.
                    TraceEvent::Woken { by, .. } => drop(threads.entry(by).or_default()),
                    // One that ended while the window was being closed is a poll like others.
                    TraceEvent::Poll { began, task, .. } if !unfinished.is_empty() => {
                        unfinished.remove(&(task, began));
                    }
                    _ => {}
                }
            }
        }
        wakes.values_mut().for_each(|wakes| wakes.sort_unstable());
        for status in &trace.running {
            if let State::Running { thread } = status.state {
                threads.entry(thread).or_default();
            }
        }
        for (&thread, name) in &tree.threads {
            threads.entry(thread).or_insert_with(|| name.clone());
        }
        // One that was renamed has its name of now, one that ended that of then.
        for (thread, name) in &mut threads {
            if let Ok(now) = fs::read_to_string(format!("/proc/self/task/{thread}/comm")) {
                now.trim_end().clone_into(name);
            }
        }
        TraceOutline {
            trace,
            tree,
            program: crate::Process::current().program,
            threads,
            wakes,
            unfinished,
        }
    }

    /// Returns who ended a thread's wait at an address, and when.
    pub(super) fn waker_of(
        &self,
        thread: u32,
        began: u64,
        ended: u64,
        address: u64,
    ) -> Option<(u64, u32)> {
        let wakes = self.wakes.get(&address)?;
        let [first, behind] = [began, ended + 1].map(|t| wakes.partition_point(|&(at, _)| at < t));
        wakes[first..behind].iter().rfind(|&&(_, waker)| waker != thread).copied()
    }

    /// Lists the polls that have not ended yet, each after the one that it is in.
    pub(super) fn unfinished_polls(&self) -> Vec<UnfinishedPoll<'_>> {
        let mut polls: Vec<UnfinishedPoll<'_>> = Vec::new();
        for status in &self.trace.running {
            let State::Running { thread } = status.state else { continue };
            let began = poll_start(&self.trace, status);
            if self.unfinished.contains(&(status.id, began)) {
                polls.push(UnfinishedPoll { thread, began, ended: self.trace.ended, status });
            }
        }
        polls.sort_unstable_by_key(|poll| (poll.thread, poll.began, poll.status.nested));
        // Each ends a nanosecond before the one that it is in: readers add beginning and duration as
        // floating point numbers, and of equal ends would take this one's to be later.
        let mut outer = (0, 0);
        for poll in &mut polls {
            let depth = if outer.0 == poll.thread { outer.1 + 1 } else { 0 };
            outer = (poll.thread, depth);
            poll.ended -= depth;
        }
        polls
    }
}

/// A poll that was under way when the window closed.
pub(super) struct UnfinishedPoll<'a> {
    pub(super) thread: u32,
    pub(super) began: u64,
    pub(super) ended: u64,
    pub(super) status: &'a Status,
}

/// Returns the time at which a poll that had not ended began.
fn poll_start(trace: &RecordedTrace, status: &Status) -> u64 {
    trace.ended.saturating_sub(status.since.as_nanos() as u64)
}
