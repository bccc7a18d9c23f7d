//! Words of Go's `debug=2` grammar that threads and tasks share.

use std::fmt::Write as _;
use std::time::Duration;

/// Writes a wait as Go does: in whole minutes, and only from one on.
pub(crate) fn format_wait(waited: Option<Duration>) -> String {
    match waited.map_or(0, |waited| waited.as_secs() / 60) {
        0 => String::new(),
        minutes => format!(", {minutes} minutes"),
    }
}

/// Writes a label's value as Go 1.27 does: quoted unless it is plain.
pub(crate) fn format_label(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "./_".contains(c);
    if !value.is_empty() && value.chars().all(plain) {
        return value.to_owned();
    }
    let mut quoted = String::from("\"");
    for c in value.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04x}", c as u32);
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_quoted_as_go_does() {
        for (value, written) in [
            ("worker", "worker"),
            ("a/b.c_1", "a/b.c_1"),
            ("tokio-rt", "\"tokio-rt\""),
            ("", "\"\""),
            ("we]ird \"x\\\n", "\"we]ird \\\"x\\\\\\u000a\""),
        ] {
            assert_eq!(format_label(value), written);
        }
    }

    #[test]
    fn waits_are_written_as_go_does() {
        let cases =
            [(None, ""), (Some(59), ""), (Some(60), ", 1 minutes"), (Some(4000), ", 66 minutes")];
        for (seconds, written) in cases {
            assert_eq!(format_wait(seconds.map(Duration::from_secs)), written);
        }
    }
}
