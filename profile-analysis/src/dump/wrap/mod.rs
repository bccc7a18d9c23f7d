//! Taking a dump out of what a log has put around its lines: a prefix before each, the JSON that
//! each is a part of, colours, or several of these, one around the other.
//!
//! Text passes through as it is until the first goroutine, or the panic before it, shows what is
//! around its line. A dump that begins in the first column is plain, and from there on nothing is
//! looked at any more. Whatever is told is told by whole lines, so that it doesn't matter how the
//! input is cut in pieces.

mod candidate;
mod colours;
mod json;
mod pattern;
mod prefix;
mod search;
mod strings;
#[cfg(test)]
mod tests;

use memchr::{memchr, memrchr};

use colours::ColourLayer;
use json::JsonLayer;
use prefix::PrefixLayer;
use search::{Found, LogSearch};

/// Bytes of text that are unwrapped at a time. A line that is longer is not looked at as a whole.
const BLOCK: usize = 64 << 10;
/// The most layers that are taken off.
const LAYERS: u8 = 3;

/// Takes plain text.
pub(super) type PlainSink<'a> = dyn FnMut(&[u8]) + 'a;

/// Unwraps text that comes in pieces, cut anywhere.
#[derive(Debug)]
pub(super) struct LogUnwrapper {
    stage: UnwrapStage,
    carry: Carry,
    /// Whether a prefix is one before it is seen again.
    forced: bool,
    layers_left: u8,
}

#[derive(Debug)]
enum UnwrapStage {
    /// No goroutine has come yet.
    Searching(LogSearch),
    /// What comes is plain.
    Plain,
    /// Lines have something around them.
    Wrapped(Box<WrappedText>),
}

#[derive(Debug)]
struct WrappedText {
    layer: LogLayer,
    /// The text without the layer, before `inner` has taken it.
    buffer: Vec<u8>,
    inner: LogUnwrapper,
}

#[derive(Debug)]
enum LogLayer {
    Prefix(PrefixLayer),
    Json(JsonLayer),
    Colours(ColourLayer),
}

/// The line at the end of what came.
#[derive(Debug)]
enum Carry {
    /// Its beginning, empty where none has begun.
    Kept(Vec<u8>),
    /// It is longer than a block, whose worth has been passed on.
    Long,
}

impl LogUnwrapper {
    /// Returns one that has seen nothing. One that is forced takes anything before a goroutine for
    /// a prefix.
    pub(super) fn new(forced: bool) -> LogUnwrapper {
        LogUnwrapper::nested(forced, LAYERS)
    }

    /// Returns one for text that is known to be plain.
    pub(super) fn plain() -> LogUnwrapper {
        LogUnwrapper { stage: UnwrapStage::Plain, ..LogUnwrapper::nested(false, 0) }
    }

    fn nested(forced: bool, layers_left: u8) -> LogUnwrapper {
        let stage = match layers_left {
            0 => UnwrapStage::Plain,
            _ => UnwrapStage::Searching(LogSearch::new(forced)),
        };
        LogUnwrapper { stage, carry: Carry::Kept(Vec::new()), forced, layers_left }
    }

    /// Returns whether what comes next is passed on as it is.
    pub(super) fn is_plain(&self) -> bool {
        matches!(self.stage, UnwrapStage::Plain)
    }

    /// Returns the layers that were taken off, in words.
    pub(super) fn describe(&self) -> Vec<String> {
        let UnwrapStage::Wrapped(text) = &self.stage else { return Vec::new() };
        let layer = match &text.layer {
            LogLayer::Prefix(prefix) => prefix.describe(),
            LogLayer::Json(json) => json.describe(),
            LogLayer::Colours(_) => Some("colours".to_owned()),
        };
        layer.into_iter().chain(text.inner.describe()).collect()
    }

    /// Takes the next piece, and passes on what is in it.
    pub(super) fn feed(&mut self, mut piece: &[u8], sink: &mut PlainSink<'_>) {
        while !piece.is_empty() {
            if self.is_plain() {
                return sink(piece);
            }
            piece = match &mut self.carry {
                Carry::Long => self.feed_long(piece, sink),
                Carry::Kept(line) if line.is_empty() => self.feed_lines(piece, sink),
                Carry::Kept(line) => {
                    let window = &piece[..piece.len().min(BLOCK - line.len())];
                    let end = memchr(b'\n', window).map_or(window.len(), |end| end + 1);
                    line.extend_from_slice(&window[..end]);
                    if line.ends_with(b"\n") || line.len() == BLOCK {
                        let line = std::mem::take(line);
                        let rest = self.feed_lines(&line, sink);
                        debug_assert!(
                            rest.is_empty(),
                            "it is one line, or the block that begins one"
                        );
                    }
                    &piece[end..]
                }
            };
        }
    }

    /// Takes lines from the beginning of a piece. Returns what follows them.
    fn feed_lines<'a>(&mut self, piece: &'a [u8], sink: &mut PlainSink<'_>) -> &'a [u8] {
        let window = &piece[..piece.len().min(BLOCK)];
        match memrchr(b'\n', window) {
            Some(end) => self.unwrap_lines(&piece[..=end], sink),
            None if window.len() < BLOCK => self.carry = Carry::Kept(window.to_vec()),
            None => self.begin_long_line(window, sink),
        }
        let used = memrchr(b'\n', window).map_or(window.len(), |end| end + 1);
        &piece[used..]
    }

    /// Unwraps whole lines.
    fn unwrap_lines(&mut self, mut lines: &[u8], sink: &mut PlainSink<'_>) {
        while !lines.is_empty() {
            match &mut self.stage {
                UnwrapStage::Plain => return sink(lines),
                UnwrapStage::Wrapped(text) => return text.unwrap_lines(lines, sink),
                UnwrapStage::Searching(search) => {
                    let (used, found) = search.scan(lines, sink);
                    lines = &lines[used..];
                    if let Some(found) = found {
                        let held = search.take_held();
                        self.set_layer(found);
                        self.unwrap_lines(&held, sink);
                    }
                }
            }
        }
    }

    fn set_layer(&mut self, found: Found) {
        let layer = match found {
            Found::Plain => return self.stage = UnwrapStage::Plain,
            Found::Prefix(prefix) => LogLayer::Prefix(prefix),
            Found::Json(json) => LogLayer::Json(json),
            Found::Colours => LogLayer::Colours(ColourLayer::default()),
        };
        let inner = LogUnwrapper::nested(self.forced, self.layers_left - 1);
        let text = WrappedText { layer, buffer: Vec::new(), inner };
        self.stage = UnwrapStage::Wrapped(Box::new(text));
    }

    /// Takes a block's worth of a line that is longer.
    fn begin_long_line(&mut self, begin: &[u8], sink: &mut PlainSink<'_>) {
        self.carry = Carry::Long;
        if let UnwrapStage::Searching(search) = &mut self.stage {
            let held = search.take_held();
            sink(&held);
            match search.look_at_long(begin) {
                Some(found) => self.set_layer(found),
                None => return sink(begin),
            }
        }
        if let UnwrapStage::Wrapped(text) = &mut self.stage {
            text.unwrap_long_part(begin, true, sink);
        }
    }

    /// Takes more of a long line. Returns what follows it.
    fn feed_long<'a>(&mut self, piece: &'a [u8], sink: &mut PlainSink<'_>) -> &'a [u8] {
        let window = &piece[..piece.len().min(BLOCK)];
        let end = memchr(b'\n', window).map_or(window.len(), |end| end + 1);
        let (part, rest) = piece.split_at(end);
        match &mut self.stage {
            UnwrapStage::Wrapped(text) => text.unwrap_long_part(part, false, sink),
            _ => sink(part),
        }
        if part.ends_with(b"\n") {
            self.carry = Carry::Kept(Vec::new());
        }
        rest
    }

    /// Ends the input, and passes on what was held back.
    pub(super) fn finish(&mut self, sink: &mut PlainSink<'_>) {
        if let Carry::Kept(line) = &mut self.carry
            && !line.is_empty()
        {
            let line = std::mem::take(line);
            self.unwrap_lines(&line, sink);
        }
        if let UnwrapStage::Searching(search) = &mut self.stage {
            let found = search.conclude();
            let held = search.take_held();
            match found {
                Some(found) => {
                    self.set_layer(found);
                    self.unwrap_lines(&held, sink);
                }
                None => sink(&held),
            }
        }
        if let UnwrapStage::Wrapped(text) = &mut self.stage {
            text.finish(sink);
        }
    }
}

impl WrappedText {
    fn unwrap_lines(&mut self, lines: &[u8], sink: &mut PlainSink<'_>) {
        self.buffer.clear();
        match &mut self.layer {
            LogLayer::Prefix(prefix) => prefix.unwrap_lines(lines, &mut self.buffer),
            LogLayer::Json(json) => json.unwrap_lines(lines, &mut self.buffer),
            LogLayer::Colours(colours) => colours.unwrap(lines, &mut self.buffer),
        }
        self.inner.feed(&self.buffer, sink);
    }

    /// Takes a part of a line that is longer than a block, whose beginning is told.
    fn unwrap_long_part(&mut self, part: &[u8], begins: bool, sink: &mut PlainSink<'_>) {
        self.buffer.clear();
        match &mut self.layer {
            LogLayer::Prefix(prefix) if begins => prefix.unwrap_lines(part, &mut self.buffer),
            LogLayer::Prefix(_) => self.buffer.extend_from_slice(part),
            LogLayer::Json(json) => json.unwrap_long_part(part, begins, &mut self.buffer),
            LogLayer::Colours(colours) => colours.unwrap(part, &mut self.buffer),
        }
        self.inner.feed(&self.buffer, sink);
    }

    fn finish(&mut self, sink: &mut PlainSink<'_>) {
        self.buffer.clear();
        if let LogLayer::Prefix(prefix) = &mut self.layer {
            prefix.finish(&mut self.buffer);
        }
        self.inner.feed(&self.buffer, sink);
        self.inner.finish(sink);
    }
}
