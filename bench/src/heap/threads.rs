//! Four thousand threads that allocate and end: memory that stays.

use std::hint::black_box;
use std::thread;

use super::{Mode, jemalloc};
use crate::memory::resident_megabytes;
use crate::run::{Figures, figures};

const THREADS: usize = 4000;

/// Megabytes that the process has grown by.
pub(super) fn measure(mode: Mode, args: &[u32]) -> Figures {
    let &[on_jemalloc] = args else { panic!("whether it is jemalloc") };
    if mode == Mode::Ours {
        profile_core::heap::install().expect("there is a feeder");
    }
    if on_jemalloc == 1 && mode != Mode::Bare {
        jemalloc::set_active(true);
    }
    let spawn = || {
        let work = || {
            let blocks: Vec<Vec<u8>> = (0..1000).map(|_| black_box(vec![1; 1000])).collect();
            drop(blocks);
        };
        thread::spawn(work).join().expect("it does not panic");
    };
    // What the first ones need is there to stay.
    (0..200).for_each(|_| spawn());
    resident_megabytes();
    let before = resident_megabytes();
    (0..THREADS).for_each(|_| spawn());
    figures([("growth", resident_megabytes() - before)])
}
