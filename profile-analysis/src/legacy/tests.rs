//! Known texts, and texts of every kind.

use profile_format::profile::Stacks;
use proptest::prelude::*;

use super::*;
use crate::top::{By, TopOptions, top};

fn read(text: &str) -> (Profile, Vec<String>) {
    parse(text.as_bytes(), &LegacyLimits::default()).unwrap()
}

/// Returns rows as `name file:line flat cum`.
fn rows(profile: &Profile, by: By, sample_type: &str) -> Vec<String> {
    let sample_type = Some(sample_type.to_owned());
    let options = TopOptions { by, sample_type, ..TopOptions::default() };
    let top = top(&Stacks::of(profile), &options).unwrap();
    let row = |row: crate::top::TopRow| {
        format!("{} {}:{} {} {}", row.name, row.file, row.line, row.flat, row.cum)
    };
    top.rows.into_iter().map(row).collect()
}

const HEAP: &str = "heap profile: 3: 3145728 [5: 5242881] @ heap/2
3: 3145728 [5: 5242880] @ 0x4a1 0x4b1 0x4b1 0x4c1
#\t0x4a0\tmain.inlined+0x10\t/src/a b.go:3
#\t0x4a0\tmain.keep+0x20\t/src/main.go:7
#\t0x4b0\tmain.again+0x1\t/src/main.go:9
#\t0x4b0\tmain.again+0x1\t/src/main.go:9
#\t0x4c0\tmain.main+0x1\t\t/src/main.go:12

# runtime.MemStats
# Alloc = 3145728
0: 0 [0: 0] @ 0x9
";

#[test]
fn reads_the_heap_of_go() {
    let (profile, warnings) = read(HEAP);
    assert_eq!(warnings, [""; 0]);
    assert_eq!(profile.check(), Ok(()));
    assert_eq!(
        rows(&profile, By::Function, "inuse_space"),
        [
            "main.inlined /src/a b.go:3 3145728 3145728",
            "main.again /src/main.go:9 0 3145728",
            "main.keep /src/main.go:7 0 3145728",
            "main.main /src/main.go:12 0 3145728"
        ]
    );
    let sample = profile.samples.get(0);
    assert_eq!(sample.values, [5, 5_242_880, 3, 3_145_728]);
    assert_eq!(profile.locations[sample.stack[0] as usize].address, 0x4a0);
}

#[test]
fn scales_as_the_sampling_rate_says() {
    let (profile, _) =
        read("heap profile: 1: 1024 [2: 2048] @ heap/1048576\n1: 1024 [2: 2048] @ 0x9\n");
    let (objects, bytes) = unbias(1, 1024, 524_288);
    let &[alloc, _, inuse, inuse_bytes] = profile.samples.get(0).values else { panic!() };
    assert_eq!((inuse as u64, inuse_bytes as u64, alloc as u64), (objects, bytes, 1025));
    assert_eq!(profile.period, 524_288);
}

#[test]
fn reads_contentions_and_growth() {
    let text = "--- mutex:\ncycles/second=2000000000\nsampling period=5\n4000 3 @ 0x11 0x21\n";
    let (profile, warnings) = read(text);
    assert_eq!((profile.samples.get(0).values, warnings.len()), ([15, 10_000].as_slice(), 0));
    let (profile, _) = read("--- contention:\ncycles/second=1000000000\n70 2 @ 0x11\n");
    assert_eq!(profile.samples.get(0).values, [2, 70]);
    let text = "heap profile: 2: 9 [2: 9] @ growthz\n2: 9 [2: 9] @ 0x1001\nMAPPED_LIBRARIES:\n\
                1000-2000 r-xp 00000200 08:01 7 /bin/service\n2000-3000 rw-p 0 08:01 7 /bin/service\n";
    let (profile, _) = read(text);
    assert_eq!(rows(&profile, By::Function, "space"), ["[service+0x200] :0 9 9"]);
}

#[test]
fn reads_what_java_wrote() {
    let text = "--- contentionz 1 ---\nformat = java\nresolution = microseconds\nsampling period = 100\n\
                ms since reset = 60\n   14   1 @ 0x3 0x4\n  0x3 a.B.f (B.java:9)\n 0x4 a.B.main (B.java:1)\n";
    let (profile, warnings) = read(text);
    assert_eq!((profile.samples.get(0).values, warnings.len()), ([100, 1400].as_slice(), 0));
    assert_eq!((profile.duration_nanos, profile.period), (60_000_000, 100));
    assert_eq!(profile.type_name(profile.sample_types[1]), "delay/microseconds");
    let expected = ["a.B.f B.java:9 1400 1400", "a.B.main B.java:1 0 1400"];
    assert_eq!(rows(&profile, By::Function, "delay"), expected);
    let (profile, _) =
        read("--- heapz 1 ---\nformat = java\nresolution = bytes\n 1048576 2 @ 0x3\n 0x3 GC\n");
    assert_eq!(profile.samples.get(0).values, [3, 1_658_823]);
}

#[test]
fn reads_threads() {
    let text = "--- threadz 1 ---\n\n--- Thread 7ff794c640 (name: main/1) stack: ---\n  PC: 0x2010: f(arg *)\n\
                  0x3001: main\n--- Thread 7ff794c641 (name: a/2) stack: ---\n  [same as previous thread]\n\
                --- Memory map: ---\n2000-4000 r-xp 0 08:01 7 /bin/service\n";
    let (profile, warnings) = read(text);
    assert_eq!((profile.samples.len(), warnings.len()), (1, 0));
    let expected = ["[service+0x10] :0 2 2", "[service+0x1000] :0 0 2"];
    assert_eq!(rows(&profile, By::Function, "thread"), expected);
}

#[test]
fn ends_of_a_stack_without_names_are_left_out() {
    let text = "heap profile: 1: 8 [1: 8] @ heap/2\n1: 8 [1: 8] @ 0x11 0x21 0x31 0x41 0x51\n\
                #\t0x20\tmain.f+0x1\t/a.go:1\n#\t0x40\tmain.main+0x1\t/a.go:2\n\
                1: 8 [1: 8] @ 0x61 0x71\n";
    let (profile, _) = read(text);
    let depths: Vec<_> = profile.samples.iter().map(|sample| sample.stack.len()).collect();
    // The one between two with names stays, and so does a stack that has none.
    assert_eq!(depths, [3, 2]);
}

#[test]
fn counts_may_be_below_zero() {
    let text = "heap profile: 1: 2 [3: 4] @ heap_v2/524288\n-2: 1024 [1: 2048] @ 0x9\n-2: -1024 [0: 0] @ 0x9\n";
    let (profile, warnings) = read(text);
    assert_eq!(warnings, [""; 0]);
    assert_eq!(profile.samples.get(0).values[2..], [-2, 1024]);
    let (objects, bytes) = unbias(2, 1024, 524_288);
    assert_eq!(profile.samples.get(1).values[2..], [-(objects as i64), -(bytes as i64)]);
}

#[test]
fn says_what_can_not_be_read() {
    let (profile, warnings) = read("--- contention:\nnonsense\n1 @ 0x1\n1 2 @ 0x1 zz\n1 2 @ 0x1\n");
    assert_eq!(profile.samples.len(), 1);
    assert_eq!(
        warnings,
        [
            "unknown line at byte 16",
            "values that are no numbers at byte 25",
            "an address that is no number at byte 33"
        ]
    );
    let limits = LegacyLimits { bytes: 40, depth: 2 };
    let deep = parse(b"--- contention:\n1 2 @ 0x1 0x2 0x3", &limits).unwrap().1;
    assert_eq!(deep, ["a stack of more than the limit of addresses (depth) at byte 16"]);
    let refused = |bytes: &[u8]| parse(bytes, &limits).unwrap_err();
    assert_eq!(refused(&[b'#'; 41]), LegacyError::TooLarge(40));
    assert_eq!(refused(b"heap profile: 1: 2 [3: 4] @ x"), LegacyError::Header);
    let many = format!("--- contention:\n{}", "?\n".repeat(100));
    assert_eq!(read(&many).1.last().unwrap(), "80 more lines can't be read");
}

proptest! {
    #[test]
    fn any_text_is_no_trouble(lines in proptest::collection::vec("(#\t)?[0-9 :@\\[\\]x=a-]{0,30}", 0..20)) {
        for header in ["--- contention:", "heap profile: 1: 2 [3: 4] @ heap/8", "heapz 1: 2 [3: 4] @ growthz"] {
            let text = format!("{header}\n{}", lines.join("\n"));
            let (profile, _) = read(&text);
            prop_assert_eq!(profile.check(), Ok(()));
        }
    }
}
