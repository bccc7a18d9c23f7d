//! Reading the text: one pass over the bytes, no allocation for a line.
//!
//! ```text
//! heap_v2/524288
//!   t*: 2: 1024 [0: 0]            live blocks: bytes [ever allocated: bytes]
//!   t0: 2: 1024 [0: 0]            one line a thread; left out, as t* is their sum
//! @ 0x55d0a1 0x55d0b2             a stack, followed by its lines
//!   t*: 1: 512 [0: 0]
//!   t0: 1: 512 [0: 0]
//!
//! MAPPED_LIBRARIES:
//! 55d000-55e000 r-xp 00001000 fe:00 1234 /usr/bin/service
//! ```

use memchr::memchr;

use super::place_cache::{HexDigits, PlaceCache};
use super::previous_line::AddressLine;
use super::{Counts, HeapDump, HeapDumpError, HeapDumpLimits, MappedRegion, Warning};

const HEADER: &[u8] = b"heap_v2/";

/// Takes the stacks of a dump as they come.
pub(super) trait StackVisitor {
    /// The value that stands for an address.
    type AddressPlace: Copy + Default;

    /// Returns the value that stands for a return address.
    fn place(&mut self, return_address: u64) -> Self::AddressPlace;

    /// Takes a stack, and what was counted there.
    fn stack(&mut self, places: &[Self::AddressPlace], counts: Counts);
}

impl StackVisitor for HeapDump {
    type AddressPlace = u64;

    fn place(&mut self, return_address: u64) -> u64 {
        return_address
    }

    fn stack(&mut self, addresses: &[u64], counts: Counts) {
        self.addresses.extend_from_slice(addresses);
        self.ends.push(self.addresses.len());
        self.counts.push(counts);
    }
}

/// The parts of a dump around the stacks.
#[derive(Default)]
pub(super) struct DumpSurroundings {
    total: Counts,
    pub(super) regions: Vec<MappedRegion>,
    warnings: Vec<Warning>,
}

impl HeapDump {
    /// Reads a dump. What can't be read is left out, with a warning.
    ///
    /// # Errors
    ///
    /// Only where the first line is not that of such a dump.
    pub fn parse(bytes: &[u8], limits: &HeapDumpLimits) -> Result<HeapDump, HeapDumpError> {
        let mut dump = HeapDump { rate: rate(bytes)?, ..HeapDump::default() };
        let DumpSurroundings { total, regions, warnings } = visit(bytes, limits, &mut dump);
        Ok(HeapDump { total, regions, warnings, ..dump })
    }
}

/// Reads the sampling rate, from the first line.
pub(super) fn rate(bytes: &[u8]) -> Result<u64, HeapDumpError> {
    let rest = bytes[preamble(bytes)..].strip_prefix(HEADER).ok_or(HeapDumpError::NoHeader)?;
    TextCursor { rest }.decimal().ok_or(HeapDumpError::NoRate)
}

/// Returns the number of bytes before the header: lines of jemalloc's own, such as those about
/// leaks, which go the same way as a dump that is written at exit.
pub fn preamble(bytes: &[u8]) -> usize {
    let mut cursor = TextCursor { rest: bytes };
    while cursor.line().trim_ascii().is_empty() && !cursor.rest.is_empty()
        || cursor.rest.starts_with(b"<jemalloc>")
    {
        cursor.skip_line();
    }
    bytes.len() - cursor.rest.len()
}

/// Reads what comes after the first line.
pub(super) fn visit(
    bytes: &[u8],
    limits: &HeapDumpLimits,
    visitor: &mut impl StackVisitor,
) -> DumpSurroundings {
    let mut cursor = TextCursor { rest: &bytes[preamble(bytes)..] };
    cursor.skip_line();
    let around = DumpSurroundings::default();
    let len = bytes.len();
    let (line, before, known) = (AddressLine::new(), AddressLine::new(), PlaceCache::new());
    let mut parser =
        DumpParser { visitor, around, limits, len, count: 0, stack: None, line, before, known };
    parser.stacks(&mut cursor);
    parser.regions(&mut cursor);
    parser.around
}

struct DumpParser<'a, 'b, V: StackVisitor> {
    visitor: &'a mut V,
    around: DumpSurroundings,
    limits: &'a HeapDumpLimits,
    /// The dump's length, from which offsets are counted back.
    len: usize,
    /// Stacks so far.
    count: usize,
    /// Offset at which the stack began whose counts are still to come.
    stack: Option<usize>,
    /// Its addresses.
    line: AddressLine<'b, V::AddressPlace>,
    before: AddressLine<'b, V::AddressPlace>,
    /// Addresses that were read before, by their digits.
    known: PlaceCache<V::AddressPlace>,
}

impl<'b, V: StackVisitor> DumpParser<'_, 'b, V> {
    /// Reads up to the mapped libraries.
    fn stacks(&mut self, cursor: &mut TextCursor<'b>) {
        let mut in_header = true;
        loop {
            let offset = self.offset(cursor);
            cursor.skip_blanks();
            match *cursor.rest {
                [] => break,
                [b'\n', ..] | [b't', b'0'..=b'9', ..] => {}
                [b'@', ref rest @ ..] => {
                    in_header = false;
                    self.drop_stack();
                    if self.count >= self.limits.max_stacks {
                        self.warn(offset, "too many stacks");
                        while !cursor.rest.is_empty() && !cursor.at_libraries() {
                            cursor.skip_line();
                        }
                        break;
                    }
                    self.stack = Some(offset);
                    cursor.rest = rest;
                    self.addresses(cursor);
                }
                [b't', b'*', b':', ref rest @ ..] => {
                    cursor.rest = rest;
                    match (cursor.counts(), self.stack) {
                        (None, _) => self.warn(offset, "bad counts"),
                        (Some(counts), None) if in_header => self.around.total = counts,
                        (Some(_), None) => self.warn(offset, "counts without a stack"),
                        (Some(counts), Some(_)) => {
                            self.visitor.stack(&self.line.places, counts);
                            self.count += 1;
                            self.stack = None;
                        }
                    }
                }
                _ if cursor.at_libraries() => break,
                _ => self.warn(offset, "unknown line"),
            }
            cursor.skip_line();
        }
        self.drop_stack();
    }

    /// Reads the addresses of a stack up to the line's end or the first that is none.
    fn addresses(&mut self, cursor: &mut TextCursor<'b>) {
        std::mem::swap(&mut self.line, &mut self.before);
        self.line.clear();
        let text = cursor.line();
        let shared = self.before.shared_end(text);
        let after = cursor.rest.len() - text.len();
        loop {
            cursor.skip_blanks();
            let begin = cursor.rest.len() - after;
            if begin <= shared.len {
                break;
            }
            let [b'0', b'x', ref rest @ ..] = *cursor.rest else {
                return self.bad_address(cursor);
            };
            let digits = HexDigits::of(rest);
            if let Some(place) = digits.and_then(|digits| self.known.get(digits)) {
                self.line.places.push(place);
                cursor.rest = &rest[digits.map_or(0, |digits| digits.len)..];
            } else {
                cursor.rest = rest;
                let Some(address) = cursor.hex() else { return self.bad_address(cursor) };
                let place = self.visitor.place(address);
                self.line.places.push(place);
                // Where reading stopped elsewhere the text is no number's.
                let whole = digits.filter(|digits| rest.len() - cursor.rest.len() == digits.len);
                whole.into_iter().for_each(|digits| self.known.insert(digits, place));
            }
            self.line.begins.push(begin);
        }
        self.line.end_like(&self.before, &shared);
        self.line.text = text;
    }

    fn bad_address(&mut self, cursor: &TextCursor<'_>) {
        let offset = self.offset(cursor);
        self.warn(offset, "bad address");
    }

    /// Forgets a stack that nothing was counted for.
    fn drop_stack(&mut self) {
        if let Some(offset) = self.stack.take() {
            self.warn(offset, "stack without counts");
        }
    }

    /// Reads the mapped libraries up to the end.
    fn regions(&mut self, cursor: &mut TextCursor<'_>) {
        cursor.skip_line();
        while !cursor.rest.is_empty() {
            let offset = self.offset(cursor);
            let line = cursor.take_line();
            if line.is_empty() {
                continue;
            }
            match region(line) {
                Some(region) => self.around.regions.push(region),
                None => self.warn(offset, "bad mapped library"),
            }
        }
    }

    fn offset(&self, cursor: &TextCursor<'_>) -> usize {
        self.len - cursor.rest.len()
    }

    fn warn(&mut self, offset: usize, message: &'static str) {
        if self.around.warnings.len() < self.limits.max_warnings {
            self.around.warnings.push(Warning { offset, message });
        }
    }
}

/// Reads a line of `/proc/self/maps`: `start-limit perms offset device inode path`.
fn region(line: &[u8]) -> Option<MappedRegion> {
    let mut cursor = TextCursor { rest: line };
    let start = cursor.hex()?;
    cursor.rest = cursor.rest.strip_prefix(b"-")?;
    let limit = cursor.hex()?;
    let executable = cursor.word().get(2) == Some(&b'x');
    cursor.skip_blanks();
    let offset = cursor.hex()?;
    let (_device, _inode) = (cursor.word(), cursor.word());
    let path = String::from_utf8_lossy(cursor.rest.trim_ascii()).into_owned();
    (start < limit).then_some(MappedRegion { start, limit, offset, executable, path })
}

/// The rest of the text.
struct TextCursor<'a> {
    rest: &'a [u8],
}

impl<'a> TextCursor<'a> {
    fn at_libraries(&self) -> bool {
        self.rest.starts_with(b"MAPPED_LIBRARIES:")
    }

    fn skip_line(&mut self) {
        let end = memchr(b'\n', self.rest).map_or(self.rest.len(), |newline| newline + 1);
        self.rest = &self.rest[end..];
    }

    /// Returns the rest of the line, without its end.
    fn line(&self) -> &'a [u8] {
        &self.rest[..memchr(b'\n', self.rest).unwrap_or(self.rest.len())]
    }

    fn take_line(&mut self) -> &'a [u8] {
        let before = self.rest;
        self.skip_line();
        before[..before.len() - self.rest.len()].trim_ascii()
    }

    fn skip_blanks(&mut self) {
        while let [b' ' | b'\t' | b'\r', rest @ ..] = self.rest {
            self.rest = rest;
        }
    }

    fn word(&mut self) -> &'a [u8] {
        self.skip_blanks();
        let end = self.rest.iter().position(u8::is_ascii_whitespace).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    /// Reads `1: 2 [3: 4]`, the second pair being optional.
    fn counts(&mut self) -> Option<Counts> {
        let (cur_objects, cur_bytes) = self.pair()?;
        self.skip_blanks();
        let (accum_objects, accum_bytes) = match self.rest {
            [b'[', rest @ ..] => {
                self.rest = rest;
                self.pair()?
            }
            _ => (0, 0),
        };
        Some(Counts { cur_objects, cur_bytes, accum_objects, accum_bytes })
    }

    fn pair(&mut self) -> Option<(u64, u64)> {
        let first = self.decimal()?;
        self.rest = self.rest.strip_prefix(b":")?;
        Some((first, self.decimal()?))
    }

    fn decimal(&mut self) -> Option<u64> {
        self.skip_blanks();
        let mut number = None;
        while let [digit @ b'0'..=b'9', rest @ ..] = self.rest {
            let digit = u64::from(digit - b'0');
            number = Some(number.unwrap_or(0_u64).checked_mul(10)?.checked_add(digit)?);
            self.rest = rest;
        }
        number
    }

    /// Reads a number of one to sixteen hex digits.
    #[inline]
    fn hex(&mut self) -> Option<u64> {
        let (high, digits) = eight_hex(self.rest);
        self.rest = &self.rest[digits..];
        if digits < 8 {
            return (digits > 0).then_some(high);
        }
        let (low, more) = eight_hex(self.rest);
        self.rest = &self.rest[more..];
        // A seventeenth digit makes it none.
        let too_long = more == 8 && self.rest.first().is_some_and(u8::is_ascii_hexdigit);
        (!too_long).then_some(high << (4 * more) | low)
    }
}

/// Reads up to eight hex digits at once: their value, and how many there are. Millions of addresses
/// are read this way.
#[inline]
fn eight_hex(text: &[u8]) -> (u64, usize) {
    const EACH: u64 = 0x0101_0101_0101_0101;
    const TOP: u64 = 0x80 * EACH;
    let mut bytes = [0; 8];
    match text.first_chunk::<8>() {
        Some(eight) => bytes = *eight,
        None => bytes[..text.len()].copy_from_slice(text),
    }
    // The first digit is in the lowest byte.
    let word = u64::from_le_bytes(bytes);
    // Each sum below leaves the top bit of its byte, and none carries into the next.
    let low = word & !TOP;
    let at_least = |byte: u64, floor: u64| byte + (0x80 - floor) * EACH;
    let lower_case = low | (0x20 * EACH);
    let digit = at_least(low, 0x30) & !at_least(low, 0x3a);
    let letter = at_least(lower_case, 0x61) & !at_least(lower_case, 0x67);
    let valid = (digit | letter) & !word & TOP;
    let count = (!valid & TOP).trailing_zeros() as usize / 8;
    if count == 0 {
        return (0, 0);
    }
    let nibbles = (word & (0x0f * EACH)) + 9 * ((word >> 6) & EACH);
    // The last digit goes to the lowest nibble.
    let mut value = (nibbles << (64 - 8 * count)).swap_bytes();
    value = (value | value >> 4) & 0x00ff_00ff_00ff_00ff;
    value = (value | value >> 8) & 0x0000_ffff_0000_ffff;
    ((value | value >> 16) & 0xffff_ffff, count)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DUMP: &str = "heap_v2/524288
  t*: 3: 1536 [9: 4096]
  t0: 1: 512 [0: 0]
  t1: 2: 1024 [9: 4096]
@ 0x55d0a1 0x7fffDEADbeef
  t*: 1: 512 [0: 0]
  t0: 1: 512 [0: 0]
@ 0x1
  t*: 0: 0 [9: 4096]
  t1: 0: 0 [9: 4096]

MAPPED_LIBRARIES:
0055d000-0055e000 r-xp 00001000 fe:00 1234    /usr/bin/my service (deleted)
7ffd0000-7ffd2000 rw-p 00000000 00:00 0       [stack]
7ffe0000-7ffe2000 ---p 00000000 00:00 0
";

    fn parse(text: &str) -> HeapDump {
        HeapDump::parse(text.as_bytes(), &HeapDumpLimits::default()).unwrap()
    }

    fn counts(numbers: [u64; 4]) -> Counts {
        let [cur_objects, cur_bytes, accum_objects, accum_bytes] = numbers;
        Counts { cur_objects, cur_bytes, accum_objects, accum_bytes }
    }

    #[test]
    fn reads_a_dump() {
        let dump = parse(DUMP);
        assert_eq!(dump.warnings, []);
        assert_eq!(dump.rate, 524_288);
        assert_eq!(dump.total, counts([3, 1536, 9, 4096]));
        let stacks: Vec<_> = dump.stacks().map(|stack| (stack.addresses, stack.counts)).collect();
        assert_eq!(
            stacks,
            [
                ([0x55_d0a1, 0x7fff_dead_beef].as_slice(), counts([1, 512, 0, 0])),
                ([1].as_slice(), counts([0, 0, 9, 4096])),
            ]
        );
        let paths: Vec<_> = dump.regions.iter().map(|region| region.path.as_str()).collect();
        assert_eq!(paths, ["/usr/bin/my service (deleted)", "[stack]", ""]);
        let code = &dump.regions[0];
        assert_eq!((code.start, code.limit, code.offset), (0x55_d000, 0x55_e000, 0x1000));
        assert!(code.executable && !dump.regions[1].executable);
    }

    #[test]
    fn digits_end_where_they_do() {
        let read = |text: &str| {
            let mut cursor = TextCursor { rest: text.as_bytes() };
            (cursor.hex(), text.len() - cursor.rest.len())
        };
        assert_eq!(read(""), (None, 0));
        assert_eq!(read("g1"), (None, 0));
        assert_eq!(read("0"), (Some(0), 1));
        assert_eq!(read("7 "), (Some(7), 1));
        assert_eq!(read("1f:"), (Some(0x1f), 2));
        assert_eq!(read("12345678"), (Some(0x1234_5678), 8));
        assert_eq!(read("12345678 9"), (Some(0x1234_5678), 8));
        assert_eq!(read("555555AbCdEf\n"), (Some(0x5555_55ab_cdef), 12));
        assert_eq!(read("fFFFffffffffffff/"), (Some(u64::MAX), 16));
        assert_eq!(read("11112222333344445").0, None);
        for other in (0..=255u8).filter(|byte| !byte.is_ascii_hexdigit()) {
            assert_eq!(eight_hex(&[b'a', b'9', other, b'1', 0, 0, 0, 0]), (0xa9, 2), "{other}");
        }
    }

    #[track_caller]
    fn check(text: &str, stacks: usize, warnings: &[&str]) {
        let dump = parse(text);
        assert_eq!(dump.counts.len(), stacks, "{text}");
        let found: Vec<_> = dump.warnings.iter().map(Warning::to_string).collect();
        assert_eq!(found, warnings, "{text}");
    }

    #[test]
    fn keeps_what_it_can_read() {
        check("heap_v2/1", 0, &[]);
        check("heap_v2/1\r\n@ 0x1 0x2 \r\n t*: 1: 2 [3: 4]\r\n", 1, &[]);
        check("heap_v2/1\n@ 0x1\n t*: 1: 2\n", 1, &[]);
        check("heap_v2/1\n@\n t*: 1: 2 [3: 4]\n", 1, &[]);
        check("heap_v2/1\n@ 0x1\n@ 0x2\n t*: 1: 1 [0: 0]", 1, &["stack without counts at byte 10"]);
        check("heap_v2/1\n@ 0x1\n", 0, &["stack without counts at byte 10"]);
        check("heap_v2/1\n@ 0x1 zz\nt*: 1: 1", 1, &["bad address at byte 16"]);
        check("heap_v2/1\n@ 0x\nt*: 1: 1", 1, &["bad address at byte 14"]);
        check("heap_v2/1\n@ 0x11112222333344445\nt*: 1: 1", 1, &["bad address at byte 30"]);
        check(
            "heap_v2/1\n@ 0x1\n t*: 1 2\n",
            0,
            &["bad counts at byte 16", "stack without counts at byte 10"],
        );
        check(
            "heap_v2/1\n@ 0x1\n t*: 1: 99999999999999999999\n t*: 1: 1\n t*: 1: 1\n",
            1,
            &["bad counts at byte 16", "counts without a stack at byte 55"],
        );
        check("heap_v2/1\nhello\n", 0, &["unknown line at byte 10"]);
        check(
            "<jemalloc>: a line\n\nheap_v2/1\n?\n@ 0x1\n t*: 1: 1",
            1,
            &["unknown line at byte 30"],
        );
        check("heap_v2/1\nMAPPED_LIBRARIES:\nnonsense\n", 0, &["bad mapped library at byte 28"]);
    }

    #[test]
    fn refuses_other_text() {
        let refused =
            |text: &str| HeapDump::parse(text.as_bytes(), &HeapDumpLimits::default()).unwrap_err();
        assert_eq!(refused(""), HeapDumpError::NoHeader);
        assert_eq!(refused("heap profile: 1: 2 [3: 4] @ heapprofile"), HeapDumpError::NoHeader);
        assert_eq!(refused("heap_v2/"), HeapDumpError::NoRate);
        assert_eq!(refused("heap_v2/99999999999999999999"), HeapDumpError::NoRate);
    }

    #[test]
    fn limits_hold() {
        let limits = HeapDumpLimits { max_stacks: 1, max_warnings: 2 };
        let dump = HeapDump::parse(DUMP.as_bytes(), &limits).unwrap();
        assert_eq!((dump.stacks().len(), dump.regions.len()), (1, 3));
        assert_eq!(dump.warnings[0].message, "too many stacks");
        let noisy = format!("heap_v2/1\n{}", "?\n".repeat(1000));
        let dump = HeapDump::parse(noisy.as_bytes(), &limits).unwrap();
        assert_eq!(dump.warnings.len(), 2);
    }

    #[test]
    fn cut_anywhere_it_keeps_what_came_before() {
        for length in HEADER.len() + 1..DUMP.len() {
            let dump = parse(&DUMP[..length]);
            assert!(dump.stacks().len() <= 2);
            assert_eq!(dump.ends.last().copied().unwrap_or(0), dump.addresses.len());
        }
    }

    proptest! {
        #[test]
        fn an_end_that_was_read_before_is_read_the_same(
            lines in prop::collection::vec("(@| @)( 0x[1-3]{1,2}| 0x1111222233334444|\t0x3|\r| |0x2|x| 0x){0,9}", 1..12),
        ) {
            let text = |lines: &[String]| {
                let lines: String = lines.iter().map(|line| format!("{line}\n t*: 1: 1\n")).collect();
                parse(&format!("heap_v2/1\n{lines}"))
            };
            let dump = text(&lines);
            prop_assert_eq!(dump.stacks().len(), lines.len());
            let mut warnings = 0;
            for (stack, line) in dump.stacks().zip(&lines) {
                let alone = text(std::slice::from_ref(line));
                prop_assert_eq!(stack.addresses, alone.stacks().next().unwrap().addresses);
                warnings += alone.warnings.len();
            }
            prop_assert_eq!(dump.warnings.len(), warnings);
        }

        #[test]
        fn never_panics(text in "heap_v2/[0-9]{1,3}\n([@t*: 0x1\\[\\]\n]|t\\*: |MAPPED_LIBRARIES:|\\PC){0,60}") {
            let dump = parse(&text);
            prop_assert_eq!(dump.ends.last().copied().unwrap_or(0), dump.addresses.len());
            dump.to_profile().check().unwrap();
        }

        #[test]
        fn changed_bytes_are_no_trouble(changes in prop::collection::vec((any::<u16>(), any::<u8>()), 1..8)) {
            let mut bytes = DUMP.as_bytes().to_vec();
            for (position, byte) in changes {
                let position = position as usize % bytes.len();
                bytes[position] = byte;
            }
            if let Ok(dump) = HeapDump::parse(&bytes, &HeapDumpLimits::default()) {
                dump.to_profile().check().unwrap();
            }
        }
    }
}
