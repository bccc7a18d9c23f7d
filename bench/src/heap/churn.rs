//! Random blocks of 16 to 512 bytes allocated and freed, 20 calls deep, on jemalloc: how much longer
//! it takes while jemalloc samples, with our hooks or without.

use std::hint::black_box;

use super::{Mode, jemalloc};
use crate::clock;
use crate::random::Random;
use crate::run::{Figures, figures};
use crate::spread::Spread;
use crate::workload::deep;

const BLOCKS: usize = 1 << 10;
const TURNS: u32 = 400_000;

/// The ratio of active to inactive.
pub(super) fn measure(mode: Mode, args: &[u32]) -> Figures {
    let &[rounds] = args else { panic!("rounds") };
    if mode == Mode::Ours {
        profile_core::heap::install().expect("this jemalloc has hooks");
    }
    let (mut ratios, mut inactive) = (Vec::new(), Vec::new());
    deep(20, &mut || {
        let mut random = Random::new(7);
        let mut blocks: Vec<Vec<u8>> = Vec::new();
        blocks.resize_with(BLOCKS, Vec::new);
        run(&mut random, &mut blocks);
        for _ in 0..rounds {
            let off = run(&mut random, &mut blocks);
            jemalloc::set_active(true);
            let on = run(&mut random, &mut blocks);
            jemalloc::set_active(false);
            let off_again = run(&mut random, &mut blocks);
            ratios.push(2.0 * on / (off + off_again));
            inactive.push(off);
        }
    });
    let median = |values: Vec<f64>| Spread::of(values).expect("rounds").median;
    figures([("ratio", median(ratios)), ("inactive", median(inactive))])
}

/// Nanoseconds of CPU time of a turn.
fn run(random: &mut Random, blocks: &mut [Vec<u8>]) -> f64 {
    let begun = clock::thread_cpu_nanos();
    for _ in 0..TURNS {
        let at = random.between(0, BLOCKS as u64) as usize;
        blocks[at] = black_box(Vec::with_capacity(random.between(16, 513) as usize));
    }
    (clock::thread_cpu_nanos() - begun) as f64 / f64::from(TURNS)
}
