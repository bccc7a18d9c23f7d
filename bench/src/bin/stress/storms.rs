//! What a program does to itself: panics, threads, memory, backtraces.

use std::backtrace::Backtrace;
use std::collections::HashMap;
use std::hint::black_box;
use std::panic::{catch_unwind, panic_any};
use std::thread;
use std::time::Duration;

use profilez_bench::random::Random;
use profilez_bench::workload::{deep, turns};

use crate::EXPECTED;

/// Something to sample.
pub(crate) fn work(_: &mut Random) {
    deep(60, &mut || turns(1_000_000));
}

/// Unwinds some frames that have something to drop, a hundred times.
pub(crate) fn caught_panic(random: &mut Random) {
    for _ in 0..100 {
        let frames = random.between(1, 60);
        let caught = catch_unwind(|| panic_below(frames));
        assert!(caught.is_err(), "it panics");
    }
}

/// Ends threads by a panic.
pub(crate) fn uncaught_panic(random: &mut Random) {
    let frames = random.between(1, 30);
    let threads: Vec<_> = (0..8).map(|_| thread::spawn(move || panic_below(frames))).collect();
    for thread in threads {
        assert!(thread.join().is_err(), "it panics");
    }
}

#[inline(never)]
fn panic_below(frames: u64) -> usize {
    let held = black_box(vec![frames; 8]);
    if frames == 0 {
        panic_any(EXPECTED);
    }
    panic_below(frames - 1) + held.len()
}

/// Threads that live for up to two milliseconds, on small stacks; some are not waited for.
pub(crate) fn threads(random: &mut Random) {
    let threads: Vec<_> = (0..32)
        .map(|_| {
            let count = random.between(0, 1_000_000);
            let builder = thread::Builder::new().stack_size(64 << 10).name(format!("life-{count}"));
            builder.spawn(move || turns(count)).expect("a thread starts")
        })
        .collect();
    for thread in threads {
        if random.between(0, 4) > 0 {
            thread.join().expect("arithmetic does not panic");
        }
    }
    thread::sleep(Duration::from_millis(random.between(0, 10)));
}

/// Blocks of all sizes, those that are mappings of their own included, freed in another order.
pub(crate) fn allocations(random: &mut Random) {
    let mut blocks: HashMap<u64, Vec<u8>> = HashMap::new();
    for _ in 0..2000 {
        let largest = if random.between(0, 50) == 0 { 21 } else { 14 };
        let size = 1 << random.between(3, largest);
        blocks.insert(random.between(0, 500), vec![1; size]);
        if let Some(block) = blocks.get_mut(&random.between(0, 500)) {
            block.reserve(size);
        }
        blocks.remove(&random.between(0, 500));
    }
    black_box(blocks);
}

/// Unwinds like the sampler, by the same tables, at the same time; sometimes with names.
pub(crate) fn backtraces(random: &mut Random) {
    deep(random.between(1, 50) as u32, &mut || {
        for _ in 0..20 {
            drop(black_box(Backtrace::force_capture()));
        }
    });
    if random.between(0, 100) == 0 {
        assert!(!Backtrace::force_capture().to_string().is_empty());
    }
}
