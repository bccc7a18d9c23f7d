//! What looks stuck, and on what evidence.

use serde::Serialize;

use super::{GroupOptions, Row};
use crate::rules::Category;

/// The reasons why members of a group look stuck, the strongest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Evidence {
    /// The garbage collector has proven that nothing can wake them.
    Leaked,
    /// The group has grown from dump to dump.
    Growing,
    /// Tasks that have been polled for so long that their worker does nothing else, and workers that are
    /// blocked in a task's poll.
    BlocksWorker,
    /// Tasks that are ready, and that no worker takes.
    Starved,
    /// Members work for somebody, and have been waiting for long.
    WaitingTooLong,
    /// Many members wait for a lock at the same place.
    CrowdAtLock,
    /// Members wait for a channel that isn't there, or for nothing at all.
    NilChannel,
}

impl Evidence {
    /// Returns the evidence in words.
    pub fn words(self) -> &'static str {
        match self {
            Evidence::Leaked => "leaked",
            Evidence::Growing => "growing",
            Evidence::BlocksWorker => "blocks its worker",
            Evidence::Starved => "no worker takes it",
            Evidence::WaitingTooLong => "waiting too long",
            Evidence::CrowdAtLock => "crowd at a lock",
            Evidence::NilChannel => "nothing can wake it",
        }
    }
}

/// The evidence that members of a group are stuck.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Stuck {
    /// The strongest evidence.
    pub evidence: Evidence,
    /// Number of members that it concerns.
    pub count: u64,
    /// Explanation in one line.
    pub why: String,
    /// Severity that the rule says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub severity: Option<String>,
}

/// Judges one group. Returns the strongest evidence that members are stuck.
pub(super) fn judge(row: &Row<'_>, options: &GroupOptions) -> Option<Stuck> {
    let found = |evidence, count, why| {
        Some(Stuck { evidence, count, why, severity: row.severity.map(str::to_owned) })
    };
    if row.leaked > 0 {
        let why = format!("{} proven by the garbage collector to be leaked", row.leaked);
        return found(Evidence::Leaked, row.leaked, why);
    }
    if let Some((count, why)) = blocks_worker(row) {
        return found(Evidence::BlocksWorker, count, why);
    }
    if matches!(&*row.state, "task woken" | "task new") {
        // Whatever they are for. Only waits from a minute on are known.
        let count = row.waits.at_least(1);
        if count > 0 {
            let was = if row.state == "task new" { "started" } else { "woken" };
            let longest = format_minutes(row.waits.max().unwrap_or_default());
            let why = format!("{count} {was}, but not polled, the longest for {longest}");
            return found(Evidence::Starved, count, why);
        }
    }
    let after = match (row.stuck_after, row.category) {
        (Some(minutes), _) => Some(minutes),
        (None, Category::PerRequest) => Some(options.stuck_after),
        (None, _) => None,
    };
    if let Some(after) = after {
        // Only waits from a minute on are known at all.
        let count = row.waits.at_least(after.max(1));
        if count > 0 {
            let longest = row.waits.max().unwrap_or_default();
            let have = if count == 1 { "has" } else { "have" };
            let why = format!(
                "{count} {} {have} been waiting for {} or more, the longest for {}",
                row.category.name(),
                format_minutes(after.max(1)),
                format_minutes(longest)
            );
            return found(Evidence::WaitingTooLong, count, why);
        }
    }
    if row.lock && row.count >= options.crowd {
        let why = format!("{} wait for a lock at the same place", row.count);
        return found(Evidence::CrowdAtLock, row.count, why);
    }
    if row.state.contains("(nil chan)") {
        let why = "a channel that is nil is never ready".to_owned();
        return found(Evidence::NilChannel, row.count, why);
    }
    // In main, and in what serves the process, this is how one waits for the end.
    if row.state == "select (no cases)" && !row.in_main && row.category != Category::Background {
        let why = "a select without cases never ends".to_owned();
        return found(Evidence::NilChannel, row.count, why);
    }
    None
}

/// Returns how many members keep a worker from other tasks, and by what: tasks that have a name, and
/// threads in the poll of one that has none.
fn blocks_worker(row: &Row<'_>) -> Option<(u64, String)> {
    if row.state == "task blocking" {
        let why = "kept in one poll, so that the worker does nothing else";
        return Some((row.count, why.to_owned()));
    }
    let is_blocked =
        |(key, value, _): &&(String, String, u64)| key == "blocks" && value == "worker";
    let &(.., count) = row.labels.iter().find(is_blocked)?;
    let why = format!("`{}` in a task's poll, so that the worker does nothing else", row.state);
    Some((count, why))
}

/// Returns minutes as text: `5 min`, `3 h 5 min`, `4 d 2 h`.
pub(super) fn format_minutes(minutes: u64) -> String {
    let (days, hours, rest) = (minutes / 1440, minutes / 60 % 24, minutes % 60);
    match (days, hours, rest) {
        (0, 0, rest) => format!("{rest} min"),
        (0, hours, 0) => format!("{hours} h"),
        (0, hours, rest) => format!("{hours} h {rest} min"),
        (days, 0, _) => format!("{days} d"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn minutes_read_well() {
        for (minutes, text) in
            [(5, "5 min"), (60, "1 h"), (185, "3 h 5 min"), (1440, "1 d"), (91275, "63 d 9 h")]
        {
            assert_eq!(super::format_minutes(minutes), text);
        }
    }
}
