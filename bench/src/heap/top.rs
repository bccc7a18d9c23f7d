//! The largest sites of a thousand, with names that are known already.

use std::thread;

use profile_core::{alloc, heap};

use super::{Mode, stall};
use crate::clock;
use crate::run::{Figures, figures};
use crate::spread::Spread;

/// Milliseconds of a call.
pub(super) fn measure(_mode: Mode, args: &[u32]) -> Figures {
    let &[stacks] = args else { panic!("stacks") };
    alloc::set_rate(1);
    let kept = thread::spawn(move || stall::at_stacks(stacks)).join().expect("it does not panic");
    alloc::set_rate(512 << 10);
    let call = || {
        let begun = clock::thread_cpu();
        let top = heap::top(50).expect("there is a feeder");
        assert!(top.by_inuse.len() == 50);
        (clock::thread_cpu() - begun) * 1e3
    };
    let first = call();
    let next = Spread::of((0..20).map(|_| call())).expect("calls").median;
    drop(kept);
    figures([("first", first), ("next", next)])
}
