//! What has grown from one profile to the next, by function, line, file or whole stack.

use std::borrow::Cow;
use std::collections::HashMap;

use profile_format::escaped;
use profile_format::profile::Stacks;
use serde::Serialize;

use crate::Result;
use crate::distinct::DistinctIndex;
use crate::frames::{FrameRef, FrameTable};
use crate::hash::KeyedHashBuilder;
use crate::table::{PlaceNames, StackWriter, TextColumns, frames_below_leaf};
use crate::top::{By, RankQuery, TopRow, rank, sample_type, saturate};
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
    /// Name of the row, as in [`TopRow`].
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
    /// For [`By::Site`] the frames, the leaf first; else empty. Deep ones are cut as in
    /// [`TopRow`].
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
    let base_frames = FrameTable::new(base.profile());
    let new_frames = FrameTable::new(new.profile());
    let base_side = ChangeSide { stacks: base, frames: &base_frames, column: base_column };
    let new_side = ChangeSide { stacks: new, frames: &new_frames, column: new_column };
    let mut rows = match options.by {
        By::Site => compare_sites(base_side, new_side),
        by => compare_rows(base_side, new_side, by),
    };
    for row in &mut rows {
        row.base = RowValue { flat: scale(row.base.flat), cum: scale(row.base.cum) };
    }
    let size = |row: &PendingChange<'_>| {
        let ranked = |value: RowValue| if options.cum { value.cum } else { value.flat };
        ranked(row.new).saturating_sub(ranked(row.base)).unsigned_abs()
    };
    rows.retain(|row| size(row) != 0);
    // Sites with one leaf come in the order of the profiles.
    rows.sort_by(|left, right| {
        let by_place = || {
            let names = left.name.cmp(&right.name).then_with(|| left.file.cmp(&right.file));
            names.then(left.line.cmp(&right.line))
        };
        size(right).cmp(&size(left)).then_with(by_place)
    });
    rows.truncate(options.limit.unwrap_or(usize::MAX));
    let mut writer = StackWriter::new();
    let mut stack = |site: SitePlace| {
        let ChangeSide { stacks, frames, .. } = if site.is_new { new_side } else { base_side };
        let path = || frames.frames_or_none(stacks.locations(site.stack));
        writer.write(path, |frame| frames.format_frame(frame))
    };
    let rows = rows
        .into_iter()
        .map(|row| {
            let stack = row.site.map(&mut stack).unwrap_or_default();
            row.finish(stack)
        })
        .collect();
    Ok(Changes {
        sample_type: new.profile().str(value_type.kind).to_owned(),
        unit: new.profile().str(value_type.unit).to_owned(),
        base_total: scale(saturate(base_total)),
        total: saturate(total),
        rows,
    })
}

/// A profile, its frames, and the sample type's index in it.
#[derive(Clone, Copy)]
struct ChangeSide<'a> {
    stacks: &'a Stacks<'a>,
    frames: &'a FrameTable<'a>,
    column: usize,
}

/// A row that is not written yet.
struct PendingChange<'a> {
    name: Cow<'a, str>,
    file: Cow<'a, str>,
    line: i64,
    base: RowValue,
    new: RowValue,
    /// The place of its stack, where it is a whole one.
    site: Option<SitePlace>,
}

/// The values of a row in one of the profiles.
#[derive(Clone, Copy, Default)]
struct RowValue {
    flat: i64,
    cum: i64,
}

/// A stack in one of the profiles.
#[derive(Clone, Copy)]
struct SitePlace {
    is_new: bool,
    stack: usize,
}

impl PendingChange<'static> {
    fn of_row(row: &TopRow, base: RowValue, new: RowValue) -> PendingChange<'static> {
        let (name, file) = (row.name.clone().into(), row.file.clone().into());
        PendingChange { name, file, line: row.line, base, new, site: None }
    }
}

impl PendingChange<'_> {
    fn finish(self, stack: Vec<String>) -> Change {
        let PendingChange { name, file, line, base, new, .. } = self;
        Change {
            name: name.into_owned(),
            file: file.into_owned(),
            line,
            flat: new.flat.saturating_sub(base.flat),
            cum: new.cum.saturating_sub(base.cum),
            base_flat: base.flat,
            new_flat: new.flat,
            base_cum: base.cum,
            new_cum: new.cum,
            stack,
        }
    }
}

/// Returns the functions, lines or files of both profiles with their values.
fn compare_rows(base: ChangeSide<'_>, new: ChangeSide<'_>, by: By) -> Vec<PendingChange<'static>> {
    let mut rows = [new, base].map(|side| {
        let ChangeSide { stacks, frames, column } = side;
        rank(stacks, frames, &RankQuery::new(column, by)).rows
    });
    let [of_new, of_base] = &mut rows;
    let mut number_of: HashMap<_, usize> = HashMap::new();
    let mut changes: Vec<PendingChange<'static>> = Vec::new();
    for (number, ranked) in of_new.iter().enumerate() {
        let value = RowValue { flat: ranked.row.flat, cum: ranked.row.cum };
        changes.push(PendingChange::of_row(&ranked.row, RowValue::default(), value));
        number_of.insert(row_key(&ranked.row, by), number);
    }
    let mut is_paired = vec![false; changes.len()];
    let mut unpaired = Vec::new();
    for ranked in of_base.iter() {
        match number_of.get(&row_key(&ranked.row, by)) {
            Some(&number) => {
                is_paired[number] = true;
                changes[number].base = RowValue { flat: ranked.row.flat, cum: ranked.row.cum };
            }
            None => unpaired.push(&ranked.row),
        }
    }
    // Another folder, or another version of a library: it is the same where it is the only one.
    let mut moved: HashMap<(&str, &str), Vec<usize>> = HashMap::new();
    for (number, ranked) in of_new.iter().enumerate().filter(|&(number, _)| !is_paired[number]) {
        moved.entry(moved_key(&ranked.row)).or_default().push(number);
    }
    let mut same_base: HashMap<(&str, &str), usize> = HashMap::new();
    unpaired.iter().for_each(|row| *same_base.entry(moved_key(row)).or_default() += 1);
    for row in unpaired {
        let value = RowValue { flat: row.flat, cum: row.cum };
        let key = moved_key(row);
        match moved.get(&key).map(Vec::as_slice) {
            Some(&[number]) if by != By::Line && same_base[&key] == 1 => {
                changes[number].base = value;
            }
            _ => changes.push(PendingChange::of_row(row, value, RowValue::default())),
        }
    }
    changes
}

/// Returns the texts and the line that tell a row from others.
fn row_key(row: &TopRow, by: By) -> (&str, &str, i64) {
    // A function is the same where its lines have moved.
    let line = if by == By::Line { row.line } else { 0 };
    (&row.name, &row.file, line)
}

/// Returns what a row has in common with the same function of a file that was moved.
fn moved_key(row: &TopRow) -> (&str, &str) {
    (&row.name, row.file.rsplit(['/', '\\']).next().unwrap_or_default())
}

/// Returns the stacks whose values differ, identified by their functions and lines.
fn compare_sites<'a>(base: ChangeSide<'a>, new: ChangeSide<'a>) -> Vec<PendingChange<'a>> {
    let mut lines = JointLines::default();
    let mut distinct = DistinctIndex::with_capacity(new.stacks.len());
    let (mut all, mut ends) = (Vec::<u32>::new(), vec![0]);
    let (mut sums, mut first) = (Vec::<[i128; 2]>::new(), Vec::new());
    for (is_new, side) in [(false, base), (true, new)] {
        let of_frame = lines.number(side.frames);
        for stack in 0..side.stacks.len() {
            let locations = || side.stacks.locations(stack);
            let path = || side.frames.frames_or_none(locations()).map(|frame| of_frame[frame]);
            let site = distinct
                .number(path(), |site| path().eq(all[ends[site]..ends[site + 1]].iter().copied()));
            if site == sums.len() {
                all.extend(path());
                ends.push(all.len());
                sums.push([0; 2]);
                first.push(SitePlace { is_new, stack });
            }
            sums[site][usize::from(is_new)] += side.stacks.value(stack, side.column);
        }
    }
    let changed = sums.into_iter().zip(first).filter(|([base, new], _)| base != new);
    changed
        .map(|(sums, site)| {
            let ChangeSide { stacks, frames, .. } = if site.is_new { new } else { base };
            let leaf = frames.frames_or_none(stacks.locations(site.stack)).next();
            let leaf = leaf.unwrap_or(frames.no_stack());
            let (named, line) = (frames.function(leaf), frames.frames[leaf].line);
            let [base, new] = sums.map(saturate).map(|sum| RowValue { flat: sum, cum: sum });
            let (name, file) = (named.name.as_ref().into(), named.file.into());
            PendingChange { name, file, line, base, new, site: Some(site) }
        })
        .collect()
}

/// Numbers of functions and lines, the same in both profiles.
#[derive(Default)]
struct JointLines<'a> {
    functions: HashMap<(&'a str, &'a str), u32, KeyedHashBuilder>,
    lines: HashMap<(u32, i64), u32, KeyedHashBuilder>,
}

impl<'a> JointLines<'a> {
    /// Returns the number of each frame of a profile.
    fn number(&mut self, frames: &'a FrameTable<'a>) -> Vec<u32> {
        let JointLines { functions, lines } = self;
        let of_function: Vec<u32> = frames
            .functions
            .iter()
            .map(|named| {
                let next = functions.len() as u32;
                *functions.entry((named.name.as_ref(), named.file)).or_insert(next)
            })
            .collect();
        let number = |frame: &FrameRef| {
            let next = lines.len() as u32;
            *lines.entry((of_function[frame.function as usize], frame.line)).or_insert(next)
        };
        frames.frames.iter().map(number).collect()
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
    let places =
        PlaceNames::new(changes.rows.iter().map(|row| (row.name.as_str(), row.file.as_str())));
    for row in &changes.rows {
        let mut figures = vec![signed(row.flat), value(row.base_flat), value(row.new_flat)];
        if !by_site {
            figures.push(signed(row.cum));
        }
        table.add_row(
            figures,
            places.format(&row.name, &row.file, row.line),
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
