//! Dumps whose content is known: samples with counts that were made without this parser, what other
//! parsers are known to get wrong, and generated ones.

use std::collections::{BTreeMap, HashSet};

use proptest::prelude::*;

use super::*;

macro_rules! sample {
    ($name:literal) => {
        include_bytes!(concat!("../../tests/data/dumps/", $name, ".txt"))
    };
}

const SAMPLES: [(&[u8], u64, usize); 7] = [
    (sample!("basic"), 14, 10),
    (sample!("labels"), 41, 3),
    (sample!("inject"), 3, 3),
    (sample!("leak"), 21, 2),
    (sample!("ancestors"), 18, 10),
    (sample!("sigquit-all"), 13, 9),
    (sample!("states.goroutineleak.debug1"), 19, 10),
];

fn read(bytes: &[u8]) -> Dump {
    parse(bytes)
}

/// Returns everything a dump says, as text.
fn all(dump: &Dump) -> String {
    let mut text = format!(
        "{} {} {} {} {:?}\n",
        dump.format().name(),
        dump.goroutines(),
        dump.is_crash(),
        dump.truncated(),
        dump.warning_texts()
    );
    for group in dump.groups() {
        text += &format!(
            "{} {} {:?} {:?} {} {} {} {} {:?} {:?} {:?} {:?}\n",
            group.count(),
            group.state(),
            group.ids(),
            group.waits(),
            group.locked(),
            group.leaked(),
            group.labelled(),
            group.partial(),
            group.labels(),
            group.created_by(),
            group.ancestors(),
            group.stack(),
        );
    }
    text
}

#[test]
fn samples_count_as_they_should() {
    for (bytes, goroutines, groups) in SAMPLES {
        let dump = read(bytes);
        assert_eq!((dump.goroutines(), dump.group_count()), (goroutines, groups), "{}", all(&dump));
        assert!(!dump.truncated(), "{}", all(&dump));
        assert!(dump.warnings().is_empty(), "{}", all(&dump));
    }
}

#[track_caller]
fn check_states(bytes: &[u8], states: &[(&str, u64)]) {
    let expected: BTreeMap<String, u64> =
        states.iter().map(|&(state, count)| (state.to_owned(), count)).collect();
    assert_eq!(read(bytes).by_state(), expected);
}

#[test]
fn samples_have_their_states() {
    check_states(
        sample!("basic"),
        &[
            ("chan receive", 7),
            ("running", 1),
            ("sync.Mutex.Lock", 1),
            ("select (no cases)", 1),
            ("sleep", 1),
            ("sync.WaitGroup.Wait", 1),
            ("sync.Cond.Wait", 1),
            ("chan receive (nil chan)", 1),
        ],
    );
    check_states(sample!("labels"), &[("chan receive", 40), ("running", 1)]);
    check_states(sample!("inject"), &[("chan receive", 2), ("running", 1)]);
    check_states(sample!("leak"), &[("chan receive", 20), ("running", 1)]);
    check_states(
        sample!("sigquit-all"),
        &[
            ("chan receive", 5),
            ("idle", 1),
            ("sleep", 1),
            ("force gc (idle)", 1),
            ("GC sweep wait", 1),
            ("GC scavenge wait", 1),
            ("GOMAXPROCS updater (idle)", 1),
            ("finalizer wait", 1),
            ("cleanup wait", 1),
        ],
    );
    // Where frames tell them.
    check_states(
        sample!("states.goroutineleak.debug1"),
        &[
            ("sync.Cond.Wait", 4),
            ("sync.RWMutex.Lock", 1),
            ("sync.RWMutex.RLock", 3),
            ("sync.WaitGroup.Wait", 1),
        ],
    );
}

#[test]
fn samples_have_what_else_they_have() {
    assert_eq!(facts(&read(sample!("labels"))).with_labels, 20);
    assert_eq!(facts(&read(sample!("leak"))).leaked, 20);
    assert_eq!(facts(&read(sample!("basic"))).locked_to_thread, 1);
    let inject = read(sample!("inject"));
    let labels: Vec<_> = inject.groups().flat_map(|group| group.labels()).collect();
    let value = "/x goroutine 7 [running]:\nmain.evil()\n\t/evil.go:1 +0x1";
    assert_eq!(labels, [("path".into(), value.into(), 1)]);
    let ancestors = read(sample!("ancestors"));
    let of = ancestors.groups().map(|group| group.ancestors()).find(|a| !a.is_empty()).unwrap();
    assert_eq!(of[0].id, 1);
    let names: Vec<_> = of[0].stack.iter().map(|frame| frame.function.as_ref()).collect();
    assert_eq!(names, ["main.spawnA", "main.main"]);
}

#[test]
fn a_group_has_its_frames() {
    let dump = read(sample!("basic"));
    let mutex = dump.groups().find(|group| group.state() == "sync.Mutex.Lock").unwrap();
    let stack = mutex.stack();
    assert_eq!(stack.len(), 5);
    let frame = |function: &'static str, file: &'static str, line, inlined| Frame {
        function: function.into(),
        file: file.into(),
        line,
        inlined,
    };
    assert_eq!(stack[3], frame("sync.(*Mutex).Lock", "/usr/local/go/src/sync/mutex.go", 46, true));
    assert_eq!(stack[4], frame("main.main.func1", "/src/app/main.go", 106, false));
    assert_eq!(mutex.created_by(), Some(frame("main.main", "/src/app/main.go", 106, false)));
    assert_eq!(mutex.ids(), [29]);
}

/// Returns the states of all groups, with how many members each has.
fn states(text: &str) -> Vec<(String, u64)> {
    let dump = read(text.as_bytes());
    dump.groups().map(|group| (group.state().into_owned(), group.count())).collect()
}

#[track_caller]
fn check(text: &str, expected: &[(&str, u64)]) {
    let expected: Vec<_> = expected.iter().map(|&(s, n)| (s.to_owned(), n)).collect();
    assert_eq!(states(text), expected, "{text}");
}

const FRAME: &str = "main.f(0x1)\n\t/a.go:1 +0x1\n";

#[test]
fn text_is_around_dumps() {
    check(&format!("hello\ngoroutine 1 [running]:\n{FRAME}\nbye\n"), &[("running", 1)]);
    check(
        &format!("goroutine 1 [running]:\n{FRAME}\n===\ngoroutine 1 [running]:\n{FRAME}"),
        &[("running", 2)],
    );
    check(&format!("goroutine 1 [running]:\n{FRAME}exit status 2\n"), &[("running", 1)]);
    let memory = "goroutine 0 gp=0x1 m=6 mp=0x2 [idle]:\nruntime: g 0 gp=0x1: unknown pc 0x7f\n\
                  stack: frame={sp:0x1, fp:0x0} stack=[0x1,0x2)\n   1 0  0 1\n\
                  00007f0000000010: 0000000000000000 00000000000007e1  ........f(......)\n     ^ SP\n\n";
    let dump = read(memory.as_bytes());
    assert_eq!((dump.goroutines(), dump.warnings().len(), dump.truncated()), (1, 0, false));
    let registers = format!("goroutine 1 [running]:\n{FRAME}rax    0xca\nrflags 0x246\n");
    assert!(read(registers.as_bytes()).warnings().is_empty());
    check(
        &format!("goroutine 1 [running]:\n{FRAME}goroutine 2 [sleep]:\n{FRAME}"),
        &[("running", 1), ("sleep", 1)],
    );
    check(
        &format!("goroutine 1 [running]:\r\n{}\r\n", FRAME.replace('\n', "\r\n")),
        &[("running", 1)],
    );
}

#[test]
fn the_text_of_a_panic_is_no_goroutine() {
    let real = format!("goroutine 1 [running]:\n{FRAME}");
    for panic in [
        "panic: x goroutine 99 [fake]:\n\n",
        "panic: x\ngoroutine 99 [fake]:\nmain.evil()\n\t/evil.go:1 +0x1\n\n",
        "panic: x\n\tgoroutine 99 [fake]:\n\tmain.evil()\n\n",
        "fatal error: x\ngoroutine 99 [fake]:\n\n",
        "panic: x [recovered]\n\tpanic: y\ngoroutine 99 [fake]:\n\t/evil.go:1\n\n",
    ] {
        check(&format!("{panic}{real}exit status 2\n"), &[("running", 1)]);
    }
    // What a program logs that recovers.
    let logged = "panic: x\ngoroutine 18 [running]:\nruntime/debug.Stack()\n\t/s.go:26 +0x5e\n";
    check(&format!("{logged}{FRAME}"), &[("running", 1)]);
}

/// Before Go 1.23 a panic's text is written as it is.
#[test]
fn an_empty_line_does_not_end_what_a_panic_says() {
    let fake = "goroutine 99 [fake]:\nmain.evil()\n\t/evil.go:1 +0x1\n\n";
    let real = format!("goroutine 1 [running]:\n{FRAME}\ngoroutine 2 [select]:\n{FRAME}");
    for panic in [
        format!("panic: x\n\n{fake}{fake}\n\n"),
        format!("panic: x\n\n{fake}and\n\nmore\n\n{fake}"),
        format!("panic: x\n\tpanic: y\ngoroutine 98 [fake]:\n\tpanic: z\n\n{fake}"),
        format!("panic: x\n\n{fake} [recovered]\n\tpanic: x\n\n{fake}[signal SIGSEGV]\n\n"),
        format!("goroutine 7 [running]:\n{FRAME}panic: x\n\n{fake}"),
    ] {
        let running = 1 + u64::from(panic.starts_with("goroutine"));
        let text = format!("{panic}{real}");
        let dump = read(text.as_bytes());
        let found: Vec<_> = dump.by_state().into_iter().collect();
        assert_eq!(found, [("running".to_owned(), running), ("select".to_owned(), 1)], "{text}");
        assert!(dump.warnings().iter().all(|warning| warning.problem == Problem::InPanicText));
        // What is fatal waits, and so may do what comes later in a log.
        for before in
            ["fatal error: all goroutines are asleep - deadlock!\n\n", "panic: x\n\nexit 2\n"]
        {
            check(&format!("{before}goroutine 1 [select]:\n{FRAME}"), &[("select", 1)]);
        }
    }
    // Nor on several threads.
    let text = format!("panic: {}\n\n{}{real}", "x".repeat(60_000), fake.repeat(60_000));
    let dump = parse_on(2, text.as_bytes(), &Options::default());
    assert_eq!((dump.goroutines(), all(&dump)), (2, all(&read(text.as_bytes()))));
}

/// A log may have dropped all empty lines, or none.
#[test]
fn a_panic_without_an_empty_line_is_read_and_forges_nothing() {
    let running = |id| format!("goroutine {id} [running]:\n{FRAME}");
    let evil = "main.evil()\n\t/evil.go:1 +0x1\n";
    let rest = format!("goroutine 2 [select]:\n{FRAME}goroutine 3 [sleep]:\n{FRAME}");
    let real = format!("{}{rest}", running(1));
    let states = [("running", 1), ("select", 1), ("sleep", 1)];
    for panic in ["panic: x\n", "panic: x\n[signal SIGSEGV: 1]\n", "panic: x\n\tpanic: y\n"] {
        check(&format!("{panic}{real}exit status 2\n"), &states);
        assert!(read(format!("{panic}{real}").as_bytes()).warnings().is_empty());
    }
    check(&format!("fatal error: all goroutines are asleep - deadlock!\n{rest}"), &states[1..]);
    let other = "goroutine 9 [running]:\n\tgoroutine running on other thread; stack unavailable\n";
    let all = [("running", 1), ("running", 1), ("select", 1), ("sleep", 1)];
    check(&format!("panic: x\n{}{other}{rest}", running(1)), &all);
    for forged in [
        format!("goroutine 99 [running]:\n{evil}"),
        format!("goroutine 99 [select]:\n{evil}"),
        format!("goroutine 99 [fake]:\n{evil}"),
        format!("goroutine 99 [running]:\n{evil}goroutine 98 [select]:\n{evil}"),
        format!("goroutine 99 [running]:\n{evil}goroutine 98 [running]:\n{evil}"),
        format!("fatal error: y\ngoroutine 99 [select]:\n{evil}"),
        format!("goroutine 99 [running]:\n{evil}more\ngoroutine 98 [select]:\n{evil}"),
    ] {
        for separator in ["", "\n"] {
            let text = format!("panic: x\n{forged}{separator}{real}");
            check(&text, &states);
            let dump = read(text.as_bytes());
            let told = |warning: &Warning| warning.problem == Problem::InPanicText;
            assert!(dump.warnings().iter().any(told), "{text}");
        }
    }
    // What runs one after the other, in one log.
    check(&format!("panic: x\n{0}exit status 2\npanic: y\n{0}", running(1)), &[("running", 2)]);
    // So many in a row are no text.
    let many: String = (2..200).map(|id| format!("goroutine {id} [select]:\n{FRAME}")).collect();
    check(&format!("panic: x\n{}{many}", running(1)), &[("running", 1), ("select", 198)]);
}

#[test]
fn text_of_windows_is_read() {
    let text = format!("\u{feff}goroutine 1 [running] {{k: \"ключ\"}}:\r\n{FRAME}");
    let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
    let plain = read(text.as_bytes());
    assert_eq!((plain.goroutines(), plain.warnings().len()), (1, 0));
    for bytes in [little, big] {
        assert_eq!(all(&read(&bytes)), all(&plain));
        let mut parser = Parser::new(&Options::default());
        bytes.chunks(1).for_each(|byte| parser.feed(byte));
        assert_eq!(all(&parser.finish()), all(&plain));
    }
}

#[test]
fn a_goroutine_with_endless_labels_counts() {
    let long = "x".repeat(100_000);
    let text = format!(
        "goroutine 7 [select, 5 minutes] {{k: {long}}}:\n{FRAME}\n\
         goroutine 8 [sleep (leaked) labels:{{\"k\": \"{long}\"}}]:\n{FRAME}\n\
         goroutine 9 {long}\n{FRAME}\n"
    );
    let dump = read(text.as_bytes());
    let groups: Vec<_> =
        dump.groups().map(|g| (g.state().into_owned(), g.waits().max(), g.leaked())).collect();
    assert_eq!(groups, [("select".to_owned(), Some(5), 0), ("sleep".to_owned(), None, 1)]);
    assert_eq!(dump.limits_reached(), [Limit::Line]);
    let mut parser = Parser::new(&Options::default());
    text.as_bytes().chunks(7).for_each(|piece| parser.feed(piece));
    assert_eq!(all(&parser.finish()), all(&dump));
}

/// Reads dumps through the prefixes that logs put before lines.
#[test]
fn logs_are_read() {
    let plain = "panic: oh goroutine 9 [fake]:\n\tgoroutine 9 [fake]:\n\tmain.evil()\n\t\n\n\
                 goroutine 1 [running]:\nmain.main()\n\t/src/main.go:7 +0x1d\n\n\
                 goroutine 2 [select, 3 minutes]:\nmain.f(...)\n\t/src/main.go:8\n\
                 created by main.main in goroutine 1\n\t/src/main.go:9 +0x1\nexit status 2\n";
    let expected = read(plain.as_bytes());
    assert_eq!((expected.goroutines(), expected.group_count()), (2, 2));
    let times = |form: fn(usize, &str) -> String| -> String {
        plain.lines().enumerate().map(|(n, line)| form(n, line) + "\n").collect()
    };
    let logs = [
        times(|n, line| format!("2026-01-02T03:04:{n:02}.{}Z stderr F {line}", n * 12_345_678)),
        times(|n, line| {
            format!("web-1  | {line}").trim_end().replace('\t', if n > 0 { "        " } else { "" })
        }),
        times(|n, line| {
            format!("Jan 02 03:04:{n:02} host app[12]: {}", line.replace('\t', "        "))
        }),
        times(|_, line| format!("\x1b[36mweb_1  |\x1b[0m {line}\x1b[0m\r")),
        times(|_, line| format!("    {line}")),
        times(|n, line| format!("time={n} level=error msg={line}")),
        times(|_, line| line.to_owned()),
    ];
    for log in logs {
        let text = format!("{}\n{log}", log.replace("goroutine", "thing").replace("panic", "x"));
        for text in [&log, &text] {
            let dump =
                parse_with(text.as_bytes(), &Options { strip_prefix: true, ..Options::default() });
            let found: Vec<_> = dump
                .groups()
                .map(|g| (g.count(), g.state(), g.waits().max(), g.stack(), g.created_by()))
                .collect();
            let expected: Vec<_> = expected
                .groups()
                .map(|g| (g.count(), g.state(), g.waits().max(), g.stack(), g.created_by()))
                .collect();
            assert_eq!(found, expected, "{text}");
        }
    }
}

#[test]
fn a_directory_is_no_goroutine() {
    let text = "goroutine 1 [running]:\nmain.f(0x1)\n\t/src/goroutine pool/a.go:7 +0x1\n\
                created by main.g in goroutine 5\n\t/src/goroutine 7 [running]:/a.go:9 +0x1\n";
    let dump = read(text.as_bytes());
    assert_eq!(dump.goroutines(), 1);
    let group = dump.groups().next().unwrap();
    assert_eq!(group.stack()[0].file, "/src/goroutine pool/a.go");
    assert_eq!(group.created_by().unwrap().line, 9);
}

#[test]
fn arguments_and_offsets_tell_nothing_apart() {
    let one = "goroutine 7 [select]:\nmain.f(0x1, {0x2, 0x3?})\n\t/a.go:1 +0x1\nmain.g(...)\n\
               \t/a.go:5\ncreated by main.h in goroutine 1\n\t/a.go:9 +0x7\n\n";
    let other = "goroutine 8 [select, 3 minutes]:\nmain.f(...)\n\t/a.go:1 +0x99 fp=0x1 sp=0x2 pc=0x3\n\
                 main.g(_)\n\t/a.go:5\ncreated by main.h\n\t/a.go:9\n";
    check(&format!("{one}{other}"), &[("select", 2)]);
    let elsewhere = one.replace("/a.go:9", "/a.go:8");
    check(&format!("{one}{elsewhere}"), &[("select", 1), ("select", 1)]);
    let deeper = one.replace("main.g(...)", "main.f(0x1)\n\t/a.go:1\nmain.g(...)");
    check(&format!("{one}{deeper}"), &[("select", 1), ("select", 1)]);
}

#[test]
fn odd_frames_are_read() {
    let text = "goroutine 1 gp=0xc0 m=0 mp=0x5 [syscall]:\n\
                non-Go function at pc=0x7f\nx_cgo_wait\n\tcgo.c:12 pc=0x7f\nnon-Go function\n\tpc=0x80\n\
                runtime.cgocall(0x1)\n\t/c.go:1 +0x1 fp=0x1 sp=0x2 pc=0x3\n...23 frames elided...\n\
                main.main()\n\t/a.go:1 +0x1\n\n\
                goroutine 2 [running]:\n\tgoroutine running on other thread; stack unavailable\n\
                created by main.f in goroutine 1\n\t/a.go:2 +0x1\n";
    let dump = read(text.as_bytes());
    assert!(dump.warnings().is_empty() && !dump.truncated(), "{}", all(&dump));
    let groups: Vec<_> = dump.groups().collect();
    let stack = groups[0].stack();
    let names: Vec<_> = stack.iter().map(|frame| frame.function.as_ref()).collect();
    assert_eq!(
        names,
        ["non-Go function", "x_cgo_wait", "non-Go function", "runtime.cgocall", "main.main"]
    );
    assert_eq!((&*stack[1].file, stack[1].line), ("cgo.c", 12));
    assert_eq!((groups[0].partial(), groups[1].partial()), (1, 1));
}

#[test]
fn what_breaks_off_is_kept_and_said() {
    let whole = "goroutine 1 [chan receive, 5 minutes]:\nmain.f(0x1)\n\t/a.go:1 +0x1\n\
                 created by main.g in goroutine 1\n\t/a.go:2 +0x1\n\n\
                 goroutine 2 [sleep]:\nmain.f(0x1)\n\t/a.go:1 +0x1\n\
                 created by main.g in goroutine 1\n\t/a.go:2 +0x1\n";
    assert!(!read(whole.as_bytes()).truncated());
    // The final newline may be lost, and an empty line be left.
    let may_end = [
        whole.find("\ncreated").unwrap(),
        whole.find("\n\n").unwrap(),
        whole.rfind("\ncreated").unwrap(),
        whole.len() - 1,
    ];
    for end in 1..whole.len() {
        let dump = read(&whole.as_bytes()[..end]);
        let fine = end < 10
            || may_end.iter().any(|&at| end == at || end == at + 1)
            || end == whole.find("goroutine 2").unwrap();
        assert_eq!(!dump.truncated(), fine, "{end}: {:?}", &whole[..end]);
        let headers = whole[..end].matches("]:").count();
        assert_eq!(dump.goroutines(), headers as u64, "{:?}", &whole[..end]);
    }
}

#[test]
fn the_longest_of_go_is_cut_off() {
    let one = format!("goroutine 1 [running]:\n{FRAME}\n");
    let mut text = one.repeat((64 << 20) / one.len());
    text.push_str(&" ".repeat((64 << 20) - text.len()));
    let dump = read(text.as_bytes());
    assert!(dump.truncated());
    assert!(dump.warnings().iter().any(|warning| warning.problem == Problem::LongestOfGo));
}

#[test]
fn totals_are_compared() {
    let text = "goroutine profile: total 9\n3 @ 0x1 0x2\n#\t0x1\tmain.f+0x1\t\t/a.go:1\n\n\
                5 @ 0x3\n# labels: {\"a\":\"b\\n\", \"c\":\"d\"}\n#\t0x3\n\n";
    let dump = read(text.as_bytes());
    assert_eq!((dump.format(), dump.goroutines()), (DumpFormat::Debug1, 8));
    assert!(dump.truncated());
    assert_eq!(dump.warnings()[0].problem, Problem::Total(9, 8));
    let groups: Vec<_> = dump.groups().collect();
    assert_eq!((groups[1].labelled(), groups[1].stack()[0].function.as_ref()), (5, "0x3"));
    assert_eq!(groups[1].labels()[0], ("a".into(), "b\n".into(), 5));
    assert!(!read(text.replace("total 9", "total 8").as_bytes()).truncated());
}

#[test]
fn limits_bound_what_is_kept_and_not_what_is_counted() {
    let limits = Limits {
        line: 60,
        depth: 3,
        frames: 40,
        text: 4000,
        groups: 4,
        labels: 2,
        waits: 1,
        ..Limits::default()
    };
    let options = Options { limits, ..Options::default() };
    let mut text = String::new();
    for n in 1..=50 {
        text += &format!("goroutine {n} [state {}, {n} minutes] {{k: v{n}}}:\n", n % 7);
        for depth in 0..n % 9 {
            text += &format!("main.f{n}(0x1)\n\t/a.go:{depth} +0x1\n");
        }
        text += &format!("main.long({})\n\t/a.go:1\n\n", "0x1, ".repeat(20));
    }
    let dump = parse_with(text.as_bytes(), &options);
    assert_eq!(dump.goroutines(), 50);
    assert_eq!(dump.groups().map(|group| group.count()).sum::<u64>(), 50);
    let reached: HashSet<Limit> = dump.limits_reached().iter().copied().collect();
    for limit in [Limit::Line, Limit::Depth, Limit::Text, Limit::Groups, Limit::Labels] {
        assert!(reached.contains(&limit), "{limit}: {reached:?}");
    }
    let texts = dump.warning_texts().join("\n");
    assert!(texts.contains("more than the limit of 3 frames in a stack at byte "), "{texts}");
}

#[test]
fn a_prefix_is_stripped_on_request() {
    let plain = String::from_utf8_lossy(sample!("labels")).into_owned();
    let options = Options { strip_prefix: true, ..Options::default() };
    let mut prefixed = String::new();
    for (n, line) in plain.lines().enumerate() {
        prefixed += &format!("2026-11-24T21:{:02}:{n}.{n}Z api-7f[{n}] {line}\n", n % 60);
    }
    let dump = parse_with(prefixed.as_bytes(), &options);
    assert_eq!((dump.goroutines(), dump.group_count()), (41, 3));
    // Since all lines have it, without the request too.
    assert_eq!(read(prefixed.as_bytes()).goroutines(), 41);
    let indented: String = plain.lines().map(|line| format!("    {line}\n")).collect();
    let dump = parse_with(indented.replace('\t', "    ").as_bytes(), &options);
    assert_eq!((dump.goroutines(), dump.group_count()), (41, 3));
}

/// Cuts a text at places and feeds the pieces.
fn in_pieces(text: &[u8], cuts: &[usize]) -> Dump {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (text.len() + 1)).collect();
    cuts.extend([0, text.len()]);
    cuts.sort_unstable();
    let mut parser = Parser::new(&Options::default());
    for ends in cuts.windows(2) {
        parser.feed(&text[ends[0]..ends[1]]);
    }
    parser.finish()
}

/// Reads a text without the parser's short cut.
fn slowly(text: &[u8]) -> Dump {
    let mut parser = Parser::new(&Options::default());
    parser.disable_short_cut();
    parser.feed(text);
    parser.finish()
}

/// Lines that mean something to the parser.
fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        (1..5_u8, 0..3_u8, 0..3_u8).prop_map(|(id, state, minutes)| {
            let state = ["running", "select (durable)", "chan receive (leaked)"][state as usize];
            let wait = if minutes > 0 { format!(", {minutes} minutes") } else { String::new() };
            format!("goroutine {id} [{state}{wait}]:")
        }),
        (0..4_u8, "[0x, (){}?]{0,6}").prop_map(|(name, args)| format!("main.f{name}({args})")),
        (0..4_u8).prop_map(|name| format!("main.f{name}(...)")),
        (0..3_u8, "( \\+0x[0-9a-f]{1,3}){0,2}( fp=0x1 sp=0x2 pc=0x3)?")
            .prop_map(|(line, tail)| format!("\t/a.go:{line}{tail}")),
        (0..3_u8, 0..2_u8).prop_map(|(name, id)| {
            let id = if id > 0 { format!(" in goroutine {id}") } else { String::new() };
            format!("created by main.f{name}{id}")
        }),
        Just("[originating from goroutine 3]:".to_owned()),
        Just("...7 frames elided...".to_owned()),
        Just("\tgoroutine running on other thread; stack unavailable".to_owned()),
        Just("goroutine profile: total 5".to_owned()),
        Just("3 @ 0x1 0x2".to_owned()),
        Just("#\t0x1\tmain.f1+0x1\t/a.go:1".to_owned()),
        Just("# labels: {\"a\":\"b\"}".to_owned()),
        Just("goroutine 9 [select] {a: \"b]:}\", c: d}:".to_owned()),
        Just("panic: oh".to_owned()),
        Just("some text (here)".to_owned()),
        "[a-z (\\t]{0,8}\r?",
    ]
}

fn text() -> impl Strategy<Value = String> {
    proptest::collection::vec(line(), 0..60).prop_map(|lines| lines.join("\n"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn pieces_say_what_the_whole_says(text in text(), cuts in proptest::collection::vec(any::<usize>(), 0..6)) {
        let whole = all(&read(text.as_bytes()));
        prop_assert_eq!(&all(&in_pieces(text.as_bytes(), &cuts)), &whole);
        prop_assert_eq!(&all(&slowly(text.as_bytes())), &whole);
    }

    #[test]
    fn any_bytes_are_no_trouble(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let dump = read(&bytes);
        prop_assert_eq!(dump.groups().map(|group| group.count()).sum::<u64>(), dump.goroutines());
    }

    #[test]
    fn samples_survive_damage(
        which in 0..SAMPLES.len(),
        at in any::<usize>(),
        noise in proptest::collection::vec(any::<u8>(), 0..6),
        cuts in proptest::collection::vec(any::<usize>(), 0..3),
    ) {
        let mut bytes = SAMPLES[which].0.to_vec();
        let at = at % bytes.len();
        let end = (at + noise.len()).min(bytes.len());
        bytes.splice(at..end, noise);
        let whole = all(&read(&bytes));
        prop_assert_eq!(&all(&in_pieces(&bytes, &cuts)), &whole);
        prop_assert_eq!(&all(&slowly(&bytes)), &whole);
    }
}

/// Two or more parts say what one says; the offsets of warnings are those of the whole.
#[test]
fn threads_say_what_one_says() {
    let mut text = Vec::new();
    let samples = &SAMPLES[..6];
    while text.len() < 3 << 20 {
        for (sample, ..) in samples {
            text.extend_from_slice(sample);
            text.push(b'\n');
        }
    }
    text.extend_from_slice(b"goroutine 7 [select]:\nmain.f(0x1)");
    let options = Options::default();
    let whole = all(&parse_with(&text, &options));
    for threads in [0, 1, 2, 3] {
        assert_eq!(all(&parse_on(threads, &text, &options)), whole, "{threads}");
    }
    assert_eq!(all(&parse_on(2, b"", &options)), all(&read(b"")));
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn packed_dumps_say_what_plain_ones_say() {
    let text = sample!("labels").repeat(100);
    let packed = [gzip(&text[..5000]), gzip(&text[5000..])].concat();
    let options = Options::default();
    let whole = all(&read(&text));
    assert_eq!(all(&parse_packed(&packed, &options)), whole);
    assert_eq!(all(&parse_packed(&text, &options)), whole);
    let cut = parse_packed(&packed[..packed.len() / 2], &options);
    assert!(cut.truncated() && cut.goroutines() > 1000, "{}", all(&cut));
    let limits = Limits { unpacked: 10_000, ..Limits::default() };
    let limited = parse_packed(&packed, &Options { limits, ..Options::default() });
    assert!(limited.truncated());
    assert_eq!(limited.limits_reached(), [Limit::Unpacked]);
}

#[test]
fn facts_are_the_contract() {
    let found = serde_json::to_value(facts(&read(sample!("leak")))).unwrap();
    let expected = serde_json::json!({
        "format": "debug2", "goroutines": 21, "by_state": {"chan receive": 20, "running": 1},
        "groups": 2, "max_wait_minutes": null, "waits_known": 0, "with_labels": 0, "leaked": 20,
        "locked_to_thread": 0, "partial_stacks": 0, "crash": false, "truncated": false,
        "warnings": [],
    });
    assert_eq!(found, expected);
}

#[test]
fn profiles_say_it_with_labels() {
    use profile_format::profile::{Builder, Function, Line};

    let mut builder = Builder::new(&[("goroutine", "count")]);
    let name = builder.str("main.f");
    let filename = builder.str("/a.go");
    let function = builder.function(Function { name, filename, ..Function::default() });
    let place = builder.location(None, 1, &[Line { function, line: 7, column: 0 }]);
    let labels = [
        builder.text_label("state", "chan receive (leaked)"),
        builder.text_label("wait", "5 minutes"),
        builder.text_label("thread", "worker"),
    ];
    builder.sample(&[place], &[3], &labels);
    builder.sample(&[place], &[2], &[]);
    let dump = from_profile(&builder.finish(), &Options::default()).unwrap();
    assert_eq!((dump.goroutines(), dump.group_count()), (5, 2));
    let group = dump.groups().next().unwrap();
    assert_eq!(
        (group.state(), group.waits().max(), group.leaked()),
        ("chan receive".into(), Some(5), 3)
    );
    assert_eq!(group.labels(), [("thread".into(), "worker".into(), 3)]);
    assert_eq!(group.stack()[0].line, 7);
    let cpu = Builder::new(&[("cpu", "nanoseconds")]).finish();
    assert!(from_profile(&cpu, &Options::default()).is_none());
}
