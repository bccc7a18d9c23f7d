//! Addresses of this process to functions, files and lines.
//!
//! Resolving is slow and takes memory, so it happens once for each distinct address, off every hot
//! path. The debug information is read when an address is new, and freed with the [`AddressSymbolizer`];
//! what was found is kept in two megabytes at most.

mod frame_cache;
mod program_names;
mod short_name;

use std::borrow::Cow;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use addr2line::Loader;
use object::read::ReadCache;
use object::{Object as _, ObjectSection as _, ObjectSymbol as _, ReadRef, SymbolKind};
use profile_format::owner::qualified_name;

use crate::stacks::names::Symbol;
use crate::stacks::objects::{self, LoadedObject, hex};
use crate::stacks::symbol::frame_cache::FrameCache;
use crate::stacks::symbol::program_names::{ProgramFunctions, is_bare_program_frame, name_async};
use crate::stacks::symbol::short_name::shorten;

/// The objects of this process, with their debug information as far as it was needed.
pub(crate) struct AddressSymbolizer {
    objects: Vec<LoadedObject>,
    /// The source of names for each object, once it was looked for.
    sources: Vec<Option<NameSource>>,
    /// Bytes of debug information that may still be read.
    budget: u64,
    cache: &'static Mutex<FrameCache>,
    /// Number of this set of objects among those that `cache` has seen.
    generation: u64,
}

/// The frames that all symbolizers of the process have found.
static FRAME_CACHE: LazyLock<Mutex<FrameCache>> = LazyLock::new(Mutex::default);

/// The source of names for the addresses of an object.
enum NameSource {
    /// Line tables and the symbol table.
    Lines(Box<LineTables>),
    /// The symbol table alone: there is too much debug information.
    Names(SymbolTable),
    /// No source was found.
    Nothing,
}

/// The line tables and symbols of an object file.
struct LineTables {
    loader: Loader,
    path: PathBuf,
    build_id: Vec<u8>,
    is_main: bool,
}

/// The program's functions, by its build id.
static PROGRAM_FUNCTIONS: Mutex<Option<(Vec<u8>, Arc<ProgramFunctions>)>> = Mutex::new(None);

impl LineTables {
    /// Returns the frames at an address, the innermost first.
    fn resolve(&self, relative: u64) -> Vec<SourceFrame> {
        let mut frames = resolve(&self.loader, relative);
        if self.is_main && frames.iter().any(is_bare_program_frame) {
            self.program_functions().complete(&mut frames);
        }
        frames
    }

    fn program_functions(&self) -> Arc<ProgramFunctions> {
        let mut known = PROGRAM_FUNCTIONS.lock().unwrap_or_else(PoisonError::into_inner);
        match &*known {
            Some((build_id, functions)) if *build_id == self.build_id => Arc::clone(functions),
            _ => {
                let functions = Arc::new(ProgramFunctions::read(&self.path, &self.loader));
                *known = Some((self.build_id.clone(), Arc::clone(&functions)));
                functions
            }
        }
    }
}

/// A symbol table: the beginning, end and name of each function.
struct SymbolTable {
    functions: Vec<(u64, u64, String)>,
}

/// Files with more debug information than this, all objects taken together, are named from their
/// symbol tables. Reading it takes memory of about twice its size at the worst, until the profile is
/// finished.
const BUDGET: u64 = 512 << 20;

/// Longer names of object files are not kept.
const LONGEST_SYSTEM_NAME: usize = 4096;

/// A frame of the source: a function with the line it is at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SourceFrame {
    /// The name for people, without hashes and cut where it is very long.
    pub(crate) name: Arc<str>,
    /// The name in the object file; empty where it is the same, not known, or longer than anybody reads.
    pub(crate) system_name: Arc<str>,
    /// The source file; empty where unknown.
    pub(crate) file: Arc<str>,
    pub(crate) line: u32,
    pub(crate) column: u32,
}

impl AddressSymbolizer {
    /// Makes a symbolizer of what is loaded now.
    pub(crate) fn new() -> AddressSymbolizer {
        AddressSymbolizer::with(&FRAME_CACHE)
    }

    /// Makes a symbolizer of symbol tables alone, whose size is a small part of what debug
    /// information takes: functions, without those that are inlined in them, and without lines.
    pub(crate) fn of_names() -> AddressSymbolizer {
        static NAMES: LazyLock<Mutex<FrameCache>> = LazyLock::new(Mutex::default);
        AddressSymbolizer { budget: 0, ..AddressSymbolizer::with(&NAMES) }
    }

    fn with(cache: &'static Mutex<FrameCache>) -> AddressSymbolizer {
        let objects = objects::loaded();
        let sources = objects.iter().map(|_| None).collect();
        let generation = lock(cache).for_objects(&objects);
        AddressSymbolizer { objects, sources, budget: BUDGET, cache, generation }
    }

    /// Returns the objects, the main program first.
    pub(crate) fn objects(&self) -> &[LoadedObject] {
        &self.objects
    }

    /// Finds the object and the segment that hold an address, as indices.
    pub(crate) fn find(&self, address: u64) -> Option<(usize, usize)> {
        self.objects.iter().enumerate().find_map(|(object, LoadedObject { segments, .. })| {
            let segment = segments.iter().position(|s| (s.start..s.limit).contains(&address))?;
            Some((object, segment))
        })
    }

    /// Returns the frames at an address of an object, the innermost inlined function first. There
    /// is always one: an address without a name is called after its object and offset.
    pub(crate) fn frames(&mut self, object: usize, address: u64) -> Arc<[SourceFrame]> {
        if let Some(frames) = lock(self.cache).get(self.generation, address) {
            return frames;
        }
        let mut frames = self.frames_in_full(object, address);
        for frame in &mut frames {
            if let Cow::Owned(short) = shorten(&frame.name) {
                frame.name = short.into();
            }
            if frame.system_name.len() > LONGEST_SYSTEM_NAME {
                frame.system_name = Arc::default();
            }
        }
        lock(self.cache).add(self.generation, address, frames)
    }

    /// Returns the frames at an address with their whole names, which are not kept.
    pub(crate) fn frames_in_full(&mut self, object: usize, address: u64) -> Vec<SourceFrame> {
        let bias = self.objects[object].bias;
        let relative = address.wrapping_sub(bias);
        let mut frames = match self.source(object) {
            NameSource::Lines(tables) => tables.resolve(relative),
            NameSource::Names(names) => {
                names.find(relative).map(|(_start, name)| named(name)).into_iter().collect()
            }
            NameSource::Nothing => Vec::new(),
        };
        if frames.is_empty() {
            let path = &self.objects[object].path;
            let file = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
            let name = format!("[{file}+{relative:#x}]").into();
            frames.push(SourceFrame { name, ..SourceFrame::default() });
        }
        frames
    }

    /// Looks up the symbols that hold these addresses.
    pub(crate) fn look_up(addresses: &[u64]) -> Vec<Option<Symbol>> {
        let mut symbolizer = AddressSymbolizer::new();
        addresses.iter().map(|&address| symbolizer.symbol(address)).collect()
    }

    /// Finds the symbol that holds an address of this process.
    pub(crate) fn symbol(&mut self, address: u64) -> Option<Symbol> {
        let (object, _segment) = self.find(address)?;
        let bias = self.objects[object].bias;
        let relative = address.wrapping_sub(bias);
        let (start, name) = match self.source(object) {
            NameSource::Lines(tables) => {
                let symbol = tables.loader.find_symbol_info(relative)?;
                (symbol.address(), symbol.name())
            }
            NameSource::Names(names) => names.find(relative)?,
            NameSource::Nothing => return None,
        };
        Some(Symbol { name: name.to_owned(), start: start.wrapping_add(bias) })
    }

    /// Returns whether the program's functions have names: this one has.
    pub(crate) fn has_names(&mut self) -> bool {
        let here = AddressSymbolizer::has_names as fn(&mut AddressSymbolizer) -> bool;
        self.symbol(here as usize as u64).is_some()
    }

    fn source(&mut self, object: usize) -> &NameSource {
        let described = &self.objects[object];
        let budget = &mut self.budget;
        self.sources[object].get_or_insert_with(|| load(described, object == 0, budget))
    }
}

fn lock(cache: &Mutex<FrameCache>) -> MutexGuard<'_, FrameCache> {
    cache.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Opens the source of names for an object's addresses: a separate debug file where there is one,
/// else the file itself, and only if it is still the file that was loaded.
fn load(object: &LoadedObject, is_main: bool, budget: &mut u64) -> NameSource {
    if let Some(image) = object.image {
        return SymbolTable::read(image).map_or(NameSource::Nothing, NameSource::Names);
    }
    let mut candidates = Vec::new();
    candidates.extend(debug_file(&object.build_id));
    candidates.push(object.path.clone());
    if is_main {
        // Still there when the program's file was replaced or deleted.
        candidates.push(PathBuf::from("/proc/self/exe"));
    }
    let unchanged =
        |path: &PathBuf| look_at(path).filter(|(build_id, _)| *build_id == object.build_id);
    for path in candidates {
        let Some((_, debug_bytes)) = unchanged(&path) else { continue };
        if debug_bytes > *budget {
            return SymbolTable::of_file(&path).map_or(NameSource::Nothing, NameSource::Names);
        }
        if let Ok(loader) = Loader::new(&path) {
            *budget -= debug_bytes;
            return NameSource::Lines(Box::new(LineTables {
                loader,
                path,
                build_id: object.build_id.clone(),
                is_main,
            }));
        }
    }
    NameSource::Nothing
}

impl SymbolTable {
    fn of_file(path: &Path) -> Option<SymbolTable> {
        SymbolTable::read(&ReadCache::new(File::open(path).ok()?))
    }

    fn read<'data>(data: impl ReadRef<'data>) -> Option<SymbolTable> {
        let file = object::File::parse(data).ok()?;
        let symbols = file.symbols().chain(file.dynamic_symbols());
        let mut functions: Vec<(u64, u64, String)> = symbols
            .filter(|symbol| symbol.kind() == SymbolKind::Text)
            .filter_map(|symbol| {
                let (begin, name) = (symbol.address(), symbol.name().ok()?);
                Some((begin, begin.checked_add(symbol.size())?, name.to_owned()))
            })
            .collect();
        functions.sort_unstable();
        functions.dedup_by_key(|&mut (begin, ..)| begin);
        Some(SymbolTable { functions })
    }

    /// Finds the function at an address: its beginning and its name.
    fn find(&self, relative: u64) -> Option<(u64, &str)> {
        let after = self.functions.partition_point(|&(begin, ..)| begin <= relative);
        let (begin, end, name) = self.functions[..after].last()?;
        (relative < *end).then_some((*begin, name))
    }
}

/// Returns the path at which distributions put debug information that was split off, if there is a
/// file.
fn debug_file(build_id: &[u8]) -> Option<PathBuf> {
    let (first, rest) = build_id.split_first()?;
    let path = format!("/usr/lib/debug/.build-id/{first:02x}/{}.debug", hex(rest));
    Path::new(&path).exists().then(|| PathBuf::from(path))
}

/// Reads the build id of a file, empty where it has none, and the size of its debug information in
/// bytes; `None` where it can't be read as an object.
fn look_at(path: &Path) -> Option<(Vec<u8>, u64)> {
    fn read<'data>(data: impl ReadRef<'data>) -> Option<(Vec<u8>, u64)> {
        let file = object::File::parse(data).ok()?;
        let bytes = file
            .sections()
            .filter(|section| section.name().is_ok_and(|name| name.starts_with(".debug_")))
            .fold(0_u64, |bytes, section| bytes.saturating_add(section.size()));
        Some((file.build_id().ok()?.unwrap_or_default().to_vec(), bytes))
    }
    read(&ReadCache::new(File::open(path).ok()?))
}

fn resolve(loader: &Loader, relative: u64) -> Vec<SourceFrame> {
    let mut frames = Vec::new();
    if let Ok(mut found) = loader.find_frames(relative) {
        while let Ok(Some(frame)) = found.next() {
            let name = frame.function.as_ref().and_then(|function| function.raw_name().ok());
            let (file, line, column) = frame.location.map_or(("", 0, 0), |location| {
                (
                    location.file.unwrap_or(""),
                    location.line.unwrap_or(0),
                    location.column.unwrap_or(0),
                )
            });
            frames.push(SourceFrame {
                file: file.into(),
                line,
                column,
                ..named(name.as_deref().unwrap_or(""))
            });
        }
    }
    for frame in &mut frames {
        if let Cow::Owned(name) = qualified_name(&frame.name, &frame.file) {
            frame.name = name.into();
        }
    }
    // Line tables hold short names (`{closure#0}`); the symbol table has the outermost function's
    // whole path.
    if let Some(symbol) = loader.find_symbol(relative) {
        let SourceFrame { name, system_name, .. } = named(symbol);
        match frames.last_mut() {
            Some(outermost) => {
                let body = std::mem::replace(&mut outermost.name, name);
                outermost.system_name = system_name;
                let function = without_closure(&outermost.name);
                if let Some(name) = function.and_then(|function| name_async(function, &body)) {
                    outermost.name = name.into();
                }
            }
            None => frames.push(SourceFrame { name, system_name, ..SourceFrame::default() }),
        }
    }
    frames.retain(|frame| !frame.name.is_empty());
    frames
}

/// Returns the path of the function that a closure's symbol is inside of.
fn without_closure(name: &str) -> Option<&str> {
    let function = name.strip_suffix("::{{closure}}");
    function.or_else(|| name.strip_suffix('}')?.rsplit_once("::{closure#").map(|(path, _)| path))
}

/// Makes a frame with both its names. `system_name` is never equal to `name`: readers take that for
/// a name that is still to be demangled, and cut Rust's generics off.
fn named(symbol: &str) -> SourceFrame {
    // A suffix such as `.llvm.123` or `@GLIBC_2.2.5` names no other function.
    let name = if let Ok(demangled) = rustc_demangle::try_demangle(symbol) {
        format!("{demangled:#}")
    } else if let Some(demangled) = demangle_cpp(symbol) {
        demangled
    } else {
        symbol.split_once('@').map_or(symbol, |(name, _version)| name).to_owned()
    };
    let system_name = if name == symbol { "" } else { symbol };
    SourceFrame { system_name: system_name.into(), name: name.into(), ..SourceFrame::default() }
}

fn demangle_cpp(symbol: &str) -> Option<String> {
    if !symbol.starts_with("_Z") {
        return None;
    }
    cpp_demangle::Symbol::new(symbol).ok()?.demangle().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[inline(never)]
    fn landmark() -> u64 {
        std::hint::black_box(7)
    }

    #[test]
    fn names_a_function_of_this_program() {
        assert_eq!(landmark(), 7);
        let address = landmark as fn() -> u64 as usize as u64;
        let mut symbolizer = AddressSymbolizer::new();
        let (object, _segment) = symbolizer.find(address).unwrap();
        assert_eq!(object, 0);
        let frames = symbolizer.frames(object, address);
        let outermost = frames.last().unwrap();
        assert_eq!(&*outermost.name, "profile_core::stacks::symbol::tests::landmark");
        assert!(
            outermost.system_name.starts_with("_R") || outermost.system_name.starts_with("_ZN")
        );
        assert!(outermost.file.ends_with("src/stacks/symbol/mod.rs"), "{outermost:?}");
        assert!(outermost.line > 0);
    }

    #[test]
    fn a_symbol_begins_where_its_function_does() {
        let address = landmark as fn() -> u64 as usize as u64;
        for budget in [BUDGET, 0] {
            let mut symbolizer = AddressSymbolizer::new();
            symbolizer.budget = budget;
            let symbol = symbolizer.symbol(address + 1).unwrap();
            assert_eq!(symbol.start, address);
            let demangled = rustc_demangle::demangle(&symbol.name);
            assert_eq!(format!("{demangled:#}"), "profile_core::stacks::symbol::tests::landmark");
            assert_eq!(symbolizer.symbol(0), None);
        }
    }

    #[test]
    fn this_program_was_not_stripped() {
        assert!(AddressSymbolizer::new().has_names());
        let mut stripped = AddressSymbolizer::new();
        stripped.sources[0] = Some(NameSource::Nothing);
        assert!(!stripped.has_names());
    }

    #[test]
    fn an_address_without_a_name_is_called_after_its_object() {
        let mut symbolizer = AddressSymbolizer::new();
        // The rest of the code's last page belongs to no function.
        let padding = symbolizer.objects()[0].segments[0].limit - 1;
        let frames = symbolizer.frames(0, padding);
        assert_eq!(frames.len(), 1);
        assert!(frames[0].name.starts_with("[profile_core-"), "{frames:?}");
        assert_eq!(symbolizer.find(0), None);
    }

    #[test]
    fn what_the_kernel_maps_has_names() {
        let mut symbolizer = AddressSymbolizer::new();
        let vdso = symbolizer.objects().iter().position(|object| object.image.is_some()).unwrap();
        let NameSource::Names(names) = symbolizer.source(vdso) else { panic!("there are names") };
        let has_clock = |(.., name): &&(u64, u64, String)| name.contains("clock_gettime");
        let (begin, _end, name) = names.functions.iter().find(has_clock).unwrap().clone();
        let address = symbolizer.objects()[vdso].bias.wrapping_add(begin) + 8;
        assert_eq!(symbolizer.find(address).map(|(object, _)| object), Some(vdso));
        assert_eq!(&*symbolizer.frames(vdso, address)[0].name, name);
    }

    #[test]
    fn names_are_for_people_and_system_names_differ() {
        let cases = [
            (
                "_ZN5alloc3vec16Vec$LT$T$C$A$GT$6extend17h0123456789abcdefE",
                "alloc::vec::Vec<T,A>::extend",
                true,
            ),
            (
                "_ZNSt6vectorIiSaIiEE9push_backERKi",
                "std::vector<int, std::allocator<int> >::push_back(int const&)",
                true,
            ),
            ("malloc", "malloc", false),
            ("memcpy@@GLIBC_2.14", "memcpy", true),
            ("", "", false),
        ];
        for (symbol, name, differs) in cases {
            let frame = named(symbol);
            assert_eq!(&*frame.name, name);
            assert_eq!(&*frame.system_name, if differs { symbol } else { "" });
        }
    }

    #[test]
    fn a_replaced_file_is_not_trusted() {
        let mut object = objects::loaded()[0].clone();
        assert!(matches!(load(&object, false, &mut BUDGET.clone()), NameSource::Lines(_)));
        object.build_id = vec![1, 2, 3];
        assert!(matches!(load(&object, true, &mut BUDGET.clone()), NameSource::Nothing));
    }

    #[test]
    fn too_much_debug_information_leaves_the_names() {
        assert_eq!(landmark(), 7);
        let address = landmark as fn() -> u64 as usize as u64;
        let mut symbolizer = AddressSymbolizer::with(Box::leak(Box::default()));
        symbolizer.budget = 1000;
        let frames = symbolizer.frames(0, address);
        assert_eq!(frames.len(), 1);
        assert_eq!(&*frames[0].name, "profile_core::stacks::symbol::tests::landmark");
        assert_eq!((&*frames[0].file, frames[0].line), ("", 0));
        assert!(matches!(symbolizer.sources[0], Some(NameSource::Names(_))));
    }
}
