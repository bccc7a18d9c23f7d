//! Which headers begin a goroutine, and which are text of a panic or of a log.
//!
//! Before Go 1.23 a panic's text is written as it is, and may hold whole goroutines. A real one
//! follows an empty line, unless a log has dropped these. So goroutines right behind the text of a
//! panic wait: where an empty line does come and then the one that panics, they were text, and so
//! they were where another one that runs follows them at once, as of what panics there is one.

use super::scan::{HeaderDoubt, PanicText, PendingLine, ScanState, StackReader};
use super::table::OpenGoroutine;
use super::{Problem, header, lines};

/// The most goroutines that wait. So many in a row are no text.
const WAITING: usize = 64;

impl StackReader {
    /// Begins the text of a panic. A goroutine that panics is running; a fatal error may find all
    /// of them waiting, and its text is none of the program's own.
    pub(super) fn begin_panic(&mut self, line: &[u8]) {
        let fatal = line.strip_prefix(b"fatal error: ");
        let is_in_text = matches!(
            self.state,
            ScanState::Panic(PanicText::Program | PanicText::Forged)
                | ScanState::AfterPanic(PanicText::Program | PanicText::Forged)
        );
        // What a program says may begin so, too.
        let is_fatal = fatal.is_some_and(|text| !is_in_text || is_of_runtime(text));
        let text = if is_fatal { PanicText::Fatal } else { PanicText::Program };
        self.state = ScanState::Panic(text);
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
            ScanState::Unseparated if self.waiting.len() < WAITING => {
                self.forget_pending(offset);
                self.waiting.push(std::mem::replace(&mut self.task, OpenGoroutine::new()));
                self.begin_goroutine(&header, offset);
                // On all threads at a time others run, too.
                let is_rival = runs && !header.crash;
                self.state = if is_rival { ScanState::Rival } else { ScanState::Unseparated };
            }
            _ => {
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

    /// Reads the line behind the header of one that runs, as one before it does that may be text of
    /// a panic. Those that run on other threads have no frames.
    pub(super) fn read_rival_line(&mut self, line: &[u8], offset: u64) {
        if !lines::is_without_stack(lines::trim_indent(line)) && !line.is_empty() {
            self.table.warn(offset, Problem::InPanicText);
            self.waiting.clear();
        }
        self.state = ScanState::Unseparated;
        self.read_line(line, offset);
    }

    /// Counts the goroutines that may have been text of a panic.
    pub(super) fn add_waiting(&mut self, offset: u64) {
        for mut task in std::mem::take(&mut self.waiting) {
            self.add_goroutine(&mut task, offset);
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
            self.waiting.clear();
            self.task.clear();
        } else {
            self.end_goroutine(offset);
        }
        self.state = ScanState::Text;
        self.read_text_line(line, offset);
    }
}

/// Returns whether the text of a fatal error is one of the runtime's own.
fn is_of_runtime(text: &[u8]) -> bool {
    const TEXTS: [&[u8]; 9] = [
        b"all goroutines are asleep",
        b"no goroutines (main called",
        b"concurrent map ",
        b"stack overflow",
        b"out of memory",
        b"unexpected signal",
        b"sync: ",
        b"runtime: ",
        b"runtime.",
    ];
    TEXTS.iter().any(|known| text.starts_with(known))
}
