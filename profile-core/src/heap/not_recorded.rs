//! The record where there is none: no feature asks for it, or stacks can't be read here.

use crate::heap::{Feeder, Top};

pub(super) fn install() -> Option<Feeder> {
    None
}

pub(super) fn top(_n: usize) -> Option<Top> {
    None
}

#[cfg_attr(not(feature = "heap"), allow(dead_code))]
pub(crate) fn rate() -> u64 {
    0
}

#[cfg_attr(not(feature = "heap"), allow(dead_code))]
pub(crate) fn set_rate(_rate: u64) -> u64 {
    0
}
