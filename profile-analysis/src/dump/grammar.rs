//! Dumps made from a grammar, whose content is known before they are written: what the parser reads
//! is compared with a count that has nothing in common with it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::{Options, facts, parse, parse_on};

/// A frame: function, arguments, file, line, and the offset where there is one.
type WrittenFrame = (&'static str, &'static str, &'static str, u64, Option<u32>);

const STATES: [&str; 9] = [
    "running",
    "IO wait",
    "select (no cases)",
    "chan receive (nil chan)",
    "sync.Mutex.Lock",
    "GC worker (idle)",
    "chan send",
    "???",
    "a state of tomorrow",
];
const FUNCTIONS: [&str; 7] = [
    "main.f",
    "main.(*T).M",
    "main.g[...]",
    "main.h.func1.2",
    "net/http.(*conn).serve",
    "example.com/v2/goroutine 7 [running]/x.Y",
    "main.created by z",
];
const ARGUMENTS: [&str; 6] =
    ["", "...", "0x1, 0x2?", "{0x1, {0x2, 0x3}}, 0x0", "0xc000123456, _, ...", "(0x1)"];
const FILES: [&str; 5] = [
    "/src/a.go",
    "C:/Users/x/b.go",
    "/a dir/goroutine 9 [idle]:/c.go",
    "/src/(x)/d.s",
    "_cgo_gotypes.go",
];
const LABELS: [&str; 4] = [
    "{k: v}",
    "{endpoint: /api/v1, t: \"we]ird \\\"x\\\": y}\"}",
    "{a: \"goroutine 1 [running]:\"}",
    "{a: \"x\\ny\"}",
];

#[derive(Clone, Debug)]
struct GoroutineText {
    id: u32,
    pointers: Option<bool>,
    state: &'static str,
    suffix: Option<&'static str>,
    minutes: Option<u32>,
    locked: bool,
    labels: Option<&'static str>,
    frames: Vec<WrittenFrame>,
    created: Option<(WrittenFrame, Option<u32>)>,
}

fn frame() -> impl Strategy<Value = WrittenFrame> {
    let offset = option::weighted(0.8, any::<u32>());
    (select(&FUNCTIONS[..]), select(&ARGUMENTS[..]), select(&FILES[..]), 1..50_u64, offset)
}

fn goroutine() -> impl Strategy<Value = GoroutineText> {
    let head = (
        any::<u32>(),
        option::weighted(0.2, any::<bool>()),
        select(&STATES[..]),
        option::weighted(0.3, select(&[" (scan)", " (leaked)", " (durable)"][..])),
        option::of(1..5000_u32),
        any::<bool>(),
        option::weighted(0.3, select(&LABELS[..])),
    );
    // Few frames and lines, so that stacks meet again.
    let created = option::of((frame(), option::of(any::<u32>())));
    (head, vec(frame(), 1..4), created).prop_map(
        |((id, pointers, state, suffix, minutes, locked, labels), frames, created)| GoroutineText {
            id,
            pointers,
            state,
            suffix,
            minutes,
            locked,
            labels,
            frames,
            created,
        },
    )
}

impl GoroutineText {
    fn write(&self, out: &mut String) {
        let pointers = match self.pointers {
            None => "",
            Some(false) => " gp=0xc0001 m=nil",
            Some(true) => " gp=0x214e65a96000 m=5 mp=0xc0008",
        };
        let minutes =
            self.minutes.map_or_else(String::new, |minutes| format!(", {minutes} minutes"));
        let locked = if self.locked { ", locked to thread" } else { "" };
        let labels = self.labels.map_or_else(String::new, |labels| format!(" {labels}"));
        let (id, state, suffix) = (self.id, self.state, self.suffix.unwrap_or(""));
        let _ =
            writeln!(out, "goroutine {id}{pointers} [{state}{suffix}{minutes}{locked}]{labels}:");
        let place = |out: &mut String, &(_, _, file, line, offset): &WrittenFrame| {
            let offset = offset.map_or_else(String::new, |offset| format!(" +{offset:#x}"));
            let _ = writeln!(out, "\t{file}:{line}{offset}");
        };
        for frame in &self.frames {
            let _ = writeln!(out, "{}({})", frame.0, frame.1);
            place(out, frame);
        }
        if let Some((frame, parent)) = &self.created {
            let parent = parent.map_or_else(String::new, |id| format!(" in goroutine {id}"));
            let _ = writeln!(out, "created by {}{parent}", frame.0);
            place(out, frame);
        }
    }

    /// Returns the state, stack and creator that goroutines of one group share.
    fn key(&self) -> WrittenKey {
        let plain = |frame: &WrittenFrame| (frame.0.to_owned(), frame.2.to_owned(), frame.3);
        let created = self.created.as_ref().map(|(frame, _)| plain(frame));
        (self.state.to_owned(), self.frames.iter().map(plain).collect(), created)
    }
}

type WrittenPlace = (String, String, u64);
type WrittenKey = (String, Vec<WrittenPlace>, Option<WrittenPlace>);

/// Counts of a group: its members, those whose wait is known and the longest, locked, leaked,
/// labelled.
#[derive(Debug, Default, PartialEq)]
struct MemberCount(u64, u64, Option<u64>, u64, u64, u64);

fn counted(goroutines: &[GoroutineText]) -> BTreeMap<WrittenKey, MemberCount> {
    let mut groups: BTreeMap<WrittenKey, MemberCount> = BTreeMap::new();
    for one in goroutines {
        let MemberCount(members, known, longest, locked, leaked, labelled) =
            groups.entry(one.key()).or_default();
        *members += 1;
        *known += u64::from(one.minutes.is_some());
        *longest = (*longest).max(one.minutes.map(u64::from));
        *locked += u64::from(one.locked);
        *leaked += u64::from(one.suffix == Some(" (leaked)"));
        *labelled += u64::from(one.labels.is_some());
    }
    groups
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn what_was_written_is_read(kinds in vec(goroutine(), 1..12), which in vec(any::<u8>(), 0..60)) {
        let goroutines: Vec<GoroutineText> = which
            .iter()
            .enumerate()
            .map(|(at, &kind)| {
                let kind = kinds[usize::from(kind) % kinds.len()].clone();
                // What doesn't tell groups apart.
                let minutes = kind.minutes.map(|minutes| minutes + at as u32);
                GoroutineText { id: kind.id.wrapping_add(at as u32), minutes, ..kind }
            })
            .collect();
        let mut text = String::new();
        for (at, goroutine) in goroutines.iter().enumerate() {
            if at > 0 {
                text.push('\n');
            }
            goroutine.write(&mut text);
        }
        let expected = counted(&goroutines);
        for dump in [parse(text.as_bytes()), parse_on(2, text.as_bytes(), &Options::default())] {
            let read: BTreeMap<WrittenKey, MemberCount> = dump
                .groups()
                .map(|group| {
                    let plain = |frame: super::Frame<'_>| {
                        (frame.function.into_owned(), frame.file.into_owned(), frame.line)
                    };
                    let stack = group.stack().into_iter().map(plain).collect();
                    let key = (group.state().into_owned(), stack, group.created_by().map(plain));
                    let waits = group.waits();
                    let count = MemberCount(
                        group.count(),
                        waits.known(),
                        waits.max(),
                        group.locked(),
                        group.leaked(),
                        group.labelled(),
                    );
                    (key, count)
                })
                .collect();
            prop_assert_eq!(&read, &expected, "{}", &text);
            prop_assert_eq!(dump.goroutines(), goroutines.len() as u64);
            prop_assert_eq!(dump.group_count(), expected.len());
            prop_assert!(dump.warnings().is_empty() && !dump.truncated(), "{:?}\n{}", dump.warning_texts(), &text);
            let mut states = BTreeMap::new();
            goroutines.iter().for_each(|one| *states.entry(one.state.to_owned()).or_insert(0) += 1);
            prop_assert_eq!(facts(&dump).by_state, states);
        }
    }
}
