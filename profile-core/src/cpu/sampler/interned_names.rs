//! Names of threads as numbers, which stand in the keys of stacks.

use std::collections::HashMap;

/// Thread names, each once.
#[derive(Default)]
pub(super) struct InternedNames {
    index: HashMap<String, u64>,
    all: Vec<String>,
}

impl InternedNames {
    pub(super) fn id(&mut self, name: String) -> u64 {
        *self.index.entry(name).or_insert_with_key(|name| {
            self.all.push(name.clone());
            self.all.len() as u64 - 1
        })
    }

    /// Returns all of them, by their ids.
    pub(super) fn all(&self) -> &[String] {
        &self.all
    }
}
