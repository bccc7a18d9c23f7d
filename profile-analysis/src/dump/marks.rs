//! Lines that are part of no stack, and show what comes before or after one.

use super::header::parse_number;

/// Returns whether the text of a panic begins here.
pub(super) fn is_panic(line: &[u8]) -> bool {
    [&b"panic: "[..], b"fatal error: ", b"\tpanic: "].iter().any(|start| line.starts_with(start))
}

/// Returns whether a line is one of the registers that follow a crash's stack: `rax    0xca`.
pub(super) fn is_register(line: &[u8]) -> bool {
    let name = line.iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
    let value = line[name..].trim_ascii_start();
    (1..=8).contains(&name)
        && value.len() + name < line.len()
        && value
            .strip_prefix(b"0x")
            .is_some_and(|digits| !digits.is_empty() && digits.iter().all(u8::is_ascii_hexdigit))
}

/// Returns the total in `goroutine profile: total 19`.
pub(super) fn parse_profile_total(line: &[u8]) -> Option<u64> {
    let digits = line.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let name = line[..line.len() - digits].strip_suffix(b" profile: total ")?;
    if name.is_empty() { None } else { parse_number(&line[line.len() - digits..]) }
}
