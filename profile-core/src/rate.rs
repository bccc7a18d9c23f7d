//! The rate of a CPU profile, as a request asks for it.

use std::fmt;
use std::str::FromStr;

/// Samples for each second of CPU time, from 1 to 1000: `hz` in a request.
///
/// More would bring no more detail on any kernel, whose timers tick 100 to 1000 times a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CpuRate(u32);

/// A text that is no [`CpuRate`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a whole number from {} to {}", CpuRate::LEAST.hz(), CpuRate::MOST.hz())]
pub struct InvalidRate;

impl CpuRate {
    /// The lowest rate.
    pub const LEAST: CpuRate = CpuRate(1);
    /// The highest rate.
    pub const MOST: CpuRate = CpuRate(1000);

    /// Makes a rate of so many samples a second; `None` where it is out of range.
    ///
    /// ```
    /// use profile_core::CpuRate;
    ///
    /// assert_eq!(CpuRate::new(99).map(CpuRate::hz), Some(99));
    /// assert_eq!(CpuRate::new(0), None);
    /// assert_eq!(CpuRate::new(1001), None);
    /// ```
    pub fn new(hz: u32) -> Option<CpuRate> {
        Some(CpuRate(hz)).filter(|rate| (CpuRate::LEAST..=CpuRate::MOST).contains(rate))
    }

    /// Returns the samples for each second of CPU time.
    pub const fn hz(self) -> u32 {
        self.0
    }
}

impl FromStr for CpuRate {
    type Err = InvalidRate;

    fn from_str(text: &str) -> Result<CpuRate, InvalidRate> {
        // The standard library would take a sign.
        let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|_| is_plain).and_then(CpuRate::new).ok_or(InvalidRate)
    }
}

impl fmt::Display for CpuRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_number_in_its_range() {
        for (text, rate) in [
            ("1", Some(1)),
            ("99", Some(99)),
            ("1000", Some(1000)),
            ("0", None),
            ("1001", None),
            ("99999999999999999999", None),
            ("-5", None),
            ("+5", None),
            ("1.5", None),
            ("100Hz", None),
            ("", None),
        ] {
            assert_eq!(text.parse().ok().map(CpuRate::hz), rate, "{text}");
        }
        assert_eq!(InvalidRate.to_string(), "must be a whole number from 1 to 1000");
    }
}
