//! What has changed from one dump to the next, group by group.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::Serialize;

use super::stuck::{Evidence, Stuck};
use super::{Groups, Row, render};
use crate::dump::DumpFormat;
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
    /// What was compared, where it isn't all that makes a group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// What makes rows of two dumps the same group.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct SideKey {
    stack: Vec<String>,
    state: String,
    created_by: Option<String>,
    label: Option<String>,
}

impl SideKey {
    /// Returns a row's key; the functions of its stack where the dumps have nothing else in common.
    fn new(row: &Row<'_>, by_functions: bool) -> SideKey {
        let label = row.label.as_ref().map(ToString::to_string);
        if by_functions {
            let stack = row.frames().into_iter().map(|frame| frame.function.into_owned()).collect();
            return SideKey { stack, state: String::new(), created_by: None, label };
        }
        SideKey {
            stack: row.frames().iter().map(render::format_frame).collect(),
            state: row.state.to_string(),
            created_by: row.created_by().as_ref().map(render::format_frame),
            label,
        }
    }
}

/// The rows that are one group in one dump.
#[derive(Default)]
struct DumpSide<'a> {
    count: u64,
    /// The largest of them.
    row: Option<&'a Row<'a>>,
}

impl<'a> DumpSide<'a> {
    fn add(&mut self, row: &'a Row<'a>) {
        self.count = self.count.saturating_add(row.count);
        if self.row.is_none_or(|known| known.count < row.count) {
            self.row = Some(row);
        }
    }
}

/// Compares two dumps that were grouped in the same way. Where one has states and creators and the
/// other hasn't, since Go writes it in another form, the functions of their stacks are compared.
pub fn diff(base: &Groups<'_>, new: &Groups<'_>) -> Diff {
    let (old_form, new_form) = (base.dump.format(), new.dump.format());
    let by_functions =
        old_form != new_form && (old_form == DumpFormat::Debug2 || new_form == DumpFormat::Debug2);
    let mut groups: BTreeMap<SideKey, [DumpSide<'_>; 2]> = BTreeMap::new();
    for (side, rows) in [&base.rows, &new.rows].into_iter().enumerate() {
        for row in rows {
            groups.entry(SideKey::new(row, by_functions)).or_default()[side].add(row);
        }
    }
    let all = groups.len();
    let changed = groups.into_values().filter(|[before, after]| before.count != after.count);
    let mut changes: Vec<Change> = changed.filter_map(|sides| change(&sides)).collect();
    // The map has put equal ones in order.
    changes.sort_by_key(|change| Reverse(change.delta));
    let unchanged = all - changes.len();
    let note = by_functions.then(|| {
        let (old, new) = (old_form.name(), new_form.name());
        format!("compared by the functions of stacks alone: the forms differ, {old} and {new}")
    });
    Diff { before: base.total, after: new.total, changes, unchanged, note }
}

fn change([before, after]: &[DumpSide<'_>; 2]) -> Option<Change> {
    let row = after.row.or(before.row)?;
    let delta = i64::try_from(i128::from(after.count) - i128::from(before.count));
    let frames = row.frames();
    Some(Change {
        before: before.count,
        after: after.count,
        delta: delta.unwrap_or(if after.count < before.count { i64::MIN } else { i64::MAX }),
        state: row.state.to_string(),
        top_func: frames.first().map_or_else(String::new, |frame| frame.function.to_string()),
        stack: frames.iter().map(render::format_frame).collect(),
        created_by: row.created_by().as_ref().map(render::format_frame),
        category: row.category.name(),
        rule: row.rule.map(str::to_owned),
        stuck: after.row.and_then(|row| judge_growth(row, before.count)),
    })
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
    if let Some(note) = &diff.note {
        out.add_sentence(&format!("Note: {note}."));
    }
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
