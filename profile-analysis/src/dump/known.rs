//! The short cut of [`StackReader`]: frames that have been seen before, below the same frame.
//!
//! What comes is compared with the text of the frames that followed last time, and nothing else is
//! looked at: not arguments, not offsets. What isn't recognised is left to be read in full, which
//! gives the same; a test holds one against the other.

use memchr::{memchr, memchr3};

use super::lines::{self, PlaceForm};
use super::scan::StackReader;
use super::table::NONE;

/// Number of frames that the next line is compared with, of those that have followed a stack
/// before.
const TRIES: usize = 16;

impl StackReader {
    /// Skips the frames from an offset on that have been seen before below the stack so far, and
    /// the creator. Returns the offset at which they end.
    pub(super) fn skip_known_frames(&mut self, text: &[u8], mut at: usize) -> usize {
        let mut stack = self.task.node;
        'frames: loop {
            let rest = &text[at..];
            match rest.first() {
                None | Some(b'\t' | b'\n' | b'.' | b'[') => break,
                Some(b'g') if rest.starts_with(b"goroutine ") => break,
                Some(b'c') if rest.starts_with(b"created by ") => {
                    let creator = self.table.last_creator(stack);
                    if creator != NONE
                        && let Some(length) = self.match_known_creator(rest, creator)
                    {
                        self.task.creator = creator;
                        at += length;
                    }
                    break;
                }
                _ => {}
            }
            let (mut before, mut child) = (NONE, self.table.nodes[stack as usize].first_child);
            for _ in 0..TRIES {
                if child == NONE {
                    break 'frames;
                }
                let node = self.table.nodes[child as usize];
                if let Some(length) = self.match_known_frame(rest, node.frame) {
                    if before != NONE {
                        self.table.move_to_front(stack, before, child);
                    }
                    stack = child;
                    at += length;
                    continue 'frames;
                }
                (before, child) = (child, node.next_sibling);
            }
            break;
        }
        self.task.node = stack;
        at
    }

    /// Returns the length of a frame's two lines where a text begins with them.
    #[inline]
    fn match_known_frame(&self, text: &[u8], frame: u32) -> Option<usize> {
        let function = self.table.function(frame);
        let arguments = text.strip_prefix(function)?.strip_prefix(b"(")?;
        let end = memchr3(b'(', b')', b'\n', arguments)?;
        let place = arguments[end..].strip_prefix(b")\n")?;
        if function.len() + end + 2 > self.line_limit {
            return None;
        }
        let length = self.match_known_place(place, frame)?;
        Some(function.len() + 1 + end + 2 + length)
    }

    /// Returns the length of a frame's second line, where a text begins with it; the newline is
    /// included.
    #[inline]
    fn match_known_place(&self, text: &[u8], frame: u32) -> Option<usize> {
        let place = self.table.place(frame);
        let (indent, text) = match text {
            [b'\t', text @ ..] => (1, text),
            text => self.skip_odd_indent(text, frame)?,
        };
        let rest = text.strip_prefix(place)?;
        if !self.table.frames[frame as usize].plain {
            return None;
        }
        let length = match rest {
            [b'\n', ..] => 1,
            [b' ', b'+', b'0', b'x', digits @ ..] => {
                let count = digits.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
                match digits.get(count) {
                    Some(b'\n') if count > 0 => 4 + count + 1,
                    _ => {
                        let end = memchr(b'\n', rest)?;
                        if lines::trim_place(&text[..place.len() + end]) != place {
                            return None;
                        }
                        end + 1
                    }
                }
            }
            _ => return None,
        };
        let length = indent + place.len() + length;
        (length <= self.line_limit).then_some(length)
    }

    /// Returns the length of a creator's two lines where a text begins with them.
    fn match_known_creator(&self, text: &[u8], creator: u32) -> Option<usize> {
        let rest = text["created by ".len()..].strip_prefix(self.table.function(creator))?;
        let rest = match rest.strip_prefix(b" in goroutine ") {
            Some(id) => {
                let digits = id.iter().take_while(|byte| byte.is_ascii_digit()).count();
                if digits == 0 {
                    return None;
                }
                &id[digits..]
            }
            None => rest,
        };
        let place = rest.strip_prefix(b"\n")?;
        let before = text.len() - place.len();
        if before > self.line_limit {
            return None;
        }
        Some(before + self.match_known_place(place, creator)?)
    }

    /// Returns the length of what stands where the tab before a known place should be, and the text
    /// behind it.
    #[cold]
    fn skip_odd_indent<'a>(&self, text: &'a [u8], frame: u32) -> Option<(usize, &'a [u8])> {
        let place = lines::trim_indent(text);
        let indent = text.len() - place.len();
        let allowed = match self.table.frames[frame as usize].form {
            PlaceForm::Other => false,
            PlaceForm::Line => indent > 0,
            PlaceForm::SourceLine => true,
        };
        allowed.then_some((indent, place))
    }
}
