//! Profiles for tests.

use profile_format::profile::{Builder, Function, Line, Mapping, Profile};
use proptest::collection::vec;
use proptest::prelude::*;

const RUSTC: &str = "/rustc/59807616e1fa2540724bfbac14d7976d7e4a3860/library/alloc/src/raw_vec.rs";

/// Adds a function of a source file.
pub(crate) fn function(builder: &mut Builder, name: &str, file: &str) -> u32 {
    let (name, filename) = (builder.str(name), builder.str(file));
    builder.function(Function { name, filename, ..Function::default() })
}

/// Returns a heap profile: `grow` inlined into `build`, called by `main`; and `grow` called by
/// `main`. The first stack comes twice, as blocks of two sizes.
pub(crate) fn heap() -> Profile {
    let mut builder = Builder::new(&[
        ("alloc_objects", "count"),
        ("alloc_space", "bytes"),
        ("inuse_objects", "count"),
        ("inuse_space", "bytes"),
    ]);
    let (filename, build_id) = (builder.str("/usr/bin/service"), builder.str("c0ffee"));
    let mapping =
        Mapping { start: 0x1000, limit: 0x9000, filename, build_id, ..Mapping::default() };
    let mapping = Some(builder.mapping(mapping));
    let grow = function(&mut builder, "alloc::raw_vec::finish_grow", RUSTC);
    let build = function(&mut builder, "service::build", "src/build.rs");
    let main = function(&mut builder, "service::main", "src/main.rs");
    function(&mut builder, "service::unused", "src/main.rs");
    let line = |function, line| Line { function, line, column: 0 };
    let inlined = builder.location(mapping, 0x1100, &[line(grow, 3), line(build, 20)]);
    let outer = builder.location(mapping, 0x1200, &[line(main, 7)]);
    let direct = builder.location(mapping, 0x1300, &[line(grow, 3), line(main, 9)]);
    for (stack, values, block) in [
        ([inlined, outer].as_slice(), [8, 1024, 1, 512], 128),
        (&[inlined, outer], [4, 3072, 2, 1024], 768),
        (&[direct], [4, 1024, 0, 0], 256),
    ] {
        let label = builder.number_label("bytes", block, "bytes");
        builder.sample(stack, &values, &[label]);
    }
    builder.period("space", "bytes", 524_288);
    builder.comment("made for a test");
    builder.finish()
}

/// Generates profiles of any shape, with few names so that they meet again, recursion, inlined
/// frames and places without a name.
pub(crate) fn profiles() -> impl Strategy<Value = Profile> {
    let names = vec((0..5_u8, 0..3_u8), 1..8);
    let locations = vec((0..6_u64, vec((any::<u8>(), 0..4_i64), 0..3)), 1..8);
    let samples = vec((vec(any::<u8>(), 0..6), any::<[i8; 2]>()), 0..20);
    (names, locations, samples).prop_map(|(names, locations, samples)| {
        let mut builder = Builder::new(&[("alloc_objects", "count"), ("alloc_space", "bytes")]);
        let functions: Vec<u32> = names
            .iter()
            .map(|(name, file)| {
                let name = match name {
                    0 => "std::f".to_owned(),
                    1 => "tokio::f".to_owned(),
                    name => format!("f{name}"),
                };
                let file = if *file == 0 { String::new() } else { format!("src/{file}.rs") };
                function(&mut builder, &name, &file)
            })
            .collect();
        for (address, lines) in &locations {
            let lines: Vec<Line> = lines
                .iter()
                .map(|&(function, line)| {
                    let function = functions[function as usize % functions.len()];
                    Line { function, line, column: 0 }
                })
                .collect();
            builder.location(None, *address, &lines);
        }
        for (stack, values) in &samples {
            let stack: Vec<u32> =
                stack.iter().map(|&index| u32::from(index) % locations.len() as u32).collect();
            builder.sample(&stack, &values.map(i64::from), &[]);
        }
        builder.finish()
    })
}
