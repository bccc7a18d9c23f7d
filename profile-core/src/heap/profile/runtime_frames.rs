//! Which frames of an allocation's stack belong to the allocator, and cutting them off the leaf.
//!
//! Left in, they would take all of the flat value: every allocation happens in `malloc`.

use std::collections::HashMap;

use profile_format::profile::{Builder, Line, Profile};

use crate::heap::owner::{ALLOCATOR_DEPTH, FrameOwner};

/// Cuts allocator frames off the leaf end of stacks.
pub(crate) struct AllocatorTrimmer {
    /// For each location that was looked at, the rest of it as a leaf.
    leaves: HashMap<u32, TrimmedLeaf>,
}

/// The rest of a location when it is looked at as a leaf.
#[derive(Clone, Copy)]
struct TrimmedLeaf {
    /// The location without the lines that are not the user's; `None` where all are of that kind.
    user: Option<u32>,
    /// True where the allocator itself is among its lines. Whatever stands below is the allocator's
    /// too, though its static functions have names that say nothing.
    enters_allocator: bool,
}

impl AllocatorTrimmer {
    pub(crate) fn new() -> AllocatorTrimmer {
        AllocatorTrimmer { leaves: HashMap::new() }
    }

    /// Returns the stack without the allocator's frames; the whole of it where nothing would be
    /// left.
    pub(crate) fn trim<'a>(&mut self, builder: &mut Builder, stack: &'a mut [u32]) -> &'a [u32] {
        let entry = stack
            .iter()
            .take(ALLOCATOR_DEPTH)
            .rposition(|&location| self.leaf(builder, location).enters_allocator);
        for first in entry.unwrap_or(0)..stack.len() {
            if let Some(user) = self.leaf(builder, stack[first]).user {
                stack[first] = user;
                return &stack[first..];
            }
        }
        stack
    }

    fn leaf(&mut self, builder: &mut Builder, location: u32) -> TrimmedLeaf {
        if let Some(&leaf) = self.leaves.get(&location) {
            return leaf;
        }
        let leaf = look(builder, location);
        self.leaves.insert(location, leaf);
        leaf
    }
}

fn look(builder: &mut Builder, index: u32) -> TrimmedLeaf {
    let profile = builder.profile_mut();
    let location = profile.locations[index as usize].clone();
    let lines = profile.lines_of(&location);
    let owners: Vec<FrameOwner> = lines.iter().map(|line| owner(profile, line)).collect();
    let allocator = owners.iter().rposition(|&owner| owner == FrameOwner::Allocator);
    let above = allocator.map_or(0, |at| at + 1);
    let user = owners[above..].iter().position(|&owner| owner == FrameOwner::User);
    let user = match user.map(|at| above + at) {
        Some(0) => Some(index),
        Some(first) => {
            let lines: Vec<Line> = lines[first..].to_vec();
            Some(builder.location(location.mapping, location.address, &lines))
        }
        None => None,
    };
    TrimmedLeaf { user, enters_allocator: allocator.is_some() }
}

fn owner(profile: &Profile, line: &Line) -> FrameOwner {
    let function = profile.functions[line.function as usize];
    FrameOwner::of(profile.str(function.name), profile.str(function.filename))
}

#[cfg(test)]
mod tests {
    use profile_format::profile::Function;

    use super::*;

    const STD: &str = "/rustc/0123/library/alloc/src";

    /// Trims a stack of locations, each a list of (function, file), innermost first.
    fn trimmed(stack: &[&[(&str, &str)]]) -> Vec<Vec<String>> {
        let mut builder = Builder::new(&[]);
        let mut locations: Vec<u32> = stack
            .iter()
            .map(|lines| {
                let lines: Vec<Line> = lines
                    .iter()
                    .map(|&(name, file)| {
                        let (name, filename) = (builder.str(name), builder.str(file));
                        let function =
                            builder.function(Function { name, filename, ..Function::default() });
                        Line { function, ..Line::default() }
                    })
                    .collect();
                builder.location(None, 0, &lines)
            })
            .collect();
        let left = AllocatorTrimmer::new().trim(&mut builder, &mut locations).to_vec();
        let profile = builder.finish();
        left.iter()
            .map(|&location| {
                let lines = profile.lines_of(&profile.locations[location as usize]);
                lines
                    .iter()
                    .map(|line| {
                        profile.str(profile.functions[line.function as usize].name).to_owned()
                    })
                    .collect()
            })
            .collect()
    }

    #[test]
    fn the_leaf_is_the_function_that_asked_for_memory() {
        let alloc = format!("{STD}/alloc.rs");
        let vec = format!("{STD}/vec/mod.rs");
        let left = trimmed(&[
            &[("prof_backtrace_impl", "")],
            &[("imalloc_sample", ""), ("imalloc", ""), ("_rjem_je_malloc_default", "")],
            &[("<tikv_jemallocator::Jemalloc as core::alloc::GlobalAlloc>::alloc", "")],
            &[("__rustc::__rust_alloc", "")],
            &[("alloc::raw_vec::RawVecInner<A>::finish_grow", "")],
            &[("alloc", &alloc), ("with_capacity", &vec), ("demo::leak", "src/demo.rs")],
            &[("demo::main", "src/demo.rs")],
        ]);
        assert_eq!(left, [vec!["with_capacity", "demo::leak"], vec!["demo::main"]]);
    }

    #[test]
    fn a_stack_of_runtime_frames_alone_is_kept() {
        assert_eq!(trimmed(&[&[("_rjem_malloc", "")], &[("__rust_alloc", "")]]).len(), 2);
        assert!(trimmed(&[]).is_empty());
    }

    #[test]
    fn users_may_call_their_functions_alike() {
        let left = trimmed(&[&[("_rjem_malloc", "")], &[("alloc", "src/pool.rs")]]);
        assert_eq!(left, [["alloc"]]);
    }
}
