//! Profiles beyond those that every Go service has: `goroutineleak`, and what a program has made with
//! `pprof.NewProfile`. The index names them.

use std::collections::BTreeSet;

use profile_core::Kind;

/// Names in Go's index that are no profiles.
const NO_PROFILES: [&str; 2] = ["cmdline", "symbol"];
/// The most that are taken.
const MOST: usize = 32;

/// Picks the profiles of an index that no kind stands for, and whose names are plain.
pub(super) fn pick_named(index: &BTreeSet<String>) -> Vec<&str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let is_named = |name: &&str| {
        let known = name.parse::<Kind>().is_ok() || Kind::at_endpoint(name).is_some();
        let known = known || NO_PROFILES.contains(name);
        !known && name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(plain)
    };
    index.iter().map(String::as_str).filter(is_named).take(MOST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_kind_stands_for_is_picked_by_plain_names() {
        let index = [
            "heap",
            "profile",
            "goroutineleak",
            "db.conns",
            "..",
            "a%2fb",
            "../x",
            "cpu",
            "cmdline",
        ];
        let index = index.map(str::to_owned).into();
        assert_eq!(pick_named(&index), ["db.conns", "goroutineleak"]);
        let many = (0..100).map(|n| format!("p{n}")).collect();
        assert_eq!(pick_named(&many).len(), MOST);
    }
}
