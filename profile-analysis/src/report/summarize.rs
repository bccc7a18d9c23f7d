//! What to say about a profile, by what it is about.

use profile_format::profile::{Profile, Stacks};

use super::{ProfileSummary, Row, Subject, Table, Total};
use crate::Read;
use crate::frames::FrameTable;
use crate::top::{By, RankQuery, RankedRow, rank, saturate};
use crate::units::percent;

/// A ranking to show: a sample type, the one that counts its things, and the kind of a row.
type TablePlan = (usize, Option<usize>, By);

/// Summarizes a profile.
pub(super) fn summarize(name: &str, opened: &Read<'_>, rows: usize) -> ProfileSummary {
    let stacks = &opened.stacks;
    let profile = stacks.profile();
    let (subject, plans) = plan_tables(profile);
    let totals = sum_types(stacks);
    let frames = FrameTable::new(profile);
    let tables = plans
        .into_iter()
        .map(|plan| rank_table(stacks, &frames, plan, rows))
        .filter(|table| !table.rows.is_empty())
        .collect();
    let comments = profile.comments.iter().map(|&comment| profile.str(comment).to_owned());
    ProfileSummary {
        name: name.to_owned(),
        subject,
        samples: stacks.facts().samples as usize,
        duration_nanos: profile.duration_nanos,
        totals,
        tables,
        notes: comments.chain(opened.warnings.iter().cloned()).collect(),
    }
}

fn plan_tables(profile: &Profile) -> (Subject, Vec<TablePlan>) {
    let find = |wanted: &str| {
        profile.sample_types.iter().position(|kind| profile.str(kind.kind) == wanted)
    };
    if let Some(cpu) = find("cpu") {
        return (Subject::Cpu, vec![(cpu, find("samples"), By::Function)]);
    }
    let spaces = [("inuse_space", "inuse_objects"), ("alloc_space", "alloc_objects")];
    let mut heap: Vec<TablePlan> = spaces
        .into_iter()
        .filter_map(|(space, objects)| Some((find(space)?, find(objects), By::Caller)))
        .collect();
    if !heap.is_empty() {
        // What the profile is mainly about comes first.
        let default = crate::top::sample_type(profile, None).ok();
        heap.sort_by_key(|&(space, ..)| Some(space) != default);
        return (Subject::Heap, heap);
    }
    if let (Some(delay), Some(contentions)) = (find("delay"), find("contentions")) {
        return (Subject::Contention, vec![(delay, Some(contentions), By::Caller)]);
    }
    let default = crate::top::sample_type(profile, None).ok();
    (Subject::Other, default.map(|index| (index, None, By::Function)).into_iter().collect())
}

fn sum_types(stacks: &Stacks<'_>) -> Vec<Total> {
    let profile = stacks.profile();
    profile
        .sample_types
        .iter()
        .enumerate()
        .map(|(index, kind)| Total {
            sample_type: profile.str(kind.kind).to_owned(),
            unit: profile.str(kind.unit).to_owned(),
            value: saturate(stacks.total(index)),
        })
        .collect()
}

fn rank_table(
    stacks: &Stacks<'_>,
    frames: &FrameTable<'_>,
    plan: TablePlan,
    limit: usize,
) -> Table {
    let profile = stacks.profile();
    let (index, companion, by) = plan;
    let ranking = rank(stacks, frames, &RankQuery { index, companion, by, cum: false, limit });
    let total = ranking.total;
    let kind = |index: usize| profile.str(profile.sample_types[index].kind).to_owned();
    // Rows that only called what is above them say nothing of their own.
    let own = ranking.rows.into_iter().filter(|ranked| ranked.row.flat != 0);
    Table {
        sample_type: kind(index),
        unit: profile.str(profile.sample_types[index].unit).to_owned(),
        total,
        count_type: companion.map(kind).unwrap_or_default(),
        rows: own.map(|ranked| table_row(ranked, total)).collect(),
    }
}

fn table_row(ranked: RankedRow, total: i64) -> Row {
    let RankedRow { row, companion } = ranked;
    Row {
        name: row.name,
        file: row.file,
        line: row.line,
        flat: row.flat,
        flat_percent: percent(row.flat, total),
        cum: row.cum,
        cum_percent: percent(row.cum, total),
        count: companion,
    }
}
