//! Four sites with known bytes: how far the estimates are from the truth, in standard deviations of
//! what theory says an estimate has.

use std::hint::black_box;
use std::thread;

use profile_core::heap::{self, Amounts};

use super::{Mode, jemalloc};
use crate::run::Figures;

const LEAKED: usize = 100 << 10;
const CHURNED: usize = 16 << 10;
const TINY: usize = 640 << 10;
const GROWN: usize = 64 << 20;
const RATE: f64 = (512 << 10) as f64;

#[inline(never)]
fn leak_a_kilobyte() -> Vec<u8> {
    black_box(Vec::with_capacity(black_box(1 << 10)))
}

#[inline(never)]
fn churn_64_kilobytes() {
    drop(black_box(Vec::<u8>::with_capacity(black_box(64 << 10))));
}

#[inline(never)]
fn keep_16_bytes() -> Box<[u8; 16]> {
    black_box(Box::new(black_box([1; 16])))
}

#[inline(never)]
fn grow_a_vector() -> Vec<u8> {
    let mut grown = Vec::new();
    sizes().for_each(|capacity| grown.reserve_exact(black_box(capacity)));
    black_box(grown)
}

fn sizes() -> impl Iterator<Item = usize> {
    std::iter::successors(Some(4096), |size| Some(size * 2)).take_while(|size| *size <= GROWN)
}

/// The error of each site, and what is in use when all is freed.
pub(super) fn measure(_mode: Mode, args: &[u32]) -> Figures {
    let &[on_jemalloc] = args else { panic!("whether it is jemalloc") };
    heap::install().expect("there is a feeder");
    if on_jemalloc == 1 {
        jemalloc::set_active(true);
    }
    let kept = thread::spawn(|| {
        (0..CHURNED).for_each(|_| churn_64_kilobytes());
        let mut leaked = Vec::with_capacity(LEAKED);
        leaked.extend((0..LEAKED).map(|_| leak_a_kilobyte()));
        let mut tiny = Vec::with_capacity(TINY);
        tiny.extend((0..TINY).map(|_| keep_16_bytes()));
        (leaked, tiny, grow_a_vector())
    })
    .join()
    .expect("it does not panic");
    let top = heap::top(10_000).expect("there is a feeder");
    let found = |function: &str| sum(&top, function);
    let many = |size: usize, count: usize| vec![(size as f64, count as f64)];
    let grown: Vec<(f64, f64)> = sizes().map(|size| (size as f64, 1.0)).collect();
    let mut figures = Figures::new();
    for (name, alloc, inuse) in [
        ("leak_a_kilobyte", many(1 << 10, LEAKED), many(1 << 10, LEAKED)),
        ("churn_64_kilobytes", many(64 << 10, CHURNED), Vec::new()),
        ("keep_16_bytes", many(16, TINY), many(16, TINY)),
        ("grow_a_vector", grown, many(GROWN, 1)),
    ] {
        let found = found(name);
        figures.insert(format!("{name} alloc"), sigmas(&alloc, found.alloc_bytes));
        figures.insert(format!("{name} inuse"), sigmas(&inuse, found.inuse_bytes));
    }
    drop(kept);
    let top = heap::top(10_000).expect("there is a feeder");
    let left: u64 = ["leak_a_kilobyte", "churn_64_kilobytes", "keep_16_bytes", "grow_a_vector"]
        .iter()
        .map(|name| sum(&top, name).inuse_bytes)
        .sum();
    figures.insert("left".to_owned(), left as f64);
    figures
}

fn sum(top: &heap::Top, function: &str) -> Amounts {
    let mut sum = Amounts::default();
    for site in &top.by_alloc {
        if site.stack.iter().any(|frame| frame.function.ends_with(function)) {
            sum.alloc_bytes += site.amounts.alloc_bytes;
            sum.inuse_bytes += site.amounts.inuse_bytes;
        }
    }
    sum
}

/// The error in standard deviations. Where theory knows no deviation, any error of a block counts.
fn sigmas(blocks: &[(f64, f64)], found: u64) -> f64 {
    let truth: f64 = blocks.iter().map(|(size, count)| size * count).sum();
    let variance: f64 = blocks
        .iter()
        .map(|(size, count)| {
            let p = -(-size / RATE).exp_m1();
            count * size * size * (1.0 - p) / p
        })
        .sum();
    (found as f64 - truth) / variance.sqrt().max(1.0)
}
