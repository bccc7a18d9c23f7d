//! Labels as Go writes them: `{key: "value", "odd key": plain}` in headers, quoted as Go quotes
//! strings where they are not plain, and JSON in `debug=1`.

/// Returns the length of the braced labels at the beginning of a text, both braces included: up to
/// the brace that is not inside quotes. `None` where there is none.
pub(super) fn braced_length(text: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        match *text.get(at)? {
            b'}' => return Some(at + 1),
            b'"' => at += quoted_length(&text[at..])?,
            _ => at += 1,
        }
    }
}

/// Returns the length of the quoted text at the beginning, both quotes included.
fn quoted_length(text: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        match *text.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// Calls `each` with every key and value between the braces, at most `most` times. Returns true if
/// all of the text could be read.
pub(super) fn for_each_label(
    mut text: &[u8],
    most: usize,
    mut each: impl FnMut(&[u8], &[u8]),
) -> bool {
    for _ in 0..most {
        text = text.trim_ascii_start();
        if text.is_empty() {
            return true;
        }
        let Some((key, rest)) = read_word(text, b":") else { return false };
        let Some(rest) = rest.strip_prefix(b":") else { return false };
        let Some((value, rest)) = read_word(rest.trim_ascii_start(), b",") else { return false };
        each(&key, &value);
        text = match rest {
            [] => return true,
            [b',', rest @ ..] => rest,
            _ => return false,
        };
    }
    false
}

/// Reads a quoted or plain word. Returns it with the text that follows.
fn read_word<'a>(text: &'a [u8], until: &[u8]) -> Option<(Vec<u8>, &'a [u8])> {
    if text.first() == Some(&b'"') {
        let length = quoted_length(text)?;
        return Some((unquote(&text[1..length - 1]), &text[length..]));
    }
    let end = text.iter().position(|byte| until.contains(byte)).unwrap_or(text.len());
    Some((text[..end].trim_ascii_end().to_vec(), &text[end..]))
}

/// Undoes the escapes of Go and of JSON. What is no escape stays as it is.
pub(super) fn unquote(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, after)) = rest.split_first() {
        if first != b'\\' {
            out.push(first);
            rest = after;
            continue;
        }
        let (plain, length) = match after {
            [b'n', ..] => (b'\n', 1),
            [b't', ..] => (b'\t', 1),
            [b'r', ..] => (b'\r', 1),
            [b'a', ..] => (7, 1),
            [b'b', ..] => (8, 1),
            [b'f', ..] => (12, 1),
            [b'v', ..] => (11, 1),
            [b'x', ..] if let Some(code) = parse_hex(after, 2) => (code as u8, 3),
            [b'u', ..] | [b'U', ..] => {
                let digits = if after[0] == b'u' { 4 } else { 8 };
                rest = unquote_code_point(after, digits, &mut out);
                continue;
            }
            [other, ..] => (*other, 1),
            [] => (b'\\', 0),
        };
        out.push(plain);
        rest = &after[length..];
    }
    out
}

/// Writes the character of `uXXXX` or `UXXXXXXXX`, of JSON's two `\uXXXX` for one character too.
/// Returns the text that follows.
fn unquote_code_point<'a>(text: &'a [u8], digits: usize, out: &mut Vec<u8>) -> &'a [u8] {
    let Some(mut code) = parse_hex(text, digits) else {
        out.push(text[0]);
        return &text[1..];
    };
    let mut rest = &text[1 + digits..];
    if (0xd800..0xdc00).contains(&code)
        && let Some(low) = rest.strip_prefix(b"\\").filter(|low| low.first() == Some(&b'u'))
        && let Some(second) = parse_hex(low, 4).filter(|second| (0xdc00..0xe000).contains(second))
    {
        code = 0x10000 + ((code - 0xd800) << 10) + (second - 0xdc00);
        rest = &low[5..];
    }
    let character = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
    out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    rest
}

/// Returns the number in hexadecimal digits behind the first byte.
fn parse_hex(text: &[u8], digits: usize) -> Option<u32> {
    text.get(1..1 + digits)?
        .iter()
        .try_fold(0_u32, |number, &digit| Some(number << 4 | char::from(digit).to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[(&str, &str)]) {
        let mut found = Vec::new();
        let whole = for_each_label(text.as_bytes(), 100, |key, value| {
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            found.push((text(key), text(value)));
        });
        assert!(whole, "{text}");
        let found: Vec<_> = found.iter().map(|(key, value)| (&**key, &**value)).collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn both_forms_are_read() {
        check("", &[]);
        check("a: b", &[("a", "b")]);
        check(
            r#"coder_type: http, s: "http-api", i: 0"#,
            &[("coder_type", "http"), ("s", "http-api"), ("i", "0")],
        );
        check(r#""a:b": "c, d\n\x41\u00e9\"\\", "": """#, &[("a:b", "c, d\nAé\"\\"), ("", "")]);
        check(r#""key":"\ud83d\ude00", "x":"\u003c""#, &[("key", "😀"), ("x", "<")]);
    }

    #[test]
    fn the_end_is_outside_quotes() {
        assert_eq!(braced_length(br#"{a: "}\"}"}:"#), Some(11));
        assert_eq!(braced_length(br#"{a: "}\"}"#), None);
        assert_eq!(braced_length(b"{}"), Some(2));
    }

    proptest! {
        #[test]
        fn what_json_quotes_is_read_back(pairs in proptest::collection::vec((any::<String>(), any::<String>()), 0..5)) {
            let quote = |text: &str| serde_json::to_string(text).unwrap();
            let written: Vec<String> =
                pairs.iter().map(|(key, value)| format!("{}:{}", quote(key), quote(value))).collect();
            let text = format!("{{{}}}", written.join(", "));
            prop_assert_eq!(braced_length(text.as_bytes()), Some(text.len()));
            let mut found = Vec::new();
            let whole = for_each_label(&text.as_bytes()[1..text.len() - 1], 100, |key, value| {
                found.push((String::from_utf8(key.to_vec()).unwrap(), String::from_utf8(value.to_vec()).unwrap()));
            });
            prop_assert!(whole);
            prop_assert_eq!(found, pairs);
        }

        #[test]
        fn any_bytes_are_no_trouble(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            for_each_label(&bytes, 10, |_, _| {});
            braced_length(&bytes);
        }
    }
}
