//! Reports of known profiles.

use profile_format::profile::{Builder, Line};
use proptest::prelude::*;

use super::*;
use crate::testing;

fn cpu() -> Vec<u8> {
    let mut builder = Builder::new(&[("samples", "count"), ("cpu", "nanoseconds")]);
    let places: Vec<u32> = [("service::work", 7), ("service::main", 20)]
        .into_iter()
        .map(|(name, line)| {
            let function = testing::function(&mut builder, name, "/src/main.rs");
            builder.location(None, 0, &[Line { function, line, column: 0 }])
        })
        .collect();
    builder.sample(&places, &[75, 750_000_000], &[]);
    builder.sample(&places[1..], &[25, 250_000_000], &[]);
    builder.profile_mut().duration_nanos = 10_000_000_000;
    builder.finish().encode_gzip()
}

fn block() -> Vec<u8> {
    let mut builder = Builder::new(&[("contentions", "count"), ("delay", "nanoseconds")]);
    let places: Vec<u32> = ["std::sys::sync::Mutex::lock", "service::locks"]
        .into_iter()
        .map(|name| {
            let function = testing::function(&mut builder, name, "");
            builder.location(None, 0, &[Line { function, line: 0, column: 0 }])
        })
        .collect();
    builder.sample(&places, &[30, 4_200_000], &[]);
    builder.finish().encode_gzip()
}

fn threads() -> Vec<u8> {
    let mut builder = Builder::new(&[("goroutine", "count")]);
    let place = builder.location(None, 0xbeef, &[]);
    builder.sample(&[place], &[4], &[]);
    builder.comment("without\x1b[2Jtasks");
    builder.finish().encode_gzip()
}

#[test]
fn one_screen() {
    let (cpu, heap, block, threads) = (cpu(), testing::heap().encode(), block(), threads());
    let entries = [
        ("cpu.prof", cpu.as_slice()),
        ("heap.prof", &heap),
        ("block.prof", &block),
        ("goroutine.prof", &threads),
        ("trace.json", b"{}"),
        ("mutex.prof", &cpu[..cpu.len() - 4]),
    ];
    let text = render(&report(entries, &ReportOptions::rows(2)), 90);
    let expected = "\
What stands out
  cpu.prof: 75.0% of the CPU time, 750.00 ms (75 samples, ± 8.5%), is by service::work
    (main.rs:7)
  block.prof: 100.0% of the waiting, 4.20 ms (30 waits), is by service::locks

cpu.prof  cpu 1.00 s in 10.00 s, 2 samples
        cpu      %        cum       %  samples  function
  750.00 ms  75.0%  750.00 ms   75.0%       75  service::work (main.rs:7)
  250.00 ms  25.0%     1.00 s  100.0%       25  service::main (main.rs:20)

heap.prof  alloc_space 5.00 KiB, inuse_space 1.50 KiB, 3 samples
  note: made for a test
  inuse_space       %       cum       %  inuse_objects  function
     1.50 KiB  100.0%  1.50 KiB  100.0%              3  service::build (build.rs:20)
  alloc_space      %       cum       %  alloc_objects  function
     4.00 KiB  80.0%  4.00 KiB   80.0%             12  service::build (build.rs:20)
     1.00 KiB  20.0%  5.00 KiB  100.0%              4  service::main (main.rs:7)

block.prof  30 contentions, delay 4.20 ms, 1 sample
    delay       %      cum       %  contentions  function
  4.20 ms  100.0%  4.20 ms  100.0%           30  service::locks

goroutine.prof  4 goroutines, 1 sample
  note: without\\u{1b}[2Jtasks

goroutine.prof  4 in 1 group
  0 background, 0 per-request, 4 unknown; 0 long waiting, 0 potentially stuck
  count  state  wait  category  function
      4  ?            unknown   0xbeef

trace.json: this is something unknown, not a profile
mutex.prof: the profile can't be read: bad gzip data after 160 decompressed bytes:
  unexpected end of file
";
    assert_eq!(text, expected);
}

#[test]
fn a_dump_is_joined_with_the_rest() {
    let lock = "goroutine 7 [sync.Mutex.Lock, 3 minutes]:\nmain.f()\n\t/src/a.go:5 +0x1\n\n";
    let dump = lock.repeat(12) + "goroutine 9 [running]:\nmain.g()\n\t/src/a.go:9 +0x1\n";
    let (mutex, threads) = (block(), threads());
    let entries = [
        ("mutex.prof", mutex.as_slice()),
        ("goroutine.prof", &threads),
        ("goroutine.txt", dump.as_bytes()),
    ];
    let text = render(&report(entries, &ReportOptions::rows(2)), 140);
    let expected = "\
What stands out
  goroutine.txt: 12 × sync.Mutex.Lock at main.f (a.go:5): 12 wait for a lock at the same place; most waiting was caused by service::locks
    (mutex.prof)
  mutex.prof: 100.0% of the waiting, 4.20 ms (30 waits), is by service::locks

mutex.prof  30 contentions, delay 4.20 ms, 1 sample
    delay       %      cum       %  contentions  function
  4.20 ms  100.0%  4.20 ms  100.0%           30  service::locks

goroutine.prof  4 goroutines, 1 sample
  note: without\\u{1b}[2Jtasks

goroutine.txt  13 in 2 groups
  0 background, 0 per-request, 13 unknown; 12 long waiting, 12 potentially stuck
  count  state             wait  category  function
     12  sync.Mutex.Lock  3 min  unknown   STUCK? main.f (a.go:5)
      1  running                 unknown   main.g (a.go:9)
";
    assert_eq!(text, expected);
}

#[test]
fn serializes() {
    let heap = testing::heap().encode();
    let json =
        serde_json::to_value(report([("heap.prof", heap.as_slice())], &ReportOptions::rows(1)))
            .unwrap();
    let profile = &json["profiles"][0];
    assert_eq!(profile["subject"], "heap");
    assert_eq!(profile["totals"][3]["type"], "inuse_space");
    let row = &profile["tables"][1]["rows"][0];
    assert_eq!((&row["name"], &row["count"]), (&"service::build".into(), &12.into()));
    assert_eq!(row["flat_percent"], 80.0);
}

/// What stands out is the program's function, with the leaf beside it; libraries are rows of their
/// own in the table unless they are left out.
#[test]
fn the_programs_function_leads() {
    let mut builder = Builder::new(&[("samples", "count"), ("cpu", "nanoseconds")]);
    let registry = "/root/.cargo/registry/src/index";
    let places: Vec<u32> = [
        ("wrapping_mul", "/rustc/01/library/core/src/num/mod.rs"),
        ("from_str", &format!("{registry}/serde_json-1.0.1/src/de.rs")),
        ("shop::checkout", "/app/src/shop.rs"),
        ("run", &format!("{registry}/tokio-1.48.0/src/runtime/task/mod.rs")),
    ]
    .into_iter()
    .map(|(name, file)| {
        let function = testing::function(&mut builder, name, file);
        builder.location(None, 0, &[Line { function, line: 7, column: 0 }])
    })
    .collect();
    builder.sample(&places, &[75, 750_000_000], &[]);
    builder.sample(&[places[0], places[2]], &[25, 250_000_000], &[]);
    let bytes = builder.finish().encode();
    let render = |only_mine| {
        let options = ReportOptions { rows: 3, only_mine };
        render(&report([("cpu.prof", bytes.as_slice())], &options), 100)
    };
    let head = "\
What stands out
  cpu.prof: 100.0% of the CPU time, 1.00 s (100 samples, ± 3.0%), is by shop::checkout (shop.rs:7),
    most of it in wrapping_mul

cpu.prof  cpu 1.00 s, 2 samples
        cpu      %        cum       %  samples  function
";
    let rows = "  \
750.00 ms  75.0%  750.00 ms   75.0%       75  from_str (de.rs:7) ← wrapping_mul
  250.00 ms  25.0%     1.00 s  100.0%       25  shop::checkout (shop.rs:7) ← wrapping_mul
";
    assert_eq!(render(false), format!("{head}{rows}"));
    let mine = render(true);
    assert!(mine.contains("100  shop::checkout (shop.rs:7) ← wrapping_mul"), "{mine}");
    assert!(!mine.contains("from_str"), "{mine}");
}

/// Nothing is said of fewer than ten samples, however much they stand for: a block of 20 MiB is one.
#[test]
fn few_samples_do_not_stand_out() {
    let find = |types: &[(&str, &str)], values: &[i64]| {
        let mut builder = Builder::new(types);
        let function = testing::function(&mut builder, "shop::keep", "/app/src/shop.rs");
        let place = builder.location(None, 0, &[Line { function, line: 7, column: 0 }]);
        builder.sample(&[place], values, &[]);
        builder.profile_mut().period = 512 << 10;
        let bytes = builder.finish().encode();
        let report = report([("any.prof", bytes.as_slice())], &ReportOptions::rows(3));
        report.findings.into_iter().map(|finding| finding.text).collect::<Vec<_>>()
    };
    let heap = [("inuse_objects", "count"), ("inuse_space", "bytes")];
    assert!(find(&heap, &[1, 20 << 20]).is_empty());
    // 300 blocks of a kilobyte are half a sample.
    assert!(find(&heap, &[300, 300 << 10]).is_empty());
    assert_eq!(
        find(&heap, &[80 << 10, 80 << 20]),
        [
            "100.0% of the memory in use, 80.00 MiB (160 samples, ± 1.9%), is by shop::keep (shop.rs:7)"
        ]
    );
    let cpu = [("samples", "count"), ("cpu", "nanoseconds")];
    assert!(find(&cpu, &[9, 90_000_000]).is_empty());
    assert_eq!(find(&cpu, &[10, 100_000_000]).len(), 1);
    let block = [("contentions", "count"), ("delay", "nanoseconds")];
    assert!(find(&block, &[9, 90_000_000]).is_empty());
    assert_eq!(find(&block, &[10, 100_000_000]).len(), 1);
}

#[test]
fn nothing_is_nothing() {
    assert_eq!(render(&report::<&str, &[u8]>([], &ReportOptions::rows(5)), 80), "");
}

proptest! {
    #[test]
    fn lines_keep_their_width(profile in testing::profiles(), width in 0_usize..120) {
        let bytes = profile.encode();
        let text = render(&report([("any.prof", bytes.as_slice())], &ReportOptions::rows(10)), width);
        for line in text.lines() {
            prop_assert!(line.chars().count() <= width.max(40), "{line}");
        }
    }

    #[test]
    fn any_bytes_are_no_trouble(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let report = report([("x", bytes.as_slice())], &ReportOptions::rows(3));
        prop_assert_eq!(report.profiles.len() + report.dumps.len() + report.notes.len(), 1);
        render(&report, 80);
    }
}
