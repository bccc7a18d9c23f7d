//! What to say about a profile, by what it is about.

use profile_format::owner::FrameOwner;
use profile_format::profile::{Profile, Stacks};

use super::{ProfileSummary, ReportOptions, Row, Subject, Table, Total};
use crate::Read;
use crate::folding::Folding;
use crate::frames::FrameTable;
use crate::inspect::list_comments;
use crate::top::{By, RankQuery, RankedRow, rank, saturate};
use crate::units::percent;

/// A ranking to show: a sample type, the one that counts its things, and the kind of a row.
#[derive(Clone, Copy)]
struct TablePlan {
    index: usize,
    companion: Option<usize>,
    by: By,
}

/// The most tables of a profile whose types are none of those that are known.
const MOST_TABLES: usize = 4;

/// Summarizes a profile.
pub(super) fn summarize(name: &str, opened: &Read<'_>, options: &ReportOptions) -> ProfileSummary {
    let stacks = &opened.stacks;
    let profile = stacks.profile();
    let totals = sum_types(stacks);
    let (subject, plans) = plan_tables(profile, &totals);
    let frames = FrameTable::new(profile);
    let leader = plans.first().filter(|_| subject != Subject::Other).and_then(|&plan| {
        let options = ReportOptions { rows: 1, only_mine: true };
        rank_table(stacks, &frames, plan, &options).rows.into_iter().next()
    });
    let tables = plans
        .into_iter()
        .map(|plan| rank_table(stacks, &frames, plan, options))
        .filter(|table| !table.rows.is_empty())
        .collect();
    let (comments, _) = list_comments(profile);
    ProfileSummary {
        name: name.to_owned(),
        subject,
        samples: stacks.facts().samples as usize,
        duration_nanos: profile.duration_nanos,
        totals,
        tables,
        leader,
        heap_rate: u64::try_from(profile.period).unwrap_or(0),
        notes: comments.into_iter().chain(opened.warnings.iter().cloned()).collect(),
    }
}

/// Returns what a profile is about, and the tables that show it.
fn plan_tables(profile: &Profile, totals: &[Total]) -> (Subject, Vec<TablePlan>) {
    let find = |wanted: &str| {
        profile.sample_types.iter().position(|kind| profile.str(kind.kind) == wanted)
    };
    let plan = |index, companion, by| TablePlan { index, companion, by };
    if let Some(cpu) = find("cpu") {
        return (Subject::Cpu, vec![plan(cpu, find("samples"), By::Caller)]);
    }
    let spaces = [("inuse_space", "inuse_objects"), ("alloc_space", "alloc_objects")];
    let mut heap: Vec<TablePlan> = spaces
        .into_iter()
        .filter_map(|(space, objects)| Some(plan(find(space)?, find(objects), By::Caller)))
        .collect();
    let default = crate::top::sample_type(profile, None).ok();
    if !heap.is_empty() {
        // What the profile is mainly about comes first.
        heap.sort_by_key(|plan| Some(plan.index) != default);
        return (Subject::Heap, heap);
    }
    if let (Some(delay), Some(contentions)) = (find("delay"), find("contentions")) {
        return (Subject::Contention, vec![plan(delay, Some(contentions), By::Caller)]);
    }
    // Where the default holds nothing, what does: tracers put all they measure into one profile.
    let holds = |&index: &usize| totals[index].value != 0;
    let plans = match default.filter(holds) {
        Some(default) => vec![plan(default, None, By::Function)],
        None => plan_measures(profile, (0..totals.len()).filter(holds).collect()),
    };
    (Subject::Other, plans)
}

/// Returns tables of the types that hold something. Those of one word before `-` or `_`, such as
/// `alloc-samples` and `alloc-space`, measure the same: of them an amount is shown, with the number
/// of its things.
fn plan_measures(profile: &Profile, held: Vec<usize>) -> Vec<TablePlan> {
    let name = |index: usize| profile.str(profile.sample_types[index].kind);
    let word = |index: usize| name(index).split(['-', '_']).next().unwrap_or_default();
    let is_count =
        |index: usize| matches!(profile.str(profile.sample_types[index].unit), "count" | "");
    let mut plans: Vec<TablePlan> = Vec::new();
    for &index in held.iter().filter(|&&index| !is_count(index)) {
        let same = |&other: &usize| is_count(other) && word(other) == word(index);
        let companion = held.iter().copied().find(same);
        plans.push(TablePlan { index, companion, by: By::Function });
    }
    let shown = |index: usize, plans: &[TablePlan]| {
        plans.iter().any(|plan| word(plan.index) == word(index))
    };
    for index in held.into_iter().filter(|&index| is_count(index)) {
        if !shown(index, &plans) {
            plans.push(TablePlan { index, companion: None, by: By::Function });
        }
    }
    plans.truncate(MOST_TABLES);
    plans
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
    options: &ReportOptions,
) -> Table {
    let profile = stacks.profile();
    let TablePlan { index, companion, by } = plan;
    let mut query =
        RankQuery { companion, leaves: true, limit: options.rows, ..RankQuery::new(index, by) };
    if options.only_mine {
        query.folding = Folding::Libraries;
    }
    let ranking = rank(stacks, frames, &query);
    // Where a program allocates and waits are but a few functions of the standard library.
    let is_cpu = profile.str(profile.sample_types[index].kind) == "cpu";
    let leaf = |ranked: &RankedRow| {
        let named = &frames.functions[ranked.leaf? as usize];
        let tells = is_cpu || matches!(named.owner(), FrameOwner::Library | FrameOwner::Runtime);
        tells.then(|| named.name.to_string())
    };
    let kind = |index: usize| profile.str(profile.sample_types[index].kind).to_owned();
    // Rows that only called what is above them say nothing of their own.
    let own = ranking.rows.into_iter().filter(|ranked| ranked.row.flat != 0);
    Table {
        sample_type: kind(index),
        unit: profile.str(profile.sample_types[index].unit).to_owned(),
        total: ranking.total,
        absolute: ranking.absolute,
        count_type: companion.map(kind).unwrap_or_default(),
        rows: own.map(|ranked| table_row(leaf(&ranked), ranked, ranking.absolute)).collect(),
    }
}

fn table_row(leaf: Option<String>, ranked: RankedRow, absolute: i64) -> Row {
    let RankedRow { row, companion, .. } = ranked;
    Row {
        name: row.name,
        file: row.file,
        line: row.line,
        flat: row.flat,
        flat_percent: percent(row.flat, absolute),
        cum: row.cum,
        cum_percent: percent(row.cum, absolute),
        count: companion,
        leaf,
    }
}
