//! The sums behind a ranking, and their order.

use std::cmp::{Ordering, Reverse};
use std::collections::HashMap;

use profile_format::profile::Stacks;

use super::{By, TopRow};
use crate::distinct::DistinctIndex;
use crate::folding::{Folding, ShownFrames};
use crate::frames::{FrameRef, FrameTable, NamedFunction};
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
    pub(crate) folding: Folding,
    /// Whether the heaviest leaf of each row is wanted.
    pub(crate) leaves: bool,
    pub(crate) cum: bool,
    pub(crate) limit: usize,
}

impl RankQuery {
    /// Returns the ranking of all rows by flat.
    pub(crate) fn new(index: usize, by: By) -> RankQuery {
        let folding = if by == By::Caller { Folding::Plumbing } else { Folding::Nothing };
        RankQuery {
            index,
            companion: None,
            by,
            folding,
            leaves: false,
            cum: false,
            limit: usize::MAX,
        }
    }
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
    /// Of what is folded into the row, the leaf with the most: the index of its function.
    pub(crate) leaf: Option<u32>,
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
    let shown = ShownFrames::new(frames, query.folding);
    let sites = match query.folding {
        Folding::Nothing => SiteIndex::merge_equal_stacks(stacks, &mut values, frames),
        _ => Some(SiteIndex::group_by_parts(&mut values, |stack| {
            shown.path(stacks, stack).map(|frame| frames.id(frame))
        })),
    };
    let first = |site: usize| sites.as_ref().map_or(site, |sites| sites.first[site] as usize);
    let flat = |site: usize| match &sites {
        Some(sites) => sites.sums[site],
        None => stacks.value(site, query.index),
    };
    let path = |site: usize| shown.path(stacks, first(site));
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
    let shown = ShownFrames::new(frames, query.folding);
    let mut sums = vec![RowSums::default(); groups.names.len()];
    let mut weights = vec![0_u128; frames.frames.len()];
    let mut leaves = LeafSums::default();
    // The number of the stack in which a group was last seen, so that recursion counts once.
    let mut seen = vec![usize::MAX; sums.len()];
    for (stack, value) in values.enumerate() {
        let mut first = None;
        for frame in shown.path(stacks, stack) {
            let group = groups.of_frame[frame] as usize;
            first.get_or_insert(frame);
            if seen[group] != stack {
                seen[group] = stack;
                sums[group].cum += value;
                weights[frame] += value.unsigned_abs();
            }
        }
        let Some(first) = first else { continue };
        let group = groups.of_frame[first];
        let row = &mut sums[group as usize];
        row.flat += value;
        row.companion += query.companion.map_or(0, |column| stacks.value(stack, column));
        if query.leaves {
            let leaf = frames.frames_or_none(stacks.locations(stack)).next().unwrap_or(first);
            leaves.add(group, frames, [first, leaf], value);
        }
    }
    let heaviest = leaves.find_heaviest();
    // A leaf with less than a quarter says little.
    let leaf = |group: usize| {
        let &(sum, Reverse(leaf)) = heaviest.get(&(group as u32))?;
        (sum > 0 && sum * 4 >= sums[group].flat).then_some(leaf)
    };
    let places = groups.heaviest_lines(frames, &weights);
    let key = |group: usize| (groups.names[group], places[group]);
    let wanted = |group: usize| sums[group].flat != 0 || sums[group].cum != 0;
    let values = sums.iter().map(|sums| if query.cum { sums.cum } else { sums.flat });
    order_rows(values, query.limit, wanted, |left, right| key(left).cmp(&key(right)))
        .into_iter()
        .map(|group| {
            let (name, (file, line)) = key(group);
            let row = make_row(name, file, line, sums[group], Vec::new());
            RankedRow { leaf: leaf(group), ..row }
        })
        .collect()
}

/// What falls on the leaves that are folded into each row.
#[derive(Default)]
struct LeafSums {
    sums: HashMap<(u32, u32), i128>,
}

impl LeafSums {
    /// Adds a stack: the first frame that is shown, and its leaf.
    fn add(&mut self, group: u32, frames: &FrameTable<'_>, ends: [usize; 2], value: i128) {
        let [shown, leaf] = ends.map(|frame| frames.frames[frame].function);
        if shown != leaf {
            *self.sums.entry((group, leaf)).or_default() += value;
        }
    }

    /// Returns for each row the function of the leaf with most of it, and the sum.
    fn find_heaviest(self) -> HashMap<u32, (i128, Reverse<u32>)> {
        let mut heaviest = HashMap::new();
        for ((group, leaf), sum) in self.sums {
            let best = heaviest.entry(group).or_insert((sum, Reverse(leaf)));
            *best = (*best).max((sum, Reverse(leaf)));
        }
        heaviest
    }
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
        match by {
            By::File => group_frames(frames, by, |named| (named.file_or_object(), "")),
            By::Line => {
                // Frames are numbered by function and line.
                let of_frame: Vec<u32> =
                    (0..frames.frames.len()).map(|frame| frames.id(frame)).collect();
                let count = of_frame.iter().max().map_or(0, |&id| id as usize + 1);
                let mut names = vec![""; count];
                for (index, &id) in of_frame.iter().enumerate() {
                    names[id as usize] = frames.function(index).name.as_ref();
                }
                FrameGroups { names, of_frame, by }
            }
            // Functions are told by name and file: closures of all files have one name.
            _ => group_frames(frames, by, |named| (named.name.as_ref(), named.file)),
        }
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

/// Puts frames whose functions have the same key in one row, named by the key's first part.
fn group_frames<'a>(
    frames: &'a FrameTable<'_>,
    by: By,
    key: impl Fn(&'a NamedFunction<'_>) -> (&'a str, &'a str),
) -> FrameGroups<'a> {
    let mut names = Vec::new();
    let mut group_of_key = HashMap::with_hasher(KeyedHashBuilder::new());
    let of_function: Vec<u32> = frames
        .functions
        .iter()
        .map(|named| {
            let key = key(named);
            *group_of_key.entry(key).or_insert_with(|| {
                names.push(key.0);
                names.len() as u32 - 1
            })
        })
        .collect();
    let group = |frame: &FrameRef| of_function[frame.function as usize];
    FrameGroups { names, of_frame: frames.frames.iter().map(group).collect(), by }
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
    RankedRow { row, companion: saturate(sums.companion), leaf: None }
}

/// Returns the number, or the end of `i64` that is nearest.
pub(crate) fn saturate(number: i128) -> i64 {
    number.clamp(i64::MIN.into(), i64::MAX.into()) as i64
}
