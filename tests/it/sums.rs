//! Profiles added up, subtracted, scaled and filtered by our functions, against what `go tool pprof`
//! writes when it is asked for the same.

use std::collections::BTreeMap;
use std::path::Path;

use profilez::analysis::Filter;
use profilez::core::profile::{Builder, DecodeLimits, Function, Label, Line, Mapping, Profile};

use crate::support::go::{go, pprof};

/// A profile of two sample types with some 200 samples. Other seeds give other samples, addresses and
/// values of the same functions.
fn profile(seed: u64) -> Profile {
    let mut state = seed * 2_654_435_761 + 1;
    let mut random = |below: u64| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let mut builder = Builder::new(&[("samples", "count"), ("cpu", "nanoseconds")]);
    builder.period("cpu", "nanoseconds", 10_000_000);
    let filename = builder.str("/usr/bin/service");
    let start = 0x10_0000 * (seed + 1);
    let mapping = Mapping { start, limit: start + 0x9000, filename, ..Mapping::default() };
    let mapping = Some(builder.mapping(Mapping { has_functions: true, ..mapping }));
    let places: Vec<u32> = (0..40)
        .map(|index| {
            let name = builder.str(&format!("service::f{index}"));
            let filename = builder.str(&format!("/src/{}.rs", index % 7));
            let function = builder.function(Function { name, filename, ..Function::default() });
            builder.location(mapping, start + 16 * index, &[Line { function, line: 7, column: 0 }])
        })
        .collect();
    for _ in 0..200 {
        let depth = 1 + random(4);
        let stack: Vec<u32> = (0..depth).map(|_| places[random(12 + 8 * seed) as usize]).collect();
        let labels: Vec<Label> = match random(3) {
            0 => vec![],
            1 => vec![builder.text_label("tenant", ["acme", "other"][random(2) as usize])],
            _ => vec![builder.number_label("bytes", 16 << random(3), "bytes")],
        };
        let values = [random(50) as i64, random(9_000_000) as i64];
        builder.sample(&stack, &values, &labels);
    }
    builder.finish()
}

/// The samples by what they say, with the sums of their values. Zeros are none.
fn samples(profile: &Profile) -> BTreeMap<String, Vec<i64>> {
    let mut samples = BTreeMap::<String, Vec<i64>>::new();
    for sample in profile.samples.iter() {
        let names = sample.stack.iter().map(|&location| {
            let lines = profile.lines_of(&profile.locations[location as usize]);
            profile.str(profile.functions[lines[0].function as usize].name)
        });
        let names: Vec<_> = names.collect();
        let mut labels: Vec<_> = sample.labels.iter().collect();
        labels.sort_by_key(|label| profile.str(label.key));
        let labels: Vec<_> = labels
            .iter()
            .map(|label| {
                format!("{}={}{}", profile.str(label.key), profile.str(label.str), label.num)
            })
            .collect();
        let sums = samples.entry(format!("{names:?} {labels:?}")).or_insert_with(|| vec![0, 0]);
        sums.iter_mut().zip(sample.values).for_each(|(sum, value)| *sum += value);
    }
    samples.retain(|_, values| values.iter().any(|&value| value != 0));
    samples
}

fn write(path: &Path, profile: &Profile) -> String {
    std::fs::write(path, profile.encode_gzip()).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn pprof_computes_the_same() {
    let Some(go) = go() else { return };
    let folder = tempfile::tempdir().unwrap();
    let [a, b, c] = [1, 2, 3].map(profile);
    let paths = [("a", &a), ("b", &b), ("c", &c)]
        .map(|(name, profile)| write(&folder.path().join(name), profile));
    let [pa, pb, pc] = &paths;
    let out = folder.path().join("out");
    let output = format!("-output={}", out.to_str().unwrap());
    let check = |ours: &Profile, arguments: &[&str]| {
        let common = ["-proto", "-symbolize=none", &output];
        pprof(&go, &[&common, arguments].concat());
        let bytes = std::fs::read(&out).unwrap();
        let theirs = Profile::decode(&bytes, &DecodeLimits::default()).unwrap();
        assert_eq!(samples(ours), samples(&theirs), "{arguments:?}");
        assert!(!samples(ours).is_empty(), "{arguments:?}");
        ours.check().unwrap();
    };
    let merge = |parts: &[(&Profile, i64)]| Profile::merge(parts).unwrap();

    check(&merge(&[(&a, 1), (&b, 1), (&c, 1)]), &[pa, pb, pc]);
    check(&merge(&[(&a, 1), (&a, 1)]), &[pa, pa]);
    check(&merge(&[(&b, 1), (&a, -1)]), &[&format!("-base={pa}"), pb]);
    let more = merge(&[(&b, 1), (&c, 1), (&a, -1)]);
    check(&more, &[&format!("-base={pa}"), pb, pc]);

    let mut normal = b.clone();
    normal.normalize(&a).unwrap();
    let normal = merge(&[(&normal, 1), (&a, -1)]);
    check(&normal, &["-normalize", &format!("-base={pa}"), pb]);

    let all = Filter::default();
    for (filter, arguments) in [
        (Filter { focus: Some("f1"), ..all }, ["-focus=f1"].as_slice()),
        (Filter { focus: Some("f2"), ignore: Some("f1"), ..all }, &["-focus=f2", "-ignore=f1"]),
        (Filter { tag_focus: Some("tenant=acme"), ..all }, &["-tagfocus=tenant=acme"]),
        (Filter { tag_focus: Some("bytes=20b:"), ..all }, &["-tagfocus=bytes=20b:"]),
        (Filter { tag_ignore: Some("other"), ..all }, &["-tagignore=other"]),
        (Filter { hide: Some("f[0-4]$"), ..all }, &["-hide=f[0-4]$"]),
    ] {
        let mut part = a.clone();
        filter.apply(&mut part).unwrap();
        check(&part, &[arguments, &[pa]].concat());
    }

    // With `-diff_base` the percentages are of the base.
    let base: i64 = a.samples.iter().map(|sample| sample.values[1]).sum();
    let delta = merge(&[(&b, 1), (&a, -1)]);
    let delta: i64 = delta.samples.iter().map(|sample| sample.values[1]).sum();
    let path = format!("-diff_base={pa}");
    let top = pprof(&go, &["-top", "-nodefraction=0", "-nodecount=100", "-unit=ns", &path, pb]);
    let says = format!("accounting for {delta}ns");
    assert!(top.contains(&says) && top.contains(&format!("{base}ns total")), "{says}: {top}");
}
