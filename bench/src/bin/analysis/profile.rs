//! Profiles to read: samples of a heap profile, each with a stack of its own, 10 to 49 locations deep,
//! out of 16 000. That is harder than real ones, whose stacks repeat.

use std::fs;
use std::path::PathBuf;

use profile_format::profile::{Builder, Function, Line, Mapping};
use profilez_bench::random::Random;

/// Samples of 17 MB.
pub(crate) const SMALL: u32 = 200_000;
/// Samples of 162 MB.
pub(crate) const LARGE: u32 = 1_925_000;

const LOCATIONS: u64 = 16_000;
const FUNCTIONS: u64 = 5_000;

/// The file of a profile of so many samples, raw. It is made once, by the first who asks: what that
/// takes would show in the memory of who reads it.
pub(crate) fn raw(samples: u32) -> PathBuf {
    kept(&format!("heap-{samples}.pb"), || write(samples).encode())
}

/// The same, gzip'd.
pub(crate) fn packed(samples: u32) -> PathBuf {
    kept(&format!("heap-{samples}.pb.gz"), || write(samples).encode_gzip())
}

fn kept(name: &str, make: impl FnOnce() -> Vec<u8>) -> PathBuf {
    let folder = std::env::temp_dir().join(concat!("profilez-bench-", env!("CARGO_PKG_VERSION")));
    let path = folder.join(name);
    if !path.exists() {
        fs::create_dir_all(&folder).expect("the temporary folder can be written to");
        let half = folder.join(format!("{name}.{}", std::process::id()));
        fs::write(&half, make()).expect("the temporary folder has room");
        fs::rename(&half, &path).expect("both are in one folder");
    }
    path
}

fn write(samples: u32) -> profile_format::profile::Profile {
    let mut random = Random::new(20);
    let types = [
        ("alloc_objects", "count"),
        ("alloc_space", "bytes"),
        ("inuse_objects", "count"),
        ("inuse_space", "bytes"),
    ];
    let mut builder = Builder::new(&types);
    let (filename, build_id) = (builder.str("/usr/bin/service"), builder.str("c0ffee"));
    let (start, limit) = (0x40_0000, 0x4000_0000);
    let flags = Mapping {
        has_functions: true,
        has_filenames: true,
        has_line_numbers: true,
        has_inline_frames: true,
        ..Mapping::default()
    };
    let program = builder.mapping(Mapping { start, limit, filename, build_id, ..flags });
    for number in 0..FUNCTIONS {
        let name = builder.str(&format!("service::module_{}::function_{number}", number % 97));
        let filename = builder.str(&format!("/build/service/src/module_{}.rs", number % 97));
        builder.function(Function { name, filename, ..Function::default() });
    }
    for number in 0..LOCATIONS {
        let function = random.between(0, FUNCTIONS) as u32;
        let line = Line { function, line: number as i64 + 1, column: 0 };
        builder.location(Some(program), start + number * 16, &[line]);
    }
    let mut stack = Vec::new();
    for _ in 0..samples {
        stack.clear();
        stack.extend((0..random.between(10, 50)).map(|_| random.between(0, LOCATIONS) as u32));
        let objects = random.between(1, 200) as i64;
        let size = random.between(16, 4096) as i64;
        let kept = objects / 3;
        builder.sample(&stack, &[objects, objects * size, kept, kept * size], &[]);
    }
    builder.period("space", "bytes", 524_288);
    builder.finish()
}
