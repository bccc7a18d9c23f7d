//! The grammar, to the letter; that readers get the values back is for the tests with real clients.

use super::*;
use crate::profile::{Builder, Function, Line};

fn profile(types: &[(&str, &str)], samples: &[(&[u64], &[i64], &str)]) -> Profile {
    let mut builder = Builder::new(types);
    for (stack, values, label) in samples {
        let stack: Vec<u32> = stack
            .iter()
            .map(|&address| {
                let name = builder.str(&format!("krate::f{address:x}"));
                let filename = builder.str(if address < 0x100 { "" } else { "src/lib.rs" });
                let function = Function { name, filename, ..Function::default() };
                let line = Line { function: builder.function(function), line: 7, column: 0 };
                builder.location(None, address, &[line])
            })
            .collect();
        let label = (!label.is_empty()).then(|| builder.text_label("thread", label));
        builder.sample(&stack, values, label.as_slice());
    }
    builder.comment("engine: test");
    builder.finish()
}

fn start_of(address: u64) -> Option<u64> {
    (address >= 0x100).then_some(address & !0xf)
}

#[test]
fn counts_with_labels() {
    let profile = profile(
        &[("goroutine", "count")],
        &[(&[0x104], &[1], "a \"b\""), (&[0x203, 0xabcdef01, 0x12], &[3], "")],
    );
    assert_eq!(
        profile.text(TextForm::Count, &start_of),
        "goroutine profile: total 4\n\
         3 @ 0x204 0xabcdef02 0x13\n\
         #\t0x203\t\tkrate::f203+0x3\t\tsrc/lib.rs:7\n\
         #\t0xabcdef01\tkrate::fabcdef01+0x1\tsrc/lib.rs:7\n\
         #\t0x12\t\tkrate::f12+0x0\t\t?:7\n\
         \n\
         1 @ 0x105\n\
         # labels: {\"thread\":\"a \\\"b\\\"\"}\n\
         #\t0x104\tkrate::f104+0x4\tsrc/lib.rs:7\n\
         \n\
         # engine: test\n"
    );
}

#[test]
fn delays_are_in_cycles_of_a_nanosecond() {
    let types = [("contentions", "count"), ("delay", "nanoseconds")];
    let profile = profile(&types, &[(&[0x104], &[2, 500], ""), (&[0x204], &[1, 900], "")]);
    let contention = profile.text(TextForm::Contention, &start_of);
    assert!(
        contention
            .starts_with("--- contention:\ncycles/second=1000000000\n900 1 @ 0x205\n#\t0x204"),
        "{contention}"
    );
    let mutex = profile.text(TextForm::Mutex, &start_of);
    assert!(
        mutex.starts_with("--- mutex:\ncycles/second=1000000000\nsampling period=1\n900 1 @"),
        "{mutex}"
    );
}

#[test]
fn heaps_are_as_they_were_sampled() {
    let types = [
        ("alloc_objects", "count"),
        ("alloc_space", "bytes"),
        ("inuse_objects", "count"),
        ("inuse_space", "bytes"),
    ];
    // A block of 1000 bytes is sampled once in 512.5 times at a rate of 512 KiB: two samples.
    let mut small = profile(&types, &[(&[0x104], &[1050, 1_050_000, 1050, 1_050_000], "")]);
    small.period = 512 << 10;
    let text = small.text(TextForm::Heap, &start_of);
    // Both sums are equal, so one of them is not.
    assert!(
        text.starts_with(
            "heap profile: 2: 2000 [2: 2001] @ heap/1048576\n2: 2000 [2: 2000] @ 0x105\n"
        ),
        "{text}"
    );
    let mut large = profile(&types, &[(&[0x104], &[3, 300 << 20, 2, 200 << 20], "")]);
    large.period = 1;
    let text = large.text(TextForm::Heap, &start_of);
    assert!(
        text.starts_with("heap profile: 2: 209715200 [3: 314572800] @ heap/2\n2: 209715200 [3:"),
        "{text}"
    );
}

#[test]
fn what_nothing_names_is_an_address() {
    let mut builder = Builder::new(&[("threadcreate", "count")]);
    let location = builder.location(None, 0xfff, &[]);
    builder.sample(&[location], &[1], &[]);
    builder.sample(&[], &[5], &[]);
    assert_eq!(
        builder.finish().text(TextForm::Count, &start_of),
        "threadcreate profile: total 6\n5 @\n\n1 @ 0x1000\n#\t0xfff\n\n"
    );
}
