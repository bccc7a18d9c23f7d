//! What a dump amounts to while it is being read: every distinct stack once, as a path in a tree of
//! frames, and the groups of goroutines that end at its nodes.
//!
//! A stack is identified by the node it ends at, so that two stacks are the same only where every
//! frame is: no hash stands in for a comparison. Memory grows with what is distinct and never with
//! the number of goroutines, and is bounded by [`Limits`].

use std::collections::HashMap;

use super::lines::PlaceForm;
use super::waits::Waits;
use super::{Limit, Limits, Problem, Warning, lines, states};

/// Marks that there is no node, frame, group or label.
pub(super) const NONE: u32 = u32::MAX;
/// The node of the empty stack.
pub(super) const ROOT: u32 = 0;

/// Number of members' ids that a group keeps.
const SAMPLE_IDS: usize = 8;
/// Number of warnings of a kind that are kept; the rest is only counted.
const WARNINGS: usize = 3;

/// A function and a place in it, as ranges of the text.
#[derive(Clone, Copy, Debug)]
pub(super) struct FrameText {
    start: u32,
    function: u32,
    place: u32,
    pub(super) inlined: bool,
    /// True where lines that hold these very texts can only be of this frame.
    pub(super) plain: bool,
    /// Whether its place is recognised without a tab.
    pub(super) form: PlaceForm,
}

/// The last frame of a stack that begins with the frames of its parent.
#[derive(Clone, Copy, Debug)]
pub(super) struct FrameNode {
    pub(super) parent: u32,
    pub(super) frame: u32,
    pub(super) first_child: u32,
    pub(super) next_sibling: u32,
    /// Number of frames that lead here.
    pub(super) depth: u32,
    /// The group that was found here last.
    last_group: u32,
}

/// The key of a group: everything else about its members may differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct GroupKey {
    pub(super) state: u32,
    pub(super) node: u32,
    pub(super) creator: u32,
    /// The value of the label that is grouped by; `NONE` without one.
    pub(super) label: u32,
}

/// The members of a group.
#[derive(Clone, Debug)]
pub(super) struct GroupMembers {
    pub(super) key: GroupKey,
    pub(super) count: u64,
    pub(super) ids: Vec<u64>,
    pub(super) waits: Waits,
    pub(super) locked: u64,
    pub(super) leaked: u64,
    pub(super) labelled: u64,
    /// Number of members whose stack is not whole: elided, cut off, or not available.
    pub(super) partial: u64,
    /// The goroutines that the first member with ancestors descends from.
    pub(super) ancestors: Vec<AncestorStack>,
}

/// A goroutine that another one descends from.
#[derive(Clone, Copy, Debug)]
pub(super) struct AncestorStack {
    pub(super) id: u64,
    pub(super) node: u32,
    pub(super) creator: u32,
}

/// A goroutine that is being read.
#[derive(Clone, Debug)]
pub(super) struct OpenGoroutine {
    pub(super) id: u64,
    /// Number of goroutines that it stands for.
    pub(super) count: u64,
    pub(super) state: u32,
    pub(super) node: u32,
    pub(super) creator: u32,
    pub(super) wait: Option<u64>,
    pub(super) locked: bool,
    pub(super) leaked: bool,
    pub(super) partial: bool,
    /// True once no more frames of the stack that is being read are kept.
    pub(super) is_cut: bool,
    pub(super) labels: Vec<u32>,
    pub(super) ancestors: Vec<AncestorStack>,
}

impl OpenGoroutine {
    pub(super) fn new() -> OpenGoroutine {
        OpenGoroutine {
            id: 0,
            count: 1,
            state: NONE,
            node: ROOT,
            creator: NONE,
            wait: None,
            locked: false,
            leaked: false,
            partial: false,
            is_cut: false,
            labels: Vec::new(),
            ancestors: Vec::new(),
        }
    }

    /// Returns whether nothing but its header was read.
    pub(super) fn is_new(&self) -> bool {
        self.node == ROOT && !self.partial && self.creator == NONE && self.ancestors.is_empty()
    }

    /// Clears the fields for the next goroutine, and keeps the allocated memory.
    pub(super) fn clear(&mut self) {
        let (mut labels, mut ancestors) =
            (std::mem::take(&mut self.labels), std::mem::take(&mut self.ancestors));
        labels.clear();
        ancestors.clear();
        *self = OpenGoroutine { labels, ancestors, ..OpenGoroutine::new() };
    }
}

/// Distinct texts, with a number for each.
#[derive(Clone, Debug, Default)]
struct TextInterner {
    ids: HashMap<Box<[u8]>, u32>,
    list: Vec<Box<[u8]>>,
}

impl TextInterner {
    fn find(&self, text: &[u8]) -> Option<u32> {
        self.ids.get(text).copied()
    }

    fn add(&mut self, text: &[u8]) -> u32 {
        let id = self.list.len() as u32;
        self.ids.insert(text.into(), id);
        self.list.push(text.into());
        id
    }
}

/// The frames, stacks, groups and warnings that were read so far.
#[derive(Clone, Debug)]
pub(super) struct StackTable {
    limits: Limits,
    text: Vec<u8>,
    pub(super) frames: Vec<FrameText>,
    frame_ids: HashMap<(Box<[u8]>, u32), u32>,
    pub(super) nodes: Vec<FrameNode>,
    node_ids: HashMap<(u32, u32), u32>,
    states: TextInterner,
    last_state: u32,
    /// Labels as `key` and `value` with a zero byte between.
    labels: TextInterner,
    /// Label whose value is part of every group's key.
    by_label: Option<Box<[u8]>>,
    pub(super) groups: Vec<GroupMembers>,
    group_ids: HashMap<GroupKey, u32>,
    pub(super) label_counts: HashMap<(u32, u32), u64>,
    distinct_waits: usize,
    bytes: usize,
    pub(super) warnings: Vec<Warning>,
    /// Number of warnings of each kind that were not kept.
    pub(super) more_warnings: Vec<(Problem, u64)>,
    /// The limits that were reached, each once.
    pub(super) reached: Vec<Limit>,
}

impl StackTable {
    pub(super) fn new(limits: &Limits, by_label: Option<&str>) -> StackTable {
        let root = FrameNode {
            parent: NONE,
            frame: NONE,
            first_child: NONE,
            next_sibling: NONE,
            depth: 0,
            last_group: NONE,
        };
        StackTable {
            limits: *limits,
            text: Vec::new(),
            frames: Vec::new(),
            frame_ids: HashMap::new(),
            nodes: vec![root],
            node_ids: HashMap::new(),
            states: TextInterner::default(),
            last_state: NONE,
            labels: TextInterner::default(),
            by_label: by_label.map(|key| key.as_bytes().into()),
            groups: Vec::new(),
            group_ids: HashMap::new(),
            label_counts: HashMap::new(),
            distinct_waits: 0,
            bytes: 0,
            warnings: Vec::new(),
            more_warnings: Vec::new(),
            reached: Vec::new(),
        }
    }

    pub(super) fn warn(&mut self, offset: u64, problem: Problem) {
        let alike = self.warnings.iter().filter(|known| known.problem.is_like(&problem));
        if alike.count() < WARNINGS {
            self.warnings.push(Warning { offset, problem });
        } else {
            self.count_more_warnings(problem, 1);
        }
    }

    fn count_more_warnings(&mut self, problem: Problem, count: u64) {
        match self.more_warnings.iter_mut().find(|(known, _)| known.is_like(&problem)) {
            Some((_, known)) => *known = known.saturating_add(count),
            None => self.more_warnings.push((problem, count)),
        }
    }

    /// Notes that a limit was reached, once.
    pub(super) fn reach_limit(&mut self, limit: Limit, offset: u64) {
        if !self.reached.contains(&limit) {
            self.reached.push(limit);
            self.warn(offset, Problem::Limit(limit, self.limits.value_of(limit)));
        }
    }

    /// Charges for this much more text. Returns false, and charges nothing, where that is beyond
    /// the limit.
    fn charge_text(&mut self, bytes: usize, offset: u64) -> bool {
        // What maps and lists need beside the text itself, while they grow too.
        const OVERHEAD: usize = 192;
        if self.bytes + bytes + OVERHEAD > self.limits.text {
            self.reach_limit(Limit::Text, offset);
            return false;
        }
        self.bytes += bytes + OVERHEAD;
        true
    }

    /// Returns the function of a frame.
    pub(super) fn function(&self, frame: u32) -> &[u8] {
        let FrameText { start, function, .. } = self.frames[frame as usize];
        &self.text[start as usize..(start + function) as usize]
    }

    /// Returns `file:line` of a frame.
    pub(super) fn place(&self, frame: u32) -> &[u8] {
        let FrameText { start, function, place, .. } = self.frames[frame as usize];
        &self.text[(start + function) as usize..(start + function + place) as usize]
    }

    pub(super) fn state(&self, state: u32) -> &[u8] {
        self.states.list.get(state as usize).map_or(b"", |state| state)
    }

    pub(super) fn label(&self, label: u32) -> &[u8] {
        self.labels.list.get(label as usize).map_or(b"", |label| label)
    }

    /// Returns how many tasks a record stands for, by its label.
    pub(super) fn count_unnamed_tasks(&self, labels: &[u32]) -> Option<u64> {
        let texts = labels.iter().map(|&label| self.label(label));
        let count = texts.filter_map(|text| text.strip_prefix(b"tasks\0")).next()?;
        std::str::from_utf8(count).ok()?.parse().ok()
    }

    /// Returns the number of a state, which is added if it is new; `NONE` where there is no room
    /// for it.
    pub(super) fn intern_state(&mut self, state: &[u8], offset: u64) -> u32 {
        if self.states.list.get(self.last_state as usize).is_some_and(|last| **last == *state) {
            return self.last_state;
        }
        let id = match self.states.find(state) {
            Some(id) => id,
            None if self.charge_text(2 * state.len(), offset) => self.states.add(state),
            None => return NONE,
        };
        self.last_state = id;
        id
    }

    /// Returns the number of a label, which is added if it is new; `NONE` where there is no room
    /// for it.
    pub(super) fn intern_label(&mut self, key: &[u8], value: &[u8], offset: u64) -> u32 {
        let text = [key, b"\0", value].concat();
        match self.labels.find(&text) {
            Some(id) => id,
            None if self.charge_text(2 * text.len(), offset) => self.labels.add(&text),
            None => NONE,
        }
    }

    /// Returns the number of a frame, which is added if it is new; `None` where there is no room
    /// for it.
    pub(super) fn intern_frame(
        &mut self,
        function: &[u8],
        place: &[u8],
        inlined: bool,
        offset: u64,
    ) -> Option<u32> {
        let key = ([function, place].concat().into_boxed_slice(), function.len() as u32);
        if let Some(&id) = self.frame_ids.get(&key) {
            return Some(id);
        }
        if !self.charge_text(2 * key.0.len(), offset) {
            return None;
        }
        let id = self.frames.len() as u32;
        let start = self.text.len() as u32;
        self.text.extend_from_slice(&key.0);
        let plain = lines::trim_place(place) == place
            && !place.is_empty()
            && memchr::memmem::find(function, b" in goroutine ").is_none();
        let form = lines::place_form(place);
        let (function, place) = (function.len() as u32, place.len() as u32);
        self.frames.push(FrameText { start, function, place, inlined, plain, form });
        self.frame_ids.insert(key, id);
        Some(id)
    }

    /// Returns the child of a node for a frame, which is added if it is new; `None` where there is
    /// no room for it.
    pub(super) fn find_or_add_child(
        &mut self,
        parent: u32,
        frame: u32,
        offset: u64,
    ) -> Option<u32> {
        if let Some(&node) = self.node_ids.get(&(parent, frame)) {
            return Some(node);
        }
        let depth = self.nodes[parent as usize].depth + 1;
        if depth as usize > self.limits.depth {
            self.reach_limit(Limit::Depth, offset);
            return None;
        }
        if self.nodes.len() > self.limits.frames {
            self.reach_limit(Limit::Frames, offset);
            return None;
        }
        let node = self.nodes.len() as u32;
        let above = &mut self.nodes[parent as usize];
        let next_sibling = std::mem::replace(&mut above.first_child, node);
        self.nodes.push(FrameNode {
            parent,
            frame,
            first_child: NONE,
            next_sibling,
            depth,
            last_group: NONE,
        });
        self.node_ids.insert((parent, frame), node);
        Some(node)
    }

    /// Adds a frame to a stack. Returns whether there was room for it.
    pub(super) fn push_frame(&mut self, node: &mut u32, frame: Option<u32>, offset: u64) -> bool {
        let child = frame.and_then(|frame| self.find_or_add_child(*node, frame, offset));
        if let Some(child) = child {
            *node = child;
        }
        child.is_some()
    }

    /// Moves a child to the front of its parent's children, where it is looked for first.
    #[inline]
    pub(super) fn move_to_front(&mut self, parent: u32, before: u32, child: u32) {
        self.nodes[before as usize].next_sibling = self.nodes[child as usize].next_sibling;
        self.nodes[child as usize].next_sibling = self.nodes[parent as usize].first_child;
        self.nodes[parent as usize].first_child = child;
    }

    /// Returns the creator that the last goroutine with this stack had.
    #[inline]
    pub(super) fn last_creator(&self, node: u32) -> u32 {
        let group = self.nodes[node as usize].last_group;
        self.groups.get(group as usize).map_or(NONE, |group| group.key.creator)
    }

    /// Gives a goroutine, whose stack ends at `task.node`, the state that its frames tell.
    pub(super) fn derive_state(&mut self, task: &mut OpenGoroutine, offset: u64) {
        let frames = self.stack(task.node);
        if let Some(state) = states::derive(frames.iter().map(|&frame| self.function(frame))) {
            task.state = self.intern_state(state.as_bytes(), offset);
        }
    }

    /// Adds a goroutine, whose stack ends at `task.node`, to its group.
    pub(super) fn add_goroutine(&mut self, task: &mut OpenGoroutine, offset: u64) {
        let label = self.find_grouping_label(task);
        let key = GroupKey { state: task.state, node: task.node, creator: task.creator, label };
        let last = self.nodes[key.node as usize].last_group;
        let group = match self.groups.get(last as usize) {
            Some(group) if group.key == key => last,
            _ => self.intern_group(key, offset),
        };
        self.nodes[key.node as usize].last_group = group;
        let members = &mut self.groups[group as usize];
        members.count = members.count.saturating_add(task.count);
        if members.ids.len() < SAMPLE_IDS && task.id != 0 {
            members.ids.push(task.id);
        }
        let times = |yes: bool| if yes { task.count } else { 0 };
        members.locked = members.locked.saturating_add(times(task.locked));
        members.leaked = members.leaked.saturating_add(times(task.leaked));
        members.partial = members.partial.saturating_add(times(task.partial));
        members.labelled = members.labelled.saturating_add(times(!task.labels.is_empty()));
        if members.ancestors.is_empty() && !task.ancestors.is_empty() {
            members.ancestors = task.ancestors.clone();
        }
        if let Some(minutes) = task.wait {
            let room = self.distinct_waits < self.limits.waits;
            self.distinct_waits += usize::from(members.waits.add(minutes, task.count, room));
        }
        let count = task.count;
        for index in 0..task.labels.len() {
            self.count_label(group, task.labels[index], count, offset);
        }
    }

    fn count_label(&mut self, group: u32, label: u32, count: u64, offset: u64) {
        if let Some(known) = self.label_counts.get_mut(&(group, label)) {
            *known = known.saturating_add(count);
        } else if self.label_counts.len() < self.limits.labels {
            self.label_counts.insert((group, label), count);
        } else {
            self.reach_limit(Limit::Labels, offset);
        }
    }

    fn find_grouping_label(&self, task: &OpenGoroutine) -> u32 {
        let Some(wanted) = &self.by_label else { return NONE };
        let is_wanted = |&&label: &&u32| {
            let text = self.label(label);
            text.strip_prefix(&**wanted).is_some_and(|rest| rest.first() == Some(&0))
        };
        task.labels.iter().find(is_wanted).copied().unwrap_or(NONE)
    }

    /// Returns the number of a group, which is added if it is new. Where there is no room for
    /// another one, the goroutines that are left over get groups without a stack, one for each
    /// state.
    fn intern_group(&mut self, key: GroupKey, offset: u64) -> u32 {
        if let Some(&id) = self.group_ids.get(&key) {
            return id;
        }
        let mut key = key;
        if self.groups.len() >= self.limits.groups {
            self.reach_limit(Limit::Groups, offset);
            key = GroupKey { node: ROOT, creator: NONE, label: NONE, ..key };
            if let Some(&id) = self.group_ids.get(&key) {
                return id;
            }
            if self.groups.len() >= self.limits.groups + 1000 {
                key.state = NONE;
                if let Some(&id) = self.group_ids.get(&key) {
                    return id;
                }
            }
        }
        let id = self.groups.len() as u32;
        self.group_ids.insert(key, id);
        self.groups.push(GroupMembers {
            key,
            count: 0,
            ids: Vec::new(),
            waits: Waits::default(),
            locked: 0,
            leaked: 0,
            labelled: 0,
            partial: 0,
            ancestors: Vec::new(),
        });
        id
    }

    /// Returns the frames of a stack, the leaf first.
    pub(super) fn stack(&self, node: u32) -> Vec<u32> {
        let mut frames = Vec::with_capacity(self.nodes[node as usize].depth as usize);
        let mut node = node;
        while node != ROOT {
            let FrameNode { parent, frame, .. } = self.nodes[node as usize];
            frames.push(frame);
            node = parent;
        }
        frames.reverse();
        frames
    }

    /// Adds the content of another table, which was read from a later part of the input.
    pub(super) fn merge(&mut self, later: &StackTable, offset: u64) {
        let frames: Vec<Option<u32>> = (0..later.frames.len() as u32)
            .map(|frame| {
                let inlined = later.frames[frame as usize].inlined;
                self.intern_frame(later.function(frame), later.place(frame), inlined, offset)
            })
            .collect();
        // A parent always has a lower number than its children.
        let mut nodes = vec![ROOT];
        for node in &later.nodes[1..] {
            let mut at = nodes[node.parent as usize];
            self.push_frame(&mut at, frames[node.frame as usize], offset);
            nodes.push(at);
        }
        let labels: Vec<u32> = later
            .labels
            .list
            .iter()
            .map(|label| {
                let (key, value) = split_label(label);
                self.intern_label(key, value, offset)
            })
            .collect();
        let creator = |creator: u32| match frames.get(creator as usize) {
            Some(Some(frame)) => *frame,
            _ => NONE,
        };
        let mut groups = Vec::with_capacity(later.groups.len());
        for members in &later.groups {
            let GroupKey { state, node, creator: by, label } = members.key;
            let key = GroupKey {
                state: if state == NONE {
                    NONE
                } else {
                    self.intern_state(later.state(state), offset)
                },
                node: nodes[node as usize],
                creator: creator(by),
                label: labels.get(label as usize).copied().unwrap_or(NONE),
            };
            let id = self.intern_group(key, offset);
            groups.push(id);
            let ours = &mut self.groups[id as usize];
            ours.count = ours.count.saturating_add(members.count);
            let room = SAMPLE_IDS - ours.ids.len();
            ours.ids.extend(members.ids.iter().take(room));
            ours.locked = ours.locked.saturating_add(members.locked);
            ours.leaked = ours.leaked.saturating_add(members.leaked);
            ours.partial = ours.partial.saturating_add(members.partial);
            ours.labelled = ours.labelled.saturating_add(members.labelled);
            if ours.ancestors.is_empty() {
                let theirs = members.ancestors.iter();
                ours.ancestors = theirs
                    .map(|ancestor| AncestorStack {
                        node: nodes[ancestor.node as usize],
                        creator: creator(ancestor.creator),
                        ..*ancestor
                    })
                    .collect();
            }
            for (minutes, count) in members.waits.iter() {
                let room = self.distinct_waits < self.limits.waits;
                self.distinct_waits += usize::from(ours.waits.add(minutes, count, room));
            }
        }
        let mut counts: Vec<_> = later.label_counts.iter().collect();
        counts.sort_unstable();
        for (&(group, label), &count) in counts {
            let label = labels.get(label as usize).copied().unwrap_or(NONE);
            self.count_label(groups[group as usize], label, count, offset);
        }
        for &limit in &later.reached {
            if !self.reached.contains(&limit) {
                self.reached.push(limit);
            }
        }
        for &warning in &later.warnings {
            self.warn(warning.offset, warning.problem);
        }
        for &(problem, count) in &later.more_warnings {
            self.count_more_warnings(problem, count);
        }
    }
}

/// Returns the key and the value of a label.
pub(super) fn split_label(label: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(0, label) {
        Some(at) => (&label[..at], &label[at + 1..]),
        None => (label, b""),
    }
}
