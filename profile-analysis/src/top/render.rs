//! A ranking as text for people.

use profile_format::escaped;

use super::{By, Top};
use crate::table::{PlaceNames, TextColumns, frames_below_leaf};
use crate::units::{format_percent, format_value};

/// Writes a ranking as text, its lines of at most `width` characters, 40 at least. `by` says what
/// the rows are.
pub fn render(top: &Top, by: By, width: usize) -> String {
    let heading = match by {
        By::Site => "site",
        By::File => "file",
        By::Line => "line",
        By::Function | By::Caller => "function",
    };
    let value = |value: i64| format_value(value, &top.unit);
    let share = |value: i64| format_percent(value, top.absolute);
    let mut table = match by {
        By::Site => TextColumns::new(&["flat", "flat%", "sum%", heading]),
        _ => TextColumns::new(&["flat", "flat%", "sum%", "cum", "cum%", heading]),
    };
    let places = PlaceNames::new(top.rows.iter().map(|row| (row.name.as_str(), row.file.as_str())));
    let mut sum = 0_i64;
    for row in &top.rows {
        sum = sum.saturating_add(row.flat);
        let mut figures = vec![value(row.flat), share(row.flat), share(sum)];
        if by != By::Site {
            figures.extend([value(row.cum), share(row.cum)]);
        }
        table.add_row(
            figures,
            places.format(&row.name, &row.file, row.line),
            frames_below_leaf(&row.stack),
        );
    }
    let total = format!("{}: total {}", top.sample_type, value(top.total));
    format!("{}\n{}", escaped(&total), table.render(width))
}
