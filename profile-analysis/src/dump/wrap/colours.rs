//! The colours of a terminal, as sequences such as `ESC [ 36 m`.

use memchr::memchr;

/// Takes colours off text that may be cut in the middle of a sequence.
#[derive(Debug, Default)]
pub(super) struct ColourLayer {
    place: ColourPlace,
}

/// What the next byte is in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum ColourPlace {
    #[default]
    Text,
    /// Behind the escape.
    Escape,
    /// Behind the bracket, up to a letter.
    Sequence,
}

impl ColourLayer {
    /// Adds text without the sequences that colour it. A line ends each.
    pub(super) fn unwrap(&mut self, text: &[u8], out: &mut Vec<u8>) {
        let mut rest = text;
        while let Some(&byte) = rest.first() {
            let used = match self.place {
                ColourPlace::Text => {
                    let end = memchr(0x1b, rest).unwrap_or(rest.len());
                    out.extend_from_slice(&rest[..end]);
                    if end < rest.len() {
                        self.place = ColourPlace::Escape;
                    }
                    rest.len().min(end + 1)
                }
                ColourPlace::Escape => {
                    let begins = byte == b'[';
                    self.place = if begins { ColourPlace::Sequence } else { ColourPlace::Text };
                    usize::from(begins)
                }
                ColourPlace::Sequence => {
                    let is_part = |byte: &&u8| (0x20..0x40).contains(*byte);
                    let length = rest.iter().take_while(is_part).count();
                    if length < rest.len() {
                        self.place = ColourPlace::Text;
                    }
                    // The letter goes, too.
                    length + usize::from(rest.get(length).is_some_and(|&byte| byte != b'\n'))
                }
            };
            rest = &rest[used..];
        }
    }
}
