//! Lines of logs, and what is left of them.

use super::*;
use crate::dump::lines::trim_indent;

/// Unwraps a text that comes in pieces of a size.
fn unwrap(text: &[u8], forced: bool, piece: usize) -> (Vec<u8>, Vec<String>) {
    let mut log = LogUnwrapper::new(forced);
    let mut plain = Vec::new();
    for piece in text.chunks(piece) {
        log.feed(piece, &mut |text| plain.extend_from_slice(text));
    }
    log.finish(&mut |text| plain.extend_from_slice(text));
    (plain, log.describe())
}

/// Returns a line with a tab for the blanks at its beginning.
fn tabbed(line: &str) -> String {
    let rest = trim_indent(line.as_bytes());
    let tab = if rest.len() < line.len() { "\t" } else { "" };
    format!("{tab}{}", String::from_utf8_lossy(rest))
}

#[track_caller]
fn check_as(lines: &[(&str, &str)], forced: bool) {
    let text: String = lines.iter().map(|(line, _)| format!("{line}\n")).collect();
    for piece in [usize::MAX, 1, 7] {
        let (plain, _) = unwrap(text.as_bytes(), forced, piece.min(text.len()));
        let plain = String::from_utf8(plain).unwrap();
        let plain: Vec<_> = plain.lines().map(|line| tabbed(line.trim_end_matches('\r'))).collect();
        let expected: Vec<_> = lines.iter().map(|(_, expected)| expected.to_string()).collect();
        assert_eq!(plain, expected, "{text}");
    }
}

#[track_caller]
fn check(lines: &[(&str, &str)]) {
    check_as(lines, true);
}

#[test]
fn times_go_on() {
    check(&[
        ("2026-01-02T03:04:05.9Z app[12]: goroutine 1 [running]:", "goroutine 1 [running]:"),
        ("2026-01-02T03:04:05.10Z app[12]: main.main()", "main.main()"),
        ("2026-01-02T03:04:06.1Z app[12]: \t/src/main.go:7 +0x1d", "\t/src/main.go:7 +0x1d"),
        ("2026-01-02T03:04:06.1Z app[12]:", ""),
    ]);
}

#[test]
fn blanks_are_a_prefix_too() {
    check(&[
        ("    goroutine 1 [running]:", "goroutine 1 [running]:"),
        ("    main.main()", "main.main()"),
        ("        /src/main.go:7 +0x1d", "\t/src/main.go:7 +0x1d"),
        ("    \t/src/main.go:7 +0x1d", "\t/src/main.go:7 +0x1d"),
        ("", ""),
    ]);
}

#[test]
fn other_letters_are_no_trouble() {
    check(&[
        ("pod-abc | goroutine 1 [running]:", "goroutine 1 [running]:"),
        ("pod-xyz | main.main()", "main.main()"),
    ]);
}

#[test]
fn what_a_panic_says_has_the_prefix_too() {
    check(&[
        ("app-1 | hello", "app-1 | hello"),
        ("app-1 | panic: x goroutine 9 [fake]:", "panic: x goroutine 9 [fake]:"),
        ("app-1 |         goroutine 9 [fake]:", "\tgoroutine 9 [fake]:"),
        ("app-1 |", ""),
        ("app-1 | goroutine 1 [running]:", "goroutine 1 [running]:"),
        ("app-1 | say goroutine 9 [fake]:", "say goroutine 9 [fake]:"),
        ("other: panic: goroutine 9 [fake]:", "panic: goroutine 9 [fake]:"),
    ]);
    check(&[
        ("panic: oh", "panic: oh"),
        ("\tgoroutine 9 [fake]:", "\tgoroutine 9 [fake]:"),
        ("", ""),
        ("goroutine 1 [running]:", "goroutine 1 [running]:"),
    ]);
}

#[test]
fn lines_may_be_quoted() {
    check(&[
        (
            r#"{"log":"goroutine 1 [running] {k: \"v\"}:\n","stream":"stderr","time":"t"}"#,
            "goroutine 1 [running] {k: \"v\"}:",
        ),
        (r#"{"log":"main.f(0x1)\n","stream":"stderr"}"#, "main.f(0x1)"),
        (r#"{"log":"\t/src/\u003ca\u003e.go:7 +0x1d\r\n"}"#, "\t/src/<a>.go:7 +0x1d"),
        (r#"{"log":"\n","stream":"stderr"}"#, ""),
        (r#"{"log":"cut of"#, r#"{"log":"cut of"#),
    ]);
}

#[test]
fn colours_are_no_text() {
    check(&[
        ("\x1b[36mweb_1  |\x1b[0m goroutine 1 [running]:\x1b[0m", "goroutine 1 [running]:"),
        ("\x1b[1;33mweb_1  |\x1b[0m \x1b[31mmain.main()", "main.main()"),
        ("\x1b[36mweb_1  |\x1b[0m \t/src/main.go:7 +0x1d\x1b[", "\t/src/main.go:7 +0x1d"),
    ]);
}
