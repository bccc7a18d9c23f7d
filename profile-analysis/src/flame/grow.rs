//! From stacks to a tree: the widest nodes first, until there are enough.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;

use super::{Flame, Node, Tree};
use crate::units::plural;

/// More nodes than this can't be told apart on a screen, and slow a browser down.
const MOST_NODES: usize = 10_000;
/// Deeper trees can't be looked at: this is twenty screens.
const DEEPEST: u32 = 1_000;

impl Flame {
    /// Returns the tree of the widest nodes, 10 000 at most and 1000 deep: what calls what, or
    /// where `inverted` what is called by what. Children are in the order of their names.
    ///
    /// Stacks of nothing, or of less, have no width and are left out.
    pub fn grow(&self, inverted: bool) -> Tree {
        self.grow_to(inverted, MOST_NODES, DEEPEST)
    }

    pub(super) fn grow_to(&self, inverted: bool, most: usize, deepest: u32) -> Tree {
        // What is only in the base has no width, but is part of what its callers were.
        let mut order: Vec<usize> = (0..self.len())
            .filter(|&stack| self.values[stack] > 0 || self.base_value(stack) > 0)
            .collect();
        let root = self.sum_node(&order, 0, 0, 0, 0);
        let (mut nodes, mut ranges) = (vec![root], vec![Range { start: 0, end: order.len() }]);
        let mut widest = BinaryHeap::from([(root.value, Reverse(0_usize))]);
        let (mut cut_width, mut cut_depth) = (0, false);
        while let Some((_, Reverse(parent))) = widest.pop() {
            let Node { depth, start, .. } = nodes[parent];
            let range: Range<usize> = ranges[parent].clone();
            let frame = |stack: usize| self.frame_at(stack, depth as usize, inverted);
            let goes_on = |&stack: &usize| frame(stack).is_some();
            if depth == deepest {
                cut_depth |= order[range].iter().any(goes_on);
                continue;
            }
            let begin = range.start;
            let part = &mut order[range];
            // Those that end here have no frame, and come first.
            part.sort_unstable_by_key(|&stack| (frame(stack), stack));
            let mut groups: Vec<(u32, Range<usize>)> = Vec::new();
            for (index, &stack) in part.iter().enumerate() {
                let Some(name) = frame(stack) else { continue };
                match groups.last_mut() {
                    Some((last, range)) if *last == name => range.end = index + 1,
                    _ => groups.push((name, index..index + 1)),
                }
            }
            if nodes.len() + groups.len() > most {
                cut_width += groups.len();
                continue;
            }
            groups.sort_by(|(left, _), (right, _)| self.name(*left).cmp(self.name(*right)));
            let mut left = start;
            for (name, range) in groups {
                let node =
                    self.sum_node(&part[range.clone()], name, parent as u32, depth + 1, left);
                if node.value == 0 {
                    continue;
                }
                left += node.value;
                widest.push((node.value, Reverse(nodes.len())));
                nodes.push(node);
                ranges.push(begin + range.start..begin + range.end);
            }
        }
        let depth = nodes.iter().map(|node| node.depth).max().unwrap_or(0);
        let mut notes = Vec::new();
        if cut_width > 0 {
            notes.push(format!("the {} widest frames are shown", nodes.len() - 1));
        }
        if cut_depth {
            notes.push(format!("no more than {deepest} frames of a stack are shown"));
        }
        notes.extend(self.note_below_zero());
        Tree { nodes, depth, note: notes.join("; ") }
    }

    /// Says how many stacks are left out because their values are below zero.
    fn note_below_zero(&self) -> Option<String> {
        let below_zero = self.values.iter().filter(|&&value| value < 0).count();
        (below_zero > 0)
            .then(|| format!("without {} below zero", plural(below_zero as u64, "stack")))
    }

    fn sum_node(&self, stacks: &[usize], name: u32, parent: u32, depth: u32, start: i128) -> Node {
        let value = stacks.iter().map(|&stack| self.values[stack].max(0)).sum();
        let base = stacks.iter().map(|&stack| self.base_value(stack).max(0)).sum();
        Node { name, parent, depth, start, value, base }
    }

    fn frame_at(&self, stack: usize, depth: usize, inverted: bool) -> Option<u32> {
        let frames = self.stack(stack);
        let index = if inverted { frames.len().checked_sub(depth + 1)? } else { depth };
        frames.get(index).copied()
    }
}
