//! Our own frames in the program's stacks, such as those around each future that is watched: what a
//! profile shows is the program's.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};

use profile_format::owner::{FrameOwner, OwnFrame};
use profile_format::profile::{Builder, Line, Profile};

/// The function of ours that threads of the program begin in; 0 where they don't.
static THREAD_ROOT: AtomicU64 = AtomicU64::new(0);
/// Frames at the root among which it is.
const ROOT_DEPTH: usize = 3;
/// Bytes that it takes, at most.
const ROOT_SIZE: u64 = 512;

/// Says in which function of ours threads of the program begin, so that it is known by its address in
/// a program without names.
#[cfg_attr(not(intercepted), allow(dead_code))]
pub(crate) fn set_thread_root(begin: u64) {
    THREAD_ROOT.store(begin, Ordering::Relaxed);
}

/// Takes the function of ours that a thread began in out of its stack.
pub(crate) fn without_thread_root(mut stack: Vec<u64>) -> Vec<u64> {
    let begin = THREAD_ROOT.load(Ordering::Relaxed);
    let code = begin..begin.saturating_add(ROOT_SIZE);
    let near = stack.len().saturating_sub(ROOT_DEPTH).max(1).min(stack.len());
    if begin != 0
        && let Some(at) = stack[near..].iter().rposition(|address| code.contains(address))
    {
        stack.remove(near + at);
    }
    stack
}

/// Takes frames of ours out of stacks of locations.
#[derive(Debug, Default)]
pub(crate) struct OwnFrameFilter {
    /// The parts of each location's lines.
    parts: HashMap<u32, Rc<[StackPart]>>,
    /// Locations without frames of ours, and without so many of their first lines; `None` where
    /// nothing is left.
    rests: HashMap<(u32, usize), Option<u32>>,
}

/// The part that a frame has in a stack of the program's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StackPart {
    /// Ours, in the place of a function that the program called.
    StandIn,
    /// Ours, around what the program does.
    Around,
    /// The standard library's or an allocator's, whoever called it.
    Plain,
    /// Anything else.
    Program,
}

impl StackPart {
    fn of(function: &str, file: &str) -> StackPart {
        match FrameOwner::of(function, file) {
            FrameOwner::Profiler(OwnFrame::Passing | OwnFrame::Allocating) => StackPart::StandIn,
            FrameOwner::Profiler(OwnFrame::Around) => StackPart::Around,
            FrameOwner::Standard | FrameOwner::Allocator => StackPart::Plain,
            _ => StackPart::Program,
        }
    }

    fn is_own(self) -> bool {
        matches!(self, StackPart::StandIn | StackPart::Around)
    }
}

impl OwnFrameFilter {
    /// Takes out what stands in for others and around the program, unless there is nothing else;
    /// and at the leaf what a stand-in called.
    pub(crate) fn filter(&mut self, builder: &mut Builder, stack: &mut Vec<u32>) {
        let parts: Vec<_> = stack.iter().map(|&location| self.parts(builder, location)).collect();
        let lines = || parts.iter().flat_map(|parts| parts.iter().copied());
        if !lines().any(StackPart::is_own) {
            return;
        }
        // All that a stand-in at the leaf has called is ours.
        let leaf = lines().take_while(|part| matches!(part, StackPart::StandIn | StackPart::Plain));
        let own = leaf.enumerate().filter(|(_, part)| *part == StackPart::StandIn).last();
        let mut cut = own.map_or(0, |(at, _)| at + 1);
        let mut left = Vec::with_capacity(stack.len());
        for (&location, parts) in stack.iter().zip(&parts) {
            let first = cut.min(parts.len());
            cut -= first;
            left.extend(self.rest(builder, location, first));
        }
        if !left.is_empty() {
            *stack = left;
        }
    }

    fn parts(&mut self, builder: &Builder, location: u32) -> Rc<[StackPart]> {
        let parts = self.parts.entry(location).or_insert_with(|| {
            let profile = builder.profile();
            let lines = profile.lines_of(&profile.locations[location as usize]);
            let parts: Vec<_> = lines.iter().map(|line| part_of(profile, line)).collect();
            // An address without any is the program's.
            if parts.is_empty() { Rc::new([StackPart::Program]) } else { parts.into() }
        });
        Rc::clone(parts)
    }

    fn rest(&mut self, builder: &mut Builder, location: u32, from: usize) -> Option<u32> {
        *self.rests.entry((location, from)).or_insert_with(|| find_rest(builder, location, from))
    }
}

fn find_rest(builder: &mut Builder, index: u32, from: usize) -> Option<u32> {
    let profile = builder.profile();
    let location = profile.locations[index as usize].clone();
    let lines = profile.lines_of(&location);
    let rest = lines.iter().copied().skip(from);
    let rest: Vec<Line> = rest.filter(|line| !part_of(profile, line).is_own()).collect();
    if rest.len() == lines.len() {
        Some(index)
    } else if rest.is_empty() {
        None
    } else {
        Some(builder.location(location.mapping, location.address, &rest))
    }
}

fn part_of(profile: &Profile, line: &Line) -> StackPart {
    let function = profile.functions[line.function as usize];
    StackPart::of(profile.str(function.name), profile.str(function.filename))
}

/// Returns whether a function of ours stands in for another, or around what the program does.
pub(crate) fn is_own_frame(function: &str, file: &str) -> bool {
    StackPart::of(function, file).is_own()
}

#[cfg(test)]
mod tests {
    use profile_format::profile::Function;

    use super::*;

    fn location(builder: &mut Builder, names: &[&str]) -> u32 {
        let lines: Vec<Line> = names
            .iter()
            .map(|name| {
                let name = builder.str(name);
                let function = builder.function(Function { name, ..Function::default() });
                Line { function, ..Line::default() }
            })
            .collect();
        builder.location(None, 0, &lines)
    }

    #[test]
    fn the_root_is_known_by_its_address() {
        let root = 0x7000;
        let before = THREAD_ROOT.swap(root, Ordering::Relaxed);
        let left = |stack: &[u64]| without_thread_root(stack.to_vec());
        assert_eq!(left(&[1, 2, 3, root + 9, 4, 5]), [1, 2, 3, 4, 5]);
        assert_eq!(left(&[1, root + 9, 3, 4, 5]), [1, root + 9, 3, 4, 5]);
        assert_eq!(left(&[root + 9]), [root + 9]);
        assert!(left(&[]).is_empty());
        THREAD_ROOT.store(before, Ordering::Relaxed);
    }

    #[test]
    fn frames_that_pass_on_are_taken_out() {
        let mut builder = Builder::new(&[]);
        let begin = "profile_core::waits::raw::births::begin";
        let poll = "<profile_core::task::future::Instrumented<F> as core::future::Future>::poll";
        let root = location(&mut builder, &[begin]);
        let inlined = location(&mut builder, &[poll, "tokio::runtime::task::poll"]);
        let sells = location(&mut builder, &["shop::sell"]);
        let dropped = location(&mut builder, &["core::ptr::drop_in_place"]);
        let futex = "profile_core::waits::raw::syscall::futex";
        let inner = ["core::ptr::drop_in_place", futex, "std::sys::futex::futex_wait"];
        let waits = location(&mut builder, &inner);
        let work = location(&mut builder, &["profile_core::session::start"]);
        let mut filter = OwnFrameFilter::default();
        let mut names = |stack: &[u32]| -> Vec<String> {
            let mut stack = stack.to_vec();
            filter.filter(&mut builder, &mut stack);
            let profile = builder.profile();
            let lines = |&at: &u32| profile.lines_of(&profile.locations[at as usize]).to_vec();
            let name = |line: Line| profile.functions[line.function as usize].name;
            stack.iter().flat_map(lines).map(|line| profile.str(name(line)).to_owned()).collect()
        };
        assert_eq!(names(&[sells, inlined, root]), ["shop::sell", "tokio::runtime::task::poll"]);
        // The profiler at work is no secret.
        assert_eq!(names(&[work, root]), ["profile_core::session::start"]);
        assert_eq!(names(&[root]), [begin]);
        // At the leaf what a stand-in called is ours, and only there.
        assert_eq!(names(&[waits, sells, root]), ["std::sys::futex::futex_wait", "shop::sell"]);
        assert_eq!(
            names(&[dropped, inlined]),
            ["core::ptr::drop_in_place", "tokio::runtime::task::poll"]
        );
        assert!(names(&[]).is_empty());
    }
}
