//! A gigabyte of live blocks of 16 to 512 bytes: how much memory the process has in all.

use std::hint::black_box;

use super::{Mode, jemalloc};
use crate::memory::resident_megabytes;
use crate::random::Random;
use crate::run::{Figures, figures};

/// Megabytes, with a gigabyte in use.
pub(super) fn measure(mode: Mode, args: &[u32]) -> Figures {
    let &[on_jemalloc] = args else { panic!("whether it is jemalloc") };
    if mode == Mode::Ours {
        profile_core::heap::install().expect("there is a feeder");
    }
    if on_jemalloc == 1 && mode != Mode::Bare {
        jemalloc::set_active(true);
    }
    let mut random = Random::new(3);
    let (mut kept, mut bytes): (Vec<Box<[u8]>>, usize) = (Vec::with_capacity(5 << 20), 0);
    while bytes < 1 << 30 {
        let size = random.between(16, 513) as usize;
        kept.push(black_box(vec![1; size]).into_boxed_slice());
        bytes += size;
    }
    let resident = resident_megabytes();
    drop(black_box(kept));
    figures([("resident", resident)])
}
