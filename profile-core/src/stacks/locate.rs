//! What collectors of stacks share: raw addresses to the locations of a profile, and its times.

use std::collections::HashMap;
use std::time::SystemTime;

use profile_format::profile::{Builder, Function, Line, Mapping};

use crate::stacks::gap::name_outside;
use crate::stacks::objects::hex;
use crate::stacks::own_frames::{OwnFrameFilter, without_thread_root};
use crate::stacks::symbol::AddressSymbolizer;

/// The form in which a profile names its functions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Symbols {
    /// Functions, files, lines and inlined frames are in the profile.
    #[default]
    Resolved,
    /// The profile holds addresses, mappings and build ids, and its reader resolves them. Costs no
    /// time and memory here; the reader needs the same files.
    Raw,
}

/// The comment of a profile of a program that was stripped.
const STRIPPED: &str = "names: the program was stripped of its symbols, and its functions are addresses: build it without \
                        `strip = true` (`strip = \"debuginfo\"` keeps the names)";

/// Turns addresses of this process into locations with mappings, functions and lines.
pub(crate) struct AddressLocator {
    symbolizer: AddressSymbolizer,
    symbols: Symbols,
    /// The mapping of each segment of each object, once it was used.
    mappings: HashMap<(usize, usize), u32>,
    /// The location of each address.
    locations: HashMap<u64, u32>,
    own_frames: OwnFrameFilter,
    /// Whether it was said that the program has no names.
    is_stripped_noted: bool,
}

impl AddressLocator {
    /// Makes a locator for `builder`, whose first mapping becomes the main program's code.
    pub(crate) fn new(builder: &mut Builder, symbols: Symbols) -> AddressLocator {
        let mut locator = AddressLocator {
            symbolizer: AddressSymbolizer::new(),
            symbols,
            mappings: HashMap::new(),
            locations: HashMap::new(),
            own_frames: OwnFrameFilter::default(),
            is_stripped_noted: false,
        };
        if locator.symbolizer.objects().first().is_some_and(|main| !main.segments.is_empty()) {
            locator.mapping(builder, (0, 0));
        }
        locator
    }

    /// Returns the locations of a stack of the program's, without frames of ours that stand in it.
    // A profile of the heap needs the allocator's frames first.
    #[cfg_attr(not(any(feature = "sampler", feature = "pprof-rs", intercepted)), allow(dead_code))]
    pub(crate) fn stack(
        &mut self,
        builder: &mut Builder,
        addresses: impl Iterator<Item = u64>,
    ) -> Vec<u32> {
        let addresses = without_thread_root(addresses.collect());
        let locate = |address| self.location(builder, address);
        let mut stack = addresses.into_iter().map(locate).collect();
        self.take_own_frames_out(builder, &mut stack);
        stack
    }

    /// Takes frames of ours that stand in the program's stack out of it.
    pub(crate) fn take_own_frames_out(&mut self, builder: &mut Builder, stack: &mut Vec<u32>) {
        self.own_frames.filter(builder, stack);
    }

    /// Returns the location of an instruction. For a caller that is the call's own address: the
    /// return address less one.
    pub(crate) fn location(&mut self, builder: &mut Builder, address: u64) -> u32 {
        if let Some(&location) = self.locations.get(&address) {
            return location;
        }
        let (mapping, lines) = match self.symbolizer.find(address) {
            Some(place) => {
                let mapping = self.mapping(builder, place);
                let lines = match self.symbols {
                    Symbols::Resolved => self.lines(builder, place.0, address),
                    Symbols::Raw => Vec::new(),
                };
                (Some(mapping), lines)
            }
            // Code that no object holds, such as that of a JIT compiler, or frames left out.
            None => {
                let name = builder.str(&name_outside(address));
                let function = builder.function(Function { name, ..Function::default() });
                (None, vec![Line { function, ..Line::default() }])
            }
        };
        let location = builder.location(mapping, address, &lines);
        self.locations.insert(address, location);
        location
    }

    fn lines(&mut self, builder: &mut Builder, object: usize, address: u64) -> Vec<Line> {
        let frames = self.symbolizer.frames(object, address);
        let is_nameless = frames.iter().all(|frame| frame.name.starts_with('['));
        if object == 0 && is_nameless && !self.is_stripped_noted {
            self.is_stripped_noted = true;
            if !self.symbolizer.has_names() {
                builder.comment(STRIPPED);
            }
        }
        frames
            .iter()
            .map(|frame| {
                let function = Function {
                    name: builder.str(&frame.name),
                    system_name: builder.str(&frame.system_name),
                    filename: builder.str(&frame.file),
                    start_line: 0,
                };
                Line {
                    function: builder.function(function),
                    line: frame.line.into(),
                    column: frame.column.into(),
                }
            })
            .collect()
    }

    fn mapping(&mut self, builder: &mut Builder, place: (usize, usize)) -> u32 {
        if let Some(&mapping) = self.mappings.get(&place) {
            return mapping;
        }
        let object = &self.symbolizer.objects()[place.0];
        let segment = object.segments[place.1];
        let filename = builder.str(&object.path.to_string_lossy());
        let build_id = builder.str(&hex(&object.build_id));
        // Everything that can be resolved here is: a reader need not try.
        let resolved = self.symbols == Symbols::Resolved;
        let mapping = builder.mapping(Mapping {
            start: segment.start,
            limit: segment.limit,
            offset: segment.offset,
            filename,
            build_id,
            has_functions: resolved,
            has_filenames: resolved,
            has_line_numbers: resolved,
            has_inline_frames: resolved,
        });
        self.mappings.insert(place, mapping);
        mapping
    }
}

/// Converts a time to nanoseconds since 1970, as profiles write it; 0 where the clock is before
/// that.
pub(crate) fn unix_nanos(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}
