//! A library to be loaded, run and unloaded while samples are taken: it uses CPU a few frames deep
//! and unwinds a panic, both with unwind tables that are gone a moment later.

use std::hint::black_box;
use std::panic::{catch_unwind, resume_unwind};

/// Uses CPU `turns` times over, `depth` frames down, and unwinds a panic from there. How many
/// panics it caught: one.
#[unsafe(no_mangle)]
pub extern "C" fn profilez_bench_plugin(depth: u32, turns: u32) -> u32 {
    // Without the panic hook, which would print each of them.
    u32::from(catch_unwind(|| descend(depth, turns)).is_err())
}

#[inline(never)]
fn descend(depth: u32, turns: u32) -> u64 {
    let held = black_box(vec![depth; 16]);
    let below = if depth == 0 { bottom(turns) } else { descend(depth - 1, turns) };
    below + u64::from(held[0])
}

#[inline(never)]
fn bottom(turns: u32) -> u64 {
    let mut state = 1u64;
    for _ in 0..turns {
        state = black_box(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
    }
    if black_box(turns) > 0 {
        resume_unwind(Box::new(state));
    }
    state
}
