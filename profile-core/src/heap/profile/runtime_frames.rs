//! Cutting the allocator's frames off the leaf of a profile's stacks.

use std::collections::HashMap;
use std::rc::Rc;

use profile_format::profile::{Builder, Line};

use crate::heap::allocator_frames::{ALLOCATOR_DEPTH, AllocationFrame, find_caller};

/// Cuts allocator frames off the leaf end of stacks.
#[derive(Default)]
pub(crate) struct AllocatorTrimmer {
    /// The parts of each location's lines; one of a location without any.
    parts: HashMap<u32, Rc<[AllocationFrame]>>,
    /// Locations without so many of their first lines.
    rests: HashMap<(u32, usize), u32>,
}

impl AllocatorTrimmer {
    /// Returns the stack without the allocator's frames; the whole of it where nothing would be
    /// left.
    pub(crate) fn trim<'a>(
        &mut self,
        builder: &mut Builder,
        stack: &'a mut [u32],
    ) -> &'a mut [u32] {
        let parts: Vec<_> = stack.iter().map(|&location| self.parts(builder, location)).collect();
        let low = parts.iter().take(ALLOCATOR_DEPTH).map(|parts| parts.len()).sum();
        let lines: Vec<AllocationFrame> =
            parts.iter().flat_map(|parts| parts.iter().copied()).collect();
        let Some(mut line) = find_caller(lines.into_iter(), low) else { return stack };
        let mut first = 0;
        while line >= parts[first].len() {
            line -= parts[first].len();
            first += 1;
        }
        if line > 0 {
            stack[first] = self.rest(builder, stack[first], line);
        }
        &mut stack[first..]
    }

    fn parts(&mut self, builder: &Builder, location: u32) -> Rc<[AllocationFrame]> {
        let parts = self.parts.entry(location).or_insert_with(|| {
            let profile = builder.profile();
            let location = &profile.locations[location as usize];
            let parts = profile.lines_of(location).iter().map(|line| {
                let function = profile.functions[line.function as usize];
                let (name, file) = (profile.str(function.name), profile.str(function.filename));
                AllocationFrame::of(location.address, name, file)
            });
            let parts: Vec<_> = parts.collect();
            if parts.is_empty() { Rc::new([AllocationFrame::Caller]) } else { parts.into() }
        });
        Rc::clone(parts)
    }

    fn rest(&mut self, builder: &mut Builder, index: u32, from: usize) -> u32 {
        *self.rests.entry((index, from)).or_insert_with(|| {
            let profile = builder.profile();
            let location = profile.locations[index as usize].clone();
            let lines: Vec<Line> = profile.lines_of(&location)[from..].to_vec();
            builder.location(location.mapping, location.address, &lines)
        })
    }
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
        let left = AllocatorTrimmer::default().trim(&mut builder, &mut locations).to_vec();
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

    /// With line tables alone functions that were inlined have bare names, and jemalloc's are as deep
    /// as those of the program.
    #[test]
    fn files_tell_the_allocator_where_names_do_not() {
        let built = "/app/target/release/build/tikv-jemalloc-sys-d1f583d6c3715701/out/build";
        let (inlines, jemalloc) = (
            format!("{built}/include/jemalloc/internal/prof_inlines.h"),
            format!("{built}/src/jemalloc.c"),
        );
        let vec = format!("{STD}/vec/mod.rs");
        let left = trimmed(&[
            &[("profile_core::heap::raw::hooks::backtrace", "profile-core/src/heap/raw/hooks.rs")],
            &[
                ("prof_alloc_prep", &inlines),
                ("imalloc_body", &jemalloc),
                ("do_rallocx", &jemalloc),
            ],
            &[("grow_amortized", &format!("{STD}/raw_vec/mod.rs"))],
            &[("push<u64>", &vec), ("read_rows", "/app/src/growth.rs")],
            &[("growth::main", "/app/src/growth.rs")],
        ]);
        assert_eq!(left, [vec!["push<u64>", "read_rows"], vec!["growth::main"]]);
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
