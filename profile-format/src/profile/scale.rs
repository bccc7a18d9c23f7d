//! Making a profile's values larger or smaller, and leaving samples out.

use std::iter::zip;

use super::{MergeError, Profile, Sample, Samples};

impl Profile {
    /// Multiplies the values of every sample, each sample type by its own ratio, and rounds them,
    /// half away from zero. Values beyond `i64` are cut off there; samples that are left with zeros
    /// alone go, and what only they refer to stays.
    ///
    /// ```
    /// use profile_format::profile::Builder;
    ///
    /// let mut builder = Builder::new(&[("samples", "count"), ("cpu", "nanoseconds")]);
    /// builder.sample(&[], &[3, 30], &[]);
    /// let mut profile = builder.finish();
    /// profile.scale(&[1.0, 0.25]);
    /// assert_eq!(profile.samples.get(0).values, [3, 8]);
    /// ```
    ///
    /// # Panics
    ///
    /// Where there is not one ratio for each sample type.
    pub fn scale(&mut self, ratios: &[f64]) {
        assert_eq!(ratios.len(), self.sample_types.len(), "one ratio for each sample type");
        let mut scaled = Samples::new(ratios.len());
        let mut values = Vec::with_capacity(ratios.len());
        for sample in self.samples.iter() {
            values.clear();
            values.extend(zip(sample.values, ratios).map(|(&value, &ratio)| times(value, ratio)));
            if values.iter().any(|&value| value != 0) {
                scaled.push(sample.stack, &values, sample.labels);
            }
        }
        self.samples = scaled;
    }

    /// Scales the values so that each sample type adds up to what it does in another profile, as
    /// `go tool pprof -normalize` does before it compares. A type that adds up to nothing becomes
    /// zero.
    ///
    /// # Errors
    ///
    /// Where the other profile has other sample types, or counts its periods in something else.
    pub fn normalize(&mut self, to: &Profile) -> Result<(), MergeError> {
        let types = super::merge::common_types(&[(self, 1), (to, 1)])?;
        if types.len() != self.sample_types.len() {
            let list = |profile: &Profile| {
                let names = profile.sample_types.iter().map(|&kind| profile.type_name(kind));
                names.collect::<Vec<_>>().join(", ")
            };
            return Err(MergeError::SampleTypes { first: list(self), other: list(to) });
        }
        let ratios: Vec<f64> = (types.iter().enumerate())
            .map(|(index, kind)| {
                let (name, unit) = (self.str(kind.kind), self.str(kind.unit));
                let other = super::merge::position(to, name, unit);
                match (other.map_or(0, |other| to.total(other)), self.total(index)) {
                    (_, 0) => 0.0,
                    (other, own) => other as f64 / own as f64,
                }
            })
            .collect();
        self.scale(&ratios);
        Ok(())
    }

    /// Keeps the samples for which `keep` says so. What only the others refer to stays;
    /// [`merge`](Profile::merge) of the profile alone leaves that out.
    pub fn retain(&mut self, mut keep: impl FnMut(&Profile, &Sample<'_>) -> bool) {
        let mut kept = Samples::new(self.sample_types.len());
        for sample in self.samples.iter().filter(|sample| keep(self, sample)) {
            kept.push(sample.stack, sample.values, sample.labels);
        }
        self.samples = kept;
    }

    /// Returns the sum of a sample type, by its index.
    fn total(&self, index: usize) -> i128 {
        self.samples.iter().map(|sample| i128::from(sample.values[index])).sum()
    }
}

/// Multiplies a value. Exact where nothing is to be done, and where there is a sign alone to
/// change.
fn times(value: i64, ratio: f64) -> i64 {
    if ratio == 1.0 {
        value
    } else if ratio == -1.0 {
        value.saturating_neg()
    } else {
        // Casting cuts off, and makes what is no number zero.
        (value as f64 * ratio).round() as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Builder;

    fn profile(types: &[(&str, &str)], samples: &[&[i64]]) -> Profile {
        let mut builder = Builder::new(types);
        for (place, values) in samples.iter().enumerate() {
            let place = builder.location(None, place as u64 + 1, &[]);
            builder.sample(&[place], values, &[]);
        }
        builder.finish()
    }

    #[track_caller]
    fn check(profile: &Profile, expected: &[&[i64]]) {
        let values: Vec<_> = profile.samples.iter().map(|sample| sample.values).collect();
        assert_eq!(values, expected);
    }

    const TYPES: [(&str, &str); 2] = [("samples", "count"), ("cpu", "nanoseconds")];

    #[test]
    fn values_are_rounded_and_cut_off() {
        let large = i64::MAX - 1;
        let samples: [&[i64]; 5] = [&[1, 5], &[-1, -5], &[0, 1], &[large, large], &[i64::MIN, 0]];
        let of = |ratios| {
            let mut profile = profile(&TYPES, &samples);
            profile.scale(ratios);
            profile
        };
        check(&of(&[1.0, 0.5]), &[&[1, 3], &[-1, -3], &[0, 1], &[large, 1 << 62], &[i64::MIN, 0]]);
        check(
            &of(&[-1.0, 3.0]),
            &[&[-1, 15], &[1, -15], &[0, 3], &[-large, i64::MAX], &[i64::MAX, 0]],
        );
        check(&of(&[0.0, 0.3]), &[&[0, 2], &[0, -2], &[0, (large as f64 * 0.3) as i64]]);
        assert!(of(&[f64::NAN, 0.0]).samples.is_empty());
    }

    #[test]
    fn sums_become_those_of_another() {
        let mut one = profile(&TYPES, &[&[1, 0], &[3, 0]]);
        let other = profile(&[("cpu", "nanoseconds"), ("samples", "count")], &[&[7, 100]]);
        one.normalize(&other).unwrap();
        check(&one, &[&[25, 0], &[75, 0]]);
        let less = profile(&[("samples", "count")], &[&[1]]);
        assert!(matches!(one.normalize(&less), Err(MergeError::SampleTypes { .. })));
        check(&one, &[&[25, 0], &[75, 0]]);
    }

    #[test]
    fn what_is_not_kept_is_gone() {
        let mut profile = profile(&TYPES, &[&[1, 10], &[2, 20], &[3, 30]]);
        profile.retain(|profile, sample| {
            sample.values[0] != 2 && profile.locations[sample.stack[0] as usize].address > 1
        });
        check(&profile, &[&[3, 30]]);
        assert_eq!(profile.locations.len(), 3);
        assert_eq!(Profile::merge(&[(&profile, 1)]).unwrap().locations.len(), 1);
    }
}
