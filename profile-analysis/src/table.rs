//! Rows of figures beside a name, as text that fits a width.

use std::iter;

/// The least width that a table is made for.
const NARROWEST: usize = 40;

/// A table: figures to the right of their columns, then a name.
pub(crate) struct Table {
    head: Vec<String>,
    rows: Vec<(Vec<String>, String, Vec<String>)>,
}

impl Table {
    /// A table with these headings, the name's last.
    pub(crate) fn new(head: &[&str]) -> Table {
        Table { head: head.iter().map(|&cell| cell.to_owned()).collect(), rows: Vec::new() }
    }

    /// Adds a row: its figures, its name, and lines to stand below the name.
    pub(crate) fn row(&mut self, figures: Vec<String>, name: String, below: Vec<String>) {
        self.rows.push((figures, name, below));
    }

    /// Writes the lines. Of a name that is too long the end is kept, which says more than its
    /// beginning. Control characters, which a foreign profile may hold, become blanks: they could
    /// make a terminal do anything.
    pub(crate) fn render(&self, width: usize) -> String {
        let width = width.max(NARROWEST);
        let columns = self.head.len() - 1;
        let cells = |column: usize| {
            let rows = self.rows.iter().map(move |(figures, ..)| &figures[column]);
            iter::once(&self.head[column]).chain(rows)
        };
        let length = |cell: &String| cell.chars().count();
        let widths: Vec<usize> =
            (0..columns).map(|column| cells(column).map(length).max().unwrap_or(0)).collect();
        let mut out = String::new();
        let mut line = |figures: &[String], name: &str, below: &[String]| {
            let mut text = String::new();
            for (figure, width) in figures.iter().zip(&widths) {
                text.push_str(&format!("{figure:>width$}  "));
            }
            let taken = text.chars().count();
            text.push_str(&fitting(name, width.saturating_sub(taken).max(12)));
            out.push_str(text.trim_end());
            out.push('\n');
            for text in below {
                out.push_str("    ");
                out.push_str(&fitting(text, width - 4));
                out.push('\n');
            }
        };
        line(&self.head[..columns], &self.head[columns], &[]);
        for (figures, name, below) in &self.rows {
            line(figures, name, below);
        }
        out
    }
}

/// A character of a foreign text as a terminal may get it: a control character could make it do
/// anything, and one that turns the writing's direction or breaks the line could make a name look
/// like another; they become blanks.
pub(crate) fn shown(c: char) -> char {
    let turns =
        matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if turns || c.is_control() { ' ' } else { c }
}

/// A text without control characters, the end of it where it is too long.
pub(crate) fn fitting(text: &str, room: usize) -> String {
    let clean = text.chars().map(shown);
    let length = text.chars().count();
    if length <= room {
        return clean.collect();
    }
    iter::once('\u{2026}').chain(clean.skip(length + 1 - room)).collect()
}

/// `function (main.rs:7)`: the file's name without its path, which is long and rarely needed.
pub(crate) fn place(name: &str, file: &str, line: i64) -> String {
    let short = file.rsplit(['/', '\\']).next().unwrap_or_default();
    match (short, line) {
        ("", _) => name.to_owned(),
        _ if name == file => name.to_owned(),
        (file, 0) => format!("{name} ({file})"),
        (file, line) => format!("{name} ({file}:{line})"),
    }
}

/// The frames below a site's leaf; of a deep stack the two ends.
pub(crate) fn frames(stack: &[String]) -> Vec<String> {
    const MOST: usize = 12;
    if stack.len() <= MOST {
        return stack.iter().skip(1).cloned().collect();
    }
    let left_out = format!("\u{2026} {} more frames \u{2026}", stack.len() - MOST);
    let first = stack[1..MOST - 3].iter().cloned();
    first.chain([left_out]).chain(stack[stack.len() - 4..].iter().cloned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_keep_to_a_width() {
        let mut table = Table::new(&["flat", "function"]);
        let name = "service::module::a_function_with_a_long_name\x1b[2J";
        table.row(vec!["12.5 MiB".into()], name.repeat(3), vec![name.repeat(9)]);
        for width in [0, 40, 80, 200, usize::MAX] {
            let text = table.render(width);
            let lines = text.lines().map(|line| line.chars().count());
            assert!(lines.max() <= Some(width.max(NARROWEST)), "{text}");
            assert!(!text.contains('\x1b'));
        }
        assert!(table.render(80).starts_with("    flat  function\n12.5 MiB  \u{2026}"));
    }

    #[test]
    fn deep_stacks_show_both_ends() {
        let stack: Vec<String> = (0..100).map(|frame| frame.to_string()).collect();
        let shown = frames(&stack);
        assert_eq!((shown[0].as_str(), shown.last().unwrap().as_str()), ("1", "99"));
        assert!(shown.iter().any(|frame| frame.contains("88 more")), "{shown:?}");
        assert_eq!(shown.iter().filter(|frame| !frame.contains("more")).count(), 12 - 1 + 1);
        assert_eq!(frames(&stack[..3]), ["1", "2"]);
    }
}
