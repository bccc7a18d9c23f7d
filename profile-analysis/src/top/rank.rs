//! The sums behind a ranking, and their order.

use std::cmp::{Ordering, Reverse};
use std::collections::HashMap;

use profile_core::profile::Stacks;

use super::{By, TopRow};
use crate::distinct::Distinct;
use crate::frames::{Frame, Frames};

/// What to rank.
pub(crate) struct Query {
    /// The sample type's index.
    pub(crate) index: usize,
    /// A second sample type to sum up for the same rows, such as the objects to the bytes; not
    /// for sites.
    pub(crate) companion: Option<usize>,
    pub(crate) by: By,
    pub(crate) cum: bool,
    pub(crate) limit: usize,
}

/// Rows in order, and what they are of.
pub(crate) struct Ranking {
    pub(crate) total: i64,
    pub(crate) rows: Vec<Ranked>,
}

/// A row, with the flat sum of the companion type.
pub(crate) struct Ranked {
    pub(crate) row: TopRow,
    pub(crate) companion: i64,
}

/// The sums of one row: 64 bits at a time, so no number of them leaves 128.
#[derive(Clone, Copy, Default)]
struct Sums {
    flat: i128,
    cum: i128,
    companion: i128,
}

/// Ranks the stacks of a profile.
pub(crate) fn rank(stacks: &Stacks<'_>, frames: &Frames<'_>, query: &Query) -> Ranking {
    let rows = match query.by {
        By::Site => sites(stacks, frames, query),
        By::Function | By::File | By::Line | By::Caller => groups(stacks, frames, query),
    };
    Ranking { total: saturate(stacks.total(query.index)), rows }
}

/// Ranks whole stacks.
fn sites(stacks: &Stacks<'_>, frames: &Frames<'_>, query: &Query) -> Vec<Ranked> {
    // Nothing is below a whole stack, so flat is all there is.
    let sites = Sites::of(stacks, frames, query.index);
    let flat = |site: usize| match &sites.sums {
        Some(sums) => sums[site],
        None => stacks.value(site, query.index),
    };
    let path = |site: usize| frames.of_stack(stacks.locations(sites.stack(site)));
    let key = |site: usize| {
        let leaf = path(site).next();
        leaf.map(|leaf| {
            let named = frames.function(leaf);
            (named.name.as_ref(), named.file, frames.frames[leaf].line)
        })
    };
    let rows = (0..sites.len)
        .map(|site| (flat(site), site))
        .filter(|&(flat, site)| flat != 0 && stacks.has_locations(sites.stack(site)));
    let by_name = |left: usize, right: usize| key(left).cmp(&key(right)).then(left.cmp(&right));
    order(rows, query.limit, by_name)
        .into_iter()
        .map(|site| {
            let (name, file, line) = key(site).unwrap_or_default();
            let stack = path(site).map(|frame| frames.text(frame)).collect();
            let sums = Sums { flat: flat(site), cum: flat(site), companion: 0 };
            ranked(name, file, line, sums, stack)
        })
        .collect()
}

/// Stacks that have the same functions and lines.
struct Sites {
    len: usize,
    /// The first stack of each, where a site may be more than one stack.
    first: Option<Vec<u32>>,
    /// The sums, likewise.
    sums: Option<Vec<i128>>,
}

impl Sites {
    fn of(stacks: &Stacks<'_>, frames: &Frames<'_>, column: usize) -> Sites {
        match frames.classes() {
            // Other locations are other frames, so the stacks are the sites.
            Some((_, true)) => Sites { len: stacks.len(), first: None, sums: None },
            Some((classes, false)) => Sites::grouped(stacks, column, |stack| {
                stacks.locations(stack).map(|location| classes[location as usize])
            }),
            None => Sites::grouped(stacks, column, |stack| frames.ids(stacks.locations(stack))),
        }
    }

    /// Groups stacks by parts that are equal for the same site.
    fn grouped<I: Iterator<Item = u32>>(
        stacks: &Stacks<'_>,
        column: usize,
        parts: impl Fn(usize) -> I,
    ) -> Sites {
        let mut distinct = Distinct::default();
        let (mut first, mut sums) = (Vec::new(), Vec::new());
        for stack in 0..stacks.len() {
            if !stacks.has_locations(stack) {
                continue;
            }
            let site =
                distinct.number(parts(stack), |site| parts(stack).eq(parts(first[site] as usize)));
            if site == first.len() {
                first.push(stack as u32);
                sums.push(0);
            }
            sums[site] += stacks.value(stack, column);
        }
        Sites { len: first.len(), first: Some(first), sums: Some(sums) }
    }

    /// The first stack of a site.
    fn stack(&self, site: usize) -> usize {
        self.first.as_ref().map_or(site, |first| first[site] as usize)
    }
}

/// Ranks functions, lines or files.
fn groups(stacks: &Stacks<'_>, frames: &Frames<'_>, query: &Query) -> Vec<Ranked> {
    let groups = Groups::new(frames, query.by);
    let hides = query.by == By::Caller;
    let hidden: Vec<bool> =
        frames.functions.iter().map(|named| hides && named.is_plumbing()).collect();
    let places: Vec<(u32, bool)> = (frames.frames.iter().zip(&groups.of_frame))
        .map(|(frame, &group)| (group, hidden[frame.function as usize]))
        .collect();
    let mut sums = vec![Sums::default(); groups.names.len()];
    let mut weights = vec![0_u128; places.len()];
    // The number of the stack in which a group was last seen, so that recursion counts once.
    let mut seen = vec![usize::MAX; sums.len()];
    for stack in 0..stacks.len() {
        let value = stacks.value(stack, query.index);
        let mut charge = |frame: usize, group: usize| {
            if seen[group] != stack {
                seen[group] = stack;
                sums[group].cum += value;
                weights[frame] += value.unsigned_abs();
            }
        };
        let mut leaf = None;
        for frame in frames.of_stack(stacks.locations(stack)) {
            let (group, hidden) = places[frame];
            if !hidden {
                leaf.get_or_insert(group as usize);
                charge(frame, group as usize);
            }
        }
        // Where all is plumbing, the leaf is as good as any.
        let leaf = leaf.or_else(|| {
            let frame = frames.of_stack(stacks.locations(stack)).next()?;
            let group = places[frame].0 as usize;
            charge(frame, group);
            Some(group)
        });
        if let Some(leaf) = leaf {
            sums[leaf].flat += value;
            sums[leaf].companion += query.companion.map_or(0, |column| stacks.value(stack, column));
        }
    }
    let shown = groups.heaviest(frames, &weights);
    let key = |group: usize| (groups.names[group], shown[group]);
    let rows = sums
        .iter()
        .enumerate()
        .filter(|(_, sums)| sums.flat != 0 || sums.cum != 0)
        .map(|(group, sums)| (if query.cum { sums.cum } else { sums.flat }, group));
    order(rows, query.limit, |left, right| key(left).cmp(&key(right)))
        .into_iter()
        .map(|group| {
            let (name, (file, line)) = key(group);
            ranked(name, file, line, sums[group], Vec::new())
        })
        .collect()
}

/// Which row each frame belongs to.
struct Groups<'a> {
    /// The name of each row.
    names: Vec<&'a str>,
    of_frame: Vec<u32>,
    by: By,
}

impl<'a> Groups<'a> {
    fn new(frames: &'a Frames<'_>, by: By) -> Groups<'a> {
        let mut names = Vec::new();
        let mut known = HashMap::new();
        let mut known_lines = HashMap::new();
        let of_function: Vec<u32> = frames
            .functions
            .iter()
            .map(|named| {
                let name = match by {
                    By::File => named.file_or_object(),
                    _ => named.name.as_ref(),
                };
                *known.entry(name).or_insert_with(|| {
                    names.push(name);
                    names.len() as u32 - 1
                })
            })
            .collect();
        let group = |frame: &Frame| of_function[frame.function as usize];
        if by != By::Line {
            return Groups { names, of_frame: frames.frames.iter().map(group).collect(), by };
        }
        let mut names_of_lines = Vec::new();
        let of_frame = frames
            .frames
            .iter()
            .map(|frame| {
                let file = frames.functions[frame.function as usize].file;
                *known_lines.entry((group(frame), file, frame.line)).or_insert_with(|| {
                    names_of_lines.push(names[group(frame) as usize]);
                    names_of_lines.len() as u32 - 1
                })
            })
            .collect();
        Groups { names: names_of_lines, of_frame, by }
    }

    /// The file and line of each row on which most of it falls, the first of equal ones.
    fn heaviest<'f>(&self, frames: &'f Frames<'_>, weights: &[u128]) -> Vec<(&'f str, i64)> {
        let mut by_line: HashMap<(u32, &str, i64), u128> = HashMap::new();
        for (index, frame) in frames.frames.iter().enumerate() {
            if weights[index] > 0 {
                let file = frames.functions[frame.function as usize].file;
                let line = if self.by == By::File { 0 } else { frame.line };
                *by_line.entry((self.of_frame[index], file, line)).or_default() += weights[index];
            }
        }
        let mut heaviest = vec![None; self.names.len()];
        for ((group, file, line), weight) in by_line {
            let best = &mut heaviest[group as usize];
            *best = (*best).max(Some((weight, Reverse((file, line)))));
        }
        heaviest.into_iter().map(|best| best.map_or(("", 0), |(_, Reverse(place))| place)).collect()
    }
}

/// The rows in order of their values, the largest first, no more than asked for.
fn order(
    rows: impl Iterator<Item = (i128, usize)>,
    limit: usize,
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
    for row in rows.filter(|_| limit > 0) {
        if row.0 < floor {
            continue;
        }
        largest.push(row);
        if largest.len() == most {
            floor = largest.select_nth_unstable_by(limit - 1, compare).1.0;
            largest.truncate(limit);
        }
    }
    largest.sort_unstable_by(compare);
    largest.truncate(limit);
    largest.into_iter().map(|(_, row)| row).collect()
}

fn ranked(name: &str, file: &str, line: i64, sums: Sums, stack: Vec<String>) -> Ranked {
    let (flat, cum) = (saturate(sums.flat), saturate(sums.cum));
    let row = TopRow { name: name.to_owned(), file: file.to_owned(), line, flat, cum, stack };
    Ranked { row, companion: saturate(sums.companion) }
}

/// The number, or the end of `i64` that is nearest.
pub(crate) fn saturate(number: i128) -> i64 {
    number.clamp(i64::MIN.into(), i64::MAX.into()) as i64
}
