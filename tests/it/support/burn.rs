//! Work whose only trace is CPU time. A test that says where each sample falls has a loop of its own: a
//! function that is called from it, inlined or not, would be another place.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};

/// Makes so many steps of a generator of random numbers, which no compiler sums up.
pub(crate) fn compute(mut state: u64, steps: u32) -> u64 {
    for _ in 0..steps {
        state = (state * 1_664_525 + 1_013_904_223) & 0xffff_ffff;
    }
    black_box(state)
}

/// Burns CPU time until it is told to stop.
#[inline(never)]
pub(crate) fn burn_until(stop: &AtomicBool) {
    let mut state = 1;
    while !stop.load(Ordering::Relaxed) {
        state = compute(state, 1000);
    }
    // What calls this stays on the stack, and so does this.
    black_box(state);
}
