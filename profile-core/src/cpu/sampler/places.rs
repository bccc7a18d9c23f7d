//! The places of threads in the sampler's table, and the values that tell whose a timer's signal is.

use crate::cpu::sampler::strata::ARMINGS;

/// Threads that can have a timer of their own; the process's timer stands in for more.
pub(crate) const THREADS: u32 = 8191;
/// The place in the table of the timer that counts for the whole process: the last.
pub(crate) const PROCESS: u32 = THREADS;
/// Places in the table.
pub(crate) const PLACES: usize = THREADS as usize + 1;
const _: () =
    assert!(PLACES as u64 * ARMINGS as u64 == 1 << 32, "a timer's value has 32 bits for both");

/// Packs what a timer's signals carry: the engine, the arming and the place that they belong to.
pub(crate) fn timer_value(epoch: u32, arming: u32, place: u32) -> u64 {
    u64::from(epoch) << 32 | u64::from(arming) << 13 | u64::from(place)
}

/// Unpacks the arming and the place in the table from the lower half of such a value.
pub(crate) fn arming_and_place(value: u32) -> (u32, u32) {
    (value >> 13, value & 0x1fff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_tells_whose_a_signal_is() {
        for (arming, place) in [(0, 0), (1, PROCESS), (ARMINGS - 1, 4711)] {
            let value = timer_value(7, arming, place);
            assert_eq!(value >> 32, 7);
            assert_eq!(arming_and_place(value as u32), (arming, place));
        }
    }
}
