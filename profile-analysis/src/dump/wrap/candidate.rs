//! A goroutine with something before it, whose next lines decide if that is a prefix.

use memchr::memmem;

use super::pattern::{LONGEST, PrefixPattern};
use crate::dump::header::{self, HeaderLine};
use crate::dump::lines;

/// Beginnings of the text that comes before stacks.
const PREAMBLES: [&[u8]; 4] = [b"panic: ", b"fatal error: ", b"SIGQUIT: ", b"SIGABRT: "];
/// The most lines that are waited for, which others may have written in between.
const LINES: usize = 16;
/// The most bytes of them.
const BYTES: usize = 64 << 10;

/// The line of a goroutine and those that came since, until it is told what they are.
#[derive(Debug)]
pub(super) struct PrefixCandidate {
    pattern: PrefixPattern,
    held: Vec<u8>,
    lines: usize,
    /// What lines with the prefix have shown so far.
    seen: FrameSeen,
    /// The beginning of a line that goes on in the next one.
    begun: Vec<u8>,
    /// What lines without it have shown, and their indentation.
    bare: Option<(FrameSeen, usize)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FrameSeen {
    Nothing,
    Function,
    Place,
}

/// What the lines of a candidate are.
#[derive(Debug)]
pub(super) enum PrefixVerdict {
    /// More must come.
    Open,
    /// They have the prefix.
    Prefixed,
    /// The first one alone has it; the others are indented by this much.
    FirstAlone(usize),
    /// There is no goroutine.
    Text,
}

impl PrefixCandidate {
    /// Returns the candidate that a line is, given with its newline, whose header begins at an
    /// offset.
    pub(super) fn new(line: &[u8], at: usize) -> PrefixCandidate {
        PrefixCandidate {
            pattern: PrefixPattern::new(&line[..at]),
            held: line.to_vec(),
            lines: 0,
            seen: FrameSeen::Nothing,
            begun: Vec::new(),
            bare: None,
        }
    }

    /// Returns the prefix, and the lines that were held back.
    pub(super) fn into_parts(self) -> (PrefixPattern, Vec<u8>) {
        (self.pattern, self.held)
    }

    /// Takes the next line, given with its newline.
    pub(super) fn push(&mut self, line: &[u8]) -> PrefixVerdict {
        self.held.extend_from_slice(line);
        self.lines += 1;
        let line = line.trim_ascii_end();
        if let Some(found) = self.pattern.find(line) {
            self.begun.extend_from_slice(&line[found.length..]);
            if found.goes_on && self.begun.len() < BYTES {
                return PrefixVerdict::Open;
            }
            match self.seen.advance(&std::mem::take(&mut self.begun)) {
                Some(FrameSeen::Place) => return PrefixVerdict::Prefixed,
                Some(seen) => self.seen = seen,
                // A prefix of blanks may be the indentation of what has another one.
                None if !self.pattern.is_blank() => return PrefixVerdict::Text,
                None => {}
            }
        } else if self.bare.is_some() || self.lines == 1 {
            let (seen, indent) = self.bare.unwrap_or_else(|| {
                let indent = line.iter().take_while(|&&byte| byte == b' ').count();
                (FrameSeen::Nothing, indent)
            });
            match seen.advance(line.get(indent..).unwrap_or_default()) {
                Some(FrameSeen::Place) => return PrefixVerdict::FirstAlone(indent),
                seen => self.bare = seen.map(|seen| (seen, indent)),
            }
        }
        let is_full = self.lines >= LINES || self.held.len() >= BYTES;
        if is_full { PrefixVerdict::Text } else { PrefixVerdict::Open }
    }

    /// Returns what the lines are where no more come.
    pub(super) fn conclude(&self) -> PrefixVerdict {
        match (self.seen, self.bare) {
            (FrameSeen::Nothing, None) => PrefixVerdict::Text,
            (FrameSeen::Nothing, Some((_, indent))) => PrefixVerdict::FirstAlone(indent),
            _ => PrefixVerdict::Prefixed,
        }
    }
}

impl FrameSeen {
    /// Returns what is seen with the next line; `None` where it is no line of a stack.
    fn advance(self, line: &[u8]) -> Option<FrameSeen> {
        if lines::is_without_stack(lines::trim_indent(line)) {
            return Some(FrameSeen::Place);
        }
        match self {
            FrameSeen::Nothing => begins_frame(line).then_some(FrameSeen::Function),
            _ => {
                let place = line.starts_with(b"\t") || lines::find_place(line).is_some();
                place.then_some(FrameSeen::Place)
            }
        }
    }
}

fn begins_frame(line: &[u8]) -> bool {
    let is_function = line.ends_with(b")")
        && lines::parse_function(line).is_some_and(|(name, _)| !name.contains(&b' '));
    is_function || lines::parse_creator(line).is_some() || line.starts_with(b"non-Go function")
}

/// Returns the offset at which the header begins that a line ends in.
pub(super) fn find_header(line: &[u8]) -> Option<usize> {
    let line = line.trim_ascii_end();
    let head = &line[..line.len().min(LONGEST + b"goroutine ".len())];
    memmem::find_iter(head, b"goroutine ").find(|&at| {
        line.ends_with(b":")
            && is_word_start(line, at)
            && matches!(header::parse(&line[at..]), HeaderLine::Header(_))
            && find_preamble(&line[..at]).is_none()
    })
}

/// Returns the offset at which text such as `panic: `, which comes before stacks, begins.
pub(super) fn find_preamble(line: &[u8]) -> Option<usize> {
    let head = &line[..line.len().min(LONGEST)];
    let found = PREAMBLES.iter().filter_map(|text| memmem::find(head, text));
    found.filter(|&at| is_word_start(line, at)).min()
}

fn is_word_start(line: &[u8], at: usize) -> bool {
    at.checked_sub(1).is_none_or(|before| !line[before].is_ascii_alphanumeric())
}
