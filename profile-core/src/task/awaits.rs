//! The words for what tasks wait in, where a request asks for it by name.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use profile_format::{Kind, Unavailable};

use crate::task::status::TaskId;

/// The means by which tasks tell what they wait in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Detail {
    /// The trees of the crate `await-tree`, which the program keeps and has handed over with
    /// `task::show_trees`. Every tree is copied, and meanwhile none can be registered.
    AwaitTree,
}

/// Time for which a dump waits for what was asked for by name.
pub const DETAIL_TIMEOUT: Duration = Duration::from_secs(2);

/// A word that names no [`Detail`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("valid values: await-tree")]
pub struct UnknownDetail;

impl Detail {
    /// Every detail.
    pub const ALL: [Detail; 1] = [Detail::AwaitTree];

    /// Returns its name in requests.
    pub const fn name(self) -> &'static str {
        match self {
            Detail::AwaitTree => "await-tree",
        }
    }

    /// Makes the refusal that says that it can't be had.
    pub(crate) fn unavailable(self, reason: &str, hint: &str) -> Unavailable {
        Unavailable::new(Kind::Goroutine, format!("tasks={self}: {reason}"), hint)
    }
}

impl fmt::Display for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Detail {
    type Err = UnknownDetail;

    fn from_str(name: &str) -> Result<Detail, UnknownDetail> {
        Detail::ALL.into_iter().find(|detail| detail.name() == name).ok_or(UnknownDetail)
    }
}

/// The places that one task waits in.
#[derive(Clone, Debug)]
pub struct Awaits {
    /// The id of the task, where it is one that profilez knows.
    pub task: Option<TaskId>,
    /// Name of the task, and a key by which it can be told from others of this name. Of no interest
    /// where `task` is known.
    pub name: String,
    /// Key of the task, for which see `name`.
    pub key: String,
    /// True while it is being polled.
    pub running: bool,
    /// The places that it waits in, from the outside to the inside: each before what it is waiting
    /// for.
    pub places: Vec<Awaited>,
}

/// A place that a task waits in: a span, or a function.
#[derive(Clone, Debug, Default)]
pub struct Awaited {
    /// Number of others that it is inside of. Of several that are as deep, beside each other, each
    /// is waited for.
    pub depth: u32,
    /// Name of the place.
    pub name: String,
    /// The source file; empty where unknown.
    pub file: String,
    /// The line there; 0 where unknown.
    pub line: u32,
    /// Time for which it has been waited for, where that is known.
    pub since: Option<Duration>,
}

/// Places of one task that are kept, and their depth.
pub const MOST_PLACES: usize = 128;
