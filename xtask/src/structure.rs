//! The structure of the code, as the compiler doesn't check it: imports between files run one way, unsafe
//! code is in modules called `raw`, `cfg` stands on `mod` and `use` lines and in tables, and words are as
//! telling as in the code that this project learned from.
//!
//! Reads source files line by line: they are formatted by rustfmt, which a step before this one checks.
//! Test modules are left out.

mod imports;
mod words;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// The folders of the product's code.
const FOLDERS: &[&str] = &[
    "src",
    "profile-analysis/src",
    "profile-archive/src",
    "profile-core/src",
    "profile-format/src",
    "profile-http/src",
];

/// Files of more lines than this are long.
const LONG_FILE: usize = 450;
/// Functions of more lines than this are long.
const LONG_FUNCTION: usize = 60;

/// A figure, and the most that it may be.
struct Limit {
    name: &'static str,
    found: usize,
    most: usize,
}

/// A source file without its test module.
struct SourceFile {
    /// Relative to the workspace.
    path: PathBuf,
    lines: Vec<String>,
}

/// Checks all of it, and prints the figures.
pub(crate) fn check() -> Result<()> {
    let folders: Vec<Vec<SourceFile>> =
        FOLDERS.iter().map(|folder| read_folder(Path::new(folder))).collect::<Result<_>>()?;
    let mut faults = Vec::new();
    for (folder, files) in FOLDERS.iter().zip(&folders) {
        for circle in imports::circles(Path::new(folder), files) {
            faults.push(format!("files import each other in a circle: {}", circle.join(", ")));
        }
    }
    let files: Vec<&SourceFile> = folders.iter().flatten().collect();
    for file in &files {
        faults.extend(unsafe_outside_raw(file));
    }
    let words = words::count(&files);
    let limits = [
        Limit { name: "types of one word, %", found: words.one_word, most: 35 },
        Limit { name: "types that share their name, %", found: words.shared, most: 18 },
        Limit { name: "docs that begin with a fragment word, %", found: words.fragments, most: 6 },
        Limit { name: "files over 450 lines", found: long_files(&files), most: 6 },
        Limit { name: "functions over 60 lines", found: long_functions(&files), most: 6 },
    ];
    for Limit { name, found, most } in limits {
        println!("{name}: {found} of at most {most}");
        if found > most {
            faults.push(format!("{name}: {found}, at most {most}"));
        }
    }
    match faults.is_empty() {
        true => Ok(()),
        false => Err(Error::Check(faults.join("\n"))),
    }
}

/// Reads every source file below a folder, in the order of their names.
fn read_folder(folder: &Path) -> Result<Vec<SourceFile>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).map_err(|source| file_error(&folder, source))?;
        for entry in entries {
            let path = entry.map_err(|source| file_error(&folder, source))?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") && !path.ends_with("tests.rs")
            {
                let text = fs::read_to_string(&path).map_err(|source| file_error(&path, source))?;
                files.push(SourceFile { path, lines: without_tests(&text) });
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

fn file_error(path: &Path, source: io::Error) -> Error {
    Error::File { path: path.to_path_buf(), source }
}

/// Returns the lines before the test module.
fn without_tests(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let is_end = |pair: &[&str]| {
        pair[0].starts_with("#[cfg(") && pair[0].contains("test") && pair[1].starts_with("mod ")
    };
    let end = lines.windows(2).position(is_end).unwrap_or(lines.len());
    lines[..end].iter().map(|&line| line.to_owned()).collect()
}

/// Names the places that allow unsafe code in a module of another name than `raw`.
fn unsafe_outside_raw(file: &SourceFile) -> Vec<String> {
    let allows = |(_, line): &(usize, &String)| line.contains("allow(unsafe_code)");
    let wrong = |&(index, _): &(usize, &String)| {
        let next = file.lines[index + 1..].iter().find(|line| !line.trim().starts_with("#["));
        !next.is_some_and(|line| line.ends_with("mod raw;"))
    };
    let places = file.lines.iter().enumerate().filter(allows).filter(wrong);
    let say = |(index, _): (usize, &String)| {
        format!(
            "{}:{}: unsafe code is allowed in modules called `raw` only",
            file.path.display(),
            index + 1
        )
    };
    places.map(say).collect()
}

fn long_files(files: &[&SourceFile]) -> usize {
    let long: Vec<_> = files.iter().filter(|file| file.lines.len() > LONG_FILE).collect();
    for file in &long {
        println!("  {} lines: {}", file.lines.len(), file.path.display());
    }
    long.len()
}

fn long_functions(files: &[&SourceFile]) -> usize {
    let mut long = 0;
    for file in files {
        for (begin, line) in file.lines.iter().enumerate() {
            let indent = line.len() - line.trim_start().len();
            if !is_function(line.trim_start()) || line.ends_with(';') {
                continue;
            }
            let end = format!("{}}}", &line[..indent]);
            let last = file.lines[begin..].iter().position(|line| *line == end).unwrap_or(0);
            // Assembler is one string a line, and long by nature.
            let is_assembler = |line: &&String| line.trim_start().starts_with('"');
            let body = &file.lines[begin..=begin + last];
            let length = body.iter().filter(|line| !is_assembler(line)).count();
            if length > LONG_FUNCTION {
                println!("  {length} lines: {}:{}", file.path.display(), begin + 1);
                long += 1;
            }
        }
    }
    long
}

/// Tells whether a line begins a function.
fn is_function(line: &str) -> bool {
    let line = words::without_visibility(line);
    let mut rest = line;
    for word in ["const ", "async ", "unsafe ", "extern \"C\" ", "extern \"C-unwind\" "] {
        rest = rest.strip_prefix(word).unwrap_or(rest);
    }
    rest.starts_with("fn ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> SourceFile {
        SourceFile { path: PathBuf::from("x.rs"), lines: without_tests(text) }
    }

    #[test]
    fn unsafe_code_belongs_into_raw() {
        assert!(
            unsafe_outside_raw(&file("#[cfg(a)]\n#[allow(unsafe_code)]\nmod raw;\n")).is_empty()
        );
        assert_eq!(unsafe_outside_raw(&file("#[allow(unsafe_code)]\nmod other;\n")).len(), 1);
        assert_eq!(unsafe_outside_raw(&file("#![allow(unsafe_code)]\nfn x() {}\n")).len(), 1);
    }

    #[test]
    fn long_functions_are_counted_and_tests_are_not() {
        let body = "    let x = 1;\n".repeat(LONG_FUNCTION);
        let long = format!("pub(crate) const unsafe fn long() {{\n{body}}}\n");
        let tests = format!("#[cfg(test)]\nmod tests {{\nfn test() {{\n{body}}}\n}}\n");
        assert_eq!(long_functions(&[&file(&long)]), 1);
        assert_eq!(long_functions(&[&file(&tests)]), 0);
        assert_eq!(long_functions(&[&file("fn short() {\n}\n")]), 0);
    }
}
