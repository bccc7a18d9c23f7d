//! Building a profile: texts, functions and locations are kept once each.

use std::collections::HashMap;

use super::{Function, Label, Line, Location, Mapping, Profile, Samples, StrId, ValueType};

/// Builds a [`Profile`] from samples as they come.
#[derive(Debug)]
pub struct Builder {
    profile: Profile,
    strings: HashMap<Box<str>, StrId>,
    functions: HashMap<Function, u32>,
}

impl Builder {
    /// Makes an empty profile with these sample types, as pairs of what is counted and its unit.
    pub fn new(sample_types: &[(&str, &str)]) -> Builder {
        let mut builder = Builder {
            profile: Profile::default(),
            strings: HashMap::from([(Box::from(""), StrId(0))]),
            functions: HashMap::new(),
        };
        for &(kind, unit) in sample_types {
            let value_type = builder.value_type(kind, unit);
            builder.profile.sample_types.push(value_type);
        }
        builder.profile.samples = Samples::new(sample_types.len());
        builder
    }

    /// Returns the id of a text, added where it is new.
    pub fn str(&mut self, text: &str) -> StrId {
        if let Some(&id) = self.strings.get(text) {
            return id;
        }
        let id = self.profile.strings.push(text);
        self.strings.insert(Box::from(text), id);
        id
    }

    /// Makes a value type.
    pub fn value_type(&mut self, kind: &str, unit: &str) -> ValueType {
        ValueType { kind: self.str(kind), unit: self.str(unit) }
    }

    /// Makes a label with a text.
    pub fn text_label(&mut self, key: &str, text: &str) -> Label {
        Label { key: self.str(key), str: self.str(text), ..Label::default() }
    }

    /// Makes a label with a number.
    pub fn number_label(&mut self, key: &str, num: i64, unit: &str) -> Label {
        Label { key: self.str(key), num, num_unit: self.str(unit), ..Label::default() }
    }

    /// Returns the index of a function, added where it is new.
    pub fn function(&mut self, function: Function) -> u32 {
        *self.functions.entry(function).or_insert_with(|| {
            self.profile.functions.push(function);
            index(self.profile.functions.len())
        })
    }

    /// Adds a mapping. The first is to be the main binary.
    pub fn mapping(&mut self, mapping: Mapping) -> u32 {
        self.profile.mappings.push(mapping);
        index(self.profile.mappings.len())
    }

    /// Adds a location. The caller keeps its index; adding the same place twice makes two.
    pub fn location(&mut self, mapping: Option<u32>, address: u64, lines: &[Line]) -> u32 {
        let start = self.profile.lines.len() as u32;
        self.profile.lines.extend_from_slice(lines);
        let lines = start..self.profile.lines.len() as u32;
        self.profile.locations.push(Location { mapping, address, lines, is_folded: false });
        index(self.profile.locations.len())
    }

    /// Adds a sample; see [`Samples::push`].
    pub fn sample(&mut self, stack: &[u32], values: &[i64], labels: &[Label]) {
        self.profile.samples.push(stack, values, labels);
    }

    /// Adds a note for people.
    pub fn comment(&mut self, text: &str) {
        let id = self.str(text);
        self.profile.comments.push(id);
    }

    /// Sets the period and what it counts.
    pub fn period(&mut self, kind: &str, unit: &str, period: i64) {
        self.profile.period_type = Some(self.value_type(kind, unit));
        self.profile.period = period;
    }

    /// Returns the profile so far.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// Returns the profile so far, for fields that need no interning.
    pub fn profile_mut(&mut self) -> &mut Profile {
        &mut self.profile
    }

    /// Returns the finished profile.
    pub fn finish(self) -> Profile {
        self.profile
    }
}

/// Returns the index of the element pushed last.
fn index(len: usize) -> u32 {
    u32::try_from(len - 1).expect("fewer than 2^32 entries")
}
