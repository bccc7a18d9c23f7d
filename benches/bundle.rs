//! Writing and reading a bundle of three gzip'd profiles of 8 MiB. The unit is bytes of the members,
//! which are stored as they are.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::{Duration, SystemTime};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use profilez::archive::{Bundle, BundleWriter, EntryName, Header, Limits, Source};

const MEMBER: usize = 8 << 20;
const MEMBERS: [(&str, &str); 3] =
    [("cpu", "cpu.prof"), ("heap", "heap.prof"), ("allocs", "allocs.prof")];

/// What looks gzip'd: its magic, and then bytes that deflate can't shrink (xorshift).
fn member(seed: u64) -> Vec<u8> {
    let mut state = seed;
    let noise = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    let mut member = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0];
    member.extend(noise.take(MEMBER / 8 - 1).flatten());
    member
}

fn header() -> Header {
    Header {
        service: "bench".to_owned(),
        version: String::new(),
        host: String::new(),
        pid: 1,
        build_id: String::new(),
        started: SystemTime::UNIX_EPOCH,
        window: Duration::from_secs(10),
        source: Source::Consolidated,
        rates: BTreeMap::new(),
    }
}

/// Writes a bundle over the capacity of `file`, so that no allocation is measured.
fn write(file: Vec<u8>, members: &[(&str, EntryName, Vec<u8>)]) -> Vec<u8> {
    let mut bundle = BundleWriter::new(file, header()).expect("a vector takes every byte");
    for (kind, name, bytes) in members {
        bundle.append_bytes(kind, name, bytes, Duration::ZERO).expect("a vector takes every byte");
    }
    bundle.finish().expect("a vector takes every byte")
}

/// The benches measure what they say only if this holds.
fn check(file: &[u8], members: &[(&str, EntryName, Vec<u8>)]) {
    let size: usize = members.iter().map(|(_, _, bytes)| bytes.len()).sum();
    assert_eq!(size, MEMBERS.len() * MEMBER);
    assert!((size..size + 16 * 1024).contains(&file.len()), "{} bytes: not stored", file.len());
    let bundle = Bundle::read(file, &Limits::default()).expect("our own bundle");
    assert!(!bundle.truncated && bundle.warnings.is_empty(), "{:?}", bundle.warnings);
    for (_, name, bytes) in members {
        let entry = bundle.entry(name.as_str()).expect("every member is there");
        assert!(entry.data == *bytes, "{name} reads back as it was written");
    }
}

fn benches(criterion: &mut Criterion) {
    let members: Vec<_> = (1..)
        .zip(MEMBERS)
        .map(|(seed, (kind, name))| (kind, name.parse().expect("a name"), member(seed)))
        .collect();
    let file = write(Vec::new(), &members);
    check(&file, &members);
    let limits = Limits::default();

    let mut group = criterion.benchmark_group("bundle");
    group.sample_size(10).throughput(Throughput::Bytes((MEMBERS.len() * MEMBER) as u64));
    group.bench_function("write", |bencher| {
        let mut space = Vec::with_capacity(file.len());
        bencher.iter(|| {
            space.clear();
            space = write(std::mem::take(&mut space), black_box(&members));
        });
    });
    group.bench_function("read", |bencher| {
        bencher.iter_with_large_drop(|| Bundle::read(black_box(&file[..]), &limits));
    });
    group.finish();
}

criterion_group!(all, benches);
criterion_main!(all);
