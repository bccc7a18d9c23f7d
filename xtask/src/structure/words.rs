//! Counts the words of the code: the names of types, and how docs begin.

use std::collections::HashMap;

use super::SourceFile;

/// Names that the associated types of std and of others have.
const ASSOCIATED: &[&str] = &["Error", "Result", "Item", "Output", "Target", "Future", "Response"];

/// Words with which a doc is a fragment of a sentence.
const FRAGMENTS: &[&str] = &["What", "Whether", "How", "Where", "Who", "When", "Which", "Why"];

/// Shares in percent, rounded up.
#[derive(Debug, PartialEq)]
pub(super) struct WordCount {
    pub(super) one_word: usize,
    pub(super) shared: usize,
    pub(super) fragments: usize,
}

/// Counts the words of all files.
pub(super) fn count(files: &[&SourceFile]) -> WordCount {
    let lines = || files.iter().flat_map(|file| &file.lines);
    let types: Vec<&str> = lines().filter_map(|line| type_name(line)).collect();
    let mut names: HashMap<&str, usize> = HashMap::new();
    types.iter().for_each(|name| *names.entry(name).or_default() += 1);
    let is_one_word = |name: &&&str| name.chars().filter(char::is_ascii_uppercase).count() == 1;
    let one_word = types.iter().filter(is_one_word).count();
    let shared = types.iter().filter(|name| names[**name] > 1).count();

    let (mut docs, mut fragments) = (0, 0);
    for file in files {
        let mut before = "";
        for line in file.lines.iter().map(|line| line.trim()) {
            if line.starts_with("///") && !before.starts_with("///") {
                docs += 1;
                let first = line.trim_start_matches("///").trim_start();
                let word = first.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
                fragments += usize::from(FRAGMENTS.contains(&word));
            }
            before = line;
        }
    }
    let percent = |part: usize, all: usize| (100 * part).div_ceil(all.max(1));
    WordCount {
        one_word: percent(one_word, types.len()),
        shared: percent(shared, types.len()),
        fragments: percent(fragments, docs),
    }
}

/// Returns the name of the type that a line defines.
fn type_name(line: &str) -> Option<&str> {
    let line = without_visibility(line.trim_start());
    let line = line.strip_prefix("unsafe ").unwrap_or(line);
    let (keyword, rest) = line.split_once(' ')?;
    let is_type = ["struct", "enum", "union", "trait", "type"].contains(&keyword);
    let name = rest.split(|c: char| !c.is_alphanumeric() && c != '_').next()?;
    (is_type && !name.is_empty() && !ASSOCIATED.contains(&name)).then_some(name)
}

/// Cuts `pub` off, with what is in brackets behind it.
pub(super) fn without_visibility(line: &str) -> &str {
    let Some(rest) = line.strip_prefix("pub") else { return line };
    let rest =
        rest.strip_prefix('(').and_then(|rest| rest.split_once(')')).map_or(rest, |(_, rest)| rest);
    rest.strip_prefix(' ').unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn types_and_docs_are_counted() {
        let text = "/// Whether it is.\n/// How.\npub(crate) struct Stack;\n/// Returns it.\npub enum WaitStack {}\n\
                    type Item = u8;\ntrait Stack {}\nlet type_of = 1;\n";
        let lines = text.lines().map(str::to_owned).collect();
        let file = SourceFile { path: PathBuf::new(), lines };
        let expected = WordCount { one_word: 67, shared: 67, fragments: 50 };
        assert_eq!(count(&[&file]), expected);
    }
}
