//! Goroutines, threads and tasks in groups, each with what it is for and whether it looks stuck.
//!
//! [`group`] drops the frames of Go's runtime, so that a crash and a `debug=2` dump of the same
//! program give the same groups, has the [rules](crate::rules) say what each is for, and puts what
//! looks stuck first. Goroutines are counted, never groups; a wait that the dump does not know is
//! unknown and not zero; and what no rule knows is unknown and not healthy.
//!
//! ```
//! use profile_analysis::dump;
//! use profile_analysis::groups::{GroupOptions, group};
//! use profile_analysis::rules::RuleSet;
//!
//! let text = b"goroutine 7 [IO wait, 5 minutes]:\n\
//!     main.handleRequest(0x1)\n\t/src/main.go:31 +0x1d\n";
//! let dump = dump::parse(text);
//! let groups = group(&dump, RuleSet::shipped(), &GroupOptions::default());
//! assert_eq!((groups.summary.per_request, groups.summary.potentially_stuck), (1, 1));
//! assert_eq!(groups.rows[0].rule, Some("handler-by-name"));
//! ```

mod creators;
mod diff;
mod fold;
mod frames;
mod json;
mod render;
mod stuck;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::cmp::Reverse;

use serde::Serialize;

use crate::dump::{Dump, Frame, Group, Waits};
use crate::rules::{Category, RuleSet};

pub use diff::{Change, Diff, diff, render_diff};
pub use json::{GoroutinesJson, goroutines_json};
pub use render::render;
pub use stuck::{Evidence, Stuck};

/// The kinds of things that a row can stand for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum By {
    /// State, every frame's function and line, and the creator's.
    #[default]
    Exact,
    /// State, every frame's function, and the creator's; lines don't matter.
    Function,
    /// State and this many frames from the leaf on.
    Top(usize),
    /// The creator, whatever the members do now.
    Creator,
    /// The value of the label that the dump was read with ([`by_label`](crate::dump::Options)).
    Label,
}

/// Options of grouping and judging.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupOptions {
    /// The kinds of things that a row can stand for.
    pub by: By,
    /// Number of minutes from which on a wait is long.
    pub long_wait: u64,
    /// Number of minutes from which on a request counts as stuck, where its rule says nothing else.
    pub stuck_after: u64,
    /// Number of waiters at one lock from which on they are a crowd.
    pub crowd: u64,
}

impl Default for GroupOptions {
    fn default() -> GroupOptions {
        GroupOptions { by: By::Exact, long_wait: 1, stuck_after: 1, crowd: 10 }
    }
}

/// A dump in groups: what looks stuck first, then by the longest wait, then by count, and then by
/// what they are, so that the order is always the same.
#[derive(Clone, Debug)]
pub struct Groups<'a> {
    /// The dump.
    pub dump: &'a Dump,
    /// Number of goroutines.
    pub total: u64,
    /// The groups.
    pub rows: Vec<Row<'a>>,
    /// Counts of the goroutines by purpose, and of those that stand out.
    pub summary: Summary,
}

/// Counts of goroutines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Goroutines that serve in the background.
    pub background: u64,
    /// Goroutines that work for a request.
    pub per_request: u64,
    /// Goroutines whose purpose no rule knows.
    pub unknown: u64,
    /// Goroutines that have been waiting for long, as far as the dump says.
    pub long_waiting: u64,
    /// Goroutines that look stuck.
    pub potentially_stuck: u64,
    /// Goroutines that are proven to be leaked.
    pub leaked: u64,
    /// Goroutines whose wait the dump says.
    pub waits_known: u64,
}

/// A group.
#[derive(Clone, Debug)]
pub struct Row<'a> {
    /// Number of members.
    pub count: u64,
    /// The state that most members are in.
    pub state: Cow<'a, str>,
    /// All states, where there is more than one.
    pub other_states: Vec<Cow<'a, str>>,
    /// Times that members have been waiting.
    pub waits: Waits,
    /// Purpose of the members.
    pub category: Category,
    /// Id of the rule that gave the category.
    pub rule: Option<&'a str>,
    /// Evidence that members are stuck.
    pub stuck: Option<Stuck>,
    /// Ids of the first members.
    pub ids: Vec<u64>,
    /// Labels of members, the most frequent first.
    pub labels: Vec<(String, String, u64)>,
    /// The value of the label that rows are told apart by.
    pub label: Option<Cow<'a, str>>,
    /// Number of members that are locked to their thread.
    pub locked: u64,
    /// Number of members that are proven to be leaked.
    pub leaked: u64,
    /// Number of members whose stack is not whole.
    pub partial: u64,
    stuck_after: Option<u64>,
    severity: Option<&'a str>,
    /// True where the members wait for a lock.
    lock: bool,
    in_main: bool,
    user: Option<u32>,
    /// The creator's name, where it isn't the frame that the dump says.
    origin: Option<String>,
    stack: RowStack<'a>,
}

/// The source of a row's frames, which are put together when asked for.
#[derive(Clone, Copy, Debug)]
struct RowStack<'a> {
    group: Group<'a>,
    /// True where the runtime's frames are kept.
    full: bool,
    most: usize,
}

impl<'a> Row<'a> {
    /// Returns the frames, the leaf first, without the runtime's.
    pub fn frames(&self) -> Vec<Frame<'a>> {
        let mut frames = self.stack.group.stack();
        if !self.stack.full {
            frames.retain(|frame| !frames::is_runtime(frame));
        }
        frames.truncate(self.stack.most);
        frames
    }

    /// Returns the first frame of the program; where there is none, the first past the standard
    /// library, else the first of all.
    pub fn user_frame(&self) -> Option<Frame<'a>> {
        match self.user {
            Some(frame) => Some(self.stack.group.frame(frame)),
            None => self.frames().into_iter().next(),
        }
    }

    /// Returns the frame in which the members were created. Where rows are of a creator and that is
    /// a function that starts what others give it, it is the function that gave it this.
    pub fn created_by(&self) -> Option<Frame<'a>> {
        match &self.origin {
            Some(function) => Some(Frame {
                function: function.clone().into(),
                file: Cow::Borrowed(""),
                line: 0,
                inlined: false,
            }),
            None => self.stack.group.created_by(),
        }
    }

    /// Returns the state as the reason of a wait; `None` for states in which nothing is waited for.
    pub fn wait_reason(&self) -> Option<&str> {
        const NOT_WAITING: [&str; 11] = [
            "",
            "running",
            "runnable",
            "syscall",
            "idle",
            "dead",
            "copystack",
            "preempted",
            "no response",
            "page fault",
            "???",
        ];
        (!NOT_WAITING.contains(&self.state.as_ref())).then_some(self.state.as_ref())
    }
}

/// Puts a dump in groups.
pub fn group<'a>(dump: &'a Dump, rules: &'a RuleSet, options: &GroupOptions) -> Groups<'a> {
    let kinds = frames::FrameKinds::new(dump, rules);
    let exact = fold::make_exact_rows(dump, rules, &kinds, options);
    let mut summary = Summary::default();
    for row in &exact {
        let counted = match row.category {
            Category::Background => &mut summary.background,
            Category::PerRequest => &mut summary.per_request,
            Category::Unknown => &mut summary.unknown,
        };
        add(counted, row.count);
        add(&mut summary.long_waiting, row.waits.at_least(options.long_wait.max(1)));
        add(&mut summary.potentially_stuck, row.stuck.as_ref().map_or(0, |stuck| stuck.count));
        add(&mut summary.leaked, row.leaked);
        add(&mut summary.waits_known, row.waits.known());
    }
    let mut rows = fold::merge_rows(exact, &kinds, &options.by);
    sort(&mut rows, &kinds);
    Groups { dump, total: dump.goroutines(), rows, summary }
}

/// Adds a count. A profile may say any number, and sums stay at the largest.
fn add(sum: &mut u64, count: u64) {
    *sum = sum.saturating_add(count);
}

fn sort(rows: &mut [Row<'_>], kinds: &frames::FrameKinds) {
    let rank = |row: &Row<'_>| {
        let wait = row.waits.max().unwrap_or(0);
        (row.stuck.is_none(), Reverse(wait), Reverse(row.count))
    };
    // Frames by their rank in the alphabet, and not by their number, which is an accident.
    let stack = |row: &Row<'_>| -> Vec<u32> {
        row.stack.group.frames().into_iter().map(|frame| kinds.rank[frame as usize]).collect()
    };
    let creator =
        |row: &Row<'_>| row.stack.group.creator().map(|creator| kinds.rank[creator as usize]);
    rows.sort_by(|a, b| {
        rank(a)
            .cmp(&rank(b))
            .then_with(|| stack(a).cmp(&stack(b)))
            .then_with(|| creator(a).cmp(&creator(b)))
            .then_with(|| (&a.state, &a.label).cmp(&(&b.state, &b.label)))
    });
}
