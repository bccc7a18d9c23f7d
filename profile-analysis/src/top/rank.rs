//! The sums behind a ranking, and their order.

use std::cmp::{Ordering, Reverse};
use std::collections::HashMap;

use profile_format::profile::Stacks;

use super::{By, TopRow};
use crate::distinct::DistinctIndex;
use crate::frames::{FrameRef, FrameTable};
use crate::hash::KeyedHashBuilder;
use crate::table::StackWriter;

/// The parameters of a ranking.
pub(crate) struct RankQuery {
    /// The sample type's index.
    pub(crate) index: usize,
    /// A second sample type to sum up for the same rows, such as the objects to the bytes; not
    /// for sites.
    pub(crate) companion: Option<usize>,
    pub(crate) by: By,
    pub(crate) cum: bool,
    pub(crate) limit: usize,
}

/// Rows in order, and the sums over all stacks: of their values, and of those without their signs.
pub(crate) struct RowRanking {
    pub(crate) total: i64,
    pub(crate) absolute: i64,
    pub(crate) rows: Vec<RankedRow>,
}

/// A row, with the flat sum of the companion type.
pub(crate) struct RankedRow {
    pub(crate) row: TopRow,
    pub(crate) companion: i64,
}

/// The sums of one row. Each value has 64 bits, so that no number of them overflows 128.
#[derive(Clone, Copy, Default)]
struct RowSums {
    flat: i128,
    cum: i128,
    companion: i128,
}

/// Ranks the stacks of a profile.
pub(crate) fn rank(stacks: &Stacks<'_>, frames: &FrameTable<'_>, query: &RankQuery) -> RowRanking {
    let (mut total, mut below_zero) = (0, 0);
    // All of them are gone through anyway.
    let values = stacks.values(query.index).inspect(|value| {
        total += value;
        below_zero += value.min(&0);
    });
    let rows = match query.by {
        By::Site => rank_sites(stacks, values, frames, query),
        By::Function | By::File | By::Line | By::Caller => {
            rank_groups(stacks, values, frames, query)
        }
    };
    RowRanking { total: saturate(total), absolute: saturate(total - 2 * below_zero), rows }
}

/// Ranks whole stacks.
fn rank_sites(
    stacks: &Stacks<'_>,
    mut values: impl Iterator<Item = i128>,
    frames: &FrameTable<'_>,
    query: &RankQuery,
) -> Vec<RankedRow> {
    // Nothing is below a whole stack, so flat is all there is.
    let sites = SiteIndex::merge_equal_stacks(stacks, &mut values, frames);
    let first = |site: usize| sites.as_ref().map_or(site, |sites| sites.first[site] as usize);
    let flat = |site: usize| match &sites {
        Some(sites) => sites.sums[site],
        None => stacks.value(site, query.index),
    };
    let path = |site: usize| frames.frames_or_none(stacks.locations(first(site)));
    let key = |site: usize| {
        let leaf = path(site).next();
        leaf.map(|leaf| {
            let named = frames.function(leaf);
            (named.name.as_ref(), named.file, frames.frames[leaf].line)
        })
    };
    let wanted = |site: usize| flat(site) != 0;
    let by_name = |left: usize, right: usize| key(left).cmp(&key(right)).then(left.cmp(&right));
    let in_order = match &sites {
        Some(sites) => order_rows(sites.sums.iter().copied(), query.limit, wanted, by_name),
        None => order_rows(values, query.limit, wanted, by_name),
    };
    let mut writer = StackWriter::new();
    in_order
        .into_iter()
        .map(|site| {
            let (name, file, line) = key(site).unwrap_or_default();
            let stack = writer.write(|| path(site), |frame| frames.format_frame(frame));
            let sums = RowSums { flat: flat(site), cum: flat(site), companion: 0 };
            make_row(name, file, line, sums, stack)
        })
        .collect()
}

/// Stacks that have the same functions and lines, added up.
#[derive(Default)]
struct SiteIndex {
    /// The first stack of each site.
    first: Vec<u32>,
    sums: Vec<i128>,
}

impl SiteIndex {
    /// Adds up stacks of the same site. Returns `None`, and takes no value, where all locations
    /// have different frames: then the stacks are the sites.
    fn merge_equal_stacks(
        stacks: &Stacks<'_>,
        values: &mut impl Iterator<Item = i128>,
        frames: &FrameTable<'_>,
    ) -> Option<SiteIndex> {
        match frames.classify_locations() {
            Some((_, true)) => None,
            Some((classes, false)) => Some(SiteIndex::group_by_parts(values, |stack| {
                stacks.locations(stack).map(|location| classes[location as usize])
            })),
            None => Some(SiteIndex::group_by_parts(values, |stack| {
                frames.stack_ids(stacks.locations(stack))
            })),
        }
    }

    /// Groups stacks by parts that are equal for the same site.
    fn group_by_parts<I: Iterator<Item = u32>>(
        values: &mut impl Iterator<Item = i128>,
        parts: impl Fn(usize) -> I,
    ) -> SiteIndex {
        let mut distinct = DistinctIndex::default();
        let SiteIndex { mut first, mut sums } = SiteIndex::default();
        for (stack, value) in values.enumerate() {
            let site =
                distinct.number(parts(stack), |site| parts(stack).eq(parts(first[site] as usize)));
            if site == first.len() {
                first.push(stack as u32);
                sums.push(0);
            }
            sums[site] += value;
        }
        SiteIndex { first, sums }
    }
}

/// Ranks functions, lines or files.
fn rank_groups(
    stacks: &Stacks<'_>,
    values: impl Iterator<Item = i128>,
    frames: &FrameTable<'_>,
    query: &RankQuery,
) -> Vec<RankedRow> {
    let groups = FrameGroups::new(frames, query.by);
    let hides = query.by == By::Caller;
    let hidden: Vec<bool> =
        frames.functions.iter().map(|named| hides && named.owner().is_plumbing()).collect();
    let places: Vec<(u32, bool)> = (frames.frames.iter().zip(&groups.of_frame))
        .map(|(frame, &group)| (group, hidden[frame.function as usize]))
        .collect();
    let mut sums = vec![RowSums::default(); groups.names.len()];
    let mut weights = vec![0_u128; places.len()];
    // The number of the stack in which a group was last seen, so that recursion counts once.
    let mut seen = vec![usize::MAX; sums.len()];
    for (stack, value) in values.enumerate() {
        let mut charge = |frame: usize, group: usize| {
            if seen[group] != stack {
                seen[group] = stack;
                sums[group].cum += value;
                weights[frame] += value.unsigned_abs();
            }
        };
        let mut leaf = None;
        for frame in frames.stack_frames(stacks.locations(stack)) {
            let (group, hidden) = places[frame];
            if !hidden {
                leaf.get_or_insert(group as usize);
                charge(frame, group as usize);
            }
        }
        let leaf = leaf.unwrap_or_else(|| {
            // Where all is plumbing, the leaf is as good as any; and there may be none at all.
            let leaf = frames.stack_frames(stacks.locations(stack)).next();
            let frame = leaf.unwrap_or(frames.no_stack());
            let group = places[frame].0 as usize;
            charge(frame, group);
            group
        });
        sums[leaf].flat += value;
        sums[leaf].companion += query.companion.map_or(0, |column| stacks.value(stack, column));
    }
    let shown = groups.heaviest_lines(frames, &weights);
    let key = |group: usize| (groups.names[group], shown[group]);
    let wanted = |group: usize| sums[group].flat != 0 || sums[group].cum != 0;
    let values = sums.iter().map(|sums| if query.cum { sums.cum } else { sums.flat });
    order_rows(values, query.limit, wanted, |left, right| key(left).cmp(&key(right)))
        .into_iter()
        .map(|group| {
            let (name, (file, line)) = key(group);
            make_row(name, file, line, sums[group], Vec::new())
        })
        .collect()
}

/// The rows that frames belong to.
struct FrameGroups<'a> {
    /// The name of each row.
    names: Vec<&'a str>,
    of_frame: Vec<u32>,
    by: By,
}

impl<'a> FrameGroups<'a> {
    fn new(frames: &'a FrameTable<'_>, by: By) -> FrameGroups<'a> {
        let mut names = Vec::new();
        let mut group_of_name = HashMap::with_hasher(KeyedHashBuilder::new());
        let of_function: Vec<u32> = frames
            .functions
            .iter()
            .map(|named| {
                let name = match by {
                    By::File => named.file_or_object(),
                    _ => named.name.as_ref(),
                };
                *group_of_name.entry(name).or_insert_with(|| {
                    names.push(name);
                    names.len() as u32 - 1
                })
            })
            .collect();
        let group = |frame: &FrameRef| of_function[frame.function as usize];
        if by != By::Line {
            return FrameGroups { names, of_frame: frames.frames.iter().map(group).collect(), by };
        }
        // Frames are numbered by function and line, and functions told by name and file.
        let of_frame: Vec<u32> = (0..frames.frames.len()).map(|frame| frames.id(frame)).collect();
        let mut names_of_lines = vec![""; of_frame.iter().max().map_or(0, |&id| id as usize + 1)];
        for (frame, &id) in frames.frames.iter().zip(&of_frame) {
            names_of_lines[id as usize] = names[group(frame) as usize];
        }
        FrameGroups { names: names_of_lines, of_frame, by }
    }

    /// Returns for each row the file and line on which most of it falls, the first of equal ones.
    fn heaviest_lines<'f>(
        &self,
        frames: &'f FrameTable<'_>,
        weights: &[u128],
    ) -> Vec<(&'f str, i64)> {
        let by_file = self.by == By::File;
        // What falls on each function and line, in the order of their numbers.
        let mut sums = vec![(0_u128, 0); frames.frames.len()];
        for (index, &weight) in weights.iter().enumerate() {
            let sum = &mut sums[frames.id(index) as usize];
            *sum = (sum.0.saturating_add(weight), index);
        }
        let mut heaviest = vec![None; self.names.len()];
        for (weight, index) in sums.into_iter().filter(|&(weight, _)| weight > 0) {
            let frame = frames.frames[index];
            let line = if by_file { 0 } else { frame.line };
            let file = frames.functions[frame.function as usize].file;
            let best = &mut heaviest[self.of_frame[index] as usize];
            *best = (*best).max(Some((weight, Reverse((file, line)))));
        }
        heaviest.into_iter().map(|best| best.map_or(("", 0), |(_, Reverse(place))| place)).collect()
    }
}

/// Returns the wanted rows in order of their values, the largest first, no more than asked for.
fn order_rows(
    values: impl Iterator<Item = i128>,
    limit: usize,
    wanted: impl Fn(usize) -> bool,
    by_name: impl Fn(usize, usize) -> Ordering,
) -> Vec<usize> {
    /// Rows that are kept beyond the limit, until it is worth while to look which are the largest.
    const SPARE: usize = 1000;
    let compare = |left: &(i128, usize), right: &(i128, usize)| {
        right.0.cmp(&left.0).then_with(|| by_name(left.1, right.1))
    };
    let mut largest = Vec::new();
    // What is below the limit already.
    let mut floor = i128::MIN;
    let most = limit.saturating_mul(2).saturating_add(SPARE);
    for (row, value) in values.enumerate() {
        if value < floor || limit == 0 || !wanted(row) {
            continue;
        }
        largest.push((value, row));
        if largest.len() == most {
            floor = largest.select_nth_unstable_by(limit - 1, compare).1.0;
            largest.truncate(limit);
        }
    }
    largest.sort_unstable_by(compare);
    largest.truncate(limit);
    largest.into_iter().map(|(_, row)| row).collect()
}

fn make_row(name: &str, file: &str, line: i64, sums: RowSums, stack: Vec<String>) -> RankedRow {
    let (flat, cum) = (saturate(sums.flat), saturate(sums.cum));
    let row = TopRow { name: name.to_owned(), file: file.to_owned(), line, flat, cum, stack };
    RankedRow { row, companion: saturate(sums.companion) }
}

/// Returns the number, or the end of `i64` that is nearest.
pub(crate) fn saturate(number: i128) -> i64 {
    number.clamp(i64::MIN.into(), i64::MAX.into()) as i64
}
