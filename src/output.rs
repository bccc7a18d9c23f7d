//! How the command speaks: results to standard output, notes to standard error, exit codes.

use std::error::Error;
use std::io::{self, Write as _};
use std::path::Path;

use anstyle::AnsiColor;
use profilez::analysis::escaped;
use profilez::archive::ManifestUnavailable;
pub(crate) use profilez::format::chain;
use profilez::format::is_unseen;
use serde::Serialize;

/// Exit code of a command that failed.
pub(crate) const FAILED: u8 = 1;
/// Exit code of a command that was not asked in a way that makes sense.
pub(crate) const USAGE: u8 = 2;
/// Exit code where something is missing; what there is was kept.
pub(crate) const PARTIAL: u8 = 3;
/// Exit code of a command that was interrupted; what there is was kept.
pub(crate) const INTERRUPTED: u8 = 130;

/// The reasons why a command ended early.
#[derive(Debug)]
pub(crate) enum CommandFailure {
    /// The reader of standard output has closed it.
    Closed,
    /// The arguments make no sense; holds why.
    Usage(String),
    /// Anything else.
    Error(Box<dyn Error + Send + Sync>),
}

impl<E: Into<Box<dyn Error + Send + Sync>>> From<E> for CommandFailure {
    fn from(error: E) -> CommandFailure {
        let error = error.into();
        match error.downcast_ref::<io::Error>() {
            Some(io) if io.kind() == io::ErrorKind::BrokenPipe => CommandFailure::Closed,
            _ => CommandFailure::Error(error),
        }
    }
}

/// Prints a result.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut out = anstream::stdout().lock();
    out.write_all(text.as_bytes())?;
    if !text.ends_with('\n') {
        out.write_all(b"\n")?;
    }
    out.flush()
}

/// The layout of JSON.
#[derive(Clone, Copy)]
pub(crate) enum JsonLayout {
    Pretty,
    Line,
}

/// Prints a result for a program.
pub(crate) fn print_json(value: &impl Serialize, layout: JsonLayout) -> io::Result<()> {
    let json = match layout {
        JsonLayout::Pretty => serde_json::to_string_pretty(value)?,
        JsonLayout::Line => serde_json::to_string(value)?,
    };
    // JSON allows these in a string as they are, and a terminal obeys or hides them.
    let obeyed = |c: char| c >= '\u{7f}' && is_unseen(c);
    if !json.contains(obeyed) {
        return print(&json);
    }
    let mut escaped = String::with_capacity(json.len());
    for c in json.chars() {
        if obeyed(c) {
            let units = &mut [0; 2];
            escaped.extend(c.encode_utf16(units).iter().map(|unit| format!("\\u{unit:04x}")));
        } else {
            escaped.push(c);
        }
    }
    print(&escaped)
}

/// Returns the width that a line of standard output may have: the terminal's width, and anything
/// elsewhere, so that nothing is cut off for another program.
pub(crate) fn width() -> usize {
    let terminal = terminal_size::terminal_size_of(io::stdout());
    terminal.map_or(usize::MAX, |(width, _)| width.0.into())
}

/// Returns a text whose line of that number, counted from 1, is the head of a table and stands out
/// where colours are shown.
pub(crate) fn with_table_head(text: &str, line: usize) -> String {
    let style = anstyle::Style::new().bold();
    let lines = text.lines().zip(1..).map(|(text, number)| {
        if number == line { format!("{style}{text}{style:#}\n") } else { format!("{text}\n") }
    });
    lines.collect()
}

/// Prints a note on standard error. There is nobody to tell if that fails.
pub(crate) fn note(text: &str) {
    let _ = writeln!(anstream::stderr(), "profilez: {text}");
}

/// Prints an error on standard error, on one line.
pub(crate) fn error(text: &str) {
    let style = AnsiColor::Red.on_default().bold();
    note(&format!("{style}error:{style:#} {}", printable(text)));
}

/// Returns the hint of a kind that is missing, to stand after the reason.
pub(crate) fn hint(missing: &ManifestUnavailable) -> String {
    if missing.hint.is_empty() { String::new() } else { format!("; {}", missing.hint) }
}

/// Returns an error that names the file that was to be written.
pub(crate) fn describe(path: &Path, error: &io::Error) -> io::Error {
    let path = path.display();
    let message = match error.kind() {
        io::ErrorKind::AlreadyExists => format!("{path} exists; --force overwrites it"),
        _ => format!("{path}: {error}"),
    };
    io::Error::new(error.kind(), message)
}

/// Escapes text from a file or a server for a terminal: what it would obey or hide is shown.
pub(crate) fn printable(text: &str) -> String {
    escaped(text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_shown() {
        assert_eq!(printable("a\x1b[2Jb\n"), "a\\u{1b}[2Jb\\n");
        assert_eq!(printable("a\u{202e}b"), "a\\u{202e}b");
        assert_eq!(printable("alloc::vec::Vec<T>"), "alloc::vec::Vec<T>");
    }
}
