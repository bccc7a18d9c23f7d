//! What an amount rests on that was scaled up from samples.

/// Blocks that were sampled, and how far the amount may be from the truth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SampledAmount {
    /// Number of blocks that were sampled.
    pub samples: f64,
    /// Half the width in bytes of the interval that holds the true amount 19 times out of 20.
    pub margin: f64,
}

impl SampledAmount {
    /// Takes back the scaling of an amount of a heap profile: a block of `s` bytes is sampled with the
    /// probability `1 - exp(-s / rate)`, where `rate` is the number of bytes between two samples on
    /// average, and was counted as often as that is in one. Where `rate` is 0 every block counts.
    ///
    /// ```
    /// use profile_format::profile::SampledAmount;
    ///
    /// // Small blocks stand for `rate` bytes each, large ones for themselves.
    /// assert_eq!(SampledAmount::new(40 << 20, 4 << 20, 512 << 10).samples.round(), 80.0);
    /// let one = SampledAmount::new(20 << 20, 1, 512 << 10);
    /// assert!(one.samples.round() == 1.0 && one.margin < 1.0);
    /// ```
    pub fn new(bytes: u64, count: u64, rate: u64) -> SampledAmount {
        if count == 0 {
            return SampledAmount { samples: 0.0, margin: 0.0 };
        }
        let size = bytes as f64 / count as f64;
        let probability = if rate == 0 { 1.0 } else { -(-size / rate as f64).exp_m1() };
        let samples = count as f64 * probability;
        let deviation = (samples * (1.0 - probability)).sqrt() / probability * size;
        SampledAmount { samples, margin: 1.96 * deviation }
    }
}
