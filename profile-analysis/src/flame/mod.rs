//! Pictures of where the stacks of a profile lead: folded lines, flame graphs, speedscope.
//!
//! [`Flame`] holds the stacks of a profile, or of two to compare, over one table of function names.
//! [`Flame::grow`] makes a tree of the widest of them. Nothing here goes down a stack by recursion,
//! and every name is escaped where it is written. Samples without a stack are a frame of their own.

mod folded;
mod grow;
mod html;
mod speedscope;
mod svg;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use profile_format::profile::Stacks;

use crate::distinct::DistinctIndex;
use crate::folding::{Folding, ShownFrames};
use crate::frames::FrameTable;
use crate::hash::KeyedHashBuilder;
use crate::top::sample_type;
use crate::{Error, Result};

pub use folded::{FoldedLines, folded};
pub use html::html;
pub use speedscope::speedscope;
pub use svg::svg;

/// Stacks by function name, with their sums in one sample type.
#[derive(Debug)]
pub struct Flame {
    /// The quantity that is counted, such as `inuse_space`.
    pub sample_type: String,
    /// Unit of the values, such as `bytes`.
    pub unit: String,
    names: Vec<String>,
    /// The stacks one after the other, each from the root to the leaf, as indices of names.
    frames: Vec<u32>,
    ends: Vec<usize>,
    values: Vec<i128>,
    /// The sums of the profile to compare with, where there is one.
    base: Option<Vec<i128>>,
}

/// A tree of calls, or of callers; see [`Flame::grow`].
#[derive(Debug)]
pub struct Tree {
    /// The nodes, each after its parent and beside its siblings; the first is the root of all.
    pub nodes: Vec<Node>,
    /// Depth of the deepest node; the root is at 0.
    pub depth: u32,
    /// Sentence for people on what had to be left out; empty where nothing was.
    pub note: String,
}

/// A function in one place of the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    /// Index of the function's name; of the root it means nothing.
    pub name: u32,
    /// Index of the parent; the root is its own.
    pub parent: u32,
    /// Depth below the root, which is at 0.
    pub depth: u32,
    /// Distance from the left at which the node begins, in the unit of `value`.
    pub start: i128,
    /// The amount that falls on the function and on what it called.
    pub value: i128,
    /// The same amount in the profile to compare with; 0 where there is none.
    pub base: i128,
}

impl Flame {
    /// Takes the stacks of a profile, and of an earlier one to compare with, in one sample type;
    /// see [`sample_type`].
    ///
    /// # Errors
    ///
    /// Where one of them has no such sample type.
    pub fn new(
        stacks: &Stacks<'_>,
        base: Option<&Stacks<'_>>,
        wanted: Option<&str>,
    ) -> Result<Flame> {
        Flame::of_frames(stacks, base, wanted, Folding::Nothing)
    }

    /// Does the same with the program's own functions alone: libraries are charged to them.
    ///
    /// # Errors
    ///
    /// As [`Flame::new`].
    pub fn only_mine(
        stacks: &Stacks<'_>,
        base: Option<&Stacks<'_>>,
        wanted: Option<&str>,
    ) -> Result<Flame> {
        Flame::of_frames(stacks, base, wanted, Folding::Libraries)
    }

    fn of_frames(
        stacks: &Stacks<'_>,
        base: Option<&Stacks<'_>>,
        wanted: Option<&str>,
        folding: Folding,
    ) -> Result<Flame> {
        let profile = stacks.profile();
        let column = sample_type(profile, wanted)?;
        let value_type = profile.sample_types[column];
        let mut flame = Flame {
            sample_type: profile.str(value_type.kind).to_owned(),
            unit: profile.str(value_type.unit).to_owned(),
            names: Vec::new(),
            frames: Vec::new(),
            ends: Vec::new(),
            values: Vec::new(),
            base: None,
        };
        let mut joint = JointFrames::new(stacks.len(), folding);
        joint.add(&mut flame, stacks, column, |flame| &mut flame.values);
        if let Some(base) = base {
            let column = sample_type(base.profile(), Some(&profile.type_name(value_type)))?;
            flame.base = Some(vec![0; flame.len()]);
            joint.add(&mut flame, base, column, |flame| flame.base.get_or_insert_default());
            flame.values.resize(flame.ends.len(), 0);
        }
        Ok(flame)
    }

    /// Returns the number of stacks.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Returns whether there is no stack.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Returns the function name of an index.
    pub fn name(&self, index: u32) -> &str {
        &self.names[index as usize]
    }

    /// Returns the sum of all stacks.
    pub fn total(&self) -> i128 {
        self.values.iter().sum()
    }

    /// Returns the sum of all stacks of the profile to compare with, where there is one.
    pub fn base_total(&self) -> Option<i128> {
        self.base.as_ref().map(|base| base.iter().sum())
    }

    /// Returns the frames of a stack, from the root to the leaf.
    fn stack(&self, stack: usize) -> &[u32] {
        let start = if stack == 0 { 0 } else { self.ends[stack - 1] };
        &self.frames[start..self.ends[stack]]
    }

    /// Returns the sum of a stack in the profile to compare with.
    fn base_value(&self, stack: usize) -> i128 {
        self.base.as_ref().map_or(0, |base| base[stack])
    }
}

/// Indices of the names and stacks of the profiles that were added so far.
struct JointFrames {
    folding: Folding,
    names: HashMap<String, u32, KeyedHashBuilder>,
    stacks: DistinctIndex,
}

impl JointFrames {
    fn new(stacks: usize, folding: Folding) -> JointFrames {
        let names = HashMap::with_hasher(KeyedHashBuilder::new());
        JointFrames { folding, names, stacks: DistinctIndex::with_capacity(stacks) }
    }

    fn add(
        &mut self,
        flame: &mut Flame,
        stacks: &Stacks<'_>,
        column: usize,
        sums: fn(&mut Flame) -> &mut Vec<i128>,
    ) {
        let frames = FrameTable::new(stacks.profile());
        let names: Vec<u32> = frames
            .functions
            .iter()
            .map(|named| match self.names.get(named.name.as_ref()) {
                Some(&name) => name,
                None => {
                    let name = flame.names.len() as u32;
                    self.names.insert(named.name.to_string(), name);
                    flame.names.push(named.name.to_string());
                    name
                }
            })
            .collect();
        let shown = ShownFrames::new(&frames, self.folding);
        let mut path = Vec::new();
        for stack in 0..stacks.len() {
            path.clear();
            let of_stack = shown.path(stacks, stack);
            path.extend(of_stack.map(|frame| names[frames.frames[frame].function as usize]));
            path.reverse();
            let number = self
                .stacks
                .number(path.iter().copied(), |number| flame.stack(number) == path.as_slice());
            if number == flame.ends.len() {
                flame.frames.extend_from_slice(&path);
                flame.ends.push(flame.frames.len());
            }
            let sums = sums(flame);
            if sums.len() <= number {
                sums.resize(number + 1, 0);
            }
            sums[number] += stacks.value(stack, column);
        }
    }
}

/// Returns an error where no stack has a value above zero, so that there is nothing to draw.
fn check_not_empty(flame: &Flame) -> Result<()> {
    if flame.values.iter().any(|&value| value > 0) {
        return Ok(());
    }
    Err(Error::NothingToDraw { sample_type: flame.sample_type.clone() })
}
