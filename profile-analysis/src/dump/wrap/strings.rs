//! Keys and escapes of what a log quotes.

use crate::dump::labels;

/// Returns the number of blanks at the beginning of a text.
pub(super) fn blank_length(text: &[u8]) -> usize {
    text.iter().take_while(|byte| byte.is_ascii_whitespace()).count()
}

/// Returns whether the text of a log stands behind a key.
pub(super) fn is_text_key(key: &[u8]) -> bool {
    const KEYS: [&[u8]; 28] = [
        b"log",
        b"msg",
        b"message",
        b"Message",
        b"MESSAGE",
        b"@message",
        b"short_message",
        b"full_message",
        b"Output",
        b"output",
        b"stack",
        b"Stack",
        b"stacktrace",
        b"stack_trace",
        b"stackTrace",
        b"stackdump",
        b"errorVerbose",
        b"exception",
        b"error",
        b"err",
        b"panic",
        b"trace",
        b"text",
        b"textPayload",
        b"line",
        b"event",
        b"body",
        b"content",
    ];
    KEYS.contains(&key)
}

/// Returns the length of an escape without its backslash; `None` where it is cut off.
fn escape_length(text: &[u8]) -> Option<usize> {
    let length = match text.first()? {
        b'x' => 3,
        b'u' => 5,
        b'U' => 9,
        _ => 1,
    };
    if text.len() < length {
        return None;
    }
    // JSON has two of them for one character.
    let is_high = text[0] == b'u'
        && matches!(text[1..3], [b'd' | b'D', b'8' | b'9' | b'a' | b'b' | b'A' | b'B']);
    if !is_high || !b"\\u".starts_with(&text[5..text.len().min(7)]) {
        return Some(length);
    }
    (text.len() >= 11).then_some(11)
}

/// Adds what the escape at the beginning of a text stands for. Returns its length; `None` where it
/// is cut off.
pub(super) fn read_escape(text: &[u8], out: &mut Vec<u8>) -> Option<usize> {
    match &text[1..] {
        [b'n', ..] => out.push(b'\n'),
        [b't', ..] => out.push(b'\t'),
        escape => {
            let length = escape_length(escape)?;
            out.extend(labels::unquote(&text[..1 + length]));
            return Some(1 + length);
        }
    }
    Some(2)
}
