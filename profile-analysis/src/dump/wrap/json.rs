//! Taking the text of a log out of lines of JSON, and out of quotes as in `msg="…"`.
//!
//! A line is scanned, not parsed: strings are told from each other by their quotes, a string that a
//! colon follows is a key, and the strings and lists of bytes behind some keys are the text. So a
//! line that is a whole dump is unwrapped as it comes. What is no JSON, or breaks off within a
//! string, is text as it is.

use memchr::{memchr, memchr2, memmem};

use super::pattern::has_same_form;
use super::strings::{blank_length, is_text_key, read_escape};

/// Bytes of a key that are looked at; longer ones are none of the known.
const KEY: usize = 24;
/// The length of a record in bytes from which on Docker cuts a line in several.
const DOCKER: usize = 16 << 10;

/// The beginning of a text that is one behind any key.
const HEADER: &[u8] = b"goroutine ";

/// The form of what is around the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum JsonForm {
    /// `{"log":"…"}`
    Json,
    /// `level=error msg="…"`, `{"log"=>"…"}`, or a line that is a text in quotes.
    Quoted,
    /// A line whose newlines and tabs are written as escapes.
    Escaped,
}

/// Lines of JSON, whose text is passed on.
#[derive(Debug)]
pub(super) struct JsonLayer {
    form: JsonForm,
    place: JsonPlace,
    key: Vec<u8>,
    /// The key of the last text.
    value_key: Vec<u8>,
    /// The key behind which the first goroutine was.
    shown: Vec<u8>,
    /// Bytes of the value so far.
    length: usize,
    /// An escape that the end of a part has cut.
    cut: Vec<u8>,
    /// The byte before the part.
    last: u8,
    /// The texts of the line so far, and where the last one was.
    values: ValueSpan,
    /// The form of the last line that had one text.
    shape: Option<LineShape>,
}

/// Where in its line a text is, without and with its closing quote.
#[derive(Clone, Copy, Debug, Default)]
struct ValueSpan {
    count: usize,
    begin: usize,
    end: usize,
}

/// What is around the text in a line. Where a line differs from it in digits alone, its strings are
/// where they were.
#[derive(Debug)]
struct LineShape {
    head: Vec<u8>,
    key: Vec<u8>,
    tail: Vec<u8>,
}

/// What the next byte is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum JsonPlace {
    /// A line that is none of this form.
    Raw,
    /// A line that is text all the way.
    Escaped,
    /// Between strings.
    Between,
    /// In a key, or in a string that looks like one so far.
    Key,
    AfterKey,
    BeforeValue,
    Value {
        in_list: bool,
    },
    /// In a string that nobody wants.
    Skipped,
    /// In the list behind a known key.
    List,
}

impl JsonLayer {
    pub(super) fn new(form: JsonForm) -> JsonLayer {
        JsonLayer {
            form,
            place: JsonPlace::Between,
            key: Vec::new(),
            value_key: Vec::new(),
            shown: Vec::new(),
            length: 0,
            cut: Vec::new(),
            last: 0,
            values: ValueSpan::default(),
            shape: None,
        }
    }

    /// Returns the form in words, where a goroutine came out of it.
    pub(super) fn describe(&self) -> Option<String> {
        let key = String::from_utf8_lossy(&self.shown);
        match self.form {
            _ if self.shown.is_empty() => None,
            JsonForm::Json => Some(format!("the JSON of every line ({key:?})")),
            JsonForm::Quoted => Some("the quotes of every line".to_owned()),
            JsonForm::Escaped => Some("the escapes of every line".to_owned()),
        }
    }

    /// Adds the text of whole lines.
    pub(super) fn unwrap_lines(&mut self, mut lines: &[u8], out: &mut Vec<u8>) {
        while !lines.is_empty() {
            let end = memchr(b'\n', lines).map_or(lines.len(), |end| end + 1);
            let (line, rest) = lines.split_at(end);
            let begin = out.len();
            self.begin_line(line);
            if !self.read_by_shape(line, out) {
                self.push(line, out);
                self.learn_shape(line);
            }
            let is_broken = match self.place {
                JsonPlace::Key | JsonPlace::Skipped => true,
                // The input may end in the middle of a text.
                JsonPlace::Value { .. } => line.ends_with(b"\n"),
                _ => false,
            };
            if is_broken {
                out.truncate(begin);
                out.extend_from_slice(line);
            }
            self.cut.clear();
            lines = rest;
        }
    }

    /// Reads a line that has the form of the one before it. Returns whether it has.
    fn read_by_shape(&mut self, line: &[u8], out: &mut Vec<u8>) -> bool {
        let Some(shape) = self.shape.take() else { return false };
        let found =
            line.get(..shape.head.len()).is_some_and(|head| has_same_form(head, &shape.head));
        if found {
            self.place = JsonPlace::Value { in_list: false };
            self.length = 0;
            self.key.extend_from_slice(&shape.key);
            let text = &line[shape.head.len()..];
            let tail = &text[self.read_value(text, false, out)..];
            let is_same = tail.len() == shape.tail.len() && has_same_form(tail, &shape.tail);
            if self.place == JsonPlace::Between && !is_same {
                self.push(tail, out);
            }
        }
        self.shape = Some(shape);
        found
    }

    /// Keeps the form of a line that was read, where it has one text.
    fn learn_shape(&mut self, line: &[u8]) {
        let ValueSpan { count, begin, end } = self.values;
        if count == 1 && self.place == JsonPlace::Between {
            let key = self.value_key.clone();
            let (head, tail) = (line[..begin].to_vec(), line[end..].to_vec());
            self.shape = Some(LineShape { head, key, tail });
        }
    }

    /// Adds the text of a part of a line, which may be its first.
    pub(super) fn unwrap_long_part(&mut self, part: &[u8], begins: bool, out: &mut Vec<u8>) {
        if begins {
            self.begin_line(part);
        }
        if self.cut.is_empty() {
            self.push(part, out);
        } else {
            let part = [std::mem::take(&mut self.cut).as_slice(), part].concat();
            self.push(&part, out);
        }
    }

    /// Returns whether a line may have this form.
    pub(super) fn is_wrapped(&self, line: &[u8]) -> bool {
        let first = line.trim_ascii_start().first();
        match self.form {
            JsonForm::Json => matches!(first, Some(b'{' | b'[' | b'"')),
            JsonForm::Quoted => {
                let has = |text: &[u8]| memmem::find(line, text).is_some();
                first == Some(&b'"') || has(b"=\"") || has(b"=>\"")
            }
            JsonForm::Escaped => memmem::find(line, b"\\n").is_some(),
        }
    }

    fn begin_line(&mut self, line: &[u8]) {
        self.place = match self.form {
            _ if !self.is_wrapped(line) => JsonPlace::Raw,
            JsonForm::Escaped => JsonPlace::Escaped,
            JsonForm::Json | JsonForm::Quoted => JsonPlace::Between,
        };
        self.last = 0;
        self.values = ValueSpan::default();
        self.cut.clear();
        self.key.clear();
    }

    fn push(&mut self, part: &[u8], out: &mut Vec<u8>) {
        let mut rest = part;
        while !rest.is_empty() {
            let before = self.place;
            let used = match self.place {
                JsonPlace::Raw => {
                    out.extend_from_slice(rest);
                    rest.len()
                }
                JsonPlace::Escaped => self.read_escaped(rest, out),
                JsonPlace::Between => self.find_string(rest),
                JsonPlace::Key | JsonPlace::Skipped => self.read_string(rest),
                JsonPlace::AfterKey => {
                    let blanks = blank_length(rest);
                    match rest.get(blanks) {
                        Some(b':') => self.place = JsonPlace::BeforeValue,
                        Some(_) => self.place = JsonPlace::Between,
                        None => {}
                    }
                    blanks + usize::from(self.place == JsonPlace::BeforeValue)
                }
                JsonPlace::BeforeValue => self.begin_value(rest),
                JsonPlace::Value { in_list } => self.read_value(rest, in_list, out),
                JsonPlace::List => self.read_list(rest, out),
            };
            if !self.cut.is_empty() {
                return;
            }
            if used > 0 {
                self.last = rest[used - 1];
            }
            rest = &rest[used..];
            self.note_span(before, part.len() - rest.len());
        }
    }

    /// Notes where a text begins or ends, given what was before.
    fn note_span(&mut self, before: JsonPlace, at: usize) {
        let is_value =
            |place: JsonPlace| matches!(place, JsonPlace::Value { .. } | JsonPlace::List);
        match (is_value(before), is_value(self.place)) {
            (false, true) => {
                let count = self.values.count + 1 + usize::from(self.place == JsonPlace::List);
                self.values = ValueSpan { count, begin: at, end: at };
                self.value_key.clone_from(&self.key);
            }
            (true, false) => self.values.end = at,
            _ => {}
        }
    }

    /// Goes on to the next string. Returns the length of what was before it, and its quote.
    fn find_string(&mut self, rest: &[u8]) -> usize {
        let Some(quote) = memchr(b'"', rest) else { return rest.len() };
        let before = if quote > 0 { rest[quote - 1] } else { self.last };
        match self.form {
            JsonForm::Json => {
                self.key.clear();
                self.place = JsonPlace::Key;
            }
            JsonForm::Quoted if matches!(before, b'=' | b'>') || (quote == 0 && self.last == 0) => {
                let word = |byte: &&u8| byte.is_ascii_alphanumeric() || **byte == b'_';
                let before = &rest[..quote.saturating_sub(1)];
                let length = before.iter().rev().take_while(word).count().min(KEY);
                self.key = before[before.len() - length..].to_vec();
                self.length = 0;
                self.place = JsonPlace::Value { in_list: false };
            }
            JsonForm::Quoted | JsonForm::Escaped => {}
        }
        quote + 1
    }

    /// Reads a string that is not the text of the log. Returns how much was read.
    fn read_string(&mut self, rest: &[u8]) -> usize {
        let found = memchr2(b'"', b'\\', rest);
        let end = found.unwrap_or(rest.len());
        if self.place == JsonPlace::Key {
            let room = (KEY + 1).saturating_sub(self.key.len());
            self.key.extend_from_slice(&rest[..end.min(room)]);
        }
        match (found, rest.get(end..)) {
            (Some(_), Some([b'"', ..])) => {
                let is_key = self.place == JsonPlace::Key;
                self.place = if is_key { JsonPlace::AfterKey } else { JsonPlace::Between };
                end + 1
            }
            (Some(_), Some([b'\\', _, ..])) => end + 2,
            (Some(_), Some(cut)) => {
                self.cut = cut.to_vec();
                end
            }
            _ => end,
        }
    }

    fn begin_value(&mut self, rest: &[u8]) -> usize {
        let blanks = blank_length(rest);
        self.length = 0;
        match &rest[blanks..] {
            [] => return blanks,
            [b'"', value @ ..] => {
                let is_known = is_text_key(&self.key);
                if !is_known && value.len() < HEADER.len() && HEADER.starts_with(value) {
                    // The rest of it tells.
                    self.cut = rest[blanks..].to_vec();
                    return blanks;
                }
                let is_wanted = is_known || value.starts_with(HEADER);
                self.place = match is_wanted {
                    true => JsonPlace::Value { in_list: false },
                    false => JsonPlace::Skipped,
                };
            }
            [b'[', ..] if is_text_key(&self.key) => self.place = JsonPlace::List,
            _ => {
                self.place = JsonPlace::Between;
                return blanks;
            }
        }
        blanks + 1
    }

    /// Adds what is read of the text of the log. Returns how much was read.
    fn read_value(&mut self, rest: &[u8], in_list: bool, out: &mut Vec<u8>) -> usize {
        let begin = out.len();
        let mut at = 0;
        while let Some(end) = memchr2(b'"', b'\\', &rest[at..]) {
            out.extend_from_slice(&rest[at..at + end]);
            at += end;
            if rest[at] == b'"' {
                self.length += out.len() - begin;
                self.end_value(begin, out);
                self.place = if in_list { JsonPlace::List } else { JsonPlace::Between };
                return at + 1;
            }
            match read_escape(&rest[at..], out) {
                Some(length) => at += length,
                None => {
                    self.cut = rest[at..].to_vec();
                    self.length += out.len() - begin;
                    return at;
                }
            }
        }
        out.extend_from_slice(&rest[at..]);
        self.length += out.len() - begin;
        rest.len()
    }

    /// Adds a line without its escapes, as far as it has come. Returns how much was read.
    fn read_escaped(&mut self, rest: &[u8], out: &mut Vec<u8>) -> usize {
        let begin = out.len();
        let mut at = 0;
        while let Some(end) = memchr(b'\\', &rest[at..]) {
            out.extend_from_slice(&rest[at..at + end]);
            at += end;
            match read_escape(&rest[at..], out) {
                Some(length) => at += length,
                None => {
                    self.cut = rest[at..].to_vec();
                    return at;
                }
            }
        }
        out.extend_from_slice(&rest[at..]);
        if self.shown.is_empty() && memmem::find(&out[begin..], b"goroutine ").is_some() {
            self.shown = b"?".to_vec();
        }
        rest.len()
    }

    /// Ends a text: it is a line, or several.
    fn end_value(&mut self, begin: usize, out: &mut Vec<u8>) {
        if self.shown.is_empty() && memmem::find(&out[begin..], b"goroutine ").is_some() {
            self.shown = if self.key.is_empty() { b"?".to_vec() } else { self.key.clone() };
        }
        let goes_on = match self.key.as_slice() {
            // What these write is a line with its newline, or a part of one.
            b"log" => self.length >= DOCKER - 1,
            b"Output" => true,
            _ => false,
        };
        if !out[begin..].ends_with(b"\n") && !goes_on {
            out.push(b'\n');
        }
    }

    /// Adds the text in a list: of bytes, as journald writes what is not printable, or of strings.
    fn read_list(&mut self, rest: &[u8], out: &mut Vec<u8>) -> usize {
        let mut at = 0;
        while let Some(&byte) = rest.get(at) {
            match byte {
                b'"' => {
                    self.length = 0;
                    self.place = JsonPlace::Value { in_list: true };
                    return at + 1;
                }
                b']' => {
                    self.place = JsonPlace::Between;
                    out.push(b'\n');
                    return at + 1;
                }
                b'0'..=b'9' => {
                    let digits = rest[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
                    if at + digits == rest.len() && digits <= 3 {
                        self.cut = rest[at..].to_vec();
                        return at;
                    }
                    let number = rest[at..at + digits].iter().fold(0_u32, |number, digit| {
                        number.saturating_mul(10).saturating_add(u32::from(digit - b'0'))
                    });
                    out.extend(u8::try_from(number));
                    at += digits;
                }
                b',' | b' ' => at += 1,
                _ => {
                    self.place = JsonPlace::Between;
                    return at;
                }
            }
        }
        at
    }
}
