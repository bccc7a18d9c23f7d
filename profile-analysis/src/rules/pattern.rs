//! Patterns of rules: `net/http.(*conn).*` is a glob, `/^main\.handle/` a regular expression.

use regex::Regex;

/// A pattern that a whole name either matches or doesn't.
#[derive(Clone, Debug)]
pub(super) enum NamePattern {
    Glob(Vec<u8>),
    Regex(Regex),
}

/// A bit for each pattern, set for those that match a name.
pub(crate) type PatternBits = Vec<u64>;

impl NamePattern {
    /// Reads a pattern.
    ///
    /// # Errors
    ///
    /// A regular expression that makes no sense, or would take more than 1 MiB; holds why.
    pub(super) fn new(text: &str) -> Result<NamePattern, String> {
        match text.strip_prefix('/').and_then(|text| text.strip_suffix('/')) {
            Some(regex) => regex::RegexBuilder::new(regex)
                .size_limit(1 << 20)
                .build()
                .map(NamePattern::Regex)
                .map_err(|error| regex_error_reason(&error)),
            None => Ok(NamePattern::Glob(text.as_bytes().to_vec())),
        }
    }

    pub(super) fn matches(&self, name: &str) -> bool {
        match self {
            NamePattern::Glob(glob) => matches_glob(glob, name.as_bytes()),
            NamePattern::Regex(regex) => regex.is_match(name),
        }
    }
}

/// Returns the reason why a regular expression makes no sense, without the picture that points at
/// the place.
pub(crate) fn regex_error_reason(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}

/// Returns whether a name matches a glob: `*` stands for anything, `?` for one byte. Goes back only
/// to the last `*`, so that the time is at most the product of the lengths.
fn matches_glob(glob: &[u8], name: &[u8]) -> bool {
    let (mut at, mut in_name) = (0, 0);
    let mut star = None;
    while in_name < name.len() {
        match glob.get(at) {
            Some(b'*') => {
                star = Some((at, in_name));
                at += 1;
            }
            Some(&byte) if byte == b'?' || byte == name[in_name] => {
                at += 1;
                in_name += 1;
            }
            _ => {
                let Some((star_at, from)) = star else { return false };
                star = Some((star_at, from + 1));
                at = star_at + 1;
                in_name = from + 1;
            }
        }
    }
    glob[at..].iter().all(|&byte| byte == b'*')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(pattern: &str, name: &str, expected: bool) {
        assert_eq!(NamePattern::new(pattern).unwrap().matches(name), expected, "{pattern} {name}");
    }

    #[test]
    fn globs_match_whole_names() {
        check("net/http.(*conn).serve", "net/http.(*conn).serve", true);
        check("net/http.(?conn).serve", "net/http.(*conn).serve", true);
        check("net/http.(*conn)", "net/http.(*conn).serve", false);
        check("*.ServeHTTP", "main.(*T).ServeHTTP", true);
        check("*.ServeHTTP", "main.(*T).ServeHTTPX", false);
        check("*http*conn*", "net/http.(*conn).serve", true);
        check("", "", true);
        check("*", "", true);
        check("a*b*c", "aXbXbXc", true);
        check("a*b*c", "aXbXbX", false);
    }

    #[test]
    fn regular_expressions_stand_between_slashes() {
        check("/^main\\.handle[A-Z]/", "main.handleX", true);
        check("/^main\\.handle[A-Z]/", "a.main.handleX", false);
        assert!(NamePattern::new("/(/").is_err());
        assert!(NamePattern::new("/a{1000}{1000}{1000}/").is_err());
    }

    proptest! {
        #[test]
        fn globs_are_what_a_regular_expression_says(glob in "[ab*?]{0,8}", name in "[ab]{0,10}") {
            let regex = format!("^{}$", glob.replace('*', ".*").replace('?', "."));
            let expected = Regex::new(&regex).unwrap().is_match(&name);
            prop_assert_eq!(matches_glob(glob.as_bytes(), name.as_bytes()), expected);
        }
    }
}
