//! Addresses of this process to functions, files and lines.
//!
//! Resolving is slow and takes memory, so it happens once for each distinct address, off every hot
//! path, and all of it is freed with the [`Symbolizer`].

use std::fs::File;
use std::path::{Path, PathBuf};

use addr2line::Loader;
use object::read::ReadCache;
use object::{Object as _, ReadRef};

use crate::process::hex;
use crate::sys::objects::{self, Object};

/// The objects of this process, with their debug information as far as it was needed.
pub(crate) struct Symbolizer {
    objects: Vec<Object>,
    /// Beside each object: not looked for yet, not to be had, or loaded.
    loaders: Vec<Option<Option<Loader>>>,
}

/// A frame of the source: a function with the line it is at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Frame {
    /// The name for people, without hashes.
    pub(crate) name: String,
    /// The name in the object file; empty where it is the same or not known.
    pub(crate) system_name: String,
    /// The source file; empty where unknown.
    pub(crate) file: String,
    pub(crate) line: u32,
    pub(crate) column: u32,
}

impl Symbolizer {
    /// A symbolizer of what is loaded now.
    pub(crate) fn new() -> Symbolizer {
        let objects = objects::loaded();
        let loaders = objects.iter().map(|_| None).collect();
        Symbolizer { objects, loaders }
    }

    /// The objects, the main program first.
    pub(crate) fn objects(&self) -> &[Object] {
        &self.objects
    }

    /// Indices of the object and the segment that hold an address.
    pub(crate) fn find(&self, address: u64) -> Option<(usize, usize)> {
        self.objects.iter().enumerate().find_map(|(object, Object { segments, .. })| {
            let segment = segments.iter().position(|s| (s.start..s.limit).contains(&address))?;
            Some((object, segment))
        })
    }

    /// The frames at an address of an object, the innermost inlined function first. There is always
    /// one: an address without a name is called after its object and offset.
    pub(crate) fn frames(&mut self, object: usize, address: u64) -> Vec<Frame> {
        let bias = self.objects[object].bias;
        let relative = address.wrapping_sub(bias);
        let mut frames = match self.loader(object) {
            Some(loader) => resolve(loader, relative),
            None => Vec::new(),
        };
        if frames.is_empty() {
            let path = &self.objects[object].path;
            let file = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
            let name = format!("[{file}+{relative:#x}]");
            frames.push(Frame { name, ..Frame::default() });
        }
        frames
    }

    fn loader(&mut self, object: usize) -> Option<&Loader> {
        let described = &self.objects[object];
        self.loaders[object].get_or_insert_with(|| load(described, object == 0)).as_ref()
    }
}

/// Debug information for an object: a separate debug file where there is one, else the file itself,
/// and only if it is still the file that was loaded.
fn load(object: &Object, is_main: bool) -> Option<Loader> {
    let mut candidates = Vec::new();
    candidates.extend(debug_file(&object.build_id));
    candidates.push(object.path.clone());
    if is_main {
        // Still there when the program's file was replaced or deleted.
        candidates.push(PathBuf::from("/proc/self/exe"));
    }
    candidates
        .into_iter()
        .filter(|path| build_id_of(path).is_some_and(|id| id == object.build_id))
        .find_map(|path| Loader::new(path).ok())
}

/// Where distributions put debug information that was split off.
fn debug_file(build_id: &[u8]) -> Option<PathBuf> {
    let (first, rest) = build_id.split_first()?;
    let path = format!("/usr/lib/debug/.build-id/{first:02x}/{}.debug", hex(rest));
    Path::new(&path).exists().then(|| PathBuf::from(path))
}

/// The build id of a file, empty where it has none; `None` where it can't be read as an object.
fn build_id_of(path: &Path) -> Option<Vec<u8>> {
    let cache = ReadCache::new(File::open(path).ok()?);
    fn read<'data>(data: impl ReadRef<'data>) -> Option<Vec<u8>> {
        let file = object::File::parse(data).ok()?;
        Some(file.build_id().ok()?.unwrap_or_default().to_vec())
    }
    read(&cache)
}

fn resolve(loader: &Loader, relative: u64) -> Vec<Frame> {
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
            frames.push(Frame {
                file: file.to_owned(),
                line,
                column,
                ..named(name.as_deref().unwrap_or(""))
            });
        }
    }
    // Line tables hold short names (`{closure#0}`); the symbol table has the outermost function's
    // whole path.
    if let Some(symbol) = loader.find_symbol(relative) {
        let Frame { name, system_name, .. } = named(symbol);
        match frames.last_mut() {
            Some(outermost) => (outermost.name, outermost.system_name) = (name, system_name),
            None => frames.push(Frame { name, system_name, ..Frame::default() }),
        }
    }
    frames.retain(|frame| !frame.name.is_empty());
    frames
}

/// A frame with both its names. `system_name` is never equal to `name`: readers take that for a name
/// that is still to be demangled, and cut Rust's generics off.
fn named(symbol: &str) -> Frame {
    // A suffix such as `.llvm.123` or `@GLIBC_2.2.5` names no other function.
    let name = if let Ok(demangled) = rustc_demangle::try_demangle(symbol) {
        format!("{demangled:#}")
    } else if let Some(demangled) = demangle_cpp(symbol) {
        demangled
    } else {
        symbol.split_once('@').map_or(symbol, |(name, _version)| name).to_owned()
    };
    let system_name = if name == symbol { String::new() } else { symbol.to_owned() };
    Frame { name, system_name, ..Frame::default() }
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
        let mut symbolizer = Symbolizer::new();
        let (object, _segment) = symbolizer.find(address).unwrap();
        assert_eq!(object, 0);
        let frames = symbolizer.frames(object, address);
        let outermost = frames.last().unwrap();
        assert_eq!(outermost.name, "profile_core::symbol::tests::landmark");
        assert!(
            outermost.system_name.starts_with("_R") || outermost.system_name.starts_with("_ZN")
        );
        assert!(outermost.file.ends_with("src/symbol.rs"), "{outermost:?}");
        assert!(outermost.line > 0);
    }

    #[test]
    fn an_address_without_a_name_is_called_after_its_object() {
        let mut symbolizer = Symbolizer::new();
        // The rest of the code's last page belongs to no function.
        let padding = symbolizer.objects()[0].segments[0].limit - 1;
        let frames = symbolizer.frames(0, padding);
        assert_eq!(frames.len(), 1);
        assert!(frames[0].name.starts_with("[profile_core-"), "{frames:?}");
        assert_eq!(symbolizer.find(0), None);
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
            assert_eq!(frame.name, name);
            assert_eq!(frame.system_name, if differs { symbol } else { "" });
        }
    }

    #[test]
    fn a_replaced_file_is_not_trusted() {
        let mut object = objects::loaded()[0].clone();
        assert!(load(&object, false).is_some());
        object.build_id = vec![1, 2, 3];
        assert!(load(&object, true).is_none());
    }
}
