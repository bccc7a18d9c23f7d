//! The lines of a legacy text profile. No line can make another one mean something else.

use memchr::memchr;

use super::content::{LegacyFrame, LegacyHeader, LegacyMapping, LegacyText};
use super::java::parse_location;
use super::{LegacyError, LegacyLimits};

/// Most addresses without a name that may lie between two with one.
const AHEAD: usize = 64;

/// The most functions at one address.
const MOST_INLINED: usize = 100;

pub(super) fn parse(bytes: &[u8], limits: &LegacyLimits) -> Result<LegacyText, LegacyError> {
    let mut lines = NumberedLines { bytes, offset: 0 };
    let (_, first) = lines.next().ok_or(LegacyError::Header)?;
    let mut text = LegacyText::new(parse_header(first).ok_or(LegacyError::Header)?);
    if text.header == LegacyHeader::Threads {
        text.read_threads(&mut lines, limits);
        return Ok(text);
    }
    let mut stack = Vec::new();
    while let Some((offset, line)) = lines.next() {
        let line = line.trim_ascii_end();
        match line.trim_ascii_start() {
            [] => {}
            [b'#', comment @ ..] => text.read_comment(comment),
            rest if is_map(rest) => {
                text.read_rest(lines.rest(), false);
                break;
            }
            rest => {
                if let Err(problem) = text.read_line(rest, limits, &mut stack) {
                    text.warn_at(problem, offset);
                }
            }
        }
    }
    Ok(text)
}

fn is_map(line: &[u8]) -> bool {
    line.starts_with(b"MAPPED_LIBRARIES:") || line.starts_with(b"--- Memory map:")
}

/// Lines with the offset of each.
struct NumberedLines<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> NumberedLines<'a> {
    fn next(&mut self) -> Option<(usize, &'a [u8])> {
        let rest = self.rest();
        if rest.is_empty() {
            return None;
        }
        let end = memchr(b'\n', rest).unwrap_or(rest.len());
        let offset = self.offset;
        self.offset += end + 1;
        Some((offset, &rest[..end]))
    }

    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.offset..).unwrap_or_default()
    }
}

impl LegacyText {
    /// Reads a line that is a sample, a setting, or the name of one of Java's places.
    fn read_line(
        &mut self,
        line: &[u8],
        limits: &LegacyLimits,
        stack: &mut Vec<u64>,
    ) -> Result<(), &'static str> {
        if self.header.is_java() && line.starts_with(b"0x") {
            self.name_place(&String::from_utf8_lossy(line));
            return Ok(());
        }
        let Some(at) = memchr(b'@', line) else {
            let setting = line.iter().position(|&byte| byte == b'=').ok_or("unknown line")?;
            let text = |bytes| String::from_utf8_lossy(bytes);
            self.read_setting(text(&line[..setting]).trim(), text(&line[setting + 1..]).trim());
            return Ok(());
        };
        let values = match self.header {
            LegacyHeader::Heap { .. } | LegacyHeader::Growth => parse_four_values(&line[..at]),
            _ => parse_two_values(&line[..at]),
        };
        let values = values.ok_or("values that are no numbers")?;
        stack.clear();
        let mut rest = LineCursor { rest: &line[at + 1..] };
        while let Some(address) = rest.address()? {
            if stack.len() == limits.depth {
                return Err("a stack of more than the limit of addresses (depth)");
            }
            stack.push(address);
        }
        self.add_stack(stack, values);
        Ok(())
    }

    fn read_setting(&mut self, key: &str, value: &str) {
        let number = value.parse().unwrap_or(0);
        match key {
            "cycles/second" => self.cycles_per_second = number,
            "sampling period" => self.period = number,
            "ms since reset" => {
                let nanoseconds = number.saturating_mul(1_000_000);
                self.duration_nanos = i64::try_from(nanoseconds).unwrap_or(i64::MAX);
            }
            "resolution" => self.resolution = value.to_owned(),
            "format" if value == "java" => {
                self.header = match self.header {
                    LegacyHeader::Contention => LegacyHeader::JavaContention,
                    header => header,
                }
            }
            _ => {}
        }
    }

    /// Reads threads up to the map of memory: a head for each, and lines of addresses with anything
    /// between them. One that is the same as the last is only said to be.
    fn read_threads(&mut self, lines: &mut NumberedLines<'_>, limits: &LegacyLimits) {
        let has = |line: &[u8], wanted: &[u8]| memchr::memmem::find(line, wanted).is_some();
        let (mut stack, mut is_open) = (Vec::new(), true);
        while let Some((_, line)) = lines.next() {
            let line = line.trim_ascii();
            let ends = line.starts_with(b"---");
            if ends && is_open && !stack.is_empty() {
                self.add_stack(&stack, [1, 0, 0, 0]);
            }
            if ends {
                stack.clear();
                is_open = true;
                if is_map(line) {
                    return self.read_rest(lines.rest(), false);
                }
            } else if has(line, b"same as previous thread") {
                self.samples
                    .iter_mut()
                    .next_back()
                    .into_iter()
                    .for_each(|last| last.values[0] += 1);
                is_open = false;
            } else {
                let words = line.split(|&byte| byte.is_ascii_whitespace() || byte == b':');
                let room = limits.depth - stack.len().min(limits.depth);
                let addresses =
                    words.filter_map(|word| LineCursor { rest: word }.address().ok()?);
                stack.extend(addresses.take(room));
            }
        }
        if is_open && !stack.is_empty() {
            self.add_stack(&stack, [1, 0, 0, 0]);
        }
    }

    /// Reads what follows the samples: names of Java's places, or the mapped files.
    pub(super) fn read_rest(&mut self, rest: &[u8], is_java: bool) {
        let mut lines = NumberedLines { bytes: rest, offset: 0 };
        while let Some((_, line)) = lines.next() {
            let line = String::from_utf8_lossy(line);
            if is_java {
                self.name_place(&line);
            } else {
                self.regions.extend(parse_region(&line));
            }
        }
    }

    fn name_place(&mut self, line: &str) {
        if let Some((address, frame)) = parse_location(line)
            && let Some(&index) = self.index.get(&address)
        {
            self.frames.entry(index).or_insert_with(|| vec![frame]);
        }
    }

    /// Reads a comment such as `\t0x4a1\tmain.f+0x21\t/src/main.go:7`, which names a function of
    /// the stack before it. Other comments are ignored.
    fn read_comment(&mut self, comment: &[u8]) {
        let Some(comment) = comment.strip_prefix(b"\t") else { return };
        let Some(current) = self.samples.len().checked_sub(1) else { return };
        let mut cursor = LineCursor { rest: comment };
        let Ok(Some(pc)) = cursor.address() else { return };
        // Go writes the address of the call, and others that of the return.
        let calls = |&index: &u32| {
            let call = self.addresses[index as usize];
            call == pc || call.wrapping_add(1) == pc
        };
        let stack = &self.stacks[self.last_begin()..];
        let Some(skipped) = stack.iter().skip(self.named).take(AHEAD).position(calls) else {
            return;
        };
        self.named += skipped;
        let index = stack[self.named];
        let by = &mut self.named_by[index as usize];
        if *by == u32::MAX {
            *by = current as u32;
        }
        // Most places have been named before.
        if *by != current as u32 {
            return;
        }
        let rest = String::from_utf8_lossy(cursor.rest);
        let mut parts = rest.trim_end().split('\t').skip(1);
        let name = parts.next().unwrap_or_default().trim();
        let place = parts.map(str::trim).find(|part| !part.is_empty()).unwrap_or_default();
        let name = name.rsplit_once("+0x").map_or(name, |(name, _)| name);
        if name.is_empty() {
            return;
        }
        let (file, line) = match place.rsplit_once(':') {
            Some((file, line)) => (file, line.parse().unwrap_or(0)),
            None => (place, 0),
        };
        let frame = LegacyFrame { name: name.to_owned(), file: file.to_owned(), line };
        let frames = self.frames.entry(index).or_default();
        // A function that calls itself stands there twice, and means the same address.
        if frames.len() < MOST_INLINED && !frames.contains(&frame) {
            frames.push(frame);
        }
    }
}

fn parse_header(line: &[u8]) -> Option<LegacyHeader> {
    let line = str::from_utf8(line).ok()?.trim_end();
    if line.starts_with("--- heapz") {
        return Some(LegacyHeader::JavaHeap);
    }
    if line.starts_with("--- contention") || line.starts_with("--- mutex:") {
        return Some(LegacyHeader::Contention);
    }
    if line.starts_with("--- threadz") || line.starts_with("--- Thread ") {
        return Some(LegacyHeader::Threads);
    }
    let rest = ["heap profile:", "heapz ", "growthz "]
        .into_iter()
        .find_map(|start| line.strip_prefix(start))?;
    let (values, kind) = rest.split_once('@')?;
    parse_four_values(values.as_bytes())?;
    let kind = kind.trim();
    let (kind, rate) = match kind.split_once('/') {
        Some((kind, rate)) => (kind, rate.trim().parse().ok()?),
        None => (kind, 0),
    };
    match kind {
        // Twice the rate, as the first heap profiler of this form had it.
        "heap" => Some(LegacyHeader::Heap { rate: rate / 2 }),
        "heap_v2" | "heapz_v2" => Some(LegacyHeader::Heap { rate }),
        "heapprofile" => Some(LegacyHeader::Heap { rate: 1 }),
        "growthz" | "growth" | "fragmentationz" => Some(LegacyHeader::Growth),
        _ => None,
    }
}

/// Reads `1: 2 [3: 4]`; each may be below zero.
fn parse_four_values(text: &[u8]) -> Option<[i64; 4]> {
    let mut cursor = LineCursor { rest: text };
    let (a, b) = (cursor.number(b":")?, cursor.number(b"[")?);
    let (c, d) = (cursor.number(b":")?, cursor.number(b"]")?);
    cursor.is_at_end().then_some([a, b, c, d])
}

/// Reads `180000 3`, with blanks between.
fn parse_two_values(text: &[u8]) -> Option<[i64; 4]> {
    let mut cursor = LineCursor { rest: text };
    let (a, b) = (cursor.number(b"")?, cursor.number(b"")?);
    cursor.is_at_end().then_some([a, b, 0, 0])
}

/// Reads a line of `/proc/PID/maps`, if it is of something executable.
fn parse_region(line: &str) -> Option<LegacyMapping> {
    let mut words = line.split_whitespace();
    let (start, limit) = words.next()?.split_once('-')?;
    let number = |text: &str| u64::from_str_radix(text, 16).ok();
    let (start, limit) = (number(start)?, number(limit)?);
    let executable = words.next()?.contains('x');
    let offset = number(words.next()?)?;
    let file = words.nth(2).unwrap_or_default().to_owned();
    (executable && start < limit).then_some(LegacyMapping { start, limit, offset, file })
}

/// The rest of a line.
struct LineCursor<'a> {
    rest: &'a [u8],
}

impl LineCursor<'_> {
    #[inline]
    fn skip_blanks(&mut self) {
        while let [b' ' | b'\t' | b'\r', rest @ ..] = self.rest {
            self.rest = rest;
        }
    }

    fn is_at_end(&mut self) -> bool {
        self.skip_blanks();
        self.rest.is_empty()
    }

    /// Reads a number and what has to stand behind it.
    fn number(&mut self, behind: &[u8]) -> Option<i64> {
        self.skip_blanks();
        let negative = match self.rest {
            [b'-', rest @ ..] => {
                self.rest = rest;
                true
            }
            _ => false,
        };
        let mut number = None;
        while let [digit @ b'0'..=b'9', rest @ ..] = self.rest {
            let digit = i64::from(digit - b'0');
            number = Some(number.unwrap_or(0_i64).checked_mul(10)?.checked_add(digit)?);
            self.rest = rest;
        }
        self.skip_blanks();
        self.rest = self.rest.strip_prefix(behind)?;
        number.map(|number| if negative { -number } else { number })
    }

    /// Reads the next address; `None` at the end.
    #[inline]
    fn address(&mut self) -> Result<Option<u64>, &'static str> {
        const WRONG: &str = "an address that is no number";
        self.skip_blanks();
        let digits = match self.rest {
            [] => return Ok(None),
            [b'0', b'x', digits @ ..] => digits,
            _ => return Err(WRONG),
        };
        let (mut number, mut length) = (0_u64, 0);
        for &byte in digits {
            let digit = match byte {
                b'0'..=b'9' => byte - b'0',
                b'a'..=b'f' => byte - b'a' + 10,
                b'A'..=b'F' => byte - b'A' + 10,
                _ => break,
            };
            length += 1;
            if number >> 60 != 0 {
                return Err(WRONG);
            }
            number = number << 4 | u64::from(digit);
        }
        self.rest = &digits[length..];
        match self.rest.first() {
            _ if length == 0 => Err(WRONG),
            None | Some(b' ' | b'\t' | b'\r' | b':' | b',') => Ok(Some(number)),
            _ => Err(WRONG),
        }
    }
}
