//! The sums behind a ranking, and their order.

use std::cmp::{Ordering, Reverse};
use std::collections::HashMap;

use profile_core::profile::Profile;

use super::{By, TopRow};
use crate::distinct::Distinct;
use crate::frames::Frames;

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

/// The sums of one row. Values are 64 bits, so no number of them leaves 128.
#[derive(Clone, Copy, Default)]
struct Sums {
    flat: i128,
    cum: i128,
    companion: i128,
}

impl Sums {
    fn add_flat(&mut self, values: &[i64], query: &Query) {
        self.flat += i128::from(values[query.index]);
        self.companion += query.companion.map_or(0, |index| i128::from(values[index]));
    }
}

/// Ranks the samples of a profile.
pub(crate) fn rank(profile: &Profile, frames: &Frames<'_>, query: &Query) -> Ranking {
    let total: i128 =
        profile.samples.iter().map(|sample| i128::from(sample.values[query.index])).sum();
    let rows = match query.by {
        By::Site => sites(profile, frames, query),
        By::Function | By::File | By::Caller => groups(profile, frames, query),
    };
    Ranking { total: saturate(total), rows }
}

/// Ranks whole stacks.
fn sites(profile: &Profile, frames: &Frames<'_>, query: &Query) -> Vec<Ranked> {
    let mut distinct = Distinct::with_capacity(profile.samples.len());
    let mut first: Vec<usize> = Vec::new();
    // Nothing is below a whole stack, so flat is all there is.
    let mut flat: Vec<i128> = Vec::new();
    for (index, sample) in profile.samples.iter().enumerate() {
        if sample.stack.is_empty() {
            continue;
        }
        let number = distinct.number(frames.ids(sample.stack), |number| {
            let other = profile.samples.get(first[number]).stack;
            frames.ids(sample.stack).eq(frames.ids(other))
        });
        if number == first.len() {
            first.push(index);
            flat.push(0);
        }
        flat[number] += i128::from(sample.values[query.index]);
    }
    let leaf = |number: usize| {
        let stack = profile.samples.get(first[number]).stack;
        frames.of_stack(stack).next().map(|frame| (frames.function(frame), frames.frames[frame]))
    };
    let key = |number: usize| {
        leaf(number).map(|(named, frame)| (named.name.as_ref(), named.file, frame.line))
    };
    let rows = (0..flat.len()).filter(|&number| flat[number] != 0).collect();
    let by_name = |left, right| key(left).cmp(&key(right)).then(first[left].cmp(&first[right]));
    order(rows, query.limit, |number| flat[number], by_name)
        .into_iter()
        .map(|number| {
            let (name, file, line) = key(number).unwrap_or_default();
            let stack = profile.samples.get(first[number]).stack;
            let stack = frames.of_stack(stack).map(|frame| frames.text(frame)).collect();
            let sums = Sums { flat: flat[number], cum: flat[number], companion: 0 };
            ranked(name, file, line, sums, stack)
        })
        .collect()
}

/// Ranks functions or files.
fn groups(profile: &Profile, frames: &Frames<'_>, query: &Query) -> Vec<Ranked> {
    let groups = Groups::new(frames, query.by);
    let hidden = |frame: usize| query.by == By::Caller && frames.function(frame).plumbing;
    let places: Vec<(u32, bool)> = (0..frames.frames.len())
        .map(|frame| (groups.of_function[frames.frames[frame].function as usize], hidden(frame)))
        .collect();
    let mut sums = vec![Sums::default(); groups.names.len()];
    let mut weights = vec![0_u128; places.len()];
    // The number of the sample in which a group was last seen, so that recursion counts once.
    let mut seen = vec![usize::MAX; sums.len()];
    for (index, sample) in profile.samples.iter().enumerate() {
        let value = sample.values[query.index];
        let mut charge = |frame: usize, group: usize| {
            if seen[group] != index {
                seen[group] = index;
                sums[group].cum += i128::from(value);
                weights[frame] += u128::from(value.unsigned_abs());
            }
        };
        let mut leaf = None;
        for frame in frames.of_stack(sample.stack) {
            let (group, hidden) = places[frame];
            if !hidden {
                leaf.get_or_insert(group as usize);
                charge(frame, group as usize);
            }
        }
        // Where all is plumbing, the leaf is as good as any.
        let leaf = leaf.or_else(|| {
            let frame = frames.of_stack(sample.stack).next()?;
            let group = places[frame].0 as usize;
            charge(frame, group);
            Some(group)
        });
        if let Some(leaf) = leaf {
            sums[leaf].add_flat(sample.values, query);
        }
    }
    let lines = groups.lines(frames, &weights);
    let key = |group: usize| (groups.names[group], lines[group]);
    let something = |&group: &usize| sums[group].flat != 0 || sums[group].cum != 0;
    let rows = (0..sums.len()).filter(something).collect();
    let value = |group: usize| if query.cum { sums[group].cum } else { sums[group].flat };
    order(rows, query.limit, value, |left, right| key(left).cmp(&key(right)))
        .into_iter()
        .map(|group| {
            let ((name, file), line) = key(group);
            ranked(name, file, line, sums[group], Vec::new())
        })
        .collect()
}

/// Which row each function belongs to.
struct Groups<'a> {
    /// The name and file of each row.
    names: Vec<(&'a str, &'a str)>,
    of_function: Vec<u32>,
    has_lines: bool,
}

impl<'a> Groups<'a> {
    fn new(frames: &'a Frames<'_>, by: By) -> Groups<'a> {
        let functions = frames.functions.iter();
        if by != By::File {
            let names = functions.map(|named| (named.name.as_ref(), named.file)).collect();
            let of_function = (0..frames.functions.len() as u32).collect();
            return Groups { names, of_function, has_lines: true };
        }
        let mut names = Vec::new();
        let mut known = HashMap::new();
        let of_function = functions
            .map(|named| {
                let name = named.file_or_object();
                *known.entry(name).or_insert_with(|| {
                    names.push((name, named.file));
                    names.len() as u32 - 1
                })
            })
            .collect();
        Groups { names, of_function, has_lines: false }
    }

    /// The heaviest line of each row, the first of equal ones.
    fn lines(&self, frames: &Frames<'_>, weights: &[u128]) -> Vec<i64> {
        let mut by_line: HashMap<(u32, i64), u128> = HashMap::new();
        for (frame, &weight) in frames.frames.iter().zip(weights) {
            if self.has_lines && weight > 0 {
                *by_line.entry((frame.function, frame.line)).or_default() += weight;
            }
        }
        let mut heaviest = vec![None; self.names.len()];
        for ((group, line), weight) in by_line {
            let best = &mut heaviest[group as usize];
            *best = (*best).max(Some((weight, Reverse(line))));
        }
        heaviest.into_iter().map(|best| best.map_or(0, |(_, Reverse(line))| line)).collect()
    }
}

/// The rows in order, the largest first, no more than asked for.
fn order(
    mut rows: Vec<usize>,
    limit: usize,
    value: impl Fn(usize) -> i128,
    by_name: impl Fn(usize, usize) -> Ordering,
) -> Vec<usize> {
    let compare = |&left: &usize, &right: &usize| {
        value(right).cmp(&value(left)).then_with(|| by_name(left, right))
    };
    if limit < rows.len() {
        rows.select_nth_unstable_by(limit, compare);
        rows.truncate(limit);
    }
    rows.sort_unstable_by(compare);
    rows
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
