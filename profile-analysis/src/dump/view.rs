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
    /// True where the function is inlined into that of the next frame.
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
    /// The goroutine's id.
    pub id: u64,
    /// Stack from which the goroutine created its child, the leaf first.
    pub stack: Vec<Frame<'a>>,
    /// Frame in which the goroutine itself was created.
    pub created_by: Option<Frame<'a>>,
}

impl Dump {
    /// Returns the form of the dump.
    pub fn format(&self) -> DumpFormat {
        self.format
    }

    /// Returns the number of goroutines or threads.
    pub fn goroutines(&self) -> u64 {
        self.goroutines
    }

    /// Returns whether the program that wrote the dump crashed, or wrote as much detail as in a
    /// crash.
    pub fn is_crash(&self) -> bool {
        self.crash
    }

    /// Returns whether the dump breaks off.
    pub fn truncated(&self) -> bool {
        self.truncated
    }

    /// Returns whether a profile without goroutines says so itself: then there is nothing to count,
    /// rather than nothing to read.
    pub fn says_none(&self) -> bool {
        self.says_none
    }

    /// Returns what was taken off around the dump's lines, the outermost first, in words; such as
    /// `the prefix of every line ("web-1  |")`.
    pub fn unwrapped(&self) -> &[String] {
        &self.unwrapped
    }

    /// Returns the limits that were reached: what is beyond them was counted, and not kept.
    pub fn limits_reached(&self) -> &[Limit] {
        &self.table.reached
    }

    /// Returns the warnings, a few of each kind.
    pub fn warnings(&self) -> &[Warning] {
        &self.table.warnings
    }

    /// Returns [`warnings`](Dump::warnings) as text, with the number of those that were not kept:
    /// kind after kind, first what is lost and what something can be done about.
    pub fn warning_texts(&self) -> Vec<String> {
        let warnings = self.warnings();
        let mut kinds: Vec<&Warning> = Vec::new();
        for warning in warnings {
            if !kinds.iter().any(|kind| kind.problem.is_like(&warning.problem)) {
                kinds.push(warning);
            }
        }
        kinds.sort_by_key(|kind| kind.problem.rank());
        let mut texts = Vec::new();
        for kind in kinds {
            let alike = warnings.iter().filter(|one| one.problem.is_like(&kind.problem));
            texts.extend(alike.map(ToString::to_string));
            let more = self.table.more_warnings.iter().find(|(one, _)| one.is_like(&kind.problem));
            if let (Some((_, more)), Some(last)) = (more, texts.last_mut()) {
                *last += &format!(", and {more} more like it");
            }
        }
        texts
    }

    /// Returns the number of groups.
    pub fn group_count(&self) -> usize {
        self.table.groups.len()
    }

    /// Returns the groups, in the order in which their first members came.
    pub fn groups(&self) -> impl Iterator<Item = Group<'_>> {
        let groups = self.table.groups.iter().enumerate();
        groups.map(|(index, members)| Group { dump: self, index: index as u32, members })
    }

    /// Returns the number of goroutines in each state.
    pub fn by_state(&self) -> BTreeMap<String, u64> {
        let mut states = BTreeMap::new();
        // Without states there is nothing to count by.
        for group in self.groups().filter(Group::has_state) {
            let known: &mut u64 = states.entry(group.state().into_owned()).or_default();
            *known = known.saturating_add(group.count());
        }
        states
    }

    /// Returns the number of distinct functions and places: a frame's number is below it.
    pub(crate) fn frame_count(&self) -> usize {
        self.table.frames.len()
    }

    /// Returns the function of a frame.
    pub(crate) fn function(&self, frame: u32) -> Cow<'_, str> {
        String::from_utf8_lossy(self.table.function(frame))
    }

    /// Returns the function and the place of a frame as they were written.
    pub(crate) fn frame_text(&self, frame: u32) -> (&[u8], &[u8]) {
        (self.table.function(frame), self.table.place(frame))
    }

    /// Returns the frame of a number.
    pub(crate) fn frame(&self, frame: u32) -> Frame<'_> {
        let (file, line) = lines::split_place(self.table.place(frame));
        Frame {
            function: self.function(frame),
            file: String::from_utf8_lossy(file),
            line,
            inlined: self.table.frames[frame as usize].inlined,
        }
    }

    fn optional_frame(&self, frame: u32) -> Option<Frame<'_>> {
        (frame != NONE).then(|| self.frame(frame))
    }
}

impl<'a> Group<'a> {
    /// Returns the number of members.
    pub fn count(&self) -> u64 {
        self.members.count
    }

    /// Returns the state without suffixes such as `(leaked)`; empty where the form has none.
    pub fn state(&self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.dump.table.state(self.members.key.state))
    }

    fn has_state(&self) -> bool {
        self.members.key.state != NONE
    }

    /// Returns the ids of the first members.
    pub fn ids(&self) -> &'a [u64] {
        &self.members.ids
    }

    /// Returns the times that members have been waiting, as far as the dump says.
    pub fn waits(&self) -> &'a Waits {
        &self.members.waits
    }

    /// Returns the number of members that are locked to their thread.
    pub fn locked(&self) -> u64 {
        self.members.locked
    }

    /// Returns the number of members that the garbage collector has proven to be leaked.
    pub fn leaked(&self) -> u64 {
        self.members.leaked
    }

    /// Returns the number of members that have labels.
    pub fn labelled(&self) -> u64 {
        self.members.labelled
    }

    /// Returns the number of members whose stacks are not whole: frames elided, cut off or not
    /// available.
    pub fn partial(&self) -> u64 {
        self.members.partial
    }

    /// Returns the stack, the leaf first.
    pub fn stack(&self) -> Vec<Frame<'a>> {
        self.frames().into_iter().map(|frame| self.dump.frame(frame)).collect()
    }

    /// Returns the frame in which the members were created.
    pub fn created_by(&self) -> Option<Frame<'a>> {
        self.dump.optional_frame(self.members.key.creator)
    }

    /// Returns the labels of members with the number of members that have each, the most frequent
    /// first.
    pub fn labels(&self) -> Vec<(Cow<'a, str>, Cow<'a, str>, u64)> {
        let table = &self.dump.table;
        let own = table.label_counts.iter().filter(|((group, _), _)| *group == self.index);
        self.name_labels(own.map(|(&(_, label), &count)| (label, count)))
    }

    fn name_labels(
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

    /// Returns the value of the label that groups are told apart by.
    pub fn label(&self) -> Option<Cow<'a, str>> {
        let label = self.members.key.label;
        (label != NONE)
            .then(|| String::from_utf8_lossy(split_label(self.dump.table.label(label)).1))
    }

    /// Returns the goroutines that the first member descends from, its parent first.
    pub fn ancestors(&self) -> Vec<AncestorView<'a>> {
        let view = |&AncestorStack { id, node, creator }: &AncestorStack| AncestorView {
            id,
            stack: self.dump.table.stack(node).into_iter().map(|f| self.dump.frame(f)).collect(),
            created_by: self.dump.optional_frame(creator),
        };
        self.members.ancestors.iter().map(view).collect()
    }

    /// Returns the numbers of the frames, the leaf first.
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

/// Returns the labels of all groups: by group, the most frequent first.
pub(crate) fn labels_by_group(dump: &Dump) -> Vec<Vec<(String, String, u64)>> {
    let mut all: Vec<Vec<(u32, u64)>> = vec![Vec::new(); dump.table.groups.len()];
    for (&(group, label), &count) in &dump.table.label_counts {
        all[group as usize].push((label, count));
    }
    let groups = dump.groups().zip(all);
    groups
        .map(|(group, labels)| {
            let named = group.name_labels(labels.into_iter());
            named.into_iter().map(|(k, v, n)| (k.into_owned(), v.into_owned(), n)).collect()
        })
        .collect()
}
