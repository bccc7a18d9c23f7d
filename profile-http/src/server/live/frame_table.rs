//! The frames of an answer's stacks, each once.

use std::collections::HashMap;

use profile_core::heap::Frame;
use serde::{Serialize, Serializer};

/// Distinct frames in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct FrameTable<'a> {
    frames: Vec<&'a Frame>,
    numbers: HashMap<&'a Frame, u32>,
    /// The stacks that were added, by where they lie: rows of several lists share them.
    stacks: HashMap<*const Frame, Vec<u32>>,
}

impl<'a> FrameTable<'a> {
    /// Adds a stack.
    pub(super) fn add(&mut self, stack: &'a [Frame]) {
        if self.stacks.contains_key(&stack.as_ptr()) {
            return;
        }
        let numbers = stack.iter().map(|frame| {
            *self.numbers.entry(frame).or_insert_with(|| {
                self.frames.push(frame);
                self.frames.len() as u32 - 1
            })
        });
        let numbers = numbers.collect();
        self.stacks.insert(stack.as_ptr(), numbers);
    }

    /// Returns the numbers of a stack's frames; none for a stack that was not added.
    pub(super) fn numbers(&self, stack: &'a [Frame]) -> &[u32] {
        self.stacks.get(&stack.as_ptr()).map_or(&[], Vec::as_slice)
    }
}

impl Serialize for FrameTable<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.frames.iter().copied().map(FrameLine))
    }
}

/// A frame as a line: `function file:line`, as in `/goroutines`.
pub(super) struct FrameLine<'a>(pub(super) &'a Frame);

impl Serialize for FrameLine<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Frame { function, file, line, .. } = self.0;
        match (&**file, *line) {
            ("", _) => serializer.serialize_str(function),
            (file, line) => serializer.collect_str(&format_args!("{function} {file}:{line}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_has_one_number_and_equal_ones_are_one() {
        let frame = |name| Frame::new(name, "src/main.rs", 7);
        let (first, second) = ([frame("a"), frame("b")], [frame("c"), frame("a")]);
        let mut table = FrameTable::default();
        table.add(&first);
        table.add(&second);
        table.add(&first);
        assert_eq!((table.numbers(&first), table.numbers(&second)), (&[0, 1][..], &[2, 0][..]));
        assert!(table.numbers(&[frame("a")]).is_empty());
        let json = serde_json::to_value(&table).unwrap();
        let lines = ["a src/main.rs:7", "b src/main.rs:7", "c src/main.rs:7"];
        assert_eq!(json, serde_json::json!(lines));
    }
}
