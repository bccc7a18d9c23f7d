//! The words for tasks: their numbers, and what each is doing.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::task::kinds::TaskKind;

/// The number of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(pub(crate) u64);

impl TaskId {
    /// Returns the number, as dumps and traces show it.
    pub fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The state of a task at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Status {
    /// Its number, beyond those of threads.
    pub id: u64,
    /// Its name, where it was started, its category.
    pub kind: Arc<TaskKind>,
    /// The task's activity: polled, waiting, woken or new.
    pub state: State,
    /// Time for which it has been in this state: since its poll began, since the last one ended, or
    /// since it was started.
    pub since: Duration,
    /// Time since it was started.
    pub age: Duration,
    /// Finished polls.
    pub polls: u64,
    /// Time in them. Measured by a clock that ticks every few milliseconds, unless a trace is being
    /// taken: right in the sum, not for one short poll.
    pub busy: Duration,
    /// The longest of them, by the same clock.
    pub longest: Duration,
    /// The file and line where it said that it waits.
    pub awaits: Option<(&'static str, u32)>,
    /// True where it is polled as a part of another task.
    pub nested: bool,
}

impl Status {
    /// Makes the status of a task that has only begun.
    pub fn new(id: u64, kind: Arc<TaskKind>, state: State) -> Status {
        Status {
            id,
            kind,
            state,
            since: Duration::ZERO,
            age: Duration::ZERO,
            polls: 0,
            busy: Duration::ZERO,
            longest: Duration::ZERO,
            awaits: None,
            nested: false,
        }
    }
}

/// The state of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum State {
    /// It was not polled yet.
    New,
    /// It is being polled by the thread with this id.
    Running {
        /// The id, as the operating system counts threads.
        thread: u32,
    },
    /// It was woken since its last poll began, and waits for a worker.
    Woken,
    /// It was polled, and is not now: it waits. One whose wakes are not followed may be ready as
    /// well, and in a queue; see [`Task::following_wakes`](crate::task::Task::following_wakes).
    Idle,
}

impl State {
    /// Returns the state as a word.
    pub const fn word(self) -> &'static str {
        match self {
            State::New => "new",
            State::Running { .. } => "running",
            State::Woken => "woken",
            State::Idle => "idle",
        }
    }
}
