//! A trace from start to end: [`TraceRecording`] → [`RecordedTrace`].

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::events::ring::{self, ClosedBuffer, OpenBuffer, OpenError};
use crate::sys::clock;
use crate::task::{self, State, Status, TaskKind};
use crate::trace::counters::{CounterReading, CounterThread};
use crate::trace::samples;
use crate::trace::tree::{ResolveSamples, StopSampling};

/// A trace that is being taken. Dropping it ends it.
pub(crate) struct TraceRecording {
    open: OpenBuffer,
    counters: CounterThread,
    sampling: StopSampling,
    began: u64,
    wall: SystemTime,
}

/// A trace that was taken.
pub(crate) struct RecordedTrace {
    pub(crate) events: ClosedBuffer,
    pub(crate) readings: Vec<CounterReading>,
    /// Time at which the window opened, by the precise clock.
    pub(crate) began: u64,
    pub(crate) ended: u64,
    pub(crate) wall: SystemTime,
    /// Tasks that were being polled at the end.
    pub(crate) running: Vec<Status>,
    /// The tasks that were alive at the end, those that are alike together.
    pub(crate) alive: Vec<AliveTaskGroup>,
}

/// Tasks of one kind that do the same.
#[derive(Debug)]
pub(crate) struct AliveTaskGroup {
    pub(crate) kind: Arc<TaskKind>,
    pub(crate) state: &'static str,
    pub(crate) awaits: Option<(&'static str, u32)>,
    pub(crate) count: u64,
    /// Number of them that were not polled in the window.
    pub(crate) unpolled: u64,
    /// Time for which the one that has done so longest has been doing it.
    pub(crate) longest: Duration,
}

/// The reason why no trace can be taken.
pub(crate) enum StartError {
    Buffer(OpenError),
    Thread(std::io::Error),
}

impl TraceRecording {
    /// Begins a trace with a buffer of so many bytes.
    pub(crate) fn start(bytes: usize) -> Result<TraceRecording, StartError> {
        let open = ring::open(bytes).map_err(StartError::Buffer)?;
        let (began, wall) = (clock::precise(), SystemTime::now());
        let counters = CounterThread::start().map_err(StartError::Thread)?;
        Ok(TraceRecording { open, counters, sampling: samples::start(), began, wall })
    }

    /// Ends the trace.
    pub(crate) fn stop(self) -> (RecordedTrace, ResolveSamples) {
        let ended = clock::precise();
        let mut running = Vec::new();
        let alive = group_alive_tasks(self.began, ended, &mut running);
        let TraceRecording { open, counters, sampling, began, wall } = self;
        let (events, readings, samples) = (open.close(), counters.stop(), sampling());
        (RecordedTrace { events, readings, began, ended, wall, running, alive }, samples)
    }
}

/// Running tasks that are listed.
const RUNNING: usize = 1024;

/// Groups the tasks that are alive, and lists those that are running.
fn group_alive_tasks(began: u64, ended: u64, running: &mut Vec<Status>) -> Vec<AliveTaskGroup> {
    let window = Duration::from_nanos(ended - began);
    type AliveTaskKey = (usize, &'static str, Option<(&'static str, u32)>);
    let mut groups: Vec<AliveTaskGroup> = Vec::new();
    let mut known: HashMap<AliveTaskKey, usize> = HashMap::new();
    task::all_at(ended, &mut |status| {
        if matches!(status.state, State::Running { .. }) && running.len() < RUNNING {
            running.push(status.clone());
        }
        let state = status.state.word();
        let key = (Arc::as_ptr(&status.kind) as usize, state, status.awaits);
        let index = *known.entry(key).or_insert_with(|| {
            groups.push(AliveTaskGroup {
                kind: Arc::clone(&status.kind),
                state,
                awaits: status.awaits,
                count: 0,
                unpolled: 0,
                longest: Duration::ZERO,
            });
            groups.len() - 1
        });
        let group = &mut groups[index];
        group.count += 1;
        let waits = matches!(status.state, State::New | State::Idle | State::Woken);
        group.unpolled += u64::from(waits && status.since > window);
        group.longest = group.longest.max(status.since);
    });
    groups.sort_by_key(|group| std::cmp::Reverse(group.longest));
    groups
}
