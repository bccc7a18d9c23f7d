//! Taking off what a log has put before each line.

use memchr::{memchr, memmem};

use super::candidate::{PrefixCandidate, PrefixVerdict, find_header, find_preamble};
use super::pattern::PrefixPattern;

/// The prefix of lines, which are passed on without it. Lines that don't have it are passed on as
/// they are, unless a goroutine begins there and shows another prefix.
#[derive(Debug)]
pub(super) struct PrefixLayer {
    pattern: PrefixPattern,
    /// The prefix of the first goroutine, for people; empty until one has come.
    shown: Vec<u8>,
    candidate: Option<PrefixCandidate>,
    /// Whether a prefix is one before it is seen again.
    forced: bool,
}

impl PrefixLayer {
    pub(super) fn new(pattern: PrefixPattern, forced: bool) -> PrefixLayer {
        PrefixLayer { pattern, shown: Vec::new(), candidate: None, forced }
    }

    /// Returns the prefix in words, where goroutines had it.
    pub(super) fn describe(&self) -> Option<String> {
        let text = String::from_utf8_lossy(&self.shown);
        match self.shown.as_slice() {
            [] => None,
            _ if self.pattern.is_blank() => Some("an indentation of every line".to_owned()),
            _ => Some(format!("the prefix of every line ({:?})", text.trim_end())),
        }
    }

    /// Adds lines without their prefix. The last may lack its end.
    pub(super) fn unwrap_lines(&mut self, mut lines: &[u8], out: &mut Vec<u8>) {
        while !lines.is_empty() {
            let end = memchr(b'\n', lines).map_or(lines.len(), |end| end + 1);
            let (line, rest) = lines.split_at(end);
            self.unwrap_line(line, out);
            lines = rest;
        }
    }

    fn unwrap_line(&mut self, line: &[u8], out: &mut Vec<u8>) {
        if self.candidate.is_some() {
            return self.push_candidate(line, out);
        }
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        match self.pattern.find(text) {
            Some(found) if found.goes_on => out.extend_from_slice(&text[found.length..]),
            Some(found) => {
                if text[found.length..].starts_with(b"goroutine ") && self.shown.is_empty() {
                    self.shown = text[..found.length].to_vec();
                }
                if self.forced && self.is_indented_header(text, found.length) {
                    return self.unwrap_other(line, out);
                }
                out.extend_from_slice(&line[found.length..]);
            }
            None => self.unwrap_other(line, out),
        }
    }

    /// Returns whether blanks go on behind the prefix up to a header: then they are part of it.
    /// In the text of a panic they are not.
    fn is_indented_header(&self, text: &[u8], length: usize) -> bool {
        let blanks = text[length..].iter().take_while(|&&byte| byte == b' ').count();
        blanks > 0 && !self.shown.is_empty() && find_header(text) == Some(length + blanks)
    }

    /// Adds a line that does not have the known prefix.
    fn unwrap_other(&mut self, line: &[u8], out: &mut Vec<u8>) {
        if memmem::find(line, b"goroutine ").is_some()
            && let Some(at) = find_header(line)
            && (at > 0 || self.forced)
        {
            if !self.forced {
                self.candidate = Some(PrefixCandidate::new(line, at));
                return;
            }
            self.adopt(PrefixPattern::new(&line[..at]));
            return out.extend_from_slice(&line[at..]);
        }
        if (self.forced || self.shown.is_empty())
            && let Some(at) = find_preamble(line)
            && line[..at] != b"\t"[..]
        {
            self.pattern = PrefixPattern::new(&line[..at]);
            return out.extend_from_slice(&line[at..]);
        }
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        let begin = self.pattern.find_by_length(text).filter(|_| self.forced);
        out.extend_from_slice(&line[begin.unwrap_or(0)..]);
    }

    fn adopt(&mut self, pattern: PrefixPattern) {
        if self.shown.is_empty() {
            self.shown = pattern.sample().to_vec();
        }
        self.pattern = pattern;
    }

    fn push_candidate(&mut self, line: &[u8], out: &mut Vec<u8>) {
        let verdict = self.candidate.as_mut().map(|candidate| candidate.push(line));
        match verdict {
            None | Some(PrefixVerdict::Open) => {}
            Some(verdict) => self.settle_candidate(&verdict, out),
        }
    }

    /// Adds the lines that were held back, as what they are now known to be.
    fn settle_candidate(&mut self, verdict: &PrefixVerdict, out: &mut Vec<u8>) {
        let Some(candidate) = self.candidate.take() else { return };
        let (pattern, held) = candidate.into_parts();
        let first = memchr(b'\n', &held).map_or(held.len(), |end| end + 1);
        match verdict {
            PrefixVerdict::Prefixed => {
                self.adopt(pattern);
                self.unwrap_lines(&held, out);
            }
            PrefixVerdict::FirstAlone(indent) => {
                out.extend_from_slice(&held[pattern.sample().len()..first]);
                self.adopt(PrefixPattern::new(&b" ".repeat(*indent)));
                self.unwrap_lines(&held[first..], out);
            }
            PrefixVerdict::Text | PrefixVerdict::Open => {
                out.extend_from_slice(&held[..first]);
                self.unwrap_lines(&held[first..], out);
            }
        }
    }

    /// Ends the input: adds what was held back.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) {
        while let Some(candidate) = &self.candidate {
            let verdict = candidate.conclude();
            self.settle_candidate(&verdict, out);
        }
    }
}
