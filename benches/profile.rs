//! The profile.proto codec and the rankings, over a profile of 200 000 samples. The unit is bytes of
//! the raw form, whatever is measured, so that the lines can be compared.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use profilez::analysis::top::{By, TopOptions, top};
use profilez::format::profile::{Builder, DecodeLimits, Function, Line, Mapping, Profile, Stacks};

const SAMPLES: usize = 200_000;
const FUNCTIONS: u32 = 5_000;
/// Every third of them with an inlined frame.
const LOCATIONS: u32 = 20_000;
const DEPTHS: std::ops::Range<u32> = 10..40;

/// Numbers that look random and are the same in every run (xorshift).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (((self.0 >> 32) * u64::from(limit)) >> 32) as u32
    }
}

/// A CPU profile of a large program. The ends of the stacks nearest to `main` are shared, as real ones
/// are.
fn profile() -> Profile {
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let mut builder = Builder::new(&[("samples", "count"), ("cpu", "nanoseconds")]);
    let (filename, build_id) = (builder.str("/usr/bin/service"), builder.str("c0ffee"));
    let (start, limit) = (0x1000, 0x100_0000);
    let program =
        builder.mapping(Mapping { start, limit, filename, build_id, ..Mapping::default() });
    for number in 0..FUNCTIONS {
        let name = builder.str(&format!("service::module_{}::function_{number}", number % 97));
        let filename = builder.str(&format!("/build/service/src/module_{}.rs", number % 97));
        builder.function(Function { name, filename, ..Function::default() });
    }
    for number in 0..LOCATIONS {
        let mut line = || Line {
            function: numbers.below(FUNCTIONS),
            line: i64::from(numbers.below(2_000)) + 1,
            column: 0,
        };
        let lines = [line(), line()];
        let lines = if number % 3 == 0 { &lines[..] } else { &lines[..1] };
        builder.location(Some(program), start + u64::from(number) * 16, lines);
    }
    let roots: Vec<Vec<u32>> =
        (0..64).map(|_| (0..8).map(|_| numbers.below(LOCATIONS)).collect()).collect();
    let threads: Vec<_> =
        (0..16).map(|number| builder.text_label("thread", &format!("worker-{number}"))).collect();
    let mut stack = Vec::new();
    for _ in 0..SAMPLES {
        let depth = DEPTHS.start + numbers.below(DEPTHS.end - DEPTHS.start) - 8;
        stack.clear();
        stack.extend((0..depth).map(|_| numbers.below(LOCATIONS)));
        stack.extend_from_slice(&roots[numbers.below(64) as usize]);
        let count = i64::from(numbers.below(4)) + 1;
        let thread = threads[numbers.below(16) as usize];
        builder.sample(&stack, &[count, count * 10_000_000], &[thread]);
    }
    builder.finish()
}

/// The benches measure what they say only if this holds.
fn check(profile: &Profile, raw: &[u8], gzip: &[u8]) {
    profile.check().expect("a sound profile");
    assert_eq!(profile.samples.len(), SAMPLES);
    assert!(raw.len() > 4 * gzip.len() / 3, "{} bytes gzip'd from {}", gzip.len(), raw.len());
    for bytes in [raw, gzip] {
        let decoded = Profile::decode(bytes, &DecodeLimits::default()).expect("our own profile");
        assert!(decoded.encode() == raw, "reading and writing gives the same bytes");
    }
    let total: i64 = profile.samples.iter().map(|sample| sample.values[1]).sum();
    for by in [By::Function, By::Site] {
        let stacks = Stacks::of(profile);
        let ranking = top(&stacks, &TopOptions { by, ..TopOptions::default() }).expect("a ranking");
        let flat: i64 = ranking.rows.iter().map(|row| row.flat).sum();
        assert_eq!((ranking.total, flat), (total, total), "{by:?}: every sample is in one row");
    }
    let twice = Profile::merge(&[(profile, 1), (profile, 1)]).expect("of one kind");
    assert_eq!(twice.samples.iter().map(|sample| sample.values[1]).sum::<i64>(), 2 * total);
    let nothing = profile.since(profile).expect("of one kind");
    assert!(nothing.samples.is_empty());
}

fn benches(criterion: &mut Criterion) {
    let profile = profile();
    let (raw, gzip) = (profile.encode(), profile.encode_gzip());
    check(&profile, &raw, &gzip);
    let limits = DecodeLimits::default();

    let mut group = criterion.benchmark_group("profile");
    group.sample_size(10).throughput(Throughput::Bytes(raw.len() as u64));
    group.bench_function("encode", |bencher| {
        bencher.iter_with_large_drop(|| profile.encode());
    });
    group.bench_function("encode_gzip", |bencher| {
        bencher.iter_with_large_drop(|| profile.encode_gzip());
    });
    for (name, bytes) in [("decode", &raw), ("decode_gzip", &gzip)] {
        group.bench_function(name, |bencher| {
            bencher.iter_with_large_drop(|| Profile::decode(black_box(bytes), &limits));
        });
    }
    for (name, by) in [("top_by_function", By::Function), ("top_by_site", By::Site)] {
        let options = TopOptions { by, limit: Some(50), ..TopOptions::default() };
        group.bench_function(name, |bencher| {
            bencher.iter_with_large_drop(|| {
                let stacks = Stacks::read(black_box(&raw), &limits).expect("our own profile");
                top(&stacks, &options)
            });
        });
    }
    // Both parts are read, so that the bytes of both count.
    group.throughput(Throughput::Bytes(2 * raw.len() as u64));
    for (name, factor) in [("merge", 1), ("delta", -1)] {
        group.bench_function(name, |bencher| {
            let parts = [(&profile, 1), (&profile, factor)];
            bencher.iter_with_large_drop(|| Profile::merge(black_box(&parts)));
        });
    }
    group.finish();
}

criterion_group!(all, benches);
criterion_main!(all);
