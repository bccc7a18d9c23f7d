//! The colours of a terminal, as sequences such as `ESC [ 36 m`.

use memchr::memchr;

/// Adds text without the sequences that colour it.
pub(super) fn strip_colours(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(at) = memchr(0x1b, rest) {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(sequence) = rest.strip_prefix(b"[") {
            let length = sequence.iter().take_while(|byte| (0x20..0x40).contains(*byte)).count();
            let end = match sequence.get(length) {
                Some(b'\n') | None => length,
                Some(_) => length + 1,
            };
            rest = &sequence[end..];
        }
    }
    out.extend_from_slice(rest);
}
