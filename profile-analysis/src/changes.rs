//! What has grown from one profile to the next, by function, line, file or whole stack.

use std::collections::HashMap;

use profile_format::escaped;
use profile_format::profile::Stacks;
use serde::Serialize;

use crate::Result;
use crate::distinct::DistinctIndex;
use crate::frames::FrameTable;
use crate::table::{TextColumns, format_place, frames_below_leaf};
use crate::top::{By, RankQuery, rank, sample_type, saturate};
use crate::units::{format_percent, format_value};

/// Options of a comparison.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChangesOptions {
    /// The sample type, as `kind` or `kind/unit`; where `None` the later profile's default.
    pub sample_type: Option<String>,
    /// The kind of thing that a row stands for.
    pub by: By,
    /// Ranks by the change of cum instead of that of flat where true.
    pub cum: bool,
    /// The most rows; all where `None`.
    pub limit: Option<usize>,
    /// Scales the earlier profile to the later one's total where true: shares are compared, not
    /// amounts.
    pub normalize: bool,
}

/// The comparison of two profiles. Serializes to what `diff --json` prints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Changes {
    /// The quantity that is counted, such as `inuse_space`.
    #[serde(rename = "type")]
    pub sample_type: String,
    /// Unit of the values, such as `bytes`.
    pub unit: String,
    /// The sum over the earlier profile, scaled where [`ChangesOptions::normalize`] says so.
    pub base_total: i64,
    /// The sum over the later profile.
    pub total: i64,
    /// Rows whose ranked value, flat or cum, has changed, the largest change first.
    pub rows: Vec<Change>,
}

/// A row whose value differs between the two profiles.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Name of the row, as in [`TopRow`](crate::top::TopRow).
    pub name: String,
    /// The source file: the later profile's, or the earlier one's where only that has the row.
    pub file: String,
    /// The line: the later profile's, or the earlier one's where only that has the row.
    pub line: i64,
    /// Amount by which flat has grown.
    pub flat: i64,
    /// Amount by which cum has grown.
    pub cum: i64,
    /// Flat in the earlier profile.
    pub base_flat: i64,
    /// Flat in the later profile.
    pub new_flat: i64,
    /// Cum in the earlier profile.
    pub base_cum: i64,
    /// Cum in the later profile.
    pub new_cum: i64,
    /// For [`By::Site`] the frames, the leaf first; else empty.
    pub stack: Vec<String>,
}

/// Compares two profiles.
///
/// # Errors
///
/// Where one of them has no such sample type.
pub fn changes(base: &Stacks<'_>, new: &Stacks<'_>, options: &ChangesOptions) -> Result<Changes> {
    let new_column = sample_type(new.profile(), options.sample_type.as_deref())?;
    let value_type = new.profile().sample_types[new_column];
    let base_column = sample_type(base.profile(), Some(&new.profile().type_name(value_type)))?;
    let (base_total, total) = (base.total(base_column), new.total(new_column));
    let scale = |value: i64| match options.normalize && base_total != 0 {
        true => (value as f64 * (total as f64 / base_total as f64)).round() as i64,
        false => value,
    };
    let mut rows = match options.by {
        By::Site => compare_sites((base, base_column), (new, new_column)),
        by => compare_rows((base, base_column), (new, new_column), by),
    };
    for row in &mut rows {
        row.base_flat = scale(row.base_flat);
        row.base_cum = scale(row.base_cum);
        row.flat = row.new_flat.saturating_sub(row.base_flat);
        row.cum = row.new_cum.saturating_sub(row.base_cum);
    }
    let size = |row: &Change| if options.cum { row.cum } else { row.flat }.unsigned_abs();
    rows.retain(|row| size(row) != 0);
    let key = |row: &Change| (row.name.clone(), row.file.clone(), row.line);
    rows.sort_by(|left, right| {
        let order = size(right).cmp(&size(left));
        order.then_with(|| (key(left), &left.stack).cmp(&(key(right), &right.stack)))
    });
    rows.truncate(options.limit.unwrap_or(usize::MAX));
    Ok(Changes {
        sample_type: new.profile().str(value_type.kind).to_owned(),
        unit: new.profile().str(value_type.unit).to_owned(),
        base_total: scale(saturate(base_total)),
        total: saturate(total),
        rows,
    })
}

/// A profile and the sample type's index in it.
type ChangeSide<'a> = (&'a Stacks<'a>, usize);

/// Returns the functions, lines or files of both profiles with their values, and no changes yet.
fn compare_rows(base: ChangeSide<'_>, new: ChangeSide<'_>, by: By) -> Vec<Change> {
    let mut rows: Vec<Change> = Vec::new();
    let mut row_numbers = HashMap::new();
    for (is_new, (stacks, index)) in [(true, new), (false, base)] {
        let query = RankQuery { index, companion: None, by, cum: false, limit: usize::MAX };
        for ranked in rank(stacks, &FrameTable::new(stacks.profile()), &query).rows {
            let row = ranked.row;
            // A function is the same where its lines have moved.
            let place =
                if by == By::Line { (row.file.clone(), row.line) } else { Default::default() };
            let number = *row_numbers.entry((row.name.clone(), place)).or_insert_with(|| {
                rows.push(Change::new(row.name, row.file, row.line, Vec::new()));
                rows.len() - 1
            });
            if is_new {
                (rows[number].new_flat, rows[number].new_cum) = (row.flat, row.cum);
            } else {
                (rows[number].base_flat, rows[number].base_cum) = (row.flat, row.cum);
            }
        }
    }
    rows
}

/// Returns the stacks whose values differ, identified by their functions and lines.
fn compare_sites(base: ChangeSide<'_>, new: ChangeSide<'_>) -> Vec<Change> {
    let mut frame_ids: HashMap<(String, String, i64), u32> = HashMap::new();
    let mut distinct = DistinctIndex::with_capacity(new.0.len());
    let (mut all, mut ends) = (Vec::<u32>::new(), vec![0]);
    let mut sums: Vec<[i128; 2]> = Vec::new();
    for (side, (stacks, column)) in [base, new].into_iter().enumerate() {
        let frames = FrameTable::new(stacks.profile());
        let ids: Vec<u32> = (0..frames.frames.len())
            .map(|frame| {
                let named = frames.function(frame);
                let key =
                    (named.name.to_string(), named.file.to_owned(), frames.frames[frame].line);
                let next = frame_ids.len() as u32;
                *frame_ids.entry(key).or_insert(next)
            })
            .collect();
        for stack in 0..stacks.len() {
            let path = || frames.stack_frames(stacks.locations(stack)).map(|frame| ids[frame]);
            if path().next().is_none() {
                continue;
            }
            let number = distinct.number(path(), |number| {
                path().eq(all[ends[number]..ends[number + 1]].iter().copied())
            });
            if number == sums.len() {
                all.extend(path());
                ends.push(all.len());
                sums.push([0; 2]);
            }
            sums[number][side] += stacks.value(stack, column);
        }
    }
    let mut texts = vec![("", "", 0); frame_ids.len()];
    for ((name, file, line), id) in &frame_ids {
        texts[*id as usize] = (name.as_str(), file.as_str(), *line);
    }
    let changed = |&number: &usize| sums[number][0] != sums[number][1];
    (0..sums.len())
        .filter(changed)
        .map(|number| {
            let stack = &all[ends[number]..ends[number + 1]];
            let (name, file, line) = texts[stack[0] as usize];
            let text = |&id: &u32| match texts[id as usize] {
                (name, "", _) => name.to_owned(),
                (name, file, 0) => format!("{name} {file}"),
                (name, file, line) => format!("{name} {file}:{line}"),
            };
            let stack = stack.iter().map(text).collect();
            let mut change = Change::new(name.to_owned(), file.to_owned(), line, stack);
            let [base, new] = sums[number].map(saturate);
            (change.base_flat, change.base_cum) = (base, base);
            (change.new_flat, change.new_cum) = (new, new);
            change
        })
        .collect()
}

impl Change {
    fn new(name: String, file: String, line: i64, stack: Vec<String>) -> Change {
        let (flat, cum, base_flat, new_flat, base_cum, new_cum) = (0, 0, 0, 0, 0, 0);
        Change { name, file, line, flat, cum, base_flat, new_flat, base_cum, new_cum, stack }
    }
}

/// Writes a comparison as text, in lines of at most `width` characters, 40 at least.
pub fn render_changes(changes: &Changes, by: By, width: usize) -> String {
    let value = |value: i64| format_value(value, &changes.unit);
    let signed = |change: i64| {
        if change > 0 { format!("+{}", value(change)) } else { value(change) }
    };
    let by_site = by == By::Site;
    let mut table = match by_site {
        true => TextColumns::new(&["change", "before", "after", "site"]),
        false => TextColumns::new(&["change", "before", "after", "cum", "function"]),
    };
    for row in &changes.rows {
        let mut figures = vec![signed(row.flat), value(row.base_flat), value(row.new_flat)];
        if !by_site {
            figures.push(signed(row.cum));
        }
        table.add_row(
            figures,
            format_place(&row.name, &row.file, row.line),
            frames_below_leaf(&row.stack),
        );
    }
    let Changes { base_total, total, .. } = *changes;
    let change = total.saturating_sub(base_total);
    let sign = if change > 0 && base_total != 0 { "+" } else { "" };
    let head = format!(
        "{}: {} before, {} after: {} ({sign}{})",
        changes.sample_type,
        value(base_total),
        value(total),
        signed(change),
        format_percent(change, base_total),
    );
    let mut text = format!("{}\n", escaped(&head));
    if changes.rows.is_empty() {
        text.push_str("nothing has changed\n");
    } else {
        text.push_str(&table.render(width));
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing;

    fn compare(by: By, cum: bool) -> Changes {
        let base = testing::heap();
        let mut new = testing::heap();
        let stack = new.samples.get(0).stack.to_vec();
        new.samples.push(&stack, &[2, 500, 1, 100], &[]);
        let options = ChangesOptions { by, cum, ..ChangesOptions::default() };
        changes(&Stacks::of(&base), &Stacks::of(&new), &options).unwrap()
    }

    #[test]
    fn says_what_grew() {
        let rows = |changes: &Changes| -> Vec<_> {
            changes.rows.iter().map(|row| (row.name.clone(), row.flat, row.cum)).collect()
        };
        let leaf = ("alloc::raw_vec::finish_grow".to_owned(), 100, 100);
        let by_function = compare(By::Function, false);
        assert_eq!((by_function.base_total, by_function.total), (1536, 1636));
        assert_eq!(rows(&by_function), std::slice::from_ref(&leaf));
        let callers = [("service::build".to_owned(), 0, 100), ("service::main".to_owned(), 0, 100)];
        assert_eq!(rows(&compare(By::Function, true)), [&[leaf], &callers[..]].concat());
        let by_site = compare(By::Site, false);
        assert_eq!(by_site.rows.len(), 1);
        let row = &by_site.rows[0];
        assert_eq!((row.base_flat, row.new_flat, row.flat, row.stack.len()), (1536, 1636, 100, 3));
        let text = render_changes(&by_site, By::Site, 80);
        assert!(
            text.starts_with("inuse_space: 1.50 KiB before, 1.60 KiB after: +100 B (+6.5%)\n"),
            "{text}"
        );
    }

    #[test]
    fn shares_can_be_compared() {
        let base = testing::heap();
        let doubled = profile_format::profile::Profile::merge(&[(&base, 2)]).unwrap();
        let options = ChangesOptions { normalize: true, ..ChangesOptions::default() };
        let compared = changes(&Stacks::of(&base), &Stacks::of(&doubled), &options).unwrap();
        assert_eq!((compared.base_total, compared.rows.len()), (3072, 0));
        assert!(render_changes(&compared, By::Function, 80).contains("nothing has changed"));
    }

    proptest! {
        #[test]
        fn agrees_with_a_merge(base in testing::profiles(), new in testing::profiles()) {
            let merged = profile_format::profile::Profile::merge(&[(&new, 1), (&base, -1)]).unwrap();
            for by in [By::Function, By::Site, By::Line, By::File] {
                let options = ChangesOptions { by, ..ChangesOptions::default() };
                let changes = changes(&Stacks::of(&base), &Stacks::of(&new), &options).unwrap();
                let query = crate::top::TopOptions { by, ..Default::default() };
                let top = crate::top::top(&Stacks::of(&merged), &query).unwrap();
                let mut expected: Vec<_> = top
                    .rows
                    .into_iter()
                    .filter(|row| row.flat != 0)
                    .map(|row| (row.name, row.stack, row.flat, row.cum))
                    .collect();
                let mut rows: Vec<_> = changes
                    .rows
                    .into_iter()
                    .map(|row| (row.name, row.stack, row.flat, row.cum))
                    .collect();
                expected.sort();
                rows.sort();
                prop_assert_eq!(rows, expected);
            }
        }
    }
}
