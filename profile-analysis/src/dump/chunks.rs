//! Lines out of pieces that are cut anywhere.

use memchr::memchr;

use super::scan::StackReader;

/// Puts lines together that go on in the next piece, and hands all others on as they are.
#[derive(Debug)]
pub(super) struct LineChunks {
    line_limit: usize,
    rest: LineRest,
    /// The offset of the first byte that is not in a line that was read.
    offset: u64,
}

/// The line at the end of what came.
#[derive(Debug)]
enum LineRest {
    /// Its beginning, without a newline; empty where none has begun.
    Kept(Vec<u8>),
    /// It is too long, and the rest of it is awaited.
    Skipped,
}

impl LineChunks {
    pub(super) fn new(line_limit: usize, offset: u64) -> LineChunks {
        LineChunks { line_limit, rest: LineRest::Kept(Vec::new()), offset }
    }

    /// Returns the number of bytes that have come.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Goes on at an offset, where another one has ended.
    pub(super) fn set_offset(&mut self, offset: u64) {
        self.offset = offset;
    }

    /// Takes the next piece.
    pub(super) fn feed(&mut self, mut piece: &[u8], reader: &mut StackReader) {
        let begun = match &self.rest {
            LineRest::Kept(line) => !line.is_empty(),
            LineRest::Skipped => true,
        };
        if begun {
            let Some(end) = memchr(b'\n', piece) else {
                return self.keep_line_start(piece, reader);
            };
            self.keep_line_start(&piece[..end], reader);
            match std::mem::replace(&mut self.rest, LineRest::Kept(Vec::new())) {
                LineRest::Skipped => self.offset += 1,
                LineRest::Kept(mut line) => {
                    line.push(b'\n');
                    reader.scan(&line, self.offset);
                    self.offset += line.len() as u64;
                    line.clear();
                    self.rest = LineRest::Kept(line);
                }
            }
            piece = &piece[end + 1..];
        }
        let used = reader.scan(piece, self.offset);
        self.offset += used as u64;
        self.keep_line_start(&piece[used..], reader);
    }

    /// Keeps the beginning of a line, unless it is too long.
    fn keep_line_start(&mut self, part: &[u8], reader: &mut StackReader) {
        match &mut self.rest {
            LineRest::Skipped => self.offset += part.len() as u64,
            LineRest::Kept(line) if line.len() + part.len() > self.line_limit => {
                let length = line.len() + part.len();
                line.extend_from_slice(&part[..part.len().min(self.line_limit)]);
                reader.read_long_line(line, self.offset);
                self.rest = LineRest::Skipped;
                self.offset += length as u64;
            }
            LineRest::Kept(line) => line.extend_from_slice(part),
        }
    }

    /// Ends the input. Returns the last line, where it has no newline, with its offset.
    pub(super) fn take_rest(&mut self) -> Option<(Vec<u8>, u64)> {
        let offset = self.offset;
        match std::mem::replace(&mut self.rest, LineRest::Kept(Vec::new())) {
            LineRest::Kept(line) if !line.is_empty() => {
                self.offset += line.len() as u64;
                Some((line, offset))
            }
            LineRest::Kept(_) | LineRest::Skipped => None,
        }
    }
}
