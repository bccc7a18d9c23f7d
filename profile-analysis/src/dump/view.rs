//! What can be asked of a dump that was read.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::table::{AncestorStack, GroupMembers, NONE, split_label};
use super::{Dump, DumpFormat, Limit, Waits, Warning, lines};

/// A frame of a stack.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Frame<'a> {
    /// The function; for a place that has no name its address.
    pub function: Cow<'a, str>,
    /// The source file, empty where unknown.
    pub file: Cow<'a, str>,
    /// The line, 0 where unknown.
    pub line: u64,
    /// Tells whether it is inlined into the next one.
    pub inlined: bool,
}

/// Goroutines or threads with the same state, stack and creator.
#[derive(Clone, Copy, Debug)]
pub struct Group<'a> {
    dump: &'a Dump,
    index: u32,
    members: &'a GroupMembers,
}

/// A goroutine that a group's first member descends from.
#[derive(Clone, Debug)]
pub struct AncestorView<'a> {
    /// Its id.
    pub id: u64,
    /// Place where it went on to create its child, the leaf first.
    pub stack: Vec<Frame<'a>>,
    /// Place where it was created itself.
    pub created_by: Option<Frame<'a>>,
}

impl Dump {
    /// The form it has.
    pub fn format(&self) -> DumpFormat {
        self.format
    }

    /// Returns how many goroutines or threads there are.
    pub fn goroutines(&self) -> u64 {
        self.goroutines
    }

    /// Returns whether it was written by a program that crashed, or with as much detail.
    pub fn is_crash(&self) -> bool {
        self.crash
    }

    /// Returns whether it breaks off.
    pub fn truncated(&self) -> bool {
        self.truncated
    }

    /// The limits that were reached: what is beyond them was counted, and not kept.
    pub fn limits_reached(&self) -> &[Limit] {
        &self.table.reached
    }

    /// Returns what is odd: at most a hundred of it.
    pub fn warnings(&self) -> &[Warning] {
        &self.table.warnings
    }

    /// [`warnings`](Dump::warnings) as text, and how many more there were.
    pub fn warning_texts(&self) -> Vec<String> {
        let mut texts: Vec<String> = self.warnings().iter().map(ToString::to_string).collect();
        if self.table.more_warnings > 0 {
            texts.push(format!("{} more warnings", self.table.more_warnings));
        }
        texts
    }

    /// Returns how many groups there are.
    pub fn group_count(&self) -> usize {
        self.table.groups.len()
    }

    /// The groups, in the order in which their first members came.
    pub fn groups(&self) -> impl Iterator<Item = Group<'_>> {
        let groups = self.table.groups.iter().enumerate();
        groups.map(|(index, members)| Group { dump: self, index: index as u32, members })
    }

    /// Returns how many are in each state.
    pub fn by_state(&self) -> BTreeMap<String, u64> {
        let mut states = BTreeMap::new();
        // Without states there is nothing to count by.
        for group in self.groups().filter(Group::has_state) {
            *states.entry(group.state().into_owned()).or_default() += group.count();
        }
        states
    }

    /// Returns how many distinct functions and places there are: a frame's number is below it.
    pub(crate) fn frame_count(&self) -> usize {
        self.table.frames.len()
    }

    /// The function of a frame.
    pub(crate) fn function(&self, frame: u32) -> Cow<'_, str> {
        String::from_utf8_lossy(self.table.function(frame))
    }

    /// The function and the place of a frame as they were written.
    pub(crate) fn frame_text(&self, frame: u32) -> (&[u8], &[u8]) {
        (self.table.function(frame), self.table.place(frame))
    }

    /// A frame.
    pub(crate) fn frame(&self, frame: u32) -> Frame<'_> {
        let (file, line) = lines::split_place(self.table.place(frame));
        Frame {
            function: self.function(frame),
            file: String::from_utf8_lossy(file),
            line,
            inlined: self.table.frames[frame as usize].inlined,
        }
    }

    fn optional(&self, frame: u32) -> Option<Frame<'_>> {
        (frame != NONE).then(|| self.frame(frame))
    }
}

impl<'a> Group<'a> {
    /// Returns how many members there are.
    pub fn count(&self) -> u64 {
        self.members.count
    }

    /// The state without suffixes such as `(leaked)`; empty where the form has none.
    pub fn state(&self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.dump.table.state(self.members.key.state))
    }

    fn has_state(&self) -> bool {
        self.members.key.state != NONE
    }

    /// The ids of the first members.
    pub fn ids(&self) -> &'a [u64] {
        &self.members.ids
    }

    /// Returns how long members have been waiting, as far as the dump says.
    pub fn waits(&self) -> &'a Waits {
        &self.members.waits
    }

    /// Returns how many members are locked to their thread.
    pub fn locked(&self) -> u64 {
        self.members.locked
    }

    /// Returns how many members the garbage collector has proven to be leaked.
    pub fn leaked(&self) -> u64 {
        self.members.leaked
    }

    /// Returns how many members have labels.
    pub fn labelled(&self) -> u64 {
        self.members.labelled
    }

    /// Returns how many members' stacks are not whole: frames elided, cut off or not available.
    pub fn partial(&self) -> u64 {
        self.members.partial
    }

    /// The stack, the leaf first.
    pub fn stack(&self) -> Vec<Frame<'a>> {
        self.frames().into_iter().map(|frame| self.dump.frame(frame)).collect()
    }

    /// Returns where the members were created.
    pub fn created_by(&self) -> Option<Frame<'a>> {
        self.dump.optional(self.members.key.creator)
    }

    /// The labels of members with how many have each: the most frequent first.
    pub fn labels(&self) -> Vec<(Cow<'a, str>, Cow<'a, str>, u64)> {
        let table = &self.dump.table;
        let own = table.label_counts.iter().filter(|((group, _), _)| *group == self.index);
        self.named(own.map(|(&(_, label), &count)| (label, count)))
    }

    fn named(
        &self,
        labels: impl Iterator<Item = (u32, u64)>,
    ) -> Vec<(Cow<'a, str>, Cow<'a, str>, u64)> {
        let table = &self.dump.table;
        let mut labels: Vec<_> = labels
            .map(|(label, count)| {
                let (key, value) = split_label(table.label(label));
                (String::from_utf8_lossy(key), String::from_utf8_lossy(value), count)
            })
            .collect();
        labels.sort_by(|a, b| b.2.cmp(&a.2).then_with(|| (&a.0, &a.1).cmp(&(&b.0, &b.1))));
        labels
    }

    /// The value of the label that groups are told apart by.
    pub fn label(&self) -> Option<Cow<'a, str>> {
        let label = self.members.key.label;
        (label != NONE)
            .then(|| String::from_utf8_lossy(split_label(self.dump.table.label(label)).1))
    }

    /// The goroutines that the first member descends from, its parent first.
    pub fn ancestors(&self) -> Vec<AncestorView<'a>> {
        let view = |&AncestorStack { id, node, creator }: &AncestorStack| AncestorView {
            id,
            stack: self.dump.table.stack(node).into_iter().map(|f| self.dump.frame(f)).collect(),
            created_by: self.dump.optional(creator),
        };
        self.members.ancestors.iter().map(view).collect()
    }

    /// The numbers of the frames, the leaf first.
    pub(crate) fn frames(&self) -> Vec<u32> {
        self.dump.table.stack(self.members.key.node)
    }

    pub(crate) fn creator(&self) -> Option<u32> {
        let creator = self.members.key.creator;
        (creator != NONE).then_some(creator)
    }

    pub(crate) fn index(&self) -> u32 {
        self.index
    }

    pub(crate) fn state_number(&self) -> u32 {
        self.members.key.state
    }

    pub(crate) fn creator_number(&self) -> u32 {
        self.members.key.creator
    }

    pub(crate) fn label_number(&self) -> u32 {
        self.members.key.label
    }

    pub(crate) fn function(&self, frame: u32) -> Cow<'a, str> {
        self.dump.function(frame)
    }

    pub(crate) fn frame(&self, frame: u32) -> Frame<'a> {
        self.dump.frame(frame)
    }
}

/// The labels of all groups: by group, the most frequent first.
pub(crate) fn labels_by_group(dump: &Dump) -> Vec<Vec<(String, String, u64)>> {
    let mut all: Vec<Vec<(u32, u64)>> = vec![Vec::new(); dump.table.groups.len()];
    for (&(group, label), &count) in &dump.table.label_counts {
        all[group as usize].push((label, count));
    }
    let groups = dump.groups().zip(all);
    groups
        .map(|(group, labels)| {
            let named = group.named(labels.into_iter());
            named.into_iter().map(|(k, v, n)| (k.into_owned(), v.into_owned(), n)).collect()
        })
        .collect()
}
