//! Writing JSON: texts are escaped and bounded, times are in microseconds.

use std::io::Write as _;

/// Bytes of a text that are written.
const MOST: usize = 256;

/// Writes a text with its quotes, cut to 256 bytes.
pub(super) fn text(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut left = MOST;
    for c in text.chars() {
        match left.checked_sub(c.len_utf8()) {
            Some(rest) => left = rest,
            None => break,
        }
        match c {
            '"' | '\\' => out.extend([b'\\', c as u8]),
            // JSON allows the last of these as they are, and some terminals obey them.
            '\0'..='\x1f' | '\x7f'..='\u{9f}' | '\u{2028}' | '\u{2029}' => {
                // Writing to a vector can't fail, here and below.
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    out.push(b'"');
}

/// Writes a whole number.
pub(super) fn number(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Writes nanoseconds as microseconds with three decimals.
pub(super) fn micros(out: &mut Vec<u8>, nanos: u64) {
    number(out, nanos / 1000);
    let rest = (nanos % 1000) as u16;
    let digit = |value: u16| b'0' + (value % 10) as u8;
    out.extend([b'.', digit(rest / 100), digit(rest / 10), digit(rest)]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn texts_are_escaped_and_cut_between_characters() {
        assert_eq!(written(|out| text(out, "a\"\\\n\x1b\u{85}ä")), r#""a\"\\\u000a\u001b\u0085ä""#);
        assert_eq!(written(|out| text(out, &"ä".repeat(200))), format!("\"{}\"", "ä".repeat(128)));
        assert_eq!(written(|out| text(out, &"a☃".repeat(99))).len(), 2 + 256);
    }

    #[test]
    fn numbers_are_whole_or_have_three_decimals() {
        assert_eq!(written(|out| number(out, 0)), "0");
        assert_eq!(written(|out| number(out, u64::MAX)), u64::MAX.to_string());
        assert_eq!(written(|out| micros(out, 1_234_567)), "1234.567");
        assert_eq!(written(|out| micros(out, 7)), "0.007");
    }
}
