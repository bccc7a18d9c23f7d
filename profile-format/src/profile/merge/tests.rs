//! Sums that are known, and laws that hold for every profile.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const TYPES: [(&str, &str); 2] = [("a", "count"), ("b", "bytes")];

/// A stack of named functions, two values, and a label where there is a text.
type SampleRow<'a> = (&'a [&'a str], [i64; 2], &'a str);

/// Makes a profile of a program that was loaded at `base`. Tables are filled in the order of use.
fn profile(base: u64, rows: &[SampleRow<'_>]) -> Profile {
    let mut builder = Builder::new(&TYPES);
    builder.period("b", "bytes", 512);
    let filename = builder.str("/bin/program");
    let build_id = builder.str("c0ffee");
    let mapping = builder.mapping(Mapping {
        start: base,
        limit: base + 0x10_0000,
        filename,
        build_id,
        has_functions: true,
        ..Mapping::default()
    });
    for (stack, values, label) in rows {
        let stack: Vec<u32> = stack
            .iter()
            .map(|name| {
                let address = base + name.bytes().map(u64::from).sum::<u64>();
                let name = builder.str(name);
                let function = builder.function(Function { name, ..Function::default() });
                builder.location(Some(mapping), address, &[Line { function, line: 7, column: 0 }])
            })
            .collect();
        let label = (!label.is_empty()).then(|| builder.text_label("thread", label));
        builder.sample(&stack, values, label.as_slice());
    }
    builder.finish()
}

/// Returns the content of a profile, whatever the order of its tables.
fn content(profile: &Profile) -> BTreeMap<String, Vec<i128>> {
    let mut content = BTreeMap::<String, Vec<i128>>::new();
    for sample in profile.samples.iter() {
        let mut key = String::new();
        for &location in sample.stack {
            let location = &profile.locations[location as usize];
            let start = location.mapping.map_or(0, |at| profile.mappings[at as usize].start);
            key += &format!("{:x}", location.address.wrapping_sub(start));
            for line in profile.lines_of(location) {
                let name = profile.functions[line.function as usize].name;
                key += &format!(" {}:{}", profile.str(name), line.line);
            }
            key += "\n";
        }
        for label in sample.labels {
            key += &format!("{}={}{}", profile.str(label.key), profile.str(label.str), label.num);
        }
        let sums = content.entry(key).or_insert_with(|| vec![0; sample.values.len()]);
        for (sum, &value) in zip(sums, sample.values) {
            *sum += i128::from(value);
        }
    }
    content.retain(|_, sums| sums.iter().any(|&sum| sum != 0));
    content
}

#[track_caller]
fn check(parts: &[(&Profile, i64)], expected: &[SampleRow<'_>]) {
    let merged = Profile::merge(parts).unwrap();
    merged.check().unwrap();
    assert_eq!(content(&merged), content(&profile(0, expected)));
    assert_eq!(merged.samples.len(), expected.len(), "each stack once");
}

#[test]
fn values_of_one_stack_are_added() {
    let first = profile(0x40_0000, &[(&["f", "main"], [1, 10], ""), (&["g", "main"], [2, 20], "")]);
    // The same program, loaded elsewhere.
    let second =
        profile(0x7f00_0000, &[(&["h", "main"], [3, 30], ""), (&["f", "main"], [4, 40], "")]);
    check(
        &[(&first, 1), (&second, 1)],
        &[
            (&["f", "main"], [5, 50], ""),
            (&["g", "main"], [2, 20], ""),
            (&["h", "main"], [3, 30], ""),
        ],
    );
    check(
        &[(&second, 1), (&first, -1)],
        &[
            (&["h", "main"], [3, 30], ""),
            (&["f", "main"], [3, 30], ""),
            (&["g", "main"], [-2, -20], ""),
        ],
    );
    check(
        &[(&first, 0), (&second, 3)],
        &[(&["h", "main"], [9, 90], ""), (&["f", "main"], [12, 120], "")],
    );
}

#[test]
fn labels_and_empty_stacks_keep_samples_apart() {
    let rows: &[SampleRow<'_>] = &[
        (&["f"], [1, 1], "one"),
        (&["f"], [2, 2], "two"),
        (&["f"], [4, 4], ""),
        (&[], [8, 8], ""),
    ];
    let one = profile(0, rows);
    check(&[(&one, 1)], rows);
    let twice: Vec<SampleRow<'_>> =
        rows.iter().map(|&(stack, [a, b], label)| (stack, [2 * a, 2 * b], label)).collect();
    check(&[(&one, 1), (&one, 1)], &twice);
}

#[test]
fn what_nothing_refers_to_is_left_out_but_for_the_main_program() {
    let first = profile(0x1000, &[(&["f", "main"], [1, 1], "x"), (&["g", "main"], [1, 1], "y")]);
    let second = profile(0x1000, &[(&["g", "main"], [1, 1], "y")]);
    let delta = Profile::merge(&[(&first, 1), (&second, -1)]).unwrap();
    let strings: Vec<&str> = delta.strings.iter().collect();
    assert!(strings.contains(&"f") && !strings.contains(&"g"), "{strings:?}");
    assert_eq!((delta.locations.len(), delta.functions.len(), delta.mappings.len()), (2, 2, 1));
    let nothing = Profile::merge(&[(&first, 1), (&first, -1)]).unwrap();
    assert_eq!((nothing.samples.len(), nothing.locations.len(), nothing.mappings.len()), (0, 0, 1));
    assert_eq!(nothing.type_name(nothing.period_type.unwrap()), "b/bytes");
    nothing.check().unwrap();
}

#[test]
fn headers_are_joined() {
    let with = |time, duration, comments: &[&str], default: &str| {
        let mut builder = Builder::new(&TYPES);
        builder.period("b", "bytes", time);
        for comment in comments {
            builder.comment(comment);
        }
        let default = builder.str(default);
        let profile = builder.profile_mut();
        profile.time_nanos = time;
        profile.duration_nanos = duration;
        profile.default_sample_type = default;
        builder.finish()
    };
    let first = with(70, 5, &["engine", "one"], "");
    let second = with(50, 6, &["engine", "two"], "a");
    let merged = Profile::merge(&[(&first, 1), (&second, 1)]).unwrap();
    assert_eq!((merged.time_nanos, merged.duration_nanos, merged.period), (50, 11, 70));
    assert_eq!(merged.str(merged.default_sample_type), "a");
    let comments: Vec<_> = merged.comments.iter().map(|&comment| merged.str(comment)).collect();
    assert_eq!(comments, ["engine", "one", "two"]);
    let delta = first.since(&second).unwrap();
    assert_eq!((delta.time_nanos, delta.duration_nanos), (70, 20), "as Go's");
}

#[test]
fn different_things_are_not_added() {
    let of = |types: &[(&str, &str)], period: Option<&str>| {
        let mut builder = Builder::new(types);
        if let Some(period) = period {
            builder.period(period, "count", 1);
        }
        let location = builder.location(None, 1, &[]);
        let values: Vec<i64> = (1..).take(types.len()).collect();
        builder.sample(&[location], &values, &[]);
        builder.finish()
    };
    let check = |first: &Profile, other: &Profile, expected: &str| {
        let error = Profile::merge(&[(first, 1), (other, 1)]).unwrap_err();
        assert_eq!(error.to_string(), expected);
    };
    check(
        &of(&TYPES, Some("a")),
        &of(&TYPES, Some("b")),
        "the profiles have different period types: a/count and b/count",
    );
    check(
        &of(&TYPES, Some("a")),
        &of(&TYPES, None),
        "the profiles have different period types: a/count and none",
    );
    check(
        &of(&TYPES, None),
        &of(&[("b", "count")], None),
        "the profiles have no sample type in common: a/count, b/bytes and b/count",
    );
    assert_eq!(Profile::merge(&[]).unwrap_err(), MergeError::Nothing);
    // One type in common is enough, wherever it stands.
    let merged =
        Profile::merge(&[(&of(&TYPES, None), 1), (&of(&[("b", "bytes")], None), 1)]).unwrap();
    assert_eq!(merged.sample_types.len(), 1);
    assert_eq!(merged.samples.get(0).values, [3]);
}

#[test]
fn sums_are_cut_off_only_at_the_end() {
    let (min, max) = (i64::MIN, i64::MAX);
    let large = profile(0, &[(&["f"], [max, min], "")]);
    check(&[(&large, 1), (&large, 1)], &[(&["f"], [max, min], "")]);
    check(&[(&large, 1), (&large, 1), (&large, -1)], &[(&["f"], [max, min], "")]);
    check(&[(&large, min), (&large, max)], &[(&["f"], [-max, max], "")]);
}

const NAMES: [&str; 5] = ["f", "g", "h", "main", "<T as U>::f"];

fn profiles() -> impl Strategy<Value = Profile> {
    let row = (vec(0..NAMES.len(), 0..4), any::<[i32; 2]>(), 0..3_usize);
    (0..4_u64, vec(row, 0..12)).prop_map(|(base, rows)| {
        let named: Vec<_> = rows
            .iter()
            .map(|(stack, values, label)| {
                let stack: Vec<&str> = stack.iter().map(|&name| NAMES[name]).collect();
                (stack, values.map(i64::from), ["", "x", "y"][*label])
            })
            .collect();
        let rows: Vec<SampleRow<'_>> =
            named.iter().map(|(stack, values, label)| (&stack[..], *values, *label)).collect();
        profile(base << 20, &rows)
    })
}

proptest! {
    #[test]
    fn less_itself_nothing_is_left(profile in profiles()) {
        let nothing = Profile::merge(&[(&profile, 1), (&profile, -1)]).unwrap();
        prop_assert!(nothing.samples.is_empty());
        prop_assert!(nothing.locations.is_empty());
    }

    #[test]
    fn sums_are_exact_in_any_order(a in profiles(), b in profiles(), m in -9..9_i64, n in -9..9_i64) {
        let forth = Profile::merge(&[(&a, m), (&b, n)]).unwrap();
        let back = Profile::merge(&[(&b, n), (&a, m)]).unwrap();
        prop_assert_eq!(forth.check(), Ok(()));
        prop_assert_eq!(content(&forth), content(&back));
        let mut expected = content(&a);
        expected.values_mut().flatten().for_each(|value| *value *= i128::from(m));
        for (key, values) in content(&b) {
            let sums = expected.entry(key).or_insert_with(|| vec![0; values.len()]);
            zip(sums, values).for_each(|(sum, value)| *sum += value * i128::from(n));
        }
        expected.retain(|_, sums| sums.iter().any(|&sum| sum != 0));
        prop_assert_eq!(forth.samples.len(), expected.len());
        prop_assert_eq!(content(&forth), expected);
    }
}
