//! What a process can give.

use std::time::Duration;

use profile_format::{Kind, Unavailable};

use crate::task::Detail;

/// The longest window, unless the process offers another.
pub const DEFAULT_MAX_WINDOW: Duration = Duration::from_secs(60);

/// The kinds that a process can give, the reason for each that it can't, and the longest window.
#[derive(Clone, Debug)]
pub struct Available {
    by_kind: [Result<(), Unavailable>; Kind::ALL.len()],
    pub(crate) tasks: [Result<(), Unavailable>; Detail::ALL.len()],
    pub(crate) rate: Result<(), Unavailable>,
    max_window: Duration,
}

impl Available {
    /// Makes the answers kind by kind. A kind that is not named is taken as available.
    pub fn new(kinds: impl IntoIterator<Item = (Kind, Result<(), Unavailable>)>) -> Available {
        let mut by_kind = Kind::ALL.map(|_| Ok(()));
        for (kind, answer) in kinds {
            by_kind[kind as usize] = answer;
        }
        let tasks = Detail::ALL.map(Detail::check);
        Available { by_kind, tasks, rate: Ok(()), max_window: DEFAULT_MAX_WINDOW }
    }

    /// Returns the same with another longest window.
    #[must_use]
    pub fn with_max_window(self, max_window: Duration) -> Available {
        Available { max_window, ..self }
    }

    /// Checks that a kind can be given.
    ///
    /// # Errors
    ///
    /// Why it can't.
    pub fn check(&self, kind: Kind) -> Result<(), &Unavailable> {
        self.by_kind[kind as usize].as_ref().copied()
    }

    /// Checks that a dump can tell what tasks wait in by these means.
    ///
    /// # Errors
    ///
    /// Why it can't.
    pub fn check_tasks(&self, detail: Detail) -> Result<(), &Unavailable> {
        self.tasks[detail as usize].as_ref().copied()
    }

    /// Checks that CPU profiles can have the rate that a request asks for.
    ///
    /// # Errors
    ///
    /// The reason why they have one rate only.
    pub fn check_rate(&self) -> Result<(), &Unavailable> {
        self.rate.as_ref().copied()
    }

    /// Lists every kind that can't be given, with the reason: what to log when a program starts.
    pub fn missing(&self) -> impl Iterator<Item = &Unavailable> {
        self.by_kind.iter().filter_map(|answer| answer.as_ref().err())
    }

    /// Returns the longest window.
    pub fn max_window(&self) -> Duration {
        self.max_window
    }
}
