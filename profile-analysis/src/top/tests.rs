//! Rankings of known profiles, and of any profile against a naive twin.

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;

use super::*;
use crate::site::is_plumbing;
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

/// Returns flat and cum by name, with a map of texts.
fn twin(profile: &Profile, by: By) -> HashMap<(String, i64), (i64, i64)> {
    let mut sums: HashMap<(String, i64), (i64, i64)> = HashMap::new();
    for sample in profile.samples.iter() {
        let mut frames = texts(profile, sample.stack);
        if by == By::Caller {
            let user: Vec<_> =
                frames.iter().filter(|(name, file, _)| !is_plumbing(name, file)).cloned().collect();
            frames.truncate(1);
            if !user.is_empty() {
                frames = user;
            }
        }
        let mut keys = frames.into_iter().map(|(name, file, line)| match by {
            By::File if name == "[no stack]" => (name, 0),
            By::File if file.is_empty() => ("[unknown]".to_owned(), 0),
            By::File => (file, 0),
            By::Line => (format!("{name} {file}"), line),
            _ => (name, 0),
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

proptest! {
    #[test]
    fn agrees_with_a_map_of_texts(profile in testing::profiles()) {
        for by in [By::Function, By::Line, By::File, By::Caller] {
            let top = ranked(&profile, "alloc_space", by);
            let rows: HashMap<_, _> = top
                .rows
                .iter()
                .map(|row| match by {
                    By::Line => (format!("{} {}", row.name, row.file), row.line),
                    _ => (row.name.clone(), 0),
                })
                .zip(top.rows.iter().map(|row| (row.flat, row.cum)))
                .collect();
            prop_assert_eq!(rows.len(), top.rows.len());
            prop_assert_eq!(rows, twin(&profile, by));
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
