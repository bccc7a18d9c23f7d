//! Looking for the first goroutine, and for what is around its line.

use std::sync::LazyLock;

use memchr::{memchr, memmem, memrchr};
use regex::bytes::Regex;

use super::candidate::{PrefixCandidate, PrefixVerdict, find_header, find_preamble};
use super::json::{JsonForm, JsonLayer};
use super::pattern::{LONGEST, PrefixPattern};
use super::prefix::PrefixLayer;
use super::{LAYERS, PlainSink};
use crate::dump::header::{self, HeaderLine};
use crate::dump::marks::parse_profile_total;

/// What is around the lines of a dump.
#[derive(Debug)]
pub(super) enum Found {
    /// Nothing.
    Plain,
    Prefix(PrefixLayer),
    Json(JsonLayer),
    Colours,
}

/// The search, with the lines that may be the first of a dump.
#[derive(Debug)]
pub(super) struct LogSearch {
    forced: bool,
    candidate: Option<PrefixCandidate>,
    /// Lines that what was found begins with, and which nobody has seen.
    held: Vec<u8>,
}

/// Texts that a line has which begins a dump.
fn triggers() -> &'static Regex {
    static TRIGGERS: LazyLock<Regex> = LazyLock::new(|| {
        let texts =
            "goroutine [0-9]|panic: |fatal error: |SIGQUIT: | profile: total |\"MESSAGE\" ?: ?\\[";
        Regex::new(texts).expect("it is a regular expression")
    });
    &TRIGGERS
}

impl LogSearch {
    pub(super) fn new(forced: bool) -> LogSearch {
        LogSearch { forced, candidate: None, held: Vec::new() }
    }

    /// Returns the lines that were held back. They come before those that weren't used.
    pub(super) fn take_held(&mut self) -> Vec<u8> {
        let candidate = self.candidate.take().map(|candidate| candidate.into_parts().1);
        let mut held = std::mem::take(&mut self.held);
        held.extend(candidate.unwrap_or_default());
        held
    }

    /// Looks at whole lines, and passes on those that are before a dump. Returns how many bytes
    /// were used, and what was found in the line that follows them.
    pub(super) fn scan(
        &mut self,
        lines: &[u8],
        sink: &mut PlainSink<'_>,
    ) -> (usize, Option<Found>) {
        let mut at = 0;
        while at < lines.len() {
            if self.candidate.is_some() {
                let end = at + line_length(&lines[at..]);
                let found = self.push_candidate(&lines[at..end], sink);
                at = end;
                if found.is_some() {
                    return (at, found);
                }
                continue;
            }
            let Some(trigger) = triggers().find(&lines[at..]).map(|found| at + found.start())
            else {
                sink(&lines[at..]);
                break;
            };
            let begin = memrchr(b'\n', &lines[at..trigger]).map_or(at, |newline| at + newline + 1);
            let end = begin + line_length(&lines[begin..]);
            sink(&lines[at..begin]);
            if let Some(found) = self.look_at(&lines[begin..end]) {
                return (begin, Some(found));
            }
            if self.candidate.is_none() {
                sink(&lines[begin..end]);
            }
            at = end;
        }
        (lines.len(), None)
    }

    /// Takes a line that may decide on those that are held back.
    fn push_candidate(&mut self, line: &[u8], sink: &mut PlainSink<'_>) -> Option<Found> {
        let verdict = self.candidate.as_mut()?.push(line);
        match verdict {
            PrefixVerdict::Open => None,
            verdict => self.settle_candidate(&verdict, sink),
        }
    }

    fn settle_candidate(
        &mut self,
        verdict: &PrefixVerdict,
        sink: &mut PlainSink<'_>,
    ) -> Option<Found> {
        let (pattern, held) = self.candidate.take()?.into_parts();
        let first = line_length(&held);
        match verdict {
            PrefixVerdict::Prefixed => {
                self.held = held;
                Some(Found::Prefix(PrefixLayer::new(pattern, self.forced)))
            }
            PrefixVerdict::FirstAlone(indent) => {
                // The header is put where the others are.
                let blanks = b" ".repeat(*indent);
                self.held = [&blanks, &held[pattern.sample().len()..]].concat();
                let pattern = PrefixPattern::new(&blanks);
                let prefix = || Found::Prefix(PrefixLayer::new(pattern, self.forced));
                Some(if *indent > 0 { prefix() } else { Found::Plain })
            }
            PrefixVerdict::Text | PrefixVerdict::Open => {
                sink(&held[..first]);
                // Each time at least one line less is looked at again.
                let (used, found) = self.scan(&held[first..], sink);
                if found.is_some() {
                    self.held.extend_from_slice(&held[first + used..]);
                }
                found
            }
        }
    }

    /// Ends the input. Returns what the lines are in that are held back.
    pub(super) fn conclude(&mut self) -> Option<Found> {
        let verdict = self.candidate.as_ref()?.conclude();
        match verdict {
            PrefixVerdict::Text | PrefixVerdict::Open => None,
            verdict => self.settle_candidate(&verdict, &mut |_| {}),
        }
    }

    /// Looks at a line that may begin a dump, given with its newline. Where only those that follow
    /// can tell, it becomes the candidate.
    fn look_at(&mut self, line: &[u8]) -> Option<Found> {
        let text = line.trim_ascii_end();
        if begins_dump(text) {
            return Some(Found::Plain);
        }
        if memchr(0x1b, text).is_some() {
            return Some(Found::Colours);
        }
        let prefix = |at: usize| {
            Found::Prefix(PrefixLayer::new(PrefixPattern::new(&text[..at]), self.forced))
        };
        // The rest of the line is in the next ones.
        if let Some(at) = find_part(text) {
            return Some(prefix(at));
        }
        if let Some(found) = self.look_at_quoted(text) {
            return Some(found);
        }
        if text.starts_with(b"{\"") {
            // JSON without a dump has no prefix.
            return None;
        }
        if let Some(at) = find_header(text) {
            if self.forced {
                return Some(prefix(at));
            }
            self.candidate = Some(PrefixCandidate::new(line, at));
            return None;
        }
        let total = find_total(text);
        let at = find_preamble(text).or(total).filter(|&at| text[..at] != b"\t"[..])?;
        Some(prefix(at))
    }

    /// Looks for a dump in quotes: in JSON, in `msg="…"`, or in JSON behind a prefix; or with
    /// escapes in place of its newlines.
    fn look_at_quoted(&self, text: &[u8]) -> Option<Found> {
        if let Some(json) = look_into(text, JsonForm::Json) {
            return Some(Found::Json(json));
        }
        let head = &text[..text.len().min(LONGEST)];
        if let Some(at) = memmem::find(head, b"{\"")
            && at > 0
            && look_into(&text[at..], JsonForm::Json).is_some()
        {
            let pattern = PrefixPattern::new(&text[..at]);
            return Some(Found::Prefix(PrefixLayer::new(pattern, self.forced)));
        }
        let quoted = look_into(text, JsonForm::Quoted);
        quoted.or_else(|| look_into(text, JsonForm::Escaped)).map(Found::Json)
    }

    /// Looks at the beginning of a line that is longer than a block: it may be a whole dump in one
    /// text of JSON.
    pub(super) fn look_at_long(&self, begin: &[u8]) -> Option<Found> {
        self.look_at_quoted(begin)
    }
}

/// Returns the layer that takes a dump out of a line, where one begins in its quoted text.
fn look_into(text: &[u8], form: JsonForm) -> Option<JsonLayer> {
    has_quoted_dump(text, form, LAYERS - 1).then(|| JsonLayer::new(form))
}

fn has_quoted_dump(text: &[u8], form: JsonForm, layers_left: u8) -> bool {
    let mut layer = JsonLayer::new(form);
    if !layer.is_wrapped(text) {
        return false;
    }
    let mut out = Vec::new();
    layer.unwrap_long_part(text, true, &mut out);
    let lines = out.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii_end);
    let is_one = |line: &[u8]| {
        let found = || find_header(line).or_else(|| find_preamble(line));
        begins_dump(line)
            || found().or_else(|| find_total(line)).is_some()
            || (line.starts_with(b"{")
                && layers_left > 0
                && has_quoted_dump(line, JsonForm::Json, layers_left - 1))
    };
    // Dumps are near the beginning of their text.
    lines.take(1000).any(is_one)
}

/// Returns whether a dump, or the panic before it, begins in the first column.
fn begins_dump(line: &[u8]) -> bool {
    match line.first() {
        Some(b'g') if matches!(header::parse(line), HeaderLine::Header(_)) => true,
        Some(b'p' | b'f' | b'S') if find_preamble(line) == Some(0) => true,
        _ => parse_profile_total(line).is_some() && find_total(line) == Some(0),
    }
}

/// Returns the offset at which the name begins in a line such as `goroutine profile: total 7`.
fn find_total(line: &[u8]) -> Option<usize> {
    parse_profile_total(line)?;
    let colon = memmem::rfind(line, b" profile: total ")?;
    let name = line[..colon].iter().rev().take_while(|byte| byte.is_ascii_alphanumeric()).count();
    (name > 0 && colon - name <= LONGEST).then(|| colon - name)
}

/// Returns the offset behind the prefix of CRI's that says that a line is cut.
fn find_part(line: &[u8]) -> Option<usize> {
    const TIME: usize = 40;
    let head = &line[..line.len().min(TIME + b" stderr P ".len())];
    let mut tags = [&b" stdout P "[..], b" stderr P "].into_iter();
    let (at, tag) = tags.find_map(|tag| Some((memmem::find(head, tag)?, tag)))?;
    let is_time = line[0].is_ascii_digit() && !line[..at].contains(&b' ');
    is_time.then_some(at + tag.len())
}

fn line_length(text: &[u8]) -> usize {
    memchr(b'\n', text).map_or(text.len(), |end| end + 1)
}
