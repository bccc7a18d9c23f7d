//! Names of the program's inlined functions: line tables have them without a path, and every async
//! function as `{async_fn#0}`. What they leave out is told from the symbols of functions that were
//! not inlined, by their files and lines.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use addr2line::Loader;
use profile_format::owner::FrameOwner;

use crate::stacks::symbol::{SourceFrame, SymbolTable, named};

/// The program's functions that have symbols, by file and line.
#[derive(Debug, Default)]
pub(crate) struct ProgramFunctions {
    by_file: HashMap<String, BTreeMap<u32, String>>,
    /// Functions with closures or async bodies in them, by the module that they are in.
    owners: HashMap<String, HashSet<String>>,
    /// Functions whose place is known.
    placed: HashSet<String>,
}

/// Functions whose places are looked up, at most.
const MOST_FUNCTIONS: usize = 16_384;
/// The ends of the names of what is inside a function.
const INNER: [&str; 2] = ["::{{closure}}", "::{closure#"];

/// Functions of a module that were looked up, by where their first line is.
#[derive(Default)]
struct ModuleFunctions {
    program: usize,
    library: usize,
}

impl ModuleFunctions {
    /// Returns whether the module is a library's, whose other functions need not be looked up. A
    /// function of the program's may begin with what was inlined in it.
    fn is_library(&self) -> bool {
        self.program == 0 && self.library >= 8
    }
}

impl ProgramFunctions {
    /// Reads the symbols of an object file.
    pub(crate) fn read(path: &Path, loader: &Loader) -> ProgramFunctions {
        let mut found = ProgramFunctions::default();
        let Some(symbols) = SymbolTable::of_file(path) else { return found };
        let (mut count, mut of_modules) = (0, HashMap::<String, ModuleFunctions>::new());
        for (begin, _, symbol) in &symbols.functions {
            let name = named(symbol).name;
            found.add_owners(&name);
            let function = INNER.iter().find_map(|end| name.split_once(end)).map(|(path, _)| path);
            let function = function.unwrap_or(&name);
            if !is_program_path(function) || count == MOST_FUNCTIONS {
                continue;
            }
            let of_module = of_modules.entry(outer_module(function).to_owned()).or_default();
            if of_module.is_library() {
                continue;
            }
            count += 1;
            if let Ok(Some(location)) = loader.find_location(*begin)
                && let (Some(file), Some(line)) = (location.file, location.line)
            {
                if FrameOwner::of(function, file) == FrameOwner::Program {
                    of_module.program += 1;
                    found.place(file, line, function);
                } else {
                    of_module.library += 1;
                }
            }
        }
        found
    }

    /// Adds what a symbol says of functions that have something inside, as the glue that drops it does:
    /// `core::ptr::drop_in_place<shop::user::{{closure}}>`.
    fn add_owners(&mut self, name: &str) {
        for (at, _) in INNER.iter().flat_map(|end| name.match_indices(end)) {
            let is_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
            let begin = name[..at].rfind(|c| !is_path(c)).map_or(0, |before| {
                before + name[before..].chars().next().map_or(1, char::len_utf8)
            });
            let path = &name[begin..at];
            if is_program_path(path)
                && let Some((module, _)) = path.rsplit_once("::")
            {
                self.owners.entry(module.to_owned()).or_default().insert(path.to_owned());
            }
        }
    }

    fn place(&mut self, file: &str, line: u32, function: &str) {
        let lines = self.by_file.entry(file.to_owned()).or_default();
        lines.entry(line).or_insert_with(|| function.to_owned());
        self.placed.insert(function.to_owned());
    }

    /// Returns the function that begins last before a line of a file, or the file's first one.
    fn nearest(&self, file: &str, line: u32) -> Option<&str> {
        let lines = self.by_file.get(file)?;
        let before = lines.range(..=line).next_back();
        before.or_else(|| lines.iter().next()).map(|(_, function)| function.as_str())
    }

    /// Returns whether a function is known to have something inside, and no other of its module with
    /// something inside may stand between it and a line that it is nearest to.
    fn has_inner(&self, function: &str) -> bool {
        let Some((module, _)) = function.rsplit_once("::") else { return false };
        let Some(owners) = self.owners.get(module) else { return false };
        owners.contains(function) && owners.iter().all(|owner| self.placed.contains(owner))
    }

    /// Gives the frames of one address, the innermost first, the paths that their names lack.
    pub(crate) fn complete(&self, frames: &mut [SourceFrame]) {
        // The outermost has its name from the symbol table.
        let Some((_, inlined)) = frames.split_last_mut() else { return };
        let mut named = HashSet::new();
        for frame in inlined.iter_mut().rev().filter(|frame| is_bare_program_frame(frame)) {
            let Some(nearest) = self.nearest(&frame.file, frame.line) else { continue };
            let Some((module, _)) = nearest.rsplit_once("::") else { continue };
            // A second body in the same function is that of another one, whose symbol is missing.
            let name = name_async(nearest, &frame.name)
                .filter(|_| self.has_inner(nearest) && named.insert(nearest));
            frame.name = name.unwrap_or_else(|| format!("{module}::{}", frame.name)).into();
        }
    }
}

/// Returns a function's crate and its module right below, or its own name where it is in none: a
/// program may be called as one of its libraries.
fn outer_module(function: &str) -> &str {
    let second = function.match_indices("::").nth(1);
    second.map_or(function, |(at, _)| &function[..at])
}

/// Returns whether a name is the path of a function of the program's, without types in it.
fn is_program_path(path: &str) -> bool {
    let is_plain = path.chars().all(|c| c.is_alphanumeric() || c == '_' || c == ':');
    is_plain && path.contains("::") && FrameOwner::of(path, "") == FrameOwner::Program
}

/// Returns whether a frame is an inlined function of the program's, without a path.
pub(crate) fn is_bare_program_frame(frame: &SourceFrame) -> bool {
    let end = frame.name.find('<').unwrap_or(frame.name.len());
    end > 0
        && !frame.name[..end].contains("::")
        && frame.file.ends_with(".rs")
        && FrameOwner::of(&frame.name, &frame.file) == FrameOwner::Program
}

/// Returns the name of an async function's body, or of an async block, from the function's path and
/// the body's name in the line tables. `None` for the body of anything else.
pub(crate) fn name_async(function: &str, body: &str) -> Option<String> {
    let path = &body[..body.find('<').unwrap_or(body.len())];
    let last = path.rsplit("::").next().unwrap_or_default();
    if last.starts_with("{async_fn") {
        Some(format!("{function} (async)"))
    } else if last.starts_with("{async_block") {
        Some(format!("{function} (async block)"))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(name: &str, file: &str, line: u32) -> SourceFrame {
        SourceFrame { name: name.into(), file: file.into(), line, ..SourceFrame::default() }
    }

    #[test]
    fn a_program_may_be_called_as_a_library() {
        assert_eq!(outer_module("h2::proto::streams::recv"), "h2::proto");
        assert_eq!(outer_module("h2::user"), "h2::user");
        assert_eq!(outer_module(""), "");
    }

    #[test]
    fn names_are_completed_from_what_symbols_say() {
        let mut functions = ProgramFunctions::default();
        let file = "/app/src/bin/h2.rs";
        functions.place(file, 3, "h2::main");
        functions.place(file, 11, "h2::user");
        functions.place(file, 13, "h2::items");
        functions.place("/app/src/cart.rs", 5, "shop::cart::add");
        functions.add_owners("core::ptr::drop_in_place<h2::user::{{closure}}>");
        functions.add_owners("<h2::items::{closure#0} as core::future::Future>::poll");
        functions.add_owners("tokio::runtime::park::{{closure}}");
        let outer = frame("<F as axum::handler::Handler<((),),S>>::call::{{closure}}", "", 0);
        let named = |inlined: &[SourceFrame]| -> Vec<String> {
            let mut frames = [inlined, std::slice::from_ref(&outer)].concat();
            functions.complete(&mut frames);
            assert_eq!(frames.pop(), Some(outer.clone()));
            frames.iter().map(|frame| frame.name.to_string()).collect()
        };
        let user = frame("{async_fn#0}", file, 12);
        assert_eq!(named(std::slice::from_ref(&user)), ["h2::user (async)"]);
        assert_eq!(named(&[frame("{async_block#1}", file, 14)]), ["h2::items (async block)"]);
        // `main` has nothing inside that a symbol tells of.
        assert_eq!(named(&[frame("{async_fn#0}", file, 4)]), ["h2::{async_fn#0}"]);
        assert_eq!(named(&[frame("{closure#0}", file, 12)]), ["h2::{closure#0}"]);
        let price = frame("price<u64>", "/app/src/cart.rs", 2);
        assert_eq!(named(&[price]), ["shop::cart::price<u64>"]);
        // One async function inlined in another, of which there is no symbol.
        assert_eq!(named(&[user.clone(), user]), ["h2::{async_fn#0}", "h2::user (async)"]);
        assert_eq!(named(&[frame("x", "/app/src/other.rs", 1)]), ["x"]);
        assert_eq!(named(&[frame("<script>", file, 12)]), ["<script>"]);

        functions.add_owners("core::ptr::drop_in_place<h2::missing::{{closure}}>");
        let mut unsure = [frame("{async_fn#0}", file, 12), outer];
        functions.complete(&mut unsure);
        assert_eq!(&*unsure[0].name, "h2::{async_fn#0}");
    }
}
