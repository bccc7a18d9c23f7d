//! Which headers begin a goroutine, and which are text of a panic or of a log.
//!
//! Before Go 1.23 a panic's text is written as it is, and may hold whole goroutines. A real one
//! follows an empty line, unless a log has dropped these.

use super::scan::{HeaderDoubt, PanicText, PendingLine, ScanState, StackReader};
use super::{Problem, header, lines};

impl StackReader {
    /// Begins the text of a panic. A goroutine that panics is running; a fatal error may find all
    /// of them waiting, and its text is none of the program's own.
    pub(super) fn begin_panic(&mut self, line: &[u8]) {
        let fatal = line.starts_with(b"fatal error: ");
        self.state = ScanState::Panic(if fatal { PanicText::Fatal } else { PanicText::Program });
    }

    /// Begins a goroutine where a line is a header. Returns whether it is one.
    pub(super) fn begin_if_header(&mut self, line: &[u8], offset: u64) -> bool {
        let header = match header::parse(line) {
            header::HeaderLine::Text => return self.begin_if_odd_header(line, offset),
            header::HeaderLine::CutOff => {
                self.table.warn(offset, Problem::BrokenHeader);
                return true;
            }
            header::HeaderLine::Header(header) => header,
        };
        let runs = header.state == b"running";
        match self.state {
            // The first goroutine behind a panic is the one that panics.
            ScanState::Panic(text) | ScanState::AfterPanic(text)
                if text != PanicText::Fatal && !runs =>
            {
                self.table.warn(offset, Problem::InPanicText);
                self.state = match self.state {
                    ScanState::AfterPanic(_) => ScanState::Panic(PanicText::Forged),
                    state => state,
                };
            }
            ScanState::Panic(_) if !header::is_known_state(header.state) => {
                self.table.warn(offset, Problem::InPanicText);
            }
            ScanState::Panic(text) => {
                self.check_total(offset);
                self.begin_goroutine(&header, offset);
                self.state = ScanState::Doubtful(HeaderDoubt::PanicText(text));
            }
            state => {
                if state == ScanState::Unseparated && runs && !header.crash {
                    // Of what panics there is one; others that run have no frames.
                    self.table.warn(offset, Problem::MaybePanicText);
                }
                self.end_goroutine(offset);
                self.check_total(offset);
                self.begin_goroutine(&header, offset);
                self.state = ScanState::Stack;
            }
        }
        true
    }

    /// Begins a goroutine where a line looks like a header, and no grammar has it: the frames that
    /// follow decide. Returns whether it does.
    fn begin_if_odd_header(&mut self, line: &[u8], offset: u64) -> bool {
        let is_panic_text = matches!(self.state, ScanState::Panic(_) | ScanState::AfterPanic(_));
        let Some(header) = header::parse_odd(line).filter(|_| !is_panic_text) else { return false };
        self.end_goroutine(offset);
        self.check_total(offset);
        self.begin_goroutine(&header, offset);
        self.state = ScanState::Doubtful(HeaderDoubt::Grammar(offset));
        true
    }

    /// Reads a line behind a header that may be none, up to the first frame.
    pub(super) fn read_doubtful_line(&mut self, line: &[u8], doubt: HeaderDoubt, offset: u64) {
        let awaits_place = self.pending != PendingLine::Nothing;
        let place = line.strip_prefix(b"\t").or_else(|| lines::find_place(line));
        match (place, lines::parse_function(line)) {
            (Some(place), _) if awaits_place || lines::is_without_stack(place) => {
                // A program that logs a panic and its own stack.
                let own = self.pending_name.starts_with(b"runtime/debug.") && awaits_place;
                self.state = match doubt {
                    HeaderDoubt::PanicText(PanicText::Fatal) => ScanState::Stack,
                    HeaderDoubt::PanicText(_) if own => ScanState::Stack,
                    HeaderDoubt::PanicText(_) => ScanState::Unseparated,
                    HeaderDoubt::Grammar(header) => {
                        self.table.warn(header, Problem::BrokenHeader);
                        ScanState::Stack
                    }
                };
                self.read_place_line(place, offset);
            }
            (None, Some((name, inlined))) if !awaits_place && line.ends_with(b")") => {
                self.expect_place(name, PendingLine::Function { inlined }, offset);
            }
            _ => {
                self.reject_doubtful(offset);
                self.read_line(line, offset);
            }
        }
    }

    /// Drops what looked like the first line of a goroutine, with a warning.
    pub(super) fn reject_doubtful(&mut self, offset: u64) {
        self.pending = PendingLine::Nothing;
        self.task.clear();
        if let ScanState::Doubtful(HeaderDoubt::PanicText(text)) = self.state {
            self.table.warn(offset, Problem::InPanicText);
            self.state = ScanState::Panic(text);
        } else {
            self.state = ScanState::Text;
        }
    }

    /// Reads a line that decides on the goroutine that may be text of a panic.
    pub(super) fn read_after_unseparated(&mut self, line: &[u8], offset: u64) {
        if line.is_empty() {
            return;
        }
        let next = header::parse(line);
        if matches!(next, header::HeaderLine::Header(header) if header.state == b"running") {
            self.table.warn(offset, Problem::InPanicText);
            self.task.clear();
        } else {
            self.end_goroutine(offset);
        }
        self.state = ScanState::Text;
        self.read_text_line(line, offset);
    }
}
