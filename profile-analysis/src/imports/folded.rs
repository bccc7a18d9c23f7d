//! Folded stacks: `root;caller;leaf value`, a line for each.

use profile_format::profile::Profile;

use super::{NamedFrame, StackBuilder, to_value};

/// Lines that are looked at to tell the form.
const LOOKED_AT: usize = 50;

/// Returns whether each line is names and a number, and one of them more than one name.
pub(super) fn is_folded(text: &str) -> bool {
    let lines = || text.lines().filter(|line| !line.trim().is_empty()).take(LOOKED_AT);
    lines().all(|line| !line.starts_with([' ', '\t', '{', '[', '#']) && split_line(line).is_some())
        && lines().any(|line| split_line(line).is_some_and(|(stack, _)| stack.contains(';')))
}

/// Splits a line into its stack and its value, the last of the two of a comparison.
fn split_line(line: &str) -> Option<(&str, f64)> {
    let (stack, value) = line.trim_end().rsplit_once(' ')?;
    let is_number = |text: &str| {
        let digits = text.strip_prefix('-').unwrap_or(text);
        digits.starts_with(|c: char| c.is_ascii_digit())
            && digits.chars().all(|c| c.is_ascii_digit() || c == '.')
    };
    let value = is_number(value).then(|| value.parse().ok())??;
    let before = stack.rsplit_once(' ').filter(|(_, base)| is_number(base));
    let stack = before.map_or(stack, |(stack, _)| stack).trim();
    (!stack.is_empty()).then_some((stack, value))
}

pub(super) fn read(bytes: &[u8]) -> (Profile, Vec<String>) {
    let mut stacks = StackBuilder::new(&[("samples", "count")]);
    let (mut offset, mut places) = (0, Vec::new());
    for line in bytes.split(|&byte| byte == b'\n') {
        let text = String::from_utf8_lossy(line);
        match split_line(&text) {
            Some((stack, value)) => {
                places.clear();
                let frames = stack.rsplit(';');
                places.extend(frames.map(|function| {
                    stacks.place(NamedFrame { function, ..NamedFrame::default() })
                }));
                stacks.sample(&places, &[to_value(value)], &[]);
            }
            None if text.trim().is_empty() => {}
            None => stacks.warn(|| format!("unknown line at byte {offset}")),
        }
        offset += line.len() + 1;
    }
    stacks.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Format;
    use crate::testing;

    #[test]
    fn lines_are_stacks() {
        let text = "main;a b;c 2\nmain 3 4\n\nnonsense\nmain;d 1.6\n";
        let (profile, warnings) = read(text.as_bytes());
        let values: Vec<_> = profile.samples.iter().map(|sample| sample.values[0]).collect();
        assert_eq!((values, warnings), (vec![2, 4, 2], vec!["unknown line at byte 23".to_owned()]));
    }

    #[test]
    fn logs_are_none() {
        assert!(is_folded("main;a 1\nmain;b 2"));
        for log in ["", "a 1\nb 2", "GET /x;y 200\nconnection closed", "{\"a\": 1}", "\tmain;a 1"] {
            assert!(!is_folded(log), "{log}");
        }
    }

    #[test]
    fn what_was_written_is_read() {
        let profile = testing::heap();
        let stacks = profile_format::profile::Stacks::of(&profile);
        let flame = crate::flame::Flame::new(&stacks, None, None).unwrap();
        let text = crate::flame::folded(&flame).unwrap().to_string();
        let read = crate::read(text.as_bytes()).unwrap();
        assert_eq!((read.format, read.stacks.total(0)), (Format::Folded, 1536));
        let again = crate::flame::Flame::new(&read.stacks, None, None).unwrap();
        assert_eq!(crate::flame::folded(&again).unwrap().to_string(), text);
    }
}
