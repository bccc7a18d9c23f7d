//! The frames of a profile's locations, with equal functions made one and unnamed places named.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

use profile_format::owner::FrameOwner;
use profile_format::profile::{Location, Profile};

use crate::demangle::demangle;
use crate::distinct::DistinctIndex;
use crate::hash::KeyedHashBuilder;

/// The name of the place that samples without a stack fall on.
const NO_STACK: &str = "[no stack]";

/// The frames of a profile's locations, and a last one for stacks that have none.
pub(crate) struct FrameTable<'a> {
    /// Each function once.
    pub(crate) functions: Vec<NamedFunction<'a>>,
    /// The frames of all locations, the innermost of each first.
    pub(crate) frames: Vec<FrameRef>,
    /// A number for each of `frames`, the same for the same function and line.
    ids: Vec<u32>,
    /// The range in `frames` of each location.
    ranges: Vec<Range<u32>>,
}

/// A function, or a place without one.
pub(crate) struct NamedFunction<'a> {
    /// The name; of a place that has none `[object+0xoffset]`, or its address.
    pub(crate) name: Cow<'a, str>,
    /// The source file, empty where unknown.
    pub(crate) file: &'a str,
    /// The name of the object file in brackets, where that is all that is known.
    object: Option<String>,
    /// The owner that the object file says, where there is no source file.
    object_owner: Option<FrameOwner>,
}

impl NamedFunction<'_> {
    /// Returns the owner of this code.
    pub(crate) fn owner(&self) -> FrameOwner {
        let owner = FrameOwner::of(&self.name, self.file);
        match self.object_owner {
            Some(of_object) if owner == FrameOwner::Program => of_object,
            _ => owner,
        }
    }

    /// Remembers the owner that a location's object file says, of a function of C: its name has no
    /// path.
    fn learn_object(&mut self, profile: &Profile, location: &Location) {
        if !self.file.is_empty() || self.name.contains("::") || self.object_owner.is_some() {
            return;
        }
        let mapping = location.mapping.map(|index| &profile.mappings[index as usize]);
        let file = mapping.map_or("", |mapping| profile.str(mapping.filename));
        if is_library(file) {
            let object = file.rsplit('/').next().unwrap_or(file);
            let is_libc = ["[", "libc.", "libc-", "ld-", "libpthread", "libm.", "libgcc_s"];
            let is_libc = is_libc.iter().any(|start| object.starts_with(start));
            let owner = if is_libc { FrameOwner::Standard } else { FrameOwner::Library };
            self.object_owner = Some(owner);
        }
    }

    /// Returns the source file; where it is not known the object file in brackets.
    pub(crate) fn file_or_object(&self) -> &str {
        match &self.object {
            Some(object) => object,
            None if self.file.is_empty() => "[unknown]",
            None => self.file,
        }
    }
}

/// A line of a function in a stack.
#[derive(Clone, Copy)]
pub(crate) struct FrameRef {
    /// Index in [`FrameTable::functions`].
    pub(crate) function: u32,
    /// The line, 0 where unknown.
    pub(crate) line: i64,
}

impl<'a> FrameTable<'a> {
    /// Names every location of a profile.
    pub(crate) fn new(profile: &'a Profile) -> FrameTable<'a> {
        let (functions, function_ids) = name_functions(profile);
        let (lines, locations) = (profile.lines.len(), profile.locations.len());
        let (frames, ids) = (Vec::with_capacity(lines), Vec::with_capacity(lines));
        let mut all = FrameTable { functions, frames, ids, ranges: Vec::with_capacity(locations) };
        let mut distinct_lines = DistinctIndex::with_capacity(locations);
        // The first frame of each.
        let mut first = Vec::with_capacity(lines);
        let mut unnamed = HashMap::with_hasher(KeyedHashBuilder::new());
        for location in &profile.locations {
            let start = all.frames.len();
            let mut add = |function: u32, line: i64| {
                let id = distinct_lines.number_of((function, line as u64), |number| {
                    let FrameRef { function: other, line: its_line } = all.frames[first[number]];
                    (other, its_line) == (function, line)
                });
                if id == first.len() {
                    first.push(all.frames.len());
                }
                all.ids.push(id as u32);
                all.frames.push(FrameRef { function, line });
            };
            for line in profile.lines_of(location) {
                add(function_ids[line.function as usize], line.line);
            }
            if let [line] = profile.lines_of(location) {
                all.functions[function_ids[line.function as usize] as usize]
                    .learn_object(profile, location);
            }
            if profile.lines_of(location).is_empty() {
                let place = (location.mapping, location.address);
                let function = *unnamed.entry(place).or_insert_with(|| {
                    all.functions.push(name_unnamed_place(profile, location));
                    all.functions.len() as u32 - 1
                });
                add(function, 0);
            }
            all.ranges.push(start as u32..all.frames.len() as u32);
        }
        let (name, object) = (Cow::Borrowed(NO_STACK), Some(NO_STACK.to_owned()));
        all.functions.push(NamedFunction { name, file: "", object, object_owner: None });
        all.ids.push(first.len() as u32);
        all.frames.push(FrameRef { function: all.functions.len() as u32 - 1, line: 0 });
        all
    }

    /// Returns the index in `frames` of the one that stands for no stack at all.
    pub(crate) fn no_stack(&self) -> usize {
        self.frames.len() - 1
    }

    /// Returns the number of a frame: the same for the same function and line, and below
    /// `frames.len()`.
    pub(crate) fn id(&self, frame: usize) -> u32 {
        self.ids[frame]
    }

    /// Returns the indices in `frames` of a stack's frames, the leaf first: one at least.
    pub(crate) fn frames_or_none<'s>(
        &'s self,
        stack: impl Iterator<Item = u32> + 's,
    ) -> impl Iterator<Item = usize> + 's {
        let mut stack = stack.peekable();
        let none = stack.peek().is_none().then(|| self.no_stack());
        none.into_iter().chain(self.stack_frames(stack))
    }

    /// Returns the indices in `frames` of the frames of a stack's locations, the leaf first.
    pub(crate) fn stack_frames<'s>(
        &'s self,
        stack: impl Iterator<Item = u32> + 's,
    ) -> impl Iterator<Item = usize> + 's {
        stack.flat_map(|location| self.location_frames(location))
    }

    /// Returns the indices in `frames` of a location's frames, the innermost first.
    pub(crate) fn location_frames(&self, location: u32) -> Range<usize> {
        let Range { start, end } = self.ranges[location as usize];
        start as usize..end as usize
    }

    /// Returns the numbers of a stack's frames: equal for stacks with the same functions and lines.
    pub(crate) fn stack_ids<'s>(
        &'s self,
        stack: impl Iterator<Item = u32> + 's,
    ) -> impl Iterator<Item = u32> + 's {
        self.stack_frames(stack).map(|frame| self.ids[frame])
    }

    /// Returns a class for each location, equal for locations that have the same frames, and
    /// whether all classes differ. Returns `None` where a location's frames are the beginning of
    /// another's: then different locations can make up the same stack.
    pub(crate) fn classify_locations(&self) -> Option<(Vec<u32>, bool)> {
        let ids = |location: u32| &self.ids[self.location_frames(location)];
        // Most locations differ in the first of their frames already.
        let first = |location: u32| (self.ids[self.location_frames(location).start], location);
        let mut order: Vec<(u32, u32)> = (0..self.ranges.len() as u32).map(first).collect();
        order.sort_unstable();
        for same in order.chunk_by_mut(|left, right| left.0 == right.0) {
            same.sort_unstable_by_key(|&(_, location)| ids(location));
        }
        let mut classes = vec![0; order.len()];
        let mut distinct = true;
        for pair in order.windows(2) {
            let [(_, left), (_, right)] = [pair[0], pair[1]];
            let same = ids(left) == ids(right);
            if !same && ids(right).starts_with(ids(left)) {
                return None;
            }
            distinct &= !same;
            classes[right as usize] = classes[left as usize] + u32::from(!same);
        }
        Some((classes, distinct))
    }

    /// Returns the function of a frame.
    pub(crate) fn function(&self, frame: usize) -> &NamedFunction<'a> {
        &self.functions[self.frames[frame].function as usize]
    }

    /// Writes a frame as `function file:line`, without the parts that are not known.
    pub(crate) fn format_frame(&self, frame: usize) -> String {
        let NamedFunction { name, file, .. } = self.function(frame);
        match (*file, self.frames[frame].line) {
            ("", _) => name.to_string(),
            (file, 0) => format!("{name} {file}"),
            (file, line) => format!("{name} {file}:{line}"),
        }
    }
}

/// Names the functions of a profile, each once. Returns them, and the number of each of the profile's.
fn name_functions(profile: &Profile) -> (Vec<NamedFunction<'_>>, Vec<u32>) {
    let mut functions: Vec<NamedFunction<'_>> = Vec::with_capacity(profile.functions.len());
    let mut distinct_functions = DistinctIndex::with_capacity(profile.functions.len());
    let function_ids: Vec<u32> = profile
        .functions
        .iter()
        .map(|function| {
            let name = match (profile.str(function.name), profile.str(function.system_name)) {
                ("", "") => "[unknown]".into(),
                ("", symbol) => demangle(symbol),
                (name, symbol) if name == symbol => demangle(name),
                // Whoever wrote both has demangled it already.
                (name, _) => name.into(),
            };
            let file = profile.str(function.filename);
            let number = distinct_functions.number_of((&*name, file), |number| {
                functions[number].name == name && functions[number].file == file
            });
            if number == functions.len() {
                functions.push(NamedFunction { name, file, object: None, object_owner: None });
            }
            number as u32
        })
        .collect();
    (functions, function_ids)
}

fn name_unnamed_place<'a>(profile: &'a Profile, location: &Location) -> NamedFunction<'a> {
    let address = location.address;
    let mapping = location.mapping.map(|index| &profile.mappings[index as usize]);
    let file = mapping.map_or("", |mapping| profile.str(mapping.filename));
    let object = file.rsplit(['/', '\\']).next().unwrap_or(file).trim_matches(['[', ']']);
    let (Some(mapping), false) = (mapping, object.is_empty()) else {
        let name = Cow::Owned(format!("{address:#x}"));
        return NamedFunction { name, file: "", object: None, object_owner: None };
    };
    let offset = address.wrapping_sub(mapping.start).wrapping_add(mapping.offset);
    NamedFunction {
        name: Cow::Owned(format!("[{object}+{offset:#x}]")),
        file: "",
        object: Some(format!("[{object}]")),
        object_owner: is_library(file).then_some(FrameOwner::Standard),
    }
}

/// Returns whether an object file is a library's, or the kernel's.
fn is_library(file: &str) -> bool {
    file.starts_with('[') || file.ends_with(".so") || file.contains(".so.")
}

#[cfg(test)]
mod tests {
    use profile_format::profile::{Builder, Mapping};

    use super::*;

    #[test]
    fn names_places_without_symbols() {
        let mut builder = Builder::new(&[("samples", "count")]);
        for file in ["/usr/bin/service", "/lib/libc.so.6", "[vdso]", ""] {
            let filename = builder.str(file);
            let (start, offset) = (0x1000, 0x200);
            let mapping = Mapping { start, offset, filename, ..Mapping::default() };
            let mapping = builder.mapping(mapping);
            builder.location(Some(mapping), 0x1010, &[]);
        }
        builder.location(None, 0x1010, &[]);
        let profile = builder.finish();
        let frames = FrameTable::new(&profile);
        let names: Vec<_> = frames
            .functions
            .iter()
            .map(|named| (named.name.as_ref(), named.file_or_object(), named.owner().is_plumbing()))
            .collect();
        assert_eq!(
            names,
            [
                ("[service+0x210]", "[service]", false),
                ("[libc.so.6+0x210]", "[libc.so.6]", true),
                ("[vdso+0x210]", "[vdso]", true),
                ("0x1010", "[unknown]", false),
                ("0x1010", "[unknown]", false),
                ("[no stack]", "[no stack]", false),
            ]
        );
        assert_eq!(frames.format_frame(0), "[service+0x210]");
    }
}
