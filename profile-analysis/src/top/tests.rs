//! Rankings of known profiles, and of any profile against a naive twin.

use std::collections::{HashMap, HashSet};

use profile_format::owner::FrameOwner;
use profile_format::profile::{Builder, Line};
use proptest::prelude::*;

use super::*;
use crate::testing;

fn ranked(profile: &Profile, sample_type: &str, by: By) -> Top {
    let sample_type = Some(sample_type.to_owned());
    top(&Stacks::of(profile), &TopOptions { sample_type, by, ..TopOptions::default() }).unwrap()
}

#[track_caller]
fn check(by: By, sample_type: &str, expected: &[(&str, &str, i64, i64, i64)]) {
    let top = ranked(&testing::heap(), sample_type, by);
    let rows: Vec<_> = top
        .rows
        .iter()
        .map(|row| (row.name.as_str(), row.file.as_str(), row.line, row.flat, row.cum))
        .collect();
    assert_eq!(rows, expected);
}

const GROW: &str = "alloc::raw_vec::finish_grow";
const RUSTC: &str = "/rustc/59807616e1fa2540724bfbac14d7976d7e4a3860/library/alloc/src/raw_vec.rs";

#[test]
fn ranks_functions() {
    check(
        By::Function,
        "alloc_space",
        &[
            (GROW, RUSTC, 3, 5120, 5120),
            ("service::build", "src/build.rs", 20, 0, 4096),
            ("service::main", "src/main.rs", 7, 0, 5120),
        ],
    );
}

#[test]
fn ranks_callers() {
    check(
        By::Caller,
        "alloc_space/bytes",
        &[
            ("service::build", "src/build.rs", 20, 4096, 4096),
            ("service::main", "src/main.rs", 7, 1024, 5120),
        ],
    );
}

#[test]
fn ranks_files() {
    check(
        By::File,
        "inuse_space",
        &[
            (RUSTC, RUSTC, 0, 1536, 1536),
            ("src/build.rs", "src/build.rs", 0, 0, 1536),
            ("src/main.rs", "src/main.rs", 0, 0, 1536),
        ],
    );
}

#[test]
fn ranks_sites_with_inlined_frames() {
    check(By::Site, "alloc_objects", &[(GROW, RUSTC, 3, 12, 12), (GROW, RUSTC, 3, 4, 4)]);
    let top = ranked(&testing::heap(), "alloc_objects", By::Site);
    let expected = [
        format!("{GROW} {RUSTC}:3"),
        "service::build src/build.rs:20".into(),
        "service::main src/main.rs:7".into(),
    ];
    assert_eq!(top.rows[0].stack, expected);
}

#[test]
fn prints_the_contract() {
    let options = TopOptions { cum: true, limit: Some(1), ..TopOptions::default() };
    let mut profile = testing::heap();
    let json = serde_json::to_value(top(&Stacks::of(&profile), &options).unwrap()).unwrap();
    let row = serde_json::json!(
        {"name": GROW, "file": RUSTC, "line": 3, "flat": 1536, "cum": 1536, "stack": []}
    );
    let expected = serde_json::json!({
        "type": "inuse_space", "unit": "bytes", "total": 1536, "absolute": 1536, "rows": [row]
    });
    assert_eq!(json, expected);

    profile.default_sample_type = profile.sample_types[1].kind;
    assert_eq!(top(&Stacks::of(&profile), &options).unwrap().sample_type, "alloc_space");
    profile.default_sample_type = profile.strings.push("nonsense");
    assert_eq!(top(&Stacks::of(&profile), &options).unwrap().sample_type, "inuse_space");
}

#[test]
fn shares_of_what_is_below_zero_are_of_absolute_values() {
    let mut profile = testing::heap();
    profile.samples.push(&[], &[0, -15_360, 0, 0], &[]);
    let top = ranked(&profile, "alloc_space", By::Function);
    assert_eq!((top.total, top.absolute), (-10_240, 20_480));
    let text = render(&top, By::Function, 80);
    assert!(text.contains("-75.0%") && text.contains("25.0%"), "{text}");
}

#[test]
fn names_the_types_there_are() {
    let sample_type = Some("cpu".to_owned());
    let error =
        top(&Stacks::of(&testing::heap()), &TopOptions { sample_type, ..TopOptions::default() });
    assert_eq!(
        error.unwrap_err().to_string(),
        "no sample type \"cpu\"; there is alloc_objects/count, alloc_space/bytes, \
         inuse_objects/count, inuse_space/bytes"
    );
    let empty = Profile::default();
    assert!(top(&Stacks::of(&empty), &TopOptions::default()).is_err());
}

#[test]
fn sums_past_64_bits_stop_at_the_end() {
    let mut profile = testing::heap();
    let stack: Vec<u32> = profile.samples.get(0).stack.to_vec();
    for _ in 0..2 {
        profile.samples.push(&stack, &[i64::MAX, i64::MIN, 0, 0], &[]);
    }
    let most = ranked(&profile, "alloc_objects", By::Site);
    assert_eq!((most.total, most.rows[0].flat), (i64::MAX, i64::MAX));
    assert_eq!(ranked(&profile, "alloc_space", By::Function).total, i64::MIN);
}

/// Returns the frames of a stack as texts, written the plain way.
fn texts(profile: &Profile, stack: &[u32]) -> Vec<(String, String, i64)> {
    let mut frames = Vec::new();
    for &index in stack {
        let location = &profile.locations[index as usize];
        for line in profile.lines_of(location) {
            let function = profile.functions[line.function as usize];
            let (name, file) = (profile.str(function.name), profile.str(function.filename));
            frames.push((name.to_owned(), file.to_owned(), line.line));
        }
        if location.lines.is_empty() {
            frames.push((format!("{:#x}", location.address), String::new(), 0));
        }
    }
    if stack.is_empty() {
        frames.push(("[no stack]".to_owned(), String::new(), 0));
    }
    frames
}

/// The key of a row: a name, a file and a line, as far as the rows are told by them.
type RowKey = (String, String, i64);

/// Returns the frames of a stack that count for what is asked for, the plain way.
fn kept(frames: Vec<RowKey>, by: By, only_mine: bool) -> Vec<RowKey> {
    let owner = |(name, file, _): &RowKey| FrameOwner::of(name, file);
    let libraries: &[&[FrameOwner]] = &[
        &[FrameOwner::Program],
        &[FrameOwner::Program, FrameOwner::Library],
        &[FrameOwner::Program, FrameOwner::Library, FrameOwner::Runtime],
    ];
    let wanted = match (only_mine, by) {
        (true, _) => libraries,
        (false, By::Caller) => &libraries[1..],
        _ => return frames,
    };
    for owners in wanted {
        let kept: Vec<_> = frames.iter().filter(|f| owners.contains(&owner(f))).cloned().collect();
        if !kept.is_empty() {
            return kept;
        }
    }
    frames[..1].to_vec()
}

/// Returns flat and cum by row, with a map of texts.
fn twin(profile: &Profile, by: By, only_mine: bool) -> HashMap<RowKey, (i64, i64)> {
    let mut sums: HashMap<RowKey, (i64, i64)> = HashMap::new();
    for sample in profile.samples.iter() {
        let frames = kept(texts(profile, sample.stack), by, only_mine);
        let mut keys = frames.into_iter().map(|(name, file, line)| match by {
            By::File if name == "[no stack]" => (name, String::new(), 0),
            By::File if file.is_empty() => ("[unknown]".to_owned(), String::new(), 0),
            By::File => (file, String::new(), 0),
            By::Line => (name, file, line),
            _ => (name, file, 0),
        });
        let Some(leaf) = keys.next() else { continue };
        sums.entry(leaf.clone()).or_default().0 += sample.values[1];
        let distinct: HashSet<_> = keys.chain([leaf]).collect();
        for key in distinct {
            sums.entry(key).or_default().1 += sample.values[1];
        }
    }
    sums.retain(|_, sums| *sums != (0, 0));
    sums
}

/// One name in two files is two rows, and recursion counts once in each.
#[test]
fn functions_are_told_by_name_and_file() {
    let mut builder = Builder::new(&[("samples", "count")]);
    let mut place = |name: &str, file: &str| {
        let function = testing::function(&mut builder, name, file);
        builder.location(None, 0, &[Line { function, line: 11, column: 0 }])
    };
    let work = place("{closure#0}", "/app/src/work.rs");
    let other = place("{closure#0}", "/app/src/other.rs");
    let nested = place("{closure#0}", "/app/src/nested/other.rs");
    builder.sample(&[work, other, work], &[75], &[]);
    builder.sample(&[nested], &[25], &[]);
    let profile = builder.finish();
    let top = ranked(&profile, "samples", By::Function);
    let rows: Vec<_> = top.rows.iter().map(|row| (row.file.as_str(), row.flat, row.cum)).collect();
    assert_eq!(
        rows,
        [
            ("/app/src/work.rs", 75, 75),
            ("/app/src/nested/other.rs", 25, 25),
            ("/app/src/other.rs", 0, 75)
        ]
    );
    let text = render(&top, By::Function, 80);
    assert!(text.contains("{closure#0} (work.rs:11)"), "{text}");
    assert!(text.contains("{closure#0} (nested/other.rs:11)"), "{text}");
    assert!(text.contains("{closure#0} (src/other.rs:11)"), "{text}");
}

#[test]
fn libraries_are_charged_to_the_program() {
    let mut builder = Builder::new(&[("samples", "count")]);
    let registry = "/root/.cargo/registry/src/index";
    let mut place = |name: &str, file: &str| {
        let function = testing::function(&mut builder, name, file);
        builder.location(None, 0, &[Line { function, line: 1, column: 0 }])
    };
    let leaf = place("wrapping_mul", &RUSTC.replace("alloc/src/raw_vec", "core/src/num/mod"));
    let serde = place("from_str", &format!("{registry}/serde_json-1.0.1/src/de.rs"));
    let mine = place("{async_fn#0}", "/app/src/h2.rs");
    let runtime = place("run", &format!("{registry}/tokio-1.48.0/src/runtime/task/mod.rs"));
    builder.sample(&[leaf, serde, mine, runtime], &[60], &[]);
    builder.sample(&[leaf, serde, runtime], &[30], &[]);
    builder.sample(&[leaf, runtime], &[10], &[]);
    let profile = builder.finish();
    let rows = |by, only_mine| {
        let options = TopOptions { by, only_mine, ..TopOptions::default() };
        let top = top(&Stacks::of(&profile), &options).unwrap();
        let rows = top.rows.into_iter().map(|row| (row.name, row.flat, row.cum));
        rows.collect::<Vec<_>>()
    };
    let row = |name: &str, flat, cum| (name.to_owned(), flat, cum);
    let mine = [row("{async_fn#0}", 60, 60), row("from_str", 30, 30), row("run", 10, 10)];
    assert_eq!(rows(By::Function, true), mine);
    let callers = [row("from_str", 90, 90), row("run", 10, 10), row("{async_fn#0}", 0, 60)];
    assert_eq!(rows(By::Caller, false), callers);
    assert_eq!(rows(By::Function, false)[0], row("wrapping_mul", 100, 100));
    assert_eq!(rows(By::Site, true).iter().map(|row| row.1).collect::<Vec<_>>(), [60, 30, 10]);
}

proptest! {
    #[test]
    fn agrees_with_a_map_of_texts(profile in testing::profiles(), only_mine: bool) {
        for by in [By::Function, By::Line, By::File, By::Caller] {
            let sample_type = Some("alloc_space".to_owned());
            let options = TopOptions { sample_type, by, only_mine, ..TopOptions::default() };
            let top = top(&Stacks::of(&profile), &options).unwrap();
            let rows: HashMap<_, _> = top
                .rows
                .iter()
                .map(|row| match by {
                    By::Line => (row.name.clone(), row.file.clone(), row.line),
                    By::File => (row.name.clone(), String::new(), 0),
                    _ => (row.name.clone(), row.file.clone(), 0),
                })
                .zip(top.rows.iter().map(|row| (row.flat, row.cum)))
                .collect();
            prop_assert_eq!(rows.len(), top.rows.len());
            prop_assert_eq!(rows, twin(&profile, by, only_mine));
        }
    }

    #[test]
    fn sites_agree_with_a_map_of_texts(profile in testing::profiles()) {
        let mut twin: HashMap<Vec<(String, String, i64)>, i64> = HashMap::new();
        for sample in profile.samples.iter() {
            *twin.entry(texts(&profile, sample.stack)).or_default() += sample.values[1];
        }
        let mut expected: Vec<_> = twin
            .into_iter()
            .filter(|(_, flat)| *flat != 0)
            .map(|(frames, flat)| (frames[0].clone(), flat))
            .collect();
        let top = ranked(&profile, "alloc_space", By::Site);
        let mut rows: Vec<_> = top
            .rows
            .iter()
            .map(|row| ((row.name.clone(), row.file.clone(), row.line), row.flat))
            .collect();
        prop_assert!(rows.iter().map(|row| -row.1).is_sorted());
        expected.sort();
        rows.sort();
        prop_assert_eq!(rows, expected);
    }

    #[test]
    fn a_limit_cuts_the_end(profile in testing::profiles(), limit in 0_usize..6, cum: bool) {
        for by in [By::Function, By::Site, By::Line, By::File, By::Caller] {
            let options = TopOptions { by, cum, ..TopOptions::default() };
            let all = top(&Stacks::of(&profile), &options).unwrap();
            let value = |row: &TopRow| if cum { row.cum } else { row.flat };
            let key = |row: &TopRow| (-value(row), row.name.clone(), row.file.clone(), row.line);
            prop_assert!(all.rows.is_sorted_by_key(key));
            let cut = top(&Stacks::of(&profile), &TopOptions { limit: Some(limit), ..options }).unwrap();
            prop_assert_eq!(&all.rows[..limit.min(all.rows.len())], cut.rows);
        }
    }
}
