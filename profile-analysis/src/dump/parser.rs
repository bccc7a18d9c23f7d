//! The parser: from pieces of an input to a dump.
//!
//! A piece is decoded, what a log has put around its lines is taken off, its lines are put together,
//! and a reader of lines makes goroutines of them: each of these has a file of its own.

use super::chunks::LineChunks;
use super::encoding::TextEncoding;
use super::scan::{ScanCounts, StackReader};
use super::wrap::LogUnwrapper;
use super::{Dump, DumpFormat, Options, Problem};

/// The longest dump that Go's runtime writes: it then cuts off where it is.
const LONGEST_OF_GO: u64 = 64 << 20;
/// Number of bytes that are decoded to UTF-8 at a time, where the input is something else.
const DECODED: usize = 64 << 10;

/// A parser of dumps that come in pieces, cut anywhere.
#[derive(Debug)]
pub struct Parser {
    encoding: TextEncoding,
    text: ParsedText,
}

/// The part of a parser behind the encoding.
#[derive(Debug)]
struct ParsedText {
    log: LogUnwrapper,
    chunks: LineChunks,
    reader: StackReader,
}

impl Parser {
    /// Returns a parser that has seen nothing yet.
    pub fn new(options: &Options) -> Parser {
        let text = ParsedText {
            log: LogUnwrapper::new(options.strip_prefix),
            chunks: LineChunks::new(options.limits.line, 0),
            reader: StackReader::new(options),
        };
        Parser { encoding: TextEncoding::Unknown(Vec::new()), text }
    }

    /// Returns a parser for what begins in the middle of a plain dump, between two goroutines.
    pub(super) fn starting_at(options: &Options, offset: u64) -> Parser {
        let mut parser = Parser::new(options);
        if offset > 0 {
            parser.encoding = TextEncoding::Plain;
            parser.text.log = LogUnwrapper::plain();
            parser.text.chunks.set_offset(offset);
        }
        parser
    }

    #[cfg(test)]
    pub(super) fn disable_short_cut(&mut self) {
        self.text.reader.reads_in_full = true;
    }

    /// Takes the next piece.
    pub fn feed(&mut self, piece: &[u8]) {
        let (head, rest) = piece.split_at(piece.len().min(DECODED));
        self.text.feed(&self.encoding.decode(head));
        match self.encoding {
            TextEncoding::Plain => self.text.feed(rest),
            _ => rest.chunks(DECODED).for_each(|piece| {
                self.text.feed(&self.encoding.decode(piece));
            }),
        }
    }

    /// Returns whether any goroutine was read so far.
    pub fn has_goroutines(&self) -> bool {
        self.text.reader.counts.goroutines > 0
    }

    /// Notes that the input is cut off here, and why.
    pub(super) fn note_cut_off(&mut self, problem: Problem) {
        let ParsedText { chunks, reader, .. } = &mut self.text;
        reader.counts.truncated = true;
        if let Problem::Limit(limit, _) = problem {
            reader.table.reach_limit(limit, chunks.offset());
        } else {
            reader.table.warn(chunks.offset(), problem);
        }
    }

    /// Ends the input. Returns what was read.
    pub fn finish(mut self) -> Dump {
        self.end_input();
        self.conclude()
    }

    /// Ends the input, and keeps what was read in the parser.
    pub(super) fn end_input(&mut self) {
        let rest = self.encoding.finish();
        self.text.feed(&rest);
        let ParsedText { log, chunks, reader } = &mut self.text;
        log.finish(&mut |plain| chunks.feed(plain, reader));
        let last = chunks.take_rest();
        reader.end_input(last, chunks.offset());
    }

    /// Adds the warnings that only the whole input can show. Returns what was read.
    pub(super) fn conclude(self) -> Dump {
        let ParsedText { log, chunks, mut reader } = self.text;
        let end = chunks.offset();
        if end == LONGEST_OF_GO {
            reader.table.warn(end, Problem::LongestOfGo);
            reader.counts.truncated = true;
        }
        let ScanCounts { firsts, crash, headers, records, .. } = reader.counts;
        // A crash says more than once what runs on its threads.
        if firsts > 1 && !crash {
            reader.table.warn(end, Problem::Several(firsts));
        }
        if headers > 0 && records > 0 {
            reader.table.warn(end, Problem::TwoForms);
        }
        let ScanCounts { goroutines, truncated, says_none, .. } = reader.counts;
        let debug1 = headers == 0 && records > 0;
        let format = if debug1 { DumpFormat::Debug1 } else { DumpFormat::Debug2 };
        let unwrapped = if goroutines > 0 { log.describe() } else { Vec::new() };
        Dump { format, goroutines, says_none, crash, truncated, unwrapped, table: reader.table }
    }

    /// Returns whether only this parser can read on: what comes depends on what came.
    pub(super) fn must_go_on(&self) -> bool {
        self.text.reader.awaits_panicking() || !self.text.log.is_plain()
    }

    /// Adds what another parser has read of the part that follows.
    pub(super) fn append(&mut self, later: &Parser) {
        let (ours, theirs) = (&mut self.text.reader, &later.text.reader);
        let end = later.text.chunks.offset();
        ours.table.merge(&theirs.table, end);
        ours.counts.append(&theirs.counts);
        self.text.chunks.set_offset(end);
    }
}

impl ParsedText {
    fn feed(&mut self, piece: &[u8]) {
        let ParsedText { log, chunks, reader } = self;
        if log.is_plain() {
            chunks.feed(piece, reader);
        } else {
            log.feed(piece, &mut |plain| chunks.feed(plain, reader));
        }
    }
}
