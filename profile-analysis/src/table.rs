//! Rows of figures beside a name, as text that fits a width.

use std::collections::HashMap;
use std::iter;

use profile_format::escaped;

use crate::units::plural;

/// The least width that text is made for.
pub(crate) const NARROWEST: usize = 40;

/// A table: figures to the right of their columns, then a name.
pub(crate) struct TextColumns {
    head: Vec<String>,
    rows: Vec<(Vec<String>, String, Vec<String>)>,
}

impl TextColumns {
    /// Returns a table with these headings, the name's last.
    pub(crate) fn new(head: &[&str]) -> TextColumns {
        TextColumns {
            head: head.iter().map(|&cell| escaped(cell).into_owned()).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row: its figures, its name, and lines to stand below the name.
    pub(crate) fn add_row(&mut self, figures: Vec<String>, name: String, below: Vec<String>) {
        // Units may come from anywhere.
        let figures = figures.into_iter().map(|figure| escaped(&figure).into_owned()).collect();
        self.rows.push((figures, name, below));
    }

    /// Writes the lines. Of a name that is too long the end is kept, which says more than its
    /// beginning.
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
            text.push_str(&fit_end(name, width.saturating_sub(taken).max(12)));
            out.push_str(text.trim_end());
            out.push('\n');
            for text in below {
                out.push_str("    ");
                out.push_str(&fit_end(text, width - 4));
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

/// Returns a text without control characters, the end of it where it is too long.
pub(crate) fn fit_end(text: &str, room: usize) -> String {
    let clean = escaped(text);
    let length = clean.chars().count();
    if length <= room {
        return clean.into_owned();
    }
    iter::once('\u{2026}').chain(clean.chars().skip(length + 1 - room)).collect()
}

/// Returns a text without control characters, the beginning of it where it is too long.
pub(crate) fn fit_start(text: &str, room: usize) -> String {
    let clean = escaped(text);
    if clean.chars().count() <= room {
        return clean.into_owned();
    }
    clean.chars().take(room.saturating_sub(1)).chain(['\u{2026}']).collect()
}

/// Returns a text without control characters on lines of at most `width` characters, which end in a
/// newline; all but the first are indented.
pub(crate) fn wrap_lines(text: &str, width: usize, indent: usize) -> String {
    let (mut out, mut length) = (String::new(), 0);
    let next = |out: &mut String| {
        out.truncate(out.trim_end().len());
        out.push('\n');
        out.extend(iter::repeat_n(' ', indent));
    };
    for word in escaped(text).split_inclusive(' ') {
        if length > indent && length + word.trim_end().chars().count() > width {
            next(&mut out);
            length = indent;
        }
        for c in word.chars() {
            // A word that is too long for any line.
            if length >= width && c != ' ' {
                next(&mut out);
                length = indent;
            }
            out.push(c);
            length += 1;
        }
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

/// The places of rows, written as `function (main.rs:7)`: the file's name without its path, which is
/// long and rarely needed, but where only that tells rows apart.
pub(crate) struct PlaceNames<'a> {
    /// The files of each name and short file.
    files: HashMap<(&'a str, &'a str), Vec<&'a str>>,
}

impl<'a> PlaceNames<'a> {
    /// Takes the names and files of all rows.
    pub(crate) fn new(rows: impl Iterator<Item = (&'a str, &'a str)>) -> PlaceNames<'a> {
        let mut files: HashMap<_, Vec<&str>> = HashMap::new();
        for (name, file) in rows {
            let same = files.entry((name, last_parts(file, 1))).or_default();
            // Beyond a few a longer path is written in any case.
            if same.len() < 4 && !same.contains(&file) {
                same.push(file);
            }
        }
        PlaceNames { files }
    }

    /// Writes the place of a row.
    pub(crate) fn format(&self, name: &str, file: &str, line: i64) -> String {
        if name == file {
            return name.to_owned();
        }
        let same = self.files.get(&(name, last_parts(file, 1))).map_or(&[][..], Vec::as_slice);
        let is_told = |count: &usize| {
            let short = last_parts(file, *count);
            same.iter().all(|other| *other == file || last_parts(other, *count) != short)
        };
        let count = (1..MOST_PARTS).find(is_told).unwrap_or(MOST_PARTS);
        format_function(name, last_parts(file, count), line)
    }
}

/// The most parts of a path that are written to tell it from others.
const MOST_PARTS: usize = 8;

/// Writes a function with the last part of its file's path: `function (main.rs:7)`.
pub(crate) fn format_place(name: &str, file: &str, line: i64) -> String {
    format_function(name, last_parts(file, 1), line)
}

fn format_function(name: &str, file: &str, line: i64) -> String {
    match (file, line) {
        ("", _) => name.to_owned(),
        (file, 0) => format!("{name} ({file})"),
        (file, line) => format!("{name} ({file}:{line})"),
    }
}

/// Returns so many of the last parts of a path.
fn last_parts(file: &str, count: usize) -> &str {
    let slash = file.rmatch_indices(['/', '\\']).nth(count - 1);
    slash.map_or(file, |(at, _)| &file[at + 1..])
}

/// Writes the stacks of an answer, which all name the same few frames, within bounds.
pub(crate) struct StackWriter {
    /// Bytes that may still be written.
    left: usize,
}

impl StackWriter {
    /// The most frames of a stack; of a deeper one the two ends are written.
    const FRAMES: usize = 1024;
    /// Frames of the root's end.
    const ROOTS: usize = 64;
    /// The most bytes of all stacks, with what a text takes in memory and in JSON.
    const BYTES: usize = 64 << 20;

    pub(crate) fn new() -> StackWriter {
        StackWriter { left: StackWriter::BYTES }
    }

    /// Writes a stack, given by its frames and the text of one.
    pub(crate) fn write<I: Iterator>(
        &mut self,
        frames: impl Fn() -> I,
        text: impl Fn(I::Item) -> String,
    ) -> Vec<String> {
        let count = frames().count();
        let (first, rest) = match count > StackWriter::FRAMES {
            true => (StackWriter::FRAMES - StackWriter::ROOTS, StackWriter::ROOTS),
            false => (count, 0),
        };
        let mut stack = Vec::with_capacity(first + rest + usize::from(rest > 0));
        let ends = frames().take(first).chain(frames().skip(count - rest));
        for (number, frame) in ends.enumerate() {
            if number == first {
                stack.push(mark_left_out(count - first - rest));
            }
            let text = text(frame);
            let size = text.len() + 64;
            if size > self.left {
                stack.push("\u{2026}".to_owned());
                break;
            }
            self.left -= size;
            stack.push(text);
        }
        stack
    }
}

fn mark_left_out(frames: usize) -> String {
    format!("\u{2026} {} \u{2026}", plural(frames as u64, "more frame"))
}

/// Returns the frames below a site's leaf; of a deep stack the two ends.
pub(crate) fn frames_below_leaf(stack: &[String]) -> Vec<String> {
    const MOST: usize = 12;
    if stack.len() <= MOST {
        return stack.iter().skip(1).cloned().collect();
    }
    let left_out = mark_left_out(stack.len() - MOST);
    let first = stack[1..MOST - 3].iter().cloned();
    first.chain([left_out]).chain(stack[stack.len() - 4..].iter().cloned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_keep_to_a_width() {
        let mut table = TextColumns::new(&["flat", "function"]);
        let name = "service::module::a_function_with_a_long_name\x1b[2J";
        table.add_row(vec!["12.5 MiB".into()], name.repeat(3), vec![name.repeat(9)]);
        for width in [0, 40, 80, 200, usize::MAX] {
            let text = table.render(width);
            let lines = text.lines().map(|line| line.chars().count());
            assert!(lines.max() <= Some(width.max(NARROWEST)), "{text}");
            assert!(!text.contains('\x1b'));
        }
        assert!(table.render(usize::MAX).contains("\\u{1b}[2J"));
        assert!(table.render(80).starts_with("    flat  function\n12.5 MiB  \u{2026}"));
    }

    #[test]
    fn what_is_unseen_is_what_unicode_says() {
        let unseen = r"[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]";
        let unseen = regex::Regex::new(unseen).unwrap();
        for c in '\0'..=char::MAX {
            let expected = unseen.is_match(c.encode_utf8(&mut [0; 4]));
            assert_eq!(profile_format::is_unseen(c), expected, "{c:?}");
        }
    }

    #[test]
    fn lines_are_wrapped() {
        let check = |text: &str, expected: &str| assert_eq!(wrap_lines(text, 12, 4), expected);
        check("", "\n");
        check("  one two", "  one two\n");
        check("  one two three four", "  one two\n    three\n    four\n");
        check("a_name_that_is_long x\x1b", "a_name_that_\n    is_long\n    x\\u{1b}\n");
        assert_eq!(wrap_lines("one two", usize::MAX, 4), "one two\n");
    }

    #[test]
    fn what_is_written_of_stacks_is_bounded() {
        let mut writer = StackWriter::new();
        let short = writer.write(|| 0..1024, |frame| frame.to_string());
        assert_eq!((short.len(), short[1023].as_str()), (1024, "1023"));
        let deep = writer.write(|| 0..100_000, |frame| frame.to_string());
        assert_eq!((deep.len(), deep[959].as_str(), deep[961].as_str()), (1025, "959", "99936"));
        assert_eq!(deep[960], "\u{2026} 98976 more frames \u{2026}");
        let long = || writer.write(|| 0..1024, |_| "x".repeat(4096));
        let frames: usize = std::iter::repeat_with(long).take(100).map(|stack| stack.len()).sum();
        assert!((16_000..17_000).contains(&frames), "{frames}");
    }

    #[test]
    fn deep_stacks_show_both_ends() {
        let stack: Vec<String> = (0..100).map(|frame| frame.to_string()).collect();
        let shown = frames_below_leaf(&stack);
        assert_eq!((shown[0].as_str(), shown.last().unwrap().as_str()), ("1", "99"));
        assert!(shown.iter().any(|frame| frame.contains("88 more")), "{shown:?}");
        assert_eq!(shown.iter().filter(|frame| !frame.contains("more")).count(), 12 - 1 + 1);
        assert_eq!(frames_below_leaf(&stack[..3]), ["1", "2"]);
    }
}
