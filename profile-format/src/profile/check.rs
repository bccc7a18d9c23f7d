//! Whether a profile will be accepted where profiles are stored.
//!
//! The rules are those of Parca (`pkg/normalizer/validate.go`) and Pyroscope
//! (`pkg/validation/validate.go`). Some hold for every [`Profile`] by its types: ids are
//! sequential, string 0 is empty, and samples have as many values as they were said to have.

use super::{Profile, StrId, ValueType};

/// A fault for which a validator would refuse a profile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckError {
    /// Values without anything that says what they count.
    #[error("the profile has no sample types")]
    NoSampleTypes,
    /// The samples' values are not as many as the sample types.
    #[error("samples have {found} values for {expected} sample types")]
    ValueCount {
        /// Values of each sample.
        found: usize,
        /// Sample types.
        expected: usize,
    },
    /// Something refers past the end of what it refers to.
    #[error("{owner} {number} refers to {target} {index} of {count}")]
    OutOfRange {
        /// The kind of thing that refers.
        owner: &'static str,
        /// Its index.
        number: usize,
        /// The kind of thing that it refers to.
        target: &'static str,
        /// The index that is too large.
        index: usize,
        /// Number of things of that kind.
        count: usize,
    },
    /// A label without a name.
    #[error("sample {sample} has a label without a key")]
    NoLabelKey {
        /// The sample's index.
        sample: usize,
    },
}

impl Profile {
    /// Checks the rules of the profile stores. Takes one pass over everything.
    ///
    /// # Errors
    ///
    /// The first rule that is broken.
    pub fn check(&self) -> Result<(), CheckError> {
        if self.sample_types.is_empty() {
            return Err(CheckError::NoSampleTypes);
        }
        let (found, expected) = (self.samples.width, self.sample_types.len());
        if found != expected {
            return Err(CheckError::ValueCount { found, expected });
        }
        self.check_header()?;
        self.check_samples()?;
        self.check_code()
    }

    fn check_header(&self) -> Result<(), CheckError> {
        for (number, &value_type) in self.sample_types.iter().enumerate() {
            self.check_type("sample type", number, value_type)?;
        }
        if let Some(period_type) = self.period_type {
            self.check_type("period type", 0, period_type)?;
        }
        for (number, &comment) in self.comments.iter().enumerate() {
            self.check_string("comment", number, comment)?;
        }
        for id in [self.default_sample_type, self.drop_frames, self.keep_frames, self.doc_url] {
            self.check_string("profile", 0, id)?;
        }
        Ok(())
    }

    fn check_samples(&self) -> Result<(), CheckError> {
        for (number, sample) in self.samples.iter().enumerate() {
            for &location in sample.stack {
                in_range("sample", number, "location", location, self.locations.len())?;
            }
            for label in sample.labels {
                if label.key == StrId(0) {
                    return Err(CheckError::NoLabelKey { sample: number });
                }
                for id in [label.key, label.str, label.num_unit] {
                    self.check_string("sample", number, id)?;
                }
            }
        }
        Ok(())
    }

    fn check_code(&self) -> Result<(), CheckError> {
        for (number, mapping) in self.mappings.iter().enumerate() {
            self.check_string("mapping", number, mapping.filename)?;
            self.check_string("mapping", number, mapping.build_id)?;
        }
        for (number, location) in self.locations.iter().enumerate() {
            if let Some(mapping) = location.mapping {
                in_range("location", number, "mapping", mapping, self.mappings.len())?;
            }
            // A range may be empty, so its end is the index after the last line.
            let end = location.lines.end.max(location.lines.start);
            in_range("location", number, "line", end, self.lines.len() + 1)?;
        }
        for (number, line) in self.lines.iter().enumerate() {
            in_range("line", number, "function", line.function, self.functions.len())?;
        }
        for (number, function) in self.functions.iter().enumerate() {
            for id in [function.name, function.system_name, function.filename] {
                self.check_string("function", number, id)?;
            }
        }
        Ok(())
    }

    fn check_type(
        &self,
        owner: &'static str,
        number: usize,
        value_type: ValueType,
    ) -> Result<(), CheckError> {
        self.check_string(owner, number, value_type.kind)?;
        self.check_string(owner, number, value_type.unit)
    }

    fn check_string(
        &self,
        owner: &'static str,
        number: usize,
        id: StrId,
    ) -> Result<(), CheckError> {
        in_range(owner, number, "string", id.0, self.strings.count())
    }
}

fn in_range(
    owner: &'static str,
    number: usize,
    target: &'static str,
    index: u32,
    count: usize,
) -> Result<(), CheckError> {
    let index = index as usize;
    if index < count {
        return Ok(());
    }
    Err(CheckError::OutOfRange { owner, number, target, index, count })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{Builder, Function, Label, Line, Mapping};

    fn valid() -> Profile {
        let mut builder = Builder::new(&[("samples", "count")]);
        let name = builder.str("f");
        let function = builder.function(Function { name, ..Function::default() });
        let mapping = builder.mapping(Mapping::default());
        let line = Line { function, line: 1, column: 0 };
        let location = builder.location(Some(mapping), 1, &[line]);
        let label = builder.text_label("thread", "main");
        builder.sample(&[location], &[1], &[label]);
        builder.finish()
    }

    #[track_caller]
    fn check(spoil: impl FnOnce(&mut Profile), expected: &str) {
        let mut profile = valid();
        assert_eq!(profile.check(), Ok(()));
        spoil(&mut profile);
        assert_eq!(profile.check().unwrap_err().to_string(), expected);
    }

    #[test]
    fn names_the_broken_rule() {
        check(|profile| profile.sample_types.clear(), "the profile has no sample types");
        check(
            |profile| profile.sample_types.push(ValueType::default()),
            "samples have 1 values for 2 sample types",
        );
        check(
            |profile| profile.samples.push(&[1], &[1], &[]),
            "sample 1 refers to location 1 of 1",
        );
        check(
            |profile| profile.samples.push(&[], &[1], &[Label::default()]),
            "sample 1 has a label without a key",
        );
        check(
            |profile| profile.locations[0].mapping = Some(7),
            "location 0 refers to mapping 7 of 1",
        );
        check(|profile| profile.locations[0].lines = 0..2, "location 0 refers to line 2 of 2");
        check(|profile| profile.lines[0].function = 1, "line 0 refers to function 1 of 1");
        check(
            |profile| profile.functions[0].filename = StrId(99),
            "function 0 refers to string 99 of 6",
        );
        check(|profile| profile.comments.push(StrId(6)), "comment 0 refers to string 6 of 6");
    }
}
