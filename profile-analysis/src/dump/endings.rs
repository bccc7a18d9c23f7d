//! Ends: of a goroutine, and of the input, which may break off.

use memchr::memchr;

use super::scan::{PanicText, PendingLine, ScanState, StackReader};
use super::table::{OpenGoroutine, ROOT};
use super::{Problem, header, lines};

impl StackReader {
    /// Returns whether a goroutine or a record is being read.
    pub(super) fn is_in_goroutine(&self) -> bool {
        match self.state {
            ScanState::Text | ScanState::Panic(_) | ScanState::AfterPanic(_) => false,
            ScanState::Stack
            | ScanState::Doubtful(_)
            | ScanState::Unseparated
            | ScanState::AfterUnseparated
            | ScanState::Rival
            | ScanState::Interrupted(_)
            | ScanState::Spaced
            | ScanState::Memory
            | ScanState::Ancestor
            | ScanState::Record { .. } => true,
        }
    }

    /// Ends the goroutine or record that is being read, if one is.
    pub(super) fn end_goroutine(&mut self, offset: u64) {
        if !self.is_in_goroutine() {
            return;
        }
        if matches!(self.state, ScanState::Doubtful(_)) {
            return self.reject_doubtful(offset);
        }
        if matches!(self.pending, PendingLine::Words { .. }) {
            // It was what comes behind a dump.
            self.pending = PendingLine::Nothing;
        }
        self.forget_pending(offset);
        self.add_waiting(offset);
        let mut task = std::mem::replace(&mut self.task, OpenGoroutine::new());
        self.add_goroutine(&mut task, offset);
        task.clear();
        self.task = task;
    }

    /// Counts a goroutine or a record, and adds it to its group.
    pub(super) fn add_goroutine(&mut self, task: &mut OpenGoroutine, offset: u64) {
        if matches!(self.state, ScanState::Record { .. }) {
            self.table.derive_state(task, offset);
            self.counts.records += 1;
            self.counts.sum = self.counts.sum.saturating_add(task.count);
        } else {
            self.counts.headers += 1;
            self.counts.firsts += u64::from(task.id == 1);
        }
        self.counts.goroutines = self.counts.goroutines.saturating_add(task.count);
        self.table.add_goroutine(task, offset);
    }

    /// Ends the input at an offset, with its last line where that has no newline.
    pub(super) fn end_input(&mut self, last: Option<(Vec<u8>, u64)>, end: u64) {
        let mut breaks_off = false;
        if let Some((last, offset)) = last {
            breaks_off = self.is_cut_off(&last);
            if breaks_off {
                // What is left of the line would only look like something else.
                self.pending = PendingLine::Nothing;
            } else {
                self.take_line(&last, offset);
            }
        }
        let is_pending = !matches!(self.pending, PendingLine::Nothing | PendingLine::Words { .. });
        breaks_off |= match self.state {
            ScanState::Stack
            | ScanState::Spaced
            | ScanState::Memory
            | ScanState::Interrupted(_) => {
                is_pending || (self.task.node == ROOT && !self.task.partial)
            }
            ScanState::Doubtful(_)
            | ScanState::Unseparated
            | ScanState::Rival
            | ScanState::Ancestor => is_pending,
            _ => false,
        };
        self.pending = PendingLine::Nothing;
        self.task.partial |= breaks_off;
        self.end_goroutine(end);
        if !self.awaits_panicking() {
            self.state = ScanState::Text;
        }
        self.check_total(end);
        if breaks_off {
            self.table.warn(end, Problem::BreaksOff);
        }
        self.counts.truncated |= breaks_off;
    }

    /// Returns whether the input so far ends where it depends on the panic before it what the next
    /// goroutine is: then only this reader can go on.
    pub(super) fn awaits_panicking(&self) -> bool {
        match self.state {
            ScanState::AfterPanic(text) => text != PanicText::Fatal,
            ScanState::AfterUnseparated => true,
            _ => false,
        }
    }

    /// Returns whether a last line without a newline is only the beginning of one.
    fn is_cut_off(&self, line: &[u8]) -> bool {
        if line.starts_with(b"goroutine ") {
            return header::parse(line) == header::HeaderLine::CutOff;
        }
        match (self.state, line) {
            (ScanState::Text | ScanState::AfterPanic(_), line) => {
                self.counts.headers > 0 && b"goroutine ".starts_with(line)
            }
            (state, line) if self.pending != PendingLine::Nothing && self.is_in_stack() => {
                // Not every frame of an ancestor has an offset.
                let may_lack_offset = match self.pending {
                    PendingLine::Function { inlined } | PendingLine::Words { inlined } => inlined,
                    _ => false,
                } || state == ScanState::Ancestor;
                let place = lines::trim_indent(line);
                let is_sure = !matches!(self.pending, PendingLine::Words { .. });
                match is_sure || place.len() < line.len() {
                    true => !lines::may_end_place(place, may_lack_offset),
                    false => is_cut_off_text(line),
                }
            }
            (_, [b'\t', ..]) => false,
            (_, line) if self.is_in_stack() => is_cut_off_text(line),
            _ => false,
        }
    }

    fn is_in_stack(&self) -> bool {
        self.is_in_goroutine() && !matches!(self.state, ScanState::Record { .. })
    }
}

/// Returns whether a last line of a stack that is no place is the beginning of one of its lines.
fn is_cut_off_text(line: &[u8]) -> bool {
    let blank = line.iter().any(u8::is_ascii_whitespace);
    match line {
        [b'.', ..] => !lines::is_elision(line),
        [b'[', ..] => header::parse_ancestor(line).is_none(),
        // What a test runner prints.
        b"FAIL" | b"PASS" => false,
        _ if line.iter().any(|&byte| byte < b'\t') => false,
        _ => !blank || memchr(b'(', line).is_some() || line.starts_with(b"created "),
    }
}
