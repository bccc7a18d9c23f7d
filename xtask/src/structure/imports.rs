//! Finds circles of imports between the files of a crate.
//!
//! A file imports another where it names something in it, in a `use` or in a path. What a file only hands
//! on (`pub use`) counts for whoever takes it from there, not for the file that hands it on; and what a
//! folder's `mod.rs` takes from its own files is inside of one room, and is not counted.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use super::SourceFile;
use super::words::without_visibility;

/// A path in the code, from the crate's root on.
type CodePath = Vec<String>;

/// A crate's modules: the file of each, and what it hands on.
struct ModuleTree<'a> {
    files: HashMap<CodePath, &'a SourceFile>,
    handed_on: HashMap<CodePath, CodePath>,
}

/// A `use` statement's leaf.
struct ImportedName {
    path: CodePath,
    /// The name that it has here.
    name: String,
    is_handed_on: bool,
}

/// Returns the circles, each as the names of its files.
pub(super) fn circles(root: &Path, files: &[SourceFile]) -> Vec<Vec<String>> {
    let modules: HashMap<CodePath, &SourceFile> =
        files.iter().map(|file| (module_of(root, &file.path), file)).collect();
    let mut handed_on = HashMap::new();
    let mut named: BTreeMap<&Path, Vec<CodePath>> = BTreeMap::new();
    for (module, file) in &modules {
        let named = named.entry(&file.path).or_default();
        for import in uses(module, file) {
            if import.is_handed_on {
                let mut here = module.clone();
                here.push(import.name);
                handed_on.insert(here, import.path);
            } else {
                named.push(import.path);
            }
        }
        named.extend(paths(module, file));
    }
    let tree = ModuleTree { files: modules, handed_on };
    let mut imports: BTreeMap<&Path, BTreeSet<&Path>> = BTreeMap::new();
    for (&file, named) in &named {
        let targets = named.iter().filter_map(|path| tree.file_of(path, 8));
        let is_inside =
            |target: &Path| file.ends_with("mod.rs") && target.parent() == file.parent();
        imports
            .insert(file, targets.filter(|&target| target != file && !is_inside(target)).collect());
    }
    connected(&imports)
}

impl ModuleTree<'_> {
    /// Returns the file that defines what a path names, through so many hands at most.
    fn file_of(&self, path: &[String], hands: usize) -> Option<&Path> {
        for length in (0..path.len()).rev() {
            if let Some(target) = self.handed_on.get(&path[..=length])
                && hands > 0
            {
                let through: CodePath = target.iter().chain(&path[length + 1..]).cloned().collect();
                return self.file_of(&through, hands - 1);
            }
        }
        (0..=path.len())
            .rev()
            .find_map(|length| self.files.get(&path[..length]))
            .map(|file| &*file.path)
    }
}

/// Returns the module that a file is: `a/mod.rs` and `a.rs` are `a`, `lib.rs` and `main.rs` the root.
fn module_of(root: &Path, file: &Path) -> CodePath {
    let inside = file.strip_prefix(root).unwrap_or(file).with_extension("");
    let mut path: CodePath =
        inside.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if path.last().is_some_and(|last| last == "mod")
        || matches!(&*path, [only] if only == "lib" || only == "main")
    {
        path.pop();
    }
    path
}

/// Returns what a file's `use` statements name in the crate.
fn uses(module: &[String], file: &SourceFile) -> Vec<ImportedName> {
    let children: Vec<&str> = file
        .lines
        .iter()
        .filter_map(|line| {
            without_visibility(line.trim_start()).strip_prefix("mod ")?.strip_suffix(';')
        })
        .collect();
    let mut found = Vec::new();
    let mut lines = file.lines.iter();
    while let Some(line) = lines.next() {
        let line = line.trim();
        let Some(begin) = without_visibility(line).strip_prefix("use ") else { continue };
        let is_handed_on = line.starts_with("pub");
        let mut text = begin.to_owned();
        while !text.ends_with(';') {
            let Some(next) = lines.next() else { break };
            text.push_str(next.trim());
        }
        let mut leaves = Vec::new();
        expand(&CodePath::new(), text.trim_end_matches(';'), &mut leaves);
        for (mut path, name) in leaves {
            if path.first().is_some_and(|first| children.contains(&&**first)) {
                path.insert(0, "self".to_owned());
            }
            if let Some(path) = absolute(module, &path) {
                found.push(ImportedName { path, name, is_handed_on });
            }
        }
    }
    found
}

/// Takes a tree of names apart: each path to its end, with the name that it has here.
fn expand(prefix: &[String], tree: &str, leaves: &mut Vec<(CodePath, String)>) {
    let tree = tree.trim();
    let join = |text: &str| -> CodePath {
        let parts = text.split("::").map(str::trim).filter(|part| !part.is_empty());
        prefix.iter().cloned().chain(parts.map(str::to_owned)).collect()
    };
    let Some((head, rest)) = tree.split_once('{') else {
        let (path, alias) =
            tree.split_once(" as ").map_or((tree, None), |(path, alias)| (path, Some(alias)));
        let mut path = join(path);
        if path.len() > 1 {
            path.pop_if(|last| last == "self");
        }
        let name = alias.map(str::to_owned).or_else(|| path.last().cloned()).unwrap_or_default();
        leaves.push((path, name));
        return;
    };
    let prefix = join(head);
    let inner = rest.strip_suffix('}').unwrap_or(rest);
    let (mut depth, mut begin) = (0, 0);
    for (at, c) in inner.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                expand(&prefix, &inner[begin..at], leaves);
                begin = at + 1;
            }
            _ => {}
        }
    }
    if !inner[begin..].trim().is_empty() {
        expand(&prefix, &inner[begin..], leaves);
    }
}

/// Returns the paths in a file's code that begin at the crate's root or at a module above.
fn paths(module: &[String], file: &SourceFile) -> Vec<CodePath> {
    let mut found = Vec::new();
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    for line in file.lines.iter().map(|line| line.trim_start()) {
        if line.starts_with("//") || without_visibility(line).starts_with("use ") {
            continue;
        }
        for text in line.split(|c: char| !is_part(c)) {
            if text.starts_with("crate::") || text.starts_with("super::") {
                let path: CodePath = text.split("::").map(str::to_owned).collect();
                found.extend(absolute(module, &path));
            }
        }
    }
    found
}

/// Returns a path from the crate's root on; `None` for one into another crate.
fn absolute(module: &[String], path: &[String]) -> Option<CodePath> {
    let mut base = module.to_vec();
    let mut rest = path;
    match rest.first()?.as_str() {
        "crate" => {
            base.clear();
            rest = &rest[1..];
        }
        "self" => rest = &rest[1..],
        "super" => {}
        _ => return None,
    }
    while let Some((first, behind)) = rest.split_first()
        && first == "super"
    {
        base.pop();
        rest = behind;
    }
    base.extend_from_slice(rest);
    Some(base)
}

/// Returns the groups of files that reach each other.
fn connected(imports: &BTreeMap<&Path, BTreeSet<&Path>>) -> Vec<Vec<String>> {
    let reached = |from: &Path| {
        let mut seen: BTreeSet<&Path> = BTreeSet::new();
        let mut next: Vec<&Path> = imports.get(from).into_iter().flatten().copied().collect();
        while let Some(file) = next.pop() {
            if seen.insert(file) {
                next.extend(imports.get(file).into_iter().flatten());
            }
        }
        seen
    };
    let reached: BTreeMap<&Path, BTreeSet<&Path>> =
        imports.keys().map(|&file| (file, reached(file))).collect();
    let mut circles: Vec<Vec<String>> = Vec::new();
    let mut done: BTreeSet<&Path> = BTreeSet::new();
    for (&file, targets) in &reached {
        if !targets.contains(file) || done.contains(file) {
            continue;
        }
        let circle: Vec<&Path> = targets
            .iter()
            .copied()
            .filter(|target| reached.get(target).is_some_and(|back| back.contains(file)))
            .collect();
        done.extend(&circle);
        circles.push(circle.iter().map(|file| file.display().to_string()).collect());
    }
    circles
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn found(files: &[(&str, &str)]) -> Vec<Vec<String>> {
        let files: Vec<SourceFile> = files
            .iter()
            .map(|(path, text)| SourceFile {
                path: PathBuf::from(path),
                lines: text.lines().map(str::to_owned).collect(),
            })
            .collect();
        circles(Path::new("x/src"), &files)
    }

    #[test]
    fn files_that_name_each_other_are_a_circle() {
        let circle = found(&[
            ("x/src/lib.rs", "mod a;\nmod b;\npub use a::One;\n"),
            ("x/src/a.rs", "use crate::b::{self, Two};\npub struct One;\n"),
            ("x/src/b.rs", "fn two() -> super::a::One { todo() }\n"),
        ]);
        assert_eq!(circle, [["x/src/a.rs", "x/src/b.rs"]]);
    }

    #[test]
    fn what_is_handed_on_is_taken_from_where_it_is() {
        let files = [
            ("x/src/lib.rs", "mod a;\npub use a::{b::Two, One};\n"),
            (
                "x/src/a/mod.rs",
                "pub mod b;\npub(crate) use self::b::Two as Three;\npub struct One;\n",
            ),
            ("x/src/a/b.rs", "pub struct Two;\n"),
        ];
        assert_eq!(found(&files), Vec::<Vec<String>>::new());
        let mut files = files.to_vec();
        // `Two` is its own, by whatever name.
        files[2].1 = "use super::Three;\nuse crate::Two as Four;\npub struct Two;\n";
        assert_eq!(found(&files), Vec::<Vec<String>>::new());
        files[1].1 = "pub mod b;\nuse b::Two;\npub struct One;\n";
        files[2].1 = "use super::One;\npub struct Two;\n";
        assert_eq!(found(&files), Vec::<Vec<String>>::new(), "one room");
    }
}
