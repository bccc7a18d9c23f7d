//! The lines of a legacy text profile. No line can make another one mean something else.

use std::collections::HashMap;
use std::ops::Range;

use super::{LegacyError, LegacyLimits};

/// Number of warnings that are kept; more are only counted.
const MOST_WARNINGS: usize = 20;

/// Most addresses without a name that may lie between two with one.
const AHEAD: usize = 64;

/// The most functions at one address.
const MOST_INLINED: usize = 100;

/// The content of the text, not yet put together to a profile.
#[derive(Debug)]
pub(super) struct LegacyText {
    pub(super) header: LegacyHeader,
    pub(super) cycles_per_second: u64,
    /// Events between two samples of a contention profile.
    pub(super) period: u64,
    pub(super) samples: Vec<LegacySample>,
    /// The return addresses of all stacks.
    pub(super) addresses: Vec<u64>,
    /// The functions at the address of a call, the innermost first.
    pub(super) frames: HashMap<u64, Vec<LegacyFrame>>,
    pub(super) regions: Vec<LegacyMapping>,
    pub(super) warnings: Vec<String>,
    pub(super) more_warnings: usize,
    /// The index in the last stack of the address that was named last.
    named: usize,
}

/// The form and the sampling, as the first line says them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LegacyHeader {
    /// Blocks and bytes in use and allocated; of these one in `rate` bytes was sampled.
    Heap { rate: u64 },
    /// Bytes by which the heap has grown.
    Growth,
    /// Cycles and waits.
    Contention,
}

#[derive(Debug)]
pub(super) struct LegacySample {
    /// Two or four values in the order of the text.
    pub(super) values: [u64; 4],
    pub(super) addresses: Range<usize>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct LegacyFrame {
    pub(super) name: String,
    pub(super) file: String,
    pub(super) line: i64,
}

/// A mapped file.
#[derive(Debug)]
pub(super) struct LegacyMapping {
    pub(super) start: u64,
    pub(super) limit: u64,
    pub(super) offset: u64,
    pub(super) file: String,
}

pub(super) fn parse(bytes: &[u8], limits: &LegacyLimits) -> Result<LegacyText, LegacyError> {
    let mut offset = 0;
    let mut lines = bytes.split(|&byte| byte == b'\n').map(|line| {
        let start = offset;
        offset += line.len() + 1;
        (start, String::from_utf8_lossy(line))
    });
    let first = lines.next().map(|(_, line)| line);
    let header = first.as_deref().and_then(parse_header).ok_or(LegacyError::Header)?;
    let mut text = LegacyText {
        header,
        cycles_per_second: 0,
        period: 1,
        samples: Vec::new(),
        addresses: Vec::new(),
        frames: HashMap::new(),
        regions: Vec::new(),
        warnings: Vec::new(),
        more_warnings: 0,
        named: 0,
    };
    let mut in_regions = false;
    // The first sample that named the functions of an address.
    let mut named: HashMap<u64, usize> = HashMap::new();
    for (offset, line) in lines {
        let line = line.trim_end();
        if line.is_empty() {
            continue;
        }
        if line.starts_with("MAPPED_LIBRARIES:") || line.starts_with("--- Memory map:") {
            in_regions = true;
        } else if in_regions {
            text.regions.extend(parse_region(line));
        } else if let Some(comment) = line.strip_prefix('#') {
            text.read_comment(comment, &mut named);
        } else if let Some((key, value)) = line.split_once('=') {
            text.read_setting(key.trim(), value.trim());
        } else if let Err(problem) = text.read_sample(line, limits) {
            text.warn(&format!("{problem} at byte {offset}"));
        }
    }
    Ok(text)
}

impl LegacyText {
    fn warn(&mut self, warning: &str) {
        if self.warnings.len() < MOST_WARNINGS {
            self.warnings.push(warning.to_owned());
        } else {
            self.more_warnings += 1;
        }
    }

    fn read_setting(&mut self, key: &str, value: &str) {
        let number = value.parse().unwrap_or(0);
        match key {
            "cycles/second" => self.cycles_per_second = number,
            "sampling period" => self.period = number,
            _ => {}
        }
    }

    fn read_sample(&mut self, line: &str, limits: &LegacyLimits) -> Result<(), &'static str> {
        let (values, stack) = line.split_once('@').ok_or("unknown line")?;
        let values = match self.header {
            LegacyHeader::Heap { .. } | LegacyHeader::Growth => parse_four_values(values),
            LegacyHeader::Contention => parse_two_values(values),
        };
        let values = values.ok_or("values that are no numbers")?;
        let start = self.addresses.len();
        for word in stack.split_whitespace() {
            let Some(address) = parse_address(word) else {
                self.addresses.truncate(start);
                return Err("an address that is no number");
            };
            if self.addresses.len() - start == limits.depth {
                self.addresses.truncate(start);
                return Err("a stack of more than the limit of addresses (depth)");
            }
            self.addresses.push(address);
        }
        self.named = 0;
        self.samples.push(LegacySample { values, addresses: start..self.addresses.len() });
        Ok(())
    }

    /// Reads a comment such as `\t0x4a1\tmain.f+0x21\t/src/main.go:7`, which names a function of
    /// the stack before it. Other comments are ignored.
    fn read_comment(&mut self, comment: &str, named: &mut HashMap<u64, usize>) {
        let Some(comment) = comment.strip_prefix('\t') else { return };
        let Some(current) = self.samples.len().checked_sub(1) else { return };
        let mut parts = comment.split('\t');
        let Some(pc) = parts.next().and_then(parse_address) else { return };
        let name = parts.next().unwrap_or_default().trim();
        let place = parts.map(str::trim).find(|part| !part.is_empty()).unwrap_or_default();
        let name = name.rsplit_once("+0x").map_or(name, |(name, _)| name);
        if name.is_empty() {
            return;
        }
        // Go writes the address of the call, and others that of the return.
        let returns = |address: u64| address == pc || address == pc.wrapping_add(1);
        let stack = &self.addresses[self.samples[current].addresses.clone()];
        let ahead = stack.iter().skip(self.named).take(AHEAD);
        let Some(skipped) = ahead.copied().position(returns) else { return };
        self.named += skipped;
        let call = stack[self.named].wrapping_sub(1);
        if *named.entry(call).or_insert(current) != current {
            return;
        }
        let (file, line) = match place.rsplit_once(':') {
            Some((file, line)) => (file, line.parse().unwrap_or(0)),
            None => (place, 0),
        };
        let frame = LegacyFrame { name: name.to_owned(), file: file.to_owned(), line };
        let frames = self.frames.entry(call).or_default();
        // A function that calls itself stands there twice, and means the same address.
        if frames.len() < MOST_INLINED && !frames.contains(&frame) {
            frames.push(frame);
        }
    }
}

fn parse_header(line: &str) -> Option<LegacyHeader> {
    let line = line.trim_end();
    if line.starts_with("--- contention") || line.starts_with("--- mutex:") {
        return Some(LegacyHeader::Contention);
    }
    let rest = ["heap profile:", "heapz ", "growthz "]
        .into_iter()
        .find_map(|start| line.strip_prefix(start))?;
    let (values, kind) = rest.split_once('@')?;
    parse_four_values(values)?;
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
        "growthz" | "growth" => Some(LegacyHeader::Growth),
        _ => None,
    }
}

/// Reads `1: 2 [3: 4]`.
fn parse_four_values(text: &str) -> Option<[u64; 4]> {
    let (first, rest) = text.split_once('[')?;
    let second = rest.trim_end().strip_suffix(']')?;
    let pair = |text: &str| {
        let (count, bytes) = text.split_once(':')?;
        Some((count.trim().parse().ok()?, bytes.trim().parse().ok()?))
    };
    let ((a, b), (c, d)) = (pair(first)?, pair(second)?);
    Some([a, b, c, d])
}

/// Reads `180000 3`, with blanks between.
fn parse_two_values(text: &str) -> Option<[u64; 4]> {
    let mut words = text.split_whitespace();
    let (a, b) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    words.next().is_none().then_some([a, b, 0, 0])
}

fn parse_address(word: &str) -> Option<u64> {
    u64::from_str_radix(word.trim().strip_prefix("0x")?, 16).ok()
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
