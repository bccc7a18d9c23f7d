//! Reading one dump on several threads.

use std::thread;

use memchr::memmem;

use super::{Dump, Options, Parser};

/// Smallest part in bytes that is worth a thread.
const PART: usize = 1 << 20;

/// Reads a whole dump on at most `threads` threads, one of which is the caller's. Returns the same
/// as [`parse`](super::parse). Short dumps take fewer threads.
pub fn parse_on(threads: usize, bytes: &[u8], options: &Options) -> Dump {
    // With a prefix nobody knows where a goroutine begins.
    let threads = if options.strip_prefix { 1 } else { threads.min(bytes.len() / PART) };
    let mut parts = split_parts(threads.max(1), bytes);
    let first = parts.remove(0);
    let read = |(start, part): (usize, &[u8])| {
        let mut parser = Parser::starting_at(options, start as u64);
        parser.feed(part);
        parser.end_input();
        parser
    };
    let parsers = thread::scope(|scope| {
        let others: Vec<_> =
            parts.into_iter().map(|part| scope.spawn(move || read(part))).collect();
        let mut parsers = vec![read(first)];
        for other in others {
            match other.join() {
                Ok(later) => parsers.push(later),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        parsers
    });
    // What comes first decides what a goroutine is.
    if parsers.iter().rev().skip(1).any(Parser::must_go_on) {
        return super::parse_with(bytes, options);
    }
    let mut parsers = parsers.into_iter();
    let mut parser = parsers.next().unwrap_or_else(|| Parser::new(options));
    for later in parsers {
        parser.append(&later);
    }
    parser.conclude()
}

/// Cuts a dump in about equal parts, each but the first beginning with a goroutine after an empty
/// line: there a parser is in the same state whatever came before, unless that is a panic.
fn split_parts(count: usize, bytes: &[u8]) -> Vec<(usize, &[u8])> {
    let finder = memmem::Finder::new(b"\n\ngoroutine ");
    let mut starts = vec![0];
    for part in 1..count {
        let from = (bytes.len() / count * part).max(starts[part - 1]);
        match finder.find(&bytes[from..]) {
            Some(at) => starts.push(from + at + 2),
            None => break,
        }
    }
    let ends = starts.iter().skip(1).copied().chain([bytes.len()]);
    starts.iter().zip(ends).map(|(&start, end)| (start, &bytes[start..end])).collect()
}
