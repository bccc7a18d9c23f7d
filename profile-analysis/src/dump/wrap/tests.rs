//! Lines of logs, and what is left of them.

use proptest::prelude::*;

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

#[test]
fn a_prefix_is_found_by_itself() {
    check_as(
        &[
            ("12:00:01 app: goroutine 1 was here:", "12:00:01 app: goroutine 1 was here:"),
            ("12:00:01 app: ready", "12:00:01 app: ready"),
            ("12:00:02 app: goroutine 1 [running]:", "goroutine 1 [running]:"),
            ("12:00:02 app: main.f()", "main.f()"),
            ("other text", "other text"),
            ("12:00:03 app: \t/a.go:1 +0x1", "\t/a.go:1 +0x1"),
            ("12:00:03 app:", ""),
            ("db-1 | goroutine 2 [select]:", "goroutine 2 [select]:"),
            ("db-1 | main.f()", "main.f()"),
            ("db-1 |     /a.go:1 +0x1", "\t/a.go:1 +0x1"),
        ],
        false,
    );
    // Nothing follows that has it.
    for next in ["12:00:02 app: ready", "main.f", "", "12:00:02 app: goroutine 2 [running]:"] {
        let header = "12:00:02 app: goroutine 1 [running]:";
        check_as(&[(header, header), (next, next), ("bye", "bye")], false);
    }
    // Of a panic's text no line is a prefix.
    check_as(
        &[
            ("panic: x", "panic: x"),
            ("say goroutine 9 [running]:", "say goroutine 9 [running]:"),
            ("say main.evil()", "say main.evil()"),
            ("say \t/evil.go:1", "say \t/evil.go:1"),
        ],
        false,
    );
}

#[test]
fn what_was_taken_off_is_said() {
    let stack = "goroutine 1 [running]:\nmain.f()\n\t/a.go:1 +0x1\n";
    let each = |form: fn(&str) -> String| -> String { stack.lines().map(form).collect() };
    for (text, said) in [
        (stack.to_owned(), vec![]),
        (each(|line| format!("a-1 | {line}\n")), vec!["the prefix of every line (\"a-1 |\")"]),
        (each(|line| format!("    {line}\n")), vec!["an indentation of every line"]),
        (
            each(|line| format!("a-1 | {{\"log\":{line:?}}}\n")),
            vec!["the JSON of every line (\"log\")"],
        ),
        (
            each(|line| format!("\x1b[1m> \x1b[m{line}\n")),
            vec!["colours", "the prefix of every line (\">\")"],
        ),
        (format!("msg={stack:?}\n"), vec!["the quotes of every line"]),
        ("hello\n".to_owned(), vec![]),
    ] {
        let (plain, found) = unwrap(text.as_bytes(), false, 7);
        assert_eq!(found, said, "{text}");
        let is_same = tabbed(&String::from_utf8_lossy(&plain)) == stack;
        assert!(is_same || said.is_empty(), "{text}");
    }
}

/// Lines of logs and of dumps in them, whole and broken.
fn line() -> impl Strategy<Value = String> {
    let inner = prop_oneof![
        Just("goroutine 1 [running]:".to_owned()),
        Just("goroutine 2 [select, 5 minutes]:".to_owned()),
        Just("main.f(0x1)".to_owned()),
        Just("\t/a.go:1 +0x1".to_owned()),
        Just("        /a.go:1 +0x1".to_owned()),
        Just("created by main.g in goroutine 1".to_owned()),
        Just("goroutine profile: total 1".to_owned()),
        Just("1 @ 0x1".to_owned()),
        Just("panic: x".to_owned()),
        Just(String::new()),
        "[a-z\"\\\\ ]{0,6}",
    ];
    (inner, 0..14_u8).prop_map(|(line, form)| match form {
        0 => format!("2026-10-02T11:22:33.5Z stderr F {line}"),
        1 => format!("2026-10-02T11:22:33.55Z stderr P {line}"),
        2 => format!("web-1  | {line}"),
        3 => format!("{{\"log\":{}}}", serde_json::to_string(&format!("{line}\n")).unwrap()),
        4 => format!("{{\"msg\":{},\"x\":1}}", serde_json::to_string(&line).unwrap()),
        5 => format!("web-1  | {{\"msg\":{}}}", serde_json::to_string(&line).unwrap()),
        6 => format!("\x1b[1m{line}\x1b[0m"),
        7 => format!("{{\"MESSAGE\":{:?}}}", line.as_bytes()),
        8 => format!("level=1 msg={line:?}"),
        9 => format!("{{\"log\":\"{line}"),
        10 => format!("    {line}"),
        11 => format!("{line}\\n{line}"),
        _ => line,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn pieces_say_what_the_whole_says(
        lines in proptest::collection::vec(line(), 0..30),
        piece in 1_usize..40,
        forced: bool,
        long in 0..40_usize,
    ) {
        let mut text = lines.join("\n");
        if let Some((at, _)) = text.char_indices().nth(long) {
            // A line longer than a block, in one case of some.
            text.insert_str(at, &"x, ".repeat(if long % 8 == 0 { BLOCK / 3 } else { 0 }));
        }
        let whole = unwrap(text.as_bytes(), forced, text.len().max(1));
        prop_assert_eq!(unwrap(text.as_bytes(), forced, piece), whole);
    }

    #[test]
    fn any_bytes_are_no_trouble(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        unwrap(&bytes, true, 10);
        unwrap(&bytes, false, 300);
    }
}
