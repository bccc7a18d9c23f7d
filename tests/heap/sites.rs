//! Four sites that allocate known amounts, and what theory allows an estimate to differ from them.

use std::hint::black_box;

use profilez::core::heap::{Amounts, Top};

/// What one of the sites does, and must be found to have done.
pub(crate) struct Known {
    pub(crate) function: &'static str,
    alloc: Vec<(u64, f64)>,
    inuse: Vec<(u64, f64)>,
}

/// Live blocks of the sites.
pub(crate) struct Kept {
    _leaked: Vec<Vec<u8>>,
    #[expect(clippy::vec_box, reason = "the boxes are what is counted")]
    _tiny: Vec<Box<[u8; 16]>>,
    _grown: Vec<u8>,
}

const LEAKED: usize = 64 << 10;
const CHURNED: usize = 8 << 10;
const TINY: usize = 640 << 10;
const GROWN: usize = 8 << 20;

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
    for capacity in sizes() {
        grown.reserve_exact(black_box(capacity));
    }
    black_box(grown)
}

/// Capacities of the growing vector: each counts in full, as in Go.
fn sizes() -> impl Iterator<Item = usize> {
    std::iter::successors(Some(4096), |size| Some(size * 2)).take_while(|size| *size <= GROWN)
}

/// Does what is known.
pub(crate) fn run() -> Kept {
    (0..CHURNED).for_each(|_| churn_64_kilobytes());
    // The vectors that hold the blocks are no part of what is known of a site.
    let mut leaked = Vec::with_capacity(LEAKED);
    leaked.extend((0..LEAKED).map(|_| leak_a_kilobyte()));
    let mut tiny = Vec::with_capacity(TINY);
    tiny.extend((0..TINY).map(|_| keep_16_bytes()));
    Kept { _leaked: leaked, _tiny: tiny, _grown: grow_a_vector() }
}

/// What is known.
pub(crate) fn known() -> [Known; 4] {
    let many = |size: usize, count: usize| vec![(size as u64, count as f64)];
    let site = |function, alloc: Vec<(u64, f64)>, inuse| Known { function, alloc, inuse };
    [
        site("leak_a_kilobyte", many(1 << 10, LEAKED), many(1 << 10, LEAKED)),
        site("churn_64_kilobytes", many(64 << 10, CHURNED), Vec::new()),
        site("keep_16_bytes", many(16, TINY), many(16, TINY)),
        site("grow_a_vector", sizes().map(|size| (size as u64, 1.0)).collect(), many(GROWN, 1)),
    ]
}

/// Whether every site's estimates are within four sigma of the truth.
#[track_caller]
pub(crate) fn check(top: &Top, rate: u64, are_kept: bool) {
    for Known { function, alloc, inuse } in known() {
        let found = found(top, function);
        within(&format!("{function}, alloc"), &alloc, rate, found.alloc_objects, found.alloc_bytes);
        let inuse = if are_kept { inuse } else { Vec::new() };
        within(&format!("{function}, inuse"), &inuse, rate, found.inuse_objects, found.inuse_bytes);
    }
}

/// The sum over a function's stacks.
pub(crate) fn found(top: &Top, function: &str) -> Amounts {
    let mut sum = Amounts::default();
    for site in &top.by_alloc {
        if site.stack.iter().any(|frame| frame.function.ends_with(function)) {
            sum.alloc_objects += site.amounts.alloc_objects;
            sum.alloc_bytes += site.amounts.alloc_bytes;
            sum.inuse_objects += site.amounts.inuse_objects;
            sum.inuse_bytes += site.amounts.inuse_bytes;
        }
    }
    sum
}

#[track_caller]
fn within(what: &str, blocks: &[(u64, f64)], rate: u64, objects: u64, bytes: u64) {
    let (mut counts, mut sizes) = ((0.0, 0.0), (0.0, 0.0));
    for &(size, count) in blocks {
        // A block is sampled with probability p, and stands for 1/p then.
        let p = -(-(size as f64) / rate as f64).exp_m1();
        let variance = count * (1.0 - p) / p;
        let size = size as f64;
        counts = (counts.0 + count, counts.1 + variance);
        sizes = (sizes.0 + count * size, sizes.1 + variance * size * size);
    }
    for (unit, found, (truth, variance)) in [("objects", objects, counts), ("bytes", bytes, sizes)]
    {
        let error = (found as f64 - truth).abs();
        let allowed = 4.0 * variance.sqrt() + 1.0;
        assert!(error <= allowed, "{what}: {found} {unit}, and not {truth} within {allowed:.0}");
    }
}
