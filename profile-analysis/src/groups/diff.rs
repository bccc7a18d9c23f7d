//! What has changed from one dump to the next, group by group.

use std::collections::BTreeMap;

use serde::Serialize;

use super::stuck::{Evidence, Stuck};
use super::{Groups, Row, render};
use crate::units::plural;

/// The change of one group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Number of members in the earlier dump.
    pub before: u64,
    /// Number of members in the later dump.
    pub after: u64,
    /// `after` less `before`.
    pub delta: i64,
    /// The state.
    pub state: String,
    /// The leaf's function.
    pub top_func: String,
    /// The frames as `function file:line`, the leaf first.
    pub stack: Vec<String>,
    /// Frame in which the members were created, as `function file:line`.
    pub created_by: Option<String>,
    /// Purpose of the members.
    pub category: &'static str,
    /// Id of the rule that gave the category.
    pub rule: Option<String>,
    /// Evidence that members are stuck in the later dump; a group that has grown has at least that.
    pub stuck: Option<Stuck>,
}

/// The comparison of two dumps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diff {
    /// Number of goroutines in the earlier dump.
    pub before: u64,
    /// Number of goroutines in the later dump.
    pub after: u64,
    /// The groups that have changed: the one that grew most first, the one that shrank most last.
    pub changes: Vec<Change>,
    /// Number of groups that have not changed.
    pub unchanged: usize,
}

/// Compares two dumps that were grouped in the same way.
pub fn diff(base: &Groups<'_>, new: &Groups<'_>) -> Diff {
    type DumpSides<'a> = [Option<&'a Row<'a>>; 2];
    let mut groups: BTreeMap<_, DumpSides<'_>> = BTreeMap::new();
    for (side, rows) in [&base.rows, &new.rows].into_iter().enumerate() {
        for row in rows {
            let stack: Vec<String> = row.frames().iter().map(render::format_frame).collect();
            let created = row.created_by().as_ref().map(render::format_frame);
            let key = (stack, row.state.to_string(), created, row.label.clone());
            groups.entry(key).or_default()[side] = Some(row);
        }
    }
    let all = groups.len();
    let mut changes: Vec<Change> = groups
        .into_iter()
        .filter_map(|((stack, state, created_by, _), [before, after])| {
            let count = |row: Option<&Row<'_>>| row.map_or(0, |row| row.count);
            let (before_count, after_count) = (count(before), count(after));
            let row = after.or(before)?;
            let delta = i64::try_from(i128::from(after_count) - i128::from(before_count));
            let top = row.frames().into_iter().next();
            (before_count != after_count).then(|| Change {
                before: before_count,
                after: after_count,
                delta: delta.unwrap_or(i64::MAX),
                state,
                top_func: top.map_or_else(String::new, |frame| frame.function.into_owned()),
                stack,
                created_by,
                category: row.category.name(),
                rule: row.rule.map(str::to_owned),
                stuck: after.and_then(|row| judge_growth(row, before_count)),
            })
        })
        .collect();
    // The map has put equal ones in order.
    changes.sort_by_key(|change| -change.delta);
    let unchanged = all - changes.len();
    Diff { before: base.total, after: new.total, changes, unchanged }
}

/// Returns the evidence that members of a changed group are stuck: growth is evidence too, if the
/// group was there before.
fn judge_growth(row: &Row<'_>, before: u64) -> Option<Stuck> {
    let own = row.stuck.clone();
    let grows = before > 0 && row.count > before && row.wait_reason().is_some();
    match own {
        Some(stuck) if stuck.evidence == Evidence::Leaked || !grows => Some(stuck),
        None if !grows => None,
        own => Some(Stuck {
            evidence: Evidence::Growing,
            count: row.count,
            why: format!("grown from {before} to {}", row.count),
            severity: own.and_then(|stuck| stuck.severity),
        }),
    }
}

/// Writes a comparison for people, its lines cut to `width` characters, 40 at least.
pub fn render_diff(diff: &Diff, width: usize, most: usize) -> String {
    let mut out = render::GroupText::new(width);
    let delta = i128::from(diff.after) - i128::from(diff.before);
    out.add_line(&format!(
        "{}, {} before ({delta:+}); {} changed, {} did not",
        plural(diff.after, "goroutine"),
        diff.before,
        plural(diff.changes.len() as u64, "group"),
        diff.unchanged
    ));
    for change in diff.changes.iter().take(most) {
        out.add_line("");
        let Change { before, after, delta, state, category, .. } = change;
        let rule = change.rule.as_ref().map_or_else(String::new, |rule| format!(" ({rule})"));
        let state = if state.is_empty() { "?" } else { state };
        out.add_line(&format!("{delta:+}  {before} → {after}  {state}  {category}{rule}"));
        if let Some(stuck) = &change.stuck {
            out.add_sentence(&format!("    {}: {}", stuck.evidence.words(), stuck.why));
        }
        out.add_stack(&change.stack, change.created_by.as_deref());
    }
    if diff.changes.len() > most {
        out.add_line("");
        out.add_line(&render::count_hidden(diff.changes.len() - most, "more changed group"));
    }
    out.into_string()
}
