//! The parser: from lines to goroutines.
//!
//! Most frames of a dump have been seen before, below the same frame.
//! [`Parser::skip_known_frames`] compares what comes with the text of the frames that followed last
//! time, and looks at nothing else: not at arguments, not at offsets. What it doesn't recognise,
//! [`Parser::read_line`] reads properly. Both see the same, which a test holds against a parser
//! without the former.

use memchr::{memchr, memchr3};

use super::encoding::TextEncoding;
use super::header::{self, GoroutineHeader};
use super::table::{AncestorStack, NONE, OpenGoroutine, ROOT, StackTable};
use super::{Dump, DumpFormat, Limit, Options, Problem, labels, lines, prefix};

/// The longest dump that Go's runtime writes: it then cuts off where it is.
const LONGEST_OF_GO: u64 = 64 << 20;
/// Number of frames that the next line is compared with, of those that have followed a stack
/// before.
const TRIES: usize = 16;
/// Number of bytes at the beginning of an overlong line that are searched for a goroutine's header.
const HEAD: usize = 256;
/// Number of bytes that are decoded to UTF-8 at a time, where the input is something else.
const DECODED: usize = 64 << 10;
/// The most labels of one goroutine.
const LABELS: usize = 256;

/// A parser of dumps that come in pieces, cut anywhere.
#[derive(Debug)]
pub struct Parser {
    encoding: TextEncoding,
    table: StackTable,
    line_limit: usize,
    prefix: Option<prefix::LogPrefix>,
    /// True where every line is read in full, also those of frames that are known.
    no_short_cut: bool,
    mode: ScanMode,
    task: OpenGoroutine,
    /// The function or creator that awaits the line of its place; its name is `pending_name`.
    pending: PendingLine,
    pending_name: Vec<u8>,
    /// True once no more frames of this stack are kept.
    cut: bool,
    /// True where Go could not walk the stack any further and prints the memory instead.
    memory: bool,
    /// True while the goroutine stands in the text of a panic, and its first frame is to decide.
    doubtful: bool,
    /// True where the goroutine behind the text of the panic that was last read must be running.
    runs: bool,
    /// True where that panic's text has held other goroutines: then what follows is text until the
    /// one that runs.
    forged: bool,
    /// The end of what came, without its newline; while skipping, the rest of a line that is too
    /// long is awaited.
    carry: Vec<u8>,
    skipping: bool,
    /// The offset of the first byte that is not in a line that was read.
    offset: u64,
    counts: ScanCounts,
}

/// Counts that are kept beside the groups.
#[derive(Clone, Copy, Debug, Default)]
struct ScanCounts {
    goroutines: u64,
    /// Headers of `debug=2`, and records of `debug=1`.
    headers: u64,
    records: u64,
    /// Number of times that goroutine 1 came.
    firsts: u64,
    crash: bool,
    truncated: bool,
    /// Total that a `debug=1` profile says; `sum` is that of its records so far.
    total: Option<u64>,
    sum: u64,
    /// True where that profile is of leaked goroutines only.
    leaks: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ScanMode {
    /// Between goroutines.
    Text,
    /// In the text of a panic, up to its empty line.
    Panic,
    /// Behind that empty line, which may be one of the text.
    AfterPanic,
    Stack,
    /// In the stack of a goroutine that this one descends from.
    Ancestor,
    /// In a record of `debug=1`.
    Record,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PendingLine {
    Nothing,
    Function { inlined: bool },
    Creator,
}

impl Parser {
    /// Returns a parser that has seen nothing yet.
    pub fn new(options: &Options) -> Parser {
        let mut limits = options.limits;
        // Ranges of the text are 32 bits wide.
        limits.text = limits.text.min(1 << 31);
        Parser {
            encoding: TextEncoding::Unknown(Vec::new()),
            table: StackTable::new(&limits, options.by_label.as_deref()),
            line_limit: limits.line,
            prefix: options.strip_prefix.then(prefix::LogPrefix::default),
            no_short_cut: options.strip_prefix,
            mode: ScanMode::Text,
            task: OpenGoroutine::new(),
            pending: PendingLine::Nothing,
            pending_name: Vec::new(),
            cut: false,
            memory: false,
            doubtful: false,
            runs: false,
            forged: false,
            carry: Vec::new(),
            skipping: false,
            offset: 0,
            counts: ScanCounts::default(),
        }
    }

    /// Returns a parser for what begins in the middle of a dump, between two goroutines.
    pub(super) fn starting_at(options: &Options, offset: u64) -> Parser {
        let encoding =
            if offset > 0 { TextEncoding::Plain } else { TextEncoding::Unknown(Vec::new()) };
        Parser { offset, encoding, ..Parser::new(options) }
    }

    #[cfg(test)]
    pub(super) fn disable_short_cut(&mut self) {
        self.no_short_cut = true;
    }

    /// Takes the next piece.
    pub fn feed(&mut self, piece: &[u8]) {
        let (head, rest) = piece.split_at(piece.len().min(DECODED));
        let head = self.encoding.decode(head);
        self.feed_plain(&head);
        match self.encoding {
            TextEncoding::Plain => self.feed_plain(rest),
            _ => rest.chunks(DECODED).for_each(|piece| {
                let piece = self.encoding.decode(piece);
                self.feed_plain(&piece);
            }),
        }
    }

    fn feed_plain(&mut self, mut piece: &[u8]) {
        if self.skipping || !self.carry.is_empty() {
            let Some(end) = memchr(b'\n', piece) else {
                return self.keep_line_start(piece);
            };
            self.keep_line_start(&piece[..end]);
            if self.skipping {
                self.skipping = false;
                self.offset += 1;
            } else {
                let mut line = std::mem::take(&mut self.carry);
                line.push(b'\n');
                self.scan(&line);
                self.offset += line.len() as u64;
                line.clear();
                self.carry = line;
            }
            piece = &piece[end + 1..];
        }
        let used = self.scan(piece);
        self.offset += used as u64;
        self.keep_line_start(&piece[used..]);
    }

    /// Keeps the beginning of a line, unless it is too long.
    fn keep_line_start(&mut self, part: &[u8]) {
        if self.skipping {
            self.offset += part.len() as u64;
        } else if self.carry.len() + part.len() > self.line_limit {
            let length = self.carry.len() + part.len();
            let mut line = std::mem::take(&mut self.carry);
            line.extend_from_slice(&part[..part.len().min(self.line_limit)]);
            self.read_long_line(&line, self.offset);
            self.skipping = true;
            self.offset += length as u64;
        } else {
            self.carry.extend_from_slice(part);
        }
    }

    /// Reads all whole lines of a text. Returns their length.
    fn scan(&mut self, text: &[u8]) -> usize {
        let mut at = 0;
        loop {
            if self.mode == ScanMode::Stack
                && self.pending == PendingLine::Nothing
                && !(self.cut || self.memory || self.doubtful || self.no_short_cut)
            {
                at = self.skip_known_frames(text, at);
            }
            let Some(length) = memchr(b'\n', &text[at..]) else { return at };
            self.take_line(&text[at..at + length], self.offset + at as u64);
            at += length + 1;
        }
    }

    /// Skips the frames from an offset on that have been seen before below the stack so far, and
    /// the creator. Returns the offset at which they end.
    fn skip_known_frames(&mut self, text: &[u8], mut at: usize) -> usize {
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
        let place = arguments[end..].strip_prefix(b")\n\t")?;
        if function.len() + end + 2 > self.line_limit {
            return None;
        }
        let length = self.match_known_place(place, frame)?;
        Some(function.len() + 1 + end + 3 + length)
    }

    /// Returns the length of a frame's second line without its tab, where a text begins with it;
    /// the newline is included.
    #[inline]
    fn match_known_place(&self, text: &[u8], frame: u32) -> Option<usize> {
        let place = self.table.place(frame);
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
        (place.len() + length <= self.line_limit).then_some(place.len() + length)
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
        let place = rest.strip_prefix(b"\n\t")?;
        let before = text.len() - place.len();
        if before > self.line_limit {
            return None;
        }
        Some(before + self.match_known_place(place, creator)?)
    }

    fn take_line(&mut self, line: &[u8], offset: u64) {
        if line.len() > self.line_limit {
            return self.read_long_line(line, offset);
        }
        let line = match line {
            [.., b'\r' | b' '] => line.trim_ascii_end(),
            line => line,
        };
        match &mut self.prefix {
            None => self.read_line(line, offset),
            Some(prefix) => {
                let stripped = prefix.strip(line, self.mode == ScanMode::Panic);
                self.read_line(stripped.trim_ascii_end(), offset);
            }
        }
    }

    /// Reads of an overlong line only whether a goroutine begins there, since labels may be long.
    /// If none does, the current stack is not whole.
    fn read_long_line(&mut self, line: &[u8], offset: u64) {
        self.table.reach_limit(Limit::Line, offset);
        let head = &line[..self.line_limit.min(HEAD)];
        match (self.mode, header::strip_labels(head)) {
            (ScanMode::Panic | ScanMode::AfterPanic, Some(_)) | (_, None) => {
                self.task.partial = true;
            }
            (_, Some(whole)) => {
                self.begin_if_header(&whole, offset);
            }
        }
    }

    fn read_line(&mut self, line: &[u8], offset: u64) {
        match self.mode {
            ScanMode::Stack | ScanMode::Ancestor => self.read_stack_line(line, offset),
            ScanMode::Record => self.read_record_line(line, offset),
            ScanMode::Text | ScanMode::Panic | ScanMode::AfterPanic => {
                self.read_text_line(line, offset);
            }
        }
    }

    fn read_text_line(&mut self, line: &[u8], offset: u64) {
        match line {
            [] if self.mode == ScanMode::Text => {}
            [] => self.mode = ScanMode::AfterPanic,
            [b'g', ..] if self.begin_if_header(line, offset) => {}
            _ if is_panic(line) => self.begin_panic(line),
            _ if self.mode == ScanMode::Panic => {}
            [b'0'..=b'9', ..] if self.counts.total.is_some() => self.begin_record(line),
            _ if self.mode == ScanMode::AfterPanic && self.forged => {}
            _ => {
                self.mode = ScanMode::Text;
                if let Some(total) = parse_profile_total(line) {
                    self.check_total(offset);
                    self.counts.total = Some(total);
                    self.counts.leaks = line.starts_with(b"goroutineleak ");
                }
            }
        }
    }

    /// Begins the text of a panic. A goroutine that panics is running; a fatal error may find all
    /// of them waiting, and its text is none of the program's own.
    fn begin_panic(&mut self, line: &[u8]) {
        self.mode = ScanMode::Panic;
        self.forged = false;
        self.runs = !line.starts_with(b"fatal error: ");
    }

    /// Begins a goroutine where a line is a header. Returns whether it is one.
    fn begin_if_header(&mut self, line: &[u8], offset: u64) -> bool {
        match header::parse(line) {
            header::HeaderLine::Text => false,
            header::HeaderLine::CutOff => {
                self.table.warn(offset, Problem::BrokenHeader);
                true
            }
            // The first goroutine behind a panic is the one that panics.
            header::HeaderLine::Header(header)
                if self.mode == ScanMode::AfterPanic && self.runs && header.state != b"running" =>
            {
                self.forged = true;
                self.reject_forged(offset);
                true
            }
            header::HeaderLine::Header(header) => {
                self.end_goroutine(offset);
                self.check_total(offset);
                self.doubtful = self.mode == ScanMode::Panic;
                self.begin_goroutine(&header, offset);
                true
            }
        }
    }

    fn begin_goroutine(&mut self, header: &GoroutineHeader<'_>, offset: u64) {
        self.task.id = header.id;
        self.task.state = self.table.intern_state(header.state, offset);
        self.task.wait = header.wait;
        self.task.locked = header.locked;
        self.task.leaked = header.leaked;
        self.counts.crash |= header.crash;
        if let Some(labels) = header.labels {
            self.read_labels(labels, offset);
        }
        self.cut = false;
        self.memory = false;
        self.mode = ScanMode::Stack;
    }

    fn read_labels(&mut self, text: &[u8], offset: u64) {
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
            [] => {
                self.end_goroutine(offset);
                self.mode = ScanMode::Text;
            }
            [b'\t', ..] if self.doubtful => self.reject_forged(offset),
            [b'\t', place @ ..] => self.read_place_line(place, offset),
            [b'g', ..] if self.begin_if_header(line, offset) => {}
            [b'.', ..] if lines::is_elision(line) => self.task.partial = true,
            [b'[', ..] if self.begin_ancestor(line, offset) => {}
            _ => {
                if let Some(name) = lines::parse_creator(line) {
                    self.expect_place(name, PendingLine::Creator, offset);
                } else if is_panic(line) {
                    // Two goroutines panic at a time.
                    self.end_goroutine(offset);
                    self.begin_panic(line);
                } else if is_register(line) {
                    self.end_goroutine(offset);
                    self.mode = ScanMode::Text;
                } else if self.memory || line.starts_with(b"runtime: ") {
                    self.task.partial = true;
                } else if line.starts_with(b"stack: frame={") {
                    self.memory = true;
                } else if line.starts_with(b"non-Go function at pc=") {
                    self.push_frame(b"non-Go function", b"", false, offset);
                } else if let Some((name, inlined)) = lines::parse_function(line) {
                    self.read_function_line(name, inlined, offset);
                } else {
                    self.table.warn(offset, Problem::StrayText);
                }
            }
        }
    }

    fn read_function_line(&mut self, name: &[u8], inlined: bool, offset: u64) {
        // A program that logs a panic and its own stack.
        if self.doubtful && !name.starts_with(b"runtime/debug.") {
            return self.reject_forged(offset);
        }
        self.doubtful = false;
        // Of two lines in a row that look like functions, one with blanks is more likely a log's.
        if self.pending != PendingLine::Nothing && memchr(b' ', name).is_some() {
            return self.table.warn(offset, Problem::StrayText);
        }
        self.expect_place(name, PendingLine::Function { inlined }, offset);
    }

    /// Drops what looks like a goroutine and is text of a panic, with a warning.
    fn reject_forged(&mut self, offset: u64) {
        self.table.warn(offset, Problem::InPanicText);
        self.task.clear();
        self.doubtful = false;
        self.mode = ScanMode::Panic;
    }

    fn expect_place(&mut self, name: &[u8], pending: PendingLine, offset: u64) {
        self.forget_pending(offset);
        self.pending = pending;
        self.pending_name.clear();
        self.pending_name.extend_from_slice(name);
    }

    /// Drops a function that is followed by no place, with a warning.
    fn forget_pending(&mut self, offset: u64) {
        if self.pending != PendingLine::Nothing {
            self.table.warn(offset, Problem::NoPlace);
            self.pending = PendingLine::Nothing;
        }
    }

    fn read_place_line(&mut self, line: &[u8], offset: u64) {
        let place = lines::trim_place(line);
        let name = std::mem::take(&mut self.pending_name);
        match std::mem::replace(&mut self.pending, PendingLine::Nothing) {
            PendingLine::Function { inlined } => self.push_frame(&name, place, inlined, offset),
            PendingLine::Creator => {
                let frame = self.table.intern_frame(&name, place, false, offset);
                let creator = match self.task.ancestors.last_mut() {
                    Some(ancestor) if self.mode == ScanMode::Ancestor => &mut ancestor.creator,
                    _ => &mut self.task.creator,
                };
                *creator = frame.unwrap_or(NONE);
            }
            // `goroutine running on other thread; stack unavailable`
            PendingLine::Nothing if line.starts_with(b"goroutine ") => self.task.partial = true,
            PendingLine::Nothing => self.table.warn(offset, Problem::StrayPlace),
        }
        self.pending_name = name;
    }

    fn push_frame(&mut self, name: &[u8], place: &[u8], inlined: bool, offset: u64) {
        if self.cut {
            return;
        }
        let frame = self.table.intern_frame(name, place, inlined, offset);
        let node = match self.task.ancestors.last_mut() {
            Some(ancestor) if self.mode == ScanMode::Ancestor => &mut ancestor.node,
            _ => &mut self.task.node,
        };
        if !self.table.push_frame(node, frame, offset) {
            self.cut = true;
            self.task.partial = true;
        }
    }

    fn begin_ancestor(&mut self, line: &[u8], offset: u64) -> bool {
        let Some(id) = header::parse_ancestor(line) else { return false };
        self.forget_pending(offset);
        self.mode = ScanMode::Ancestor;
        // The runtime keeps as many as it is told to; a few tell the story.
        self.cut = self.task.ancestors.len() >= LABELS;
        if !self.cut {
            self.task.ancestors.push(AncestorStack { id, node: ROOT, creator: NONE });
        }
        true
    }

    /// Ends the goroutine or record that is being read, if one is.
    fn end_goroutine(&mut self, offset: u64) {
        if !matches!(self.mode, ScanMode::Stack | ScanMode::Ancestor | ScanMode::Record) {
            return;
        }
        self.forget_pending(offset);
        if self.doubtful {
            self.doubtful = false;
            self.table.warn(offset, Problem::InPanicText);
        } else {
            let counts = &mut self.counts;
            if self.mode == ScanMode::Record {
                counts.records += 1;
                counts.sum = counts.sum.saturating_add(self.task.count);
            } else {
                counts.headers += 1;
                counts.firsts += u64::from(self.task.id == 1);
            }
            counts.goroutines = counts.goroutines.saturating_add(self.task.count);
            self.table.add_goroutine(&mut self.task, offset);
        }
        self.task.clear();
    }

    /// Begins a record such as `5 @ 0x4896ca 0x41701c`: a number of goroutines, whose stack is on
    /// the lines that follow.
    fn begin_record(&mut self, line: &[u8]) {
        let digits = line.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if let (Some(count), [b' ', b'@', ..]) =
            (header::parse_number(&line[..digits]), &line[digits..])
        {
            self.task.count = count;
            self.task.leaked = self.counts.leaks;
            self.cut = false;
            self.mode = ScanMode::Record;
        }
    }

    fn read_record_line(&mut self, line: &[u8], offset: u64) {
        if let Some(text) = line.strip_prefix(b"# labels: ") {
            match text {
                [b'{', inside @ .., b'}'] => self.read_labels(inside, offset),
                _ => self.table.warn(offset, Problem::BrokenLabels),
            }
        } else if let Some(columns) = line.strip_prefix(b"#\t") {
            let mut columns = columns.split(|&byte| byte == b'\t').filter(|c| !c.is_empty());
            let address = columns.next().unwrap_or_default();
            let (function, place) = (columns.next(), columns.next().unwrap_or_default());
            let name = function.map_or(address, strip_offset);
            if !name.is_empty() {
                self.push_frame(name, place, false, offset);
            }
        } else {
            self.end_goroutine(offset);
            self.mode = ScanMode::Text;
            self.read_text_line(line, offset);
        }
    }

    /// Compares the total of the profile that ends here with its records.
    fn check_total(&mut self, offset: u64) {
        if let Some(said) = self.counts.total.take() {
            if said != self.counts.sum {
                self.table.warn(offset, Problem::Total(said, self.counts.sum));
                self.counts.truncated |= self.counts.sum < said;
            }
            self.counts.sum = 0;
        }
    }

    /// Notes that the input is cut off here, and why.
    pub(super) fn note_cut_off(&mut self, problem: Problem) {
        self.counts.truncated = true;
        if let Problem::Limit(limit, _) = problem {
            self.table.reach_limit(limit, self.offset);
        } else {
            self.table.warn(self.offset, problem);
        }
    }

    /// Ends the input. Returns what was read.
    pub fn finish(mut self) -> Dump {
        self.end_input();
        self.conclude()
    }

    /// Adds the warnings that only the whole input can show. Returns what was read.
    pub(super) fn conclude(mut self) -> Dump {
        if self.offset == LONGEST_OF_GO {
            self.table.warn(self.offset, Problem::LongestOfGo);
            self.counts.truncated = true;
        }
        let ScanCounts { firsts, .. } = self.counts;
        // A crash says more than once what runs on its threads.
        if firsts > 1 && !self.counts.crash {
            self.table.warn(self.offset, Problem::Several(firsts));
        }
        self.into_dump()
    }

    /// Ends the input, and keeps what was read in the parser.
    pub(super) fn end_input(&mut self) {
        let rest = self.encoding.finish();
        self.feed_plain(&rest);
        let last = std::mem::take(&mut self.carry);
        let mut breaks_off = false;
        if !last.is_empty() {
            breaks_off = self.breaks_off(&last);
            let offset = self.offset;
            self.offset += last.len() as u64;
            if breaks_off {
                // What is left of the line would only look like something else.
                self.pending = PendingLine::Nothing;
            } else {
                self.take_line(&last, offset);
            }
        }
        if self.mode == ScanMode::Stack {
            let empty = self.task.node == ROOT && !self.task.partial;
            breaks_off |= self.pending != PendingLine::Nothing || empty;
        }
        breaks_off |= self.mode == ScanMode::Ancestor && self.pending != PendingLine::Nothing;
        self.pending = PendingLine::Nothing;
        self.task.partial |= breaks_off;
        self.end_goroutine(self.offset);
        if self.mode != ScanMode::AfterPanic {
            self.mode = ScanMode::Text;
        }
        self.check_total(self.offset);
        if breaks_off {
            self.table.warn(self.offset, Problem::BreaksOff);
        }
        self.counts.truncated |= breaks_off;
    }

    /// Returns whether the input so far ends behind the text of a panic: then only this parser can
    /// read on.
    pub(super) fn ends_after_panic(&self) -> bool {
        self.mode == ScanMode::AfterPanic && self.runs
    }

    /// Returns whether a last line without a newline is only the beginning of one.
    fn breaks_off(&self, line: &[u8]) -> bool {
        if line.starts_with(b"goroutine ") {
            return header::parse(line) == header::HeaderLine::CutOff;
        }
        match (self.mode, line) {
            (ScanMode::Text | ScanMode::AfterPanic, line) => {
                self.counts.headers > 0 && b"goroutine ".starts_with(line)
            }
            (ScanMode::Stack, [b'\t', place @ ..]) => match self.pending {
                PendingLine::Nothing => false,
                PendingLine::Creator => !lines::may_end_place(place, false),
                PendingLine::Function { inlined } => !lines::may_end_place(place, inlined),
            },
            // Not every frame of an ancestor has an offset.
            (ScanMode::Ancestor, [b'\t', place @ ..]) => {
                self.pending != PendingLine::Nothing && !lines::may_end_place(place, true)
            }
            (ScanMode::Stack | ScanMode::Ancestor, line) => {
                let blank = line.iter().any(u8::is_ascii_whitespace);

                match line {
                    [b'.', ..] => !lines::is_elision(line),
                    [b'[', ..] => header::parse_ancestor(line).is_none(),
                    _ => !blank || memchr(b'(', line).is_some() || line.starts_with(b"created "),
                }
            }
            _ => false,
        }
    }

    /// Adds what another parser has read of the part that follows.
    pub(super) fn append(&mut self, later: &Parser) {
        self.table.merge(&later.table, later.offset);
        let (ours, theirs) = (&mut self.counts, later.counts);
        ours.goroutines = ours.goroutines.saturating_add(theirs.goroutines);
        ours.headers += theirs.headers;
        ours.records += theirs.records;
        ours.firsts += theirs.firsts;
        ours.crash |= theirs.crash;
        ours.truncated |= theirs.truncated;
        self.offset = later.offset;
    }

    fn into_dump(self) -> Dump {
        let ScanCounts { goroutines, headers, records, crash, truncated, .. } = self.counts;
        let debug1 = headers == 0 && records > 0;
        let format = if debug1 { DumpFormat::Debug1 } else { DumpFormat::Debug2 };
        Dump { format, goroutines, crash, truncated, table: self.table }
    }
}

/// Returns the total in `goroutine profile: total 19`.
fn parse_profile_total(line: &[u8]) -> Option<u64> {
    let digits = line.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let name = line[..line.len() - digits].strip_suffix(b" profile: total ")?;
    if name.is_empty() { None } else { header::parse_number(&line[line.len() - digits..]) }
}

/// Returns whether the text of a panic begins here.
fn is_panic(line: &[u8]) -> bool {
    [&b"panic: "[..], b"fatal error: ", b"\tpanic: "].iter().any(|start| line.starts_with(start))
}

/// Returns whether a line is one of the registers that follow a crash's stack: `rax    0xca`.
fn is_register(line: &[u8]) -> bool {
    let name = line.iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
    let value = line[name..].trim_ascii_start();
    (1..=8).contains(&name)
        && value.len() + name < line.len()
        && value
            .strip_prefix(b"0x")
            .is_some_and(|digits| !digits.is_empty() && digits.iter().all(u8::is_ascii_hexdigit))
}

/// Returns `main.f` of `main.f+0x38`.
fn strip_offset(name: &[u8]) -> &[u8] {
    let digits = name.iter().rev().take_while(|byte| byte.is_ascii_hexdigit()).count();
    name[..name.len() - digits].strip_suffix(b"+0x").unwrap_or(name)
}
