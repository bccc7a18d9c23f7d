//! The reader of lines: from lines to goroutines.
//!
//! What a line means depends on those before it, which is the [`ScanState`]. Most frames of a dump
//! have been seen before; `known` skips them without looking at their lines one by one.

use memchr::memchr;

use super::header::{self, GoroutineHeader};
use super::marks::{is_panic, is_register, parse_profile_total};
use super::table::{AncestorStack, NONE, OpenGoroutine, ROOT, StackTable};
use super::{Limit, Options, Problem, labels, lines};

/// The state of our own dumps' record that stands for all tasks without a name. Its label `tasks` says how
/// many they are.
const UNNAMED_TASKS: &[u8] = b"task unknown";

/// Number of bytes at the beginning of an overlong line that are searched for a goroutine's header.
const HEAD: usize = 256;
/// The most labels of one goroutine.
const LABELS: usize = 256;

/// A reader of lines, with what it has read.
#[derive(Debug)]
pub(super) struct StackReader {
    pub(super) table: StackTable,
    pub(super) line_limit: usize,
    /// True where every line is read in full, also those of frames that are known.
    pub(super) reads_in_full: bool,
    pub(super) state: ScanState,
    pub(super) task: OpenGoroutine,
    /// The line that awaits the line of its place; its name is `pending_name`.
    pub(super) pending: PendingLine,
    pub(super) pending_name: Vec<u8>,
    /// The goroutines before this one that may be text of a panic.
    pub(super) waiting: Vec<OpenGoroutine>,
    pub(super) counts: ScanCounts,
}

/// Counts that are kept beside the groups.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ScanCounts {
    pub(super) goroutines: u64,
    /// Headers of `debug=2`, and goroutines in records of `debug=1`.
    pub(super) headers: u64,
    pub(super) records: u64,
    /// Number of times that goroutine 1 came.
    pub(super) firsts: u64,
    pub(super) crash: bool,
    pub(super) truncated: bool,
    /// Total that a `debug=1` profile says; `sum` is that of its records so far.
    pub(super) total: Option<u64>,
    pub(super) sum: u64,
    /// True where a profile says that it has a total of nothing.
    pub(super) says_none: bool,
    /// True where that profile is of leaked goroutines only.
    pub(super) leaks: bool,
}

impl ScanCounts {
    /// Adds the counts of the part that follows.
    pub(super) fn append(&mut self, later: &ScanCounts) {
        self.goroutines = self.goroutines.saturating_add(later.goroutines);
        self.headers += later.headers;
        self.records += later.records;
        self.firsts += later.firsts;
        self.crash |= later.crash;
        self.truncated |= later.truncated;
        self.says_none |= later.says_none;
    }
}

/// What the next line is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ScanState {
    /// Between goroutines.
    Text,
    /// In the text of a panic.
    Panic(PanicText),
    /// Behind an empty line in that text, or at its end.
    AfterPanic(PanicText),
    /// In the stack of a goroutine.
    Stack,
    /// In a stack whose first line something else may have written: its first frame decides.
    Doubtful(HeaderDoubt),
    /// In a whole stack behind the text of a panic, without any empty line since.
    Unseparated,
    /// Behind the header of one that runs, right behind such stacks, the first of which runs too.
    Rival,
    /// Behind the empty line after such a stack. A log has dropped none, so that one which panics
    /// is next if the stack was text of the panic.
    AfterUnseparated,
    /// In a stack that text has come into, at this offset. It may be over.
    Interrupted(u64),
    /// In a stack whose lines have empty lines between them.
    Spaced,
    /// In the memory that Go prints where it can't walk a stack any further.
    Memory,
    /// In the stack of a goroutine that this one descends from.
    Ancestor,
    /// In a record of `debug=1`, whose addresses are this long.
    Record { address: usize },
}

/// What is known of the text of a panic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PanicText {
    /// It is the runtime's, which has no lines that a program chooses; any goroutine may follow.
    Fatal,
    /// It is a program's; the goroutine that follows is running.
    Program,
    /// It has held other goroutines: what follows is text up to the one that runs.
    Forged,
}

/// Why a header may be none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeaderDoubt {
    /// It follows the text of a panic without an empty line.
    PanicText(PanicText),
    /// No grammar has it; its offset.
    Grammar(u64),
}

/// What the line before was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PendingLine {
    Nothing,
    Function {
        inlined: bool,
    },
    /// A function only if a place follows: a word, or what has blanks before its parentheses.
    Words {
        inlined: bool,
    },
    Creator,
}

impl StackReader {
    pub(super) fn new(options: &Options) -> StackReader {
        let mut limits = options.limits;
        // Ranges of the text are 32 bits wide.
        limits.text = limits.text.min(1 << 31);
        StackReader {
            table: StackTable::new(&limits, options.by_label.as_deref()),
            line_limit: limits.line,
            reads_in_full: false,
            state: ScanState::Text,
            task: OpenGoroutine::new(),
            pending: PendingLine::Nothing,
            pending_name: Vec::new(),
            waiting: Vec::new(),
            counts: ScanCounts::default(),
        }
    }

    /// Reads all whole lines of a text that begins at an offset. Returns their length.
    pub(super) fn scan(&mut self, text: &[u8], offset: u64) -> usize {
        let mut at = 0;
        loop {
            if self.state == ScanState::Stack
                && self.pending == PendingLine::Nothing
                && !(self.task.is_cut || self.reads_in_full)
            {
                at = self.skip_known_frames(text, at);
            }
            let Some(length) = memchr(b'\n', &text[at..]) else { return at };
            self.take_line(&text[at..at + length], offset + at as u64);
            at += length + 1;
        }
    }

    pub(super) fn take_line(&mut self, line: &[u8], offset: u64) {
        if line.len() > self.line_limit {
            return self.read_long_line(line, offset);
        }
        let line = match line {
            [.., b'\r' | b' '] => line.trim_ascii_end(),
            line => line,
        };
        self.read_line(line, offset);
    }

    /// Reads of an overlong line only whether a goroutine begins there, since labels may be long.
    /// If none does, the current stack is not whole.
    pub(super) fn read_long_line(&mut self, line: &[u8], offset: u64) {
        self.table.reach_limit(Limit::Line, offset);
        let head = &line[..self.line_limit.min(HEAD)];
        match (self.state, header::strip_labels(head)) {
            (ScanState::Panic(_) | ScanState::AfterPanic(_), Some(_)) | (_, None) => {
                self.task.partial |= self.is_in_goroutine();
            }
            (_, Some(whole)) => {
                self.begin_if_header(&whole, offset);
            }
        }
    }

    pub(super) fn read_line(&mut self, line: &[u8], offset: u64) {
        match self.state {
            ScanState::Stack
            | ScanState::Unseparated
            | ScanState::Interrupted(_)
            | ScanState::Spaced
            | ScanState::Memory
            | ScanState::Ancestor => self.read_stack_line(line, offset),
            ScanState::Doubtful(doubt) => self.read_doubtful_line(line, doubt, offset),
            ScanState::AfterUnseparated => self.read_after_unseparated(line, offset),
            ScanState::Rival => self.read_rival_line(line, offset),
            ScanState::Record { address } => self.read_record_line(line, address, offset),
            ScanState::Text | ScanState::Panic(_) | ScanState::AfterPanic(_) => {
                self.read_text_line(line, offset);
            }
        }
    }

    pub(super) fn read_text_line(&mut self, line: &[u8], offset: u64) {
        match line {
            [] => {
                if let ScanState::Panic(text) = self.state {
                    self.state = ScanState::AfterPanic(text);
                }
            }
            [b'g', ..] if self.begin_if_header(line, offset) => {}
            _ if is_panic(line) => self.begin_panic(line),
            _ if matches!(self.state, ScanState::Panic(_)) => {}
            [b'0'..=b'9', ..] if self.counts.total.is_some() => self.begin_record(line),
            _ if self.state == ScanState::AfterPanic(PanicText::Forged) => {}
            _ => {
                self.state = ScanState::Text;
                if let Some(total) = parse_profile_total(line) {
                    self.check_total(offset);
                    self.counts.total = Some(total);
                    self.counts.says_none |= total == 0;
                    self.counts.leaks = line.starts_with(b"goroutineleak ");
                }
            }
        }
    }

    pub(super) fn begin_goroutine(&mut self, header: &GoroutineHeader<'_>, offset: u64) {
        self.task.id = header.id;
        self.task.state = self.table.intern_state(header.state, offset);
        self.task.wait = header.wait;
        self.task.locked = header.locked;
        self.task.leaked = header.leaked;
        self.counts.crash |= header.crash;
        if let Some(labels) = header.labels {
            self.read_labels(labels, offset);
            if header.state == UNNAMED_TASKS {
                self.task.count = self.table.count_unnamed_tasks(&self.task.labels).unwrap_or(1);
            }
        }
    }

    pub(super) fn read_labels(&mut self, text: &[u8], offset: u64) {
        let (table, found) = (&mut self.table, &mut self.task.labels);
        let whole = labels::for_each_label(text, LABELS, |key, value| {
            let label = table.intern_label(key, value, offset);
            if !found.contains(&label) {
                found.push(label);
            }
        });
        if !whole {
            self.table.warn(offset, Problem::BrokenLabels);
        }
    }

    fn read_stack_line(&mut self, line: &[u8], offset: u64) {
        match line {
            [] if self.state == ScanState::Unseparated => {
                self.forget_pending(offset);
                self.state = ScanState::AfterUnseparated;
            }
            [] if self.state == ScanState::Spaced => {}
            // Nothing writes an empty line behind a header, unless it does so behind every line.
            [] if self.state == ScanState::Stack
                && self.pending == PendingLine::Nothing
                && self.task.is_new() =>
            {
                self.state = ScanState::Spaced;
            }
            [] => {
                self.end_goroutine(offset);
                self.state = ScanState::Text;
            }
            [b'\t', place @ ..] if self.is_indented_function(place) => {
                self.read_other_stack_line(lines::trim_indent(place), offset);
            }
            [b'\t', place @ ..] => self.read_place_line(place, offset),
            _ if self.pending != PendingLine::Nothing
                && let Some(place) = lines::find_place(line) =>
            {
                self.read_place_line(place, offset);
            }
            [b'g', ..] if self.begin_if_header(line, offset) => {}
            _ => self.read_other_stack_line(lines::trim_indent(line), offset),
        }
    }

    /// Returns whether what follows a tab is a function: then something has indented all lines of a
    /// goroutine but the first.
    fn is_indented_function(&self, line: &[u8]) -> bool {
        let line = lines::trim_indent(line);
        let is_function = || {
            line.ends_with(b")")
                && lines::parse_function(line).is_some_and(|(name, _)| !name.contains(&b' '))
        };
        self.pending == PendingLine::Nothing
            && (line.starts_with(b"[originating from ")
                || lines::parse_creator(line).is_some()
                || is_function())
    }

    fn read_other_stack_line(&mut self, line: &[u8], offset: u64) {
        if line.starts_with(b"[") && self.begin_ancestor(line, offset) {
            return;
        }
        if lines::is_elision(line) {
            self.task.partial = true;
        } else if let Some(name) = lines::parse_creator(line) {
            self.expect_place(name, PendingLine::Creator, offset);
        } else if is_panic(line) {
            // Two goroutines panic at a time.
            self.end_goroutine(offset);
            self.begin_panic(line);
        } else if is_register(line) {
            self.end_goroutine(offset);
            self.state = ScanState::Text;
        } else if self.state == ScanState::Memory || line.starts_with(b"runtime: ") {
            self.task.partial = true;
        } else if line.starts_with(b"stack: frame={") {
            self.state = ScanState::Memory;
        } else if line.starts_with(b"non-Go function at pc=") {
            self.push_frame(b"non-Go function", b"", false, offset);
        } else if lines::is_without_stack(lines::trim_indent(line)) {
            self.task.partial = true;
        } else if let Some((name, inlined)) = lines::parse_function(line) {
            self.read_function_line(line, name, inlined, offset);
        } else {
            self.note_stray_text(offset);
        }
    }

    /// Notes that a line is no part of the stack. Where frames follow it stands in their middle;
    /// else it is what comes behind a dump.
    fn note_stray_text(&mut self, offset: u64) {
        match self.state {
            ScanState::Stack => self.state = ScanState::Interrupted(offset),
            ScanState::Interrupted(_) => {}
            _ => self.table.warn(offset, Problem::StrayText),
        }
    }

    fn read_function_line(&mut self, line: &[u8], name: &[u8], inlined: bool, offset: u64) {
        let has_blank = memchr(b' ', name).is_some() && name != b"non-Go function";
        // Of two lines in a row that look like functions, one with blanks is more likely a log's.
        if self.pending != PendingLine::Nothing && has_blank {
            return self.note_stray_text(offset);
        }
        let is_sure = line.ends_with(b")") && !has_blank;
        let pending = match is_sure {
            true => PendingLine::Function { inlined },
            false => PendingLine::Words { inlined },
        };
        self.expect_place(name, pending, offset);
    }

    pub(super) fn expect_place(&mut self, name: &[u8], pending: PendingLine, offset: u64) {
        self.forget_pending(offset);
        self.pending = pending;
        self.pending_name.clear();
        self.pending_name.extend_from_slice(name);
    }

    /// Drops a function that is followed by no place, with a warning.
    pub(super) fn forget_pending(&mut self, offset: u64) {
        match std::mem::replace(&mut self.pending, PendingLine::Nothing) {
            PendingLine::Nothing => {}
            PendingLine::Words { .. } => self.note_stray_text(offset),
            PendingLine::Function { .. } | PendingLine::Creator => {
                self.table.warn(offset, Problem::NoPlace);
            }
        }
    }

    pub(super) fn read_place_line(&mut self, line: &[u8], offset: u64) {
        let place = lines::trim_place(lines::trim_indent(line));
        let name = std::mem::take(&mut self.pending_name);
        if let ScanState::Interrupted(text) = self.state
            && self.pending != PendingLine::Nothing
        {
            self.table.warn(text, Problem::StrayText);
            self.state = ScanState::Stack;
        }
        match std::mem::replace(&mut self.pending, PendingLine::Nothing) {
            PendingLine::Function { inlined } | PendingLine::Words { inlined } => {
                self.push_frame(&name, place, inlined, offset);
            }
            PendingLine::Creator => {
                let frame = self.table.intern_frame(&name, place, false, offset);
                let creator = match self.task.ancestors.last_mut() {
                    Some(ancestor) if self.state == ScanState::Ancestor => &mut ancestor.creator,
                    _ => &mut self.task.creator,
                };
                *creator = frame.unwrap_or(NONE);
            }
            PendingLine::Nothing if lines::is_without_stack(line) => self.task.partial = true,
            PendingLine::Nothing => self.table.warn(offset, Problem::StrayPlace),
        }
        self.pending_name = name;
    }

    pub(super) fn push_frame(&mut self, name: &[u8], place: &[u8], inlined: bool, offset: u64) {
        if self.task.is_cut {
            return;
        }
        let frame = self.table.intern_frame(name, place, inlined, offset);
        let node = match self.task.ancestors.last_mut() {
            Some(ancestor) if self.state == ScanState::Ancestor => &mut ancestor.node,
            _ => &mut self.task.node,
        };
        if !self.table.push_frame(node, frame, offset) {
            self.task.is_cut = true;
            self.task.partial = true;
        }
    }

    fn begin_ancestor(&mut self, line: &[u8], offset: u64) -> bool {
        let Some(id) = header::parse_ancestor(line) else { return false };
        self.forget_pending(offset);
        self.state = ScanState::Ancestor;
        // The runtime keeps as many as it is told to; a few tell the story.
        self.task.is_cut = self.task.ancestors.len() >= LABELS;
        if !self.task.is_cut {
            self.task.ancestors.push(AncestorStack { id, node: ROOT, creator: NONE });
        }
        true
    }
}
