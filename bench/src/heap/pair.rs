//! A block allocated and freed: what the wrapper adds. Both allocators are called in turn in one
//! process, so that neither has a better place in memory.

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;

use profile_core::alloc::Sampled;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

use super::Mode;
use crate::clock;
use crate::run::{Figures, figures};
use crate::spread::Spread;

static OURS: Sampled<System> = Sampled::new(System);
static COUNTING: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const PAIRS: u32 = 200_000;

/// Nanoseconds a pair takes longer than bare, on so many threads at once.
pub(super) fn measure(mode: Mode, args: &[u32]) -> Figures {
    let &[threads, rounds] = args else { panic!("threads, rounds") };
    // What the first sample needs is read before.
    profile_core::heap::install();
    let on_one = move || {
        let mut added = Vec::new();
        for round in 0..rounds {
            let wrapped = || match mode {
                Mode::Ours => run(&OURS),
                _ => run(COUNTING),
            };
            let (bare, wrapped) = if round % 2 == 0 {
                let bare = run(&System);
                (bare, wrapped())
            } else {
                let wrapped = wrapped();
                (run(&System), wrapped)
            };
            added.push(wrapped - bare);
        }
        Spread::of(added).expect("rounds").median
    };
    let workers: Vec<_> = (0..threads).map(|_| std::thread::spawn(on_one)).collect();
    let all: f64 =
        workers.into_iter().map(|worker| worker.join().expect("it does not panic")).sum();
    figures([("added", all / f64::from(threads))])
}

/// Nanoseconds of CPU time of a pair.
#[inline(never)]
fn run(allocator: &impl GlobalAlloc) -> f64 {
    let layout = Layout::new::<[u64; 8]>();
    let begun = clock::thread_cpu_nanos();
    for _ in 0..PAIRS {
        // SAFETY: the layout has a size, and what is freed was just allocated with it.
        unsafe {
            let block = black_box(allocator.alloc(black_box(layout)));
            allocator.dealloc(block, black_box(layout));
        }
    }
    (clock::thread_cpu_nanos() - begun) as f64 / f64::from(PAIRS)
}
