//! What a sampled block stands for.
//!
//! It runs inside allocators: it does not allocate or lock, and calls nothing but the logarithm and
//! the exponential of the mathematics library.

/// Objects and bytes, estimated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SampleWeight {
    /// Number of objects in parts of [`PARTS`], so that a large number of weights adds up without
    /// an error.
    pub(crate) objects: u64,
    pub(crate) bytes: u64,
}

/// Parts of an object that are counted.
pub(crate) const PARTS: f64 = (1 << 16) as f64;

impl SampleWeight {
    /// Returns the weight that a sampled block of `size` bytes stands for, where one byte of `rate`
    /// is sampled on average. Such a block is sampled with probability `1 - exp(-size / rate)`.
    pub(crate) fn of(size: u64, rate: u64) -> SampleWeight {
        if rate <= 1 {
            return SampleWeight { objects: PARTS as u64, bytes: size };
        }
        let objects = -1.0 / (-(size as f64) / rate as f64).exp_m1();
        SampleWeight {
            objects: (objects * PARTS).round() as u64,
            bytes: (objects * size as f64).round() as u64,
        }
    }

    /// Returns the number of whole objects.
    pub(crate) fn whole_objects(self) -> u64 {
        (self.objects as f64 / PARTS).round() as u64
    }

    /// Returns the rest when another weight is taken away, no less than nothing.
    pub(crate) fn saturating_sub(self, other: SampleWeight) -> SampleWeight {
        SampleWeight {
            objects: self.objects.saturating_sub(other.objects),
            bytes: self.bytes.saturating_sub(other.bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_stands_for_the_inverse_of_its_probability() {
        let whole = |size, rate| {
            let weight = SampleWeight::of(size, rate);
            (weight.whole_objects(), weight.bytes)
        };
        assert_eq!(whole(100, 1), (1, 100));
        assert_eq!(whole(100, 0), (1, 100));
        // A small block stands for the whole rate, a large one for itself.
        assert_eq!(whole(16, 524_288), (32_769, 524_296));
        assert_eq!(whole(1 << 30, 524_288), (1, 1 << 30));
        // As large as the rate: 1 / (1 - 1/e) = 1.5820.
        assert_eq!(SampleWeight::of(524_288, 524_288).objects, 103_676);
        // A size of nothing has a chance of nothing: the limit is as far as numbers go.
        assert_eq!(SampleWeight::of(0, 524_288).objects, u64::MAX);
    }
}
