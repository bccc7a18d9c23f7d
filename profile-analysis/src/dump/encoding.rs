//! Text that is not plain bytes: with a byte order mark before it, or in UTF-16, which is what
//! Windows makes of what a program prints into a file.

use std::borrow::Cow;

/// The encoding of the input, told from its first bytes.
#[derive(Debug)]
pub(super) enum TextEncoding {
    /// Not known yet, since too few bytes have come; holds them.
    Unknown(Vec<u8>),
    /// Bytes that are read as they are.
    Plain,
    /// UTF-16, with what is left of a unit and of a character.
    Wide { big: bool, odd: Option<u8>, high: Option<u16> },
}

const UTF8: [u8; 3] = [0xef, 0xbb, 0xbf];

impl TextEncoding {
    /// Returns a piece as UTF-8, without the byte order mark. The bytes of the mark don't count.
    pub(super) fn decode<'a>(&mut self, piece: &'a [u8]) -> Cow<'a, [u8]> {
        match self {
            TextEncoding::Plain => Cow::Borrowed(piece),
            TextEncoding::Wide { big, odd, high } => {
                Cow::Owned(decode_utf16(piece, *big, odd, high))
            }
            TextEncoding::Unknown(head) if head.is_empty() && piece.len() >= UTF8.len() => {
                let mark = self.detect_encoding(piece);
                self.decode(&piece[mark..])
            }
            TextEncoding::Unknown(head) => {
                let mut text = std::mem::take(head);
                text.extend_from_slice(piece);
                match detect_mark(&text) {
                    Some(_) => {
                        let mark = self.detect_encoding(&text);
                        Cow::Owned(self.decode(&text[mark..]).into_owned())
                    }
                    None => {
                        *head = text;
                        Cow::Borrowed(&[])
                    }
                }
            }
        }
    }

    /// Sets the encoding that the first bytes tell. Returns the length of the mark.
    fn detect_encoding(&mut self, head: &[u8]) -> usize {
        let (encoding, mark) = detect_mark(head).unwrap_or((TextEncoding::Plain, 0));
        *self = encoding;
        mark
    }

    /// Ends the input. Returns the bytes that were held back because they were too few to tell.
    pub(super) fn finish(&mut self) -> Vec<u8> {
        match std::mem::replace(self, TextEncoding::Plain) {
            TextEncoding::Unknown(head) => head,
            _ => Vec::new(),
        }
    }
}

/// Returns the encoding that the first bytes tell, and the length of the mark; `None` where more
/// must come.
fn detect_mark(head: &[u8]) -> Option<(TextEncoding, usize)> {
    match head {
        [0xff, 0xfe, ..] => Some((TextEncoding::Wide { big: false, odd: None, high: None }, 2)),
        [0xfe, 0xff, ..] => Some((TextEncoding::Wide { big: true, odd: None, high: None }, 2)),
        _ if head.starts_with(&UTF8) => Some((TextEncoding::Plain, UTF8.len())),
        [] | [0xff | 0xfe] => None,
        _ if UTF8.starts_with(head) => None,
        _ => Some((TextEncoding::Plain, 0)),
    }
}

/// Turns UTF-16 into UTF-8; half a character is replaced.
fn decode_utf16(piece: &[u8], big: bool, odd: &mut Option<u8>, high: &mut Option<u16>) -> Vec<u8> {
    let mut out = Vec::with_capacity(piece.len() / 2 + 4);
    let mut push = |character: char| {
        out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    };
    for &byte in piece {
        let Some(first) = odd.take() else {
            *odd = Some(byte);
            continue;
        };
        let bytes = [first, byte];
        let unit = if big { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) };
        let units = [high.take(), Some(unit)];
        for character in char::decode_utf16(units.into_iter().flatten()) {
            match character {
                Ok(character) => push(character),
                Err(error)
                    if (0xd800..0xdc00).contains(&unit) && error.unpaired_surrogate() == unit =>
                {
                    *high = Some(unit);
                }
                Err(_) => push(char::REPLACEMENT_CHARACTER),
            }
        }
    }
    out
}

/// Returns the text of a short beginning, without a mark.
pub(crate) fn decode_beginning(head: &[u8]) -> Cow<'_, [u8]> {
    let plain = !matches!(head, [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [0xef, 0xbb, 0xbf, ..]);
    if plain {
        return Cow::Borrowed(head);
    }
    Cow::Owned(TextEncoding::Unknown(Vec::new()).decode(head).into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decode(bytes: &[u8], piece: usize) -> Vec<u8> {
        let mut encoding = TextEncoding::Unknown(Vec::new());
        let mut text = Vec::new();
        for piece in bytes.chunks(piece) {
            text.extend_from_slice(&encoding.decode(piece));
        }
        text.extend(encoding.finish());
        text
    }

    proptest! {
        #[test]
        fn every_encoding_says_the_same(text in any::<String>(), piece in 1_usize..9) {
            let text = text.trim_start_matches('\u{feff}');
            let marked = format!("\u{feff}{text}");
            let little: Vec<u8> = marked.encode_utf16().flat_map(u16::to_le_bytes).collect();
            let big: Vec<u8> = marked.encode_utf16().flat_map(u16::to_be_bytes).collect();
            for bytes in [text.as_bytes(), marked.as_bytes(), &little, &big] {
                prop_assert_eq!(decode(bytes, piece), text.as_bytes());
            }
        }

        #[test]
        fn what_has_no_mark_is_left_alone(bytes in proptest::collection::vec(any::<u8>(), 0..20)) {
            if detect_mark(&bytes).is_none_or(|(_, mark)| mark == 0) {
                prop_assert_eq!(decode(&bytes, 1), bytes);
            }
        }
    }

    #[test]
    fn halves_of_characters_are_replaced() {
        let units = [0xfeff_u16, 0xd83d, 0x61, 0xde00, 0xd83d];
        let bytes: Vec<u8> = units.into_iter().flat_map(u16::to_le_bytes).collect();
        assert_eq!(decode(&bytes, 1), "\u{fffd}a\u{fffd}".as_bytes());
    }
}
