//! What Go's index page and command line say.

use std::collections::BTreeSet;

/// The most names and words that are taken.
const MOST: usize = 1000;

/// Returns the names of the profiles that an index page links to as `NAME?debug=1`; `None` where it
/// links to nothing of the kind.
pub(super) fn profile_names(html: &[u8]) -> Option<BTreeSet<String>> {
    let html = String::from_utf8_lossy(html);
    let mut names = BTreeSet::new();
    for link in html.split("href=").skip(1).take(MOST) {
        let link = link.trim_start_matches(['"', '\'']);
        let end = link.find(['"', '\'', '>', ' ']).unwrap_or(link.len());
        let Some((path, query)) = link[..end].split_once('?') else { continue };
        let name = path.rsplit('/').next().unwrap_or(path);
        if query.starts_with("debug=") && !name.is_empty() && name.len() <= 100 {
            names.insert(name.to_owned());
        }
    }
    (!names.is_empty()).then_some(names)
}

/// Returns the words of a command line without what may be a secret: the program's name, the names
/// of options, and `…` for everything else.
pub(super) fn without_secrets(cmdline: &[u8]) -> Vec<String> {
    let mut words = cmdline.split(|&byte| byte == 0).take(MOST);
    let program = words.next().map(program_name).unwrap_or_default();
    let mut shown = vec![program];
    shown.extend(words.map(|word| {
        let word = String::from_utf8_lossy(word);
        match word.split_once('=') {
            Some((option, _)) if is_option(option, 1) => format!("{option}=…"),
            // One dash and several letters may be an option together with its value.
            None if is_option(&word, 2) || (is_option(&word, 1) && word.len() == 2) => {
                word.into_owned()
            }
            _ => "…".to_owned(),
        }
    }));
    shown
}

/// Returns the name of the program, without its directory.
pub(super) fn program_name(word: &[u8]) -> String {
    let word = String::from_utf8_lossy(word);
    // A process can write what it likes here, such as its arguments after a space.
    let path = word.split_whitespace().next().unwrap_or_default();
    let name = path.rsplit('/').next().unwrap_or_default();
    let plain = |c: &char| c.is_ascii_alphanumeric() || "._-".contains(*c);
    name.chars().filter(plain).take(60).collect()
}

/// Returns whether a word is at least so many dashes and a name.
fn is_option(word: &str, dashes: usize) -> bool {
    let name = word.trim_start_matches('-');
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    word.len() - name.len() >= dashes
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.len() <= 60
        && name.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_index_of_any_version() {
        let check = |html: &str, expected: &[&str]| {
            let names = profile_names(html.as_bytes()).unwrap_or_default();
            assert_eq!(names.iter().map(String::as_str).collect::<Vec<_>>(), expected, "{html}");
        };
        check("<a href='allocs?debug=1'>a</a><a href=\"heap?debug=1\">", &["allocs", "heap"]);
        check("<a href=\"/debug/pprof/block?debug=1\">", &["block"]);
        check("<a href=\"goroutine?debug=2\">full</a>", &["goroutine"]);
        check("<a href=heap?debug=1>x", &["heap"]);
        check("<a href='/'>home</a> <a href='x?y=1'>", &[]);
        check("href='", &[]);
        check("", &[]);
    }

    #[test]
    fn a_command_line_gives_nothing_away() {
        let check = |cmdline: &str, expected: &[&str]| {
            assert_eq!(without_secrets(cmdline.as_bytes()), expected, "{cmdline:?}");
        };
        check("/usr/bin/prometheus\0--config.file=p.yml", &["prometheus", "--config.file=…"]);
        check("x\0--token\0s3cret\0-v", &["x", "--token", "…", "-v"]);
        check("x\0-ps3cret\0-token=s3cret", &["x", "…", "-token=…"]);
        check("x\0postgres://u:s3cret@h/?a=b\0s3cret=1", &["x", "…", "…"]);
        check("nginx: master --key s3cret", &["nginx"]);
        check("x\0--\0-\0--9\0--a b", &["x", "…", "…", "…", "…"]);
        check("", &[""]);
    }
}
