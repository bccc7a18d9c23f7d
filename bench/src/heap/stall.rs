//! A profile of a hundred thousand stacks is taken while two threads allocate: how long the longest
//! allocation takes. Time that a thread waited for a processor is taken off, by the kernel's count.

use std::fs;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Instant;

use profile_core::{Collectors, Kind, alloc, heap};

use super::{Mode, jemalloc};
use crate::run::{Figures, figures};

/// What a turn of the allocating threads may take without a look at what the kernel counted.
const LONG: u64 = 50_000;

/// Milliseconds of the longest allocation.
pub(super) fn measure(mode: Mode, args: &[u32]) -> Figures {
    let &[stacks] = args else { panic!("stacks") };
    let on_jemalloc = heap::install() == Some(heap::Feeder::Jemalloc) || mode == Mode::Peer;
    let set_every = |every: bool| {
        if on_jemalloc {
            jemalloc::set_active(true);
        } else {
            alloc::set_rate(if every { 1 } else { 512 << 10 });
        }
    };
    set_every(true);
    let kept = thread::spawn(move || at_stacks(stacks)).join().expect("it does not panic");
    set_every(false);

    let (stop, longest, raw) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let mut took = 0.0;
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut waited = waited_for_processor();
                let mut last = Instant::now();
                let mut block = Vec::new();
                while !stop.load(Relaxed) {
                    block =
                        black_box(Vec::<u8>::with_capacity(black_box(100 + block.capacity() % 7)));
                    let now = Instant::now();
                    let nanos = (now - last).as_nanos() as u64;
                    last = now;
                    if nanos > LONG {
                        let now_waited = waited_for_processor();
                        let stalled = nanos.saturating_sub(now_waited - waited);
                        longest.fetch_max(stalled, Relaxed);
                        raw.fetch_max(nanos, Relaxed);
                        waited = now_waited;
                        last = Instant::now();
                    }
                }
            });
        }
        thread::sleep(std::time::Duration::from_millis(300));
        longest.store(0, Relaxed);
        let begun = Instant::now();
        if mode == Mode::Peer {
            jemalloc::dump(c"/dev/null");
        } else {
            let files = Collectors::new().collector(Kind::Heap).snapshot().expect("a profile");
            assert!(!files[0].bytes.is_empty());
        }
        took = begun.elapsed().as_secs_f64();
        stop.store(true, Relaxed);
    });
    assert_eq!(kept.len(), stacks as usize);
    figures([
        ("stall", longest.load(Relaxed) as f64 / 1e6),
        ("with_waiting", raw.load(Relaxed) as f64 / 1e6),
        ("took", took),
    ])
}

/// A block from each of so many stacks.
pub(super) fn at_stacks(stacks: u32) -> Vec<Vec<u8>> {
    let bits = stacks.next_power_of_two().ilog2();
    (0..stacks).map(|path| branch(path, bits)).collect()
}

/// Allocates at one of as many stacks as there are paths.
#[inline(never)]
fn branch(path: u32, bits: u32) -> Vec<u8> {
    if bits == 0 {
        return black_box(Vec::with_capacity(black_box(64)));
    }
    // Two calls, and not one with two arguments.
    if path & 1 == 0 {
        let made = branch(path >> 1, bits - 1);
        black_box(made)
    } else {
        let mut made = branch(path >> 1, bits - 1);
        made.extend_from_slice(black_box(&[]));
        made
    }
}

/// Nanoseconds that this thread could have run and didn't.
fn waited_for_processor() -> u64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split_whitespace().nth(1).and_then(|word| word.parse().ok()).unwrap_or(0)
}
