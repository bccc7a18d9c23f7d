//! The names that `jeprof --raw` and `pprof --raw` put before a profile.

use std::collections::HashMap;

use profile_format::profile::{Function, Line, Profile, StrId};

use crate::hash::KeyedHashBuilder;

/// The first line.
pub(crate) const HEADER: &[u8] = b"--- symbol";

/// Names by the address that stands in the stacks.
#[derive(Debug, Default)]
pub(crate) struct SymbolPart<'a> {
    names: HashMap<u64, &'a [u8], KeyedHashBuilder>,
}

/// Splits what begins with names from the profile that follows; `None` where it does not, or where
/// nothing follows.
pub(crate) fn split(bytes: &[u8]) -> Option<(SymbolPart<'_>, &[u8])> {
    let mut rest = bytes.strip_prefix(HEADER)?;
    let mut part = SymbolPart::default();
    loop {
        let line = take_line(&mut rest)?.trim_ascii();
        if line == b"---" {
            break;
        }
        let Some(text) = line.strip_prefix(b"0x") else { continue };
        let digits = text.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let address = str::from_utf8(&text[..digits]).ok();
        let address = address.and_then(|digits| u64::from_str_radix(digits, 16).ok());
        if let Some(address) = address {
            part.names.insert(address, text[digits..].trim_ascii());
        }
    }
    // `--- heap`, `--- profile` and the like say what follows, which says it itself.
    let mut after = rest;
    let section = take_line(&mut after)?;
    let is_section = section.starts_with(b"--- ") && !section.trim_ascii().ends_with(b":");
    Some((part, if is_section { after } else { rest }))
}

fn take_line<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    if rest.is_empty() {
        return None;
    }
    let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
    let line = &rest[..end];
    *rest = rest.get(end + 1..).unwrap_or_default();
    Some(line)
}

impl SymbolPart<'_> {
    /// Names the locations of a profile that have no name.
    pub(crate) fn name_locations(&self, profile: &mut Profile) {
        let mut functions: HashMap<&[u8], u32> = HashMap::new();
        for location in &mut profile.locations {
            // The call is before where it returns to, which is what stands in the stacks.
            let addresses = [location.address.wrapping_add(1), location.address];
            let found = addresses.iter().find_map(|address| self.names.get(address));
            let Some(names) = found.filter(|_| location.lines.is_empty()) else { continue };
            let start = profile.lines.len() as u32;
            for name in split_inlined(names) {
                let function = *functions.entry(name).or_insert_with(|| {
                    let name = profile.strings.push(&String::from_utf8_lossy(name));
                    let (system_name, filename) = (StrId(0), StrId(0));
                    profile.functions.push(Function { name, system_name, filename, start_line: 0 });
                    profile.functions.len() as u32 - 1
                });
                profile.lines.push(Line { function, line: 0, column: 0 });
            }
            location.lines = start..profile.lines.len() as u32;
        }
    }
}

/// Returns the functions at one address, the innermost first: they are written the other way round
/// with `--` between, which is also an operator of C++.
fn split_inlined(names: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    let (mut begin, mut at) = (0, 0);
    while let Some(found) = memchr::memmem::find(&names[at..], b"--") {
        let end = at + found;
        at = end + 2;
        if end > begin && !names[..end].ends_with(b"operator") && at < names.len() {
            parts.push(&names[begin..end]);
            begin = at;
        }
    }
    if begin < names.len() {
        parts.push(&names[begin..]);
    }
    parts.reverse();
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inlined_functions_come_innermost_first() {
        let split = |names: &str| {
            let parts = split_inlined(names.as_bytes()).into_iter();
            parts.map(|part| String::from_utf8(part.to_vec()).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(split("main"), ["main"]);
        assert_eq!(split("a--b--c"), ["c", "b", "a"]);
        assert_eq!(split("a--Iter::operator--"), ["Iter::operator--", "a"]);
        assert_eq!(split("Iter::operator----a"), ["a", "Iter::operator--"]);
        assert_eq!(split(""), [""; 0]);
    }
}
