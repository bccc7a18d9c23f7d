//! What bytes are, told from their content.

use std::fmt;

use memchr::memmem;
use profile_format::gunzip::{Gunzip, GunzipLimits, is_gzip};
use profile_format::jemalloc::preamble;

use crate::dump::{self, Options, Parser};
use crate::foreign::ForeignFormat;
use crate::imports::sniff_import;
use crate::legacy::is_cpu_profile;

/// Formats that bytes seem to have; they may still turn out to be broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// A tar archive, gzip'd or not.
    Bundle,
    /// A profile.proto, gzip'd or raw.
    Pprof,
    /// A heap dump of jemalloc as text.
    HeapV2,
    /// Stacks of goroutines or threads as text.
    Dump,
    /// A profile from before profile.proto, most of them text.
    LegacyText,
    /// Folded stacks: a line for each, with a number at its end.
    Folded,
    /// The JSON of speedscope.
    Speedscope,
    /// What `perf script` prints.
    PerfScript,
    /// Chrome trace events, gzip'd or not.
    Trace,
    /// An execution trace of Go's.
    GoTrace,
    /// Something that is known, and not read here.
    Foreign(ForeignFormat),
    /// None of these.
    Unknown,
}

impl Format {
    /// Returns the word that programs read, as in the facts of `inspect`. A dump's says which form
    /// it has, too: see [`DumpFacts::format`](crate::dump::DumpFacts).
    pub fn word(self) -> &'static str {
        match self {
            Format::Bundle => "bundle",
            Format::Pprof => "pprof",
            Format::HeapV2 => "heap_v2",
            Format::Dump => "dump",
            Format::LegacyText => "legacy",
            Format::Folded => "folded",
            Format::Speedscope => "speedscope",
            Format::PerfScript => "perf_script",
            Format::Trace => "trace",
            Format::GoTrace => "go_trace",
            Format::Foreign(foreign) => foreign.word(),
            Format::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Format::Bundle => "a bundle",
            Format::Pprof => "a profile.proto",
            Format::HeapV2 => "a jemalloc heap dump",
            Format::Dump => "a stack dump",
            Format::LegacyText => "a legacy text profile",
            Format::Folded => "folded stacks",
            Format::Speedscope => "a profile of speedscope's",
            Format::PerfScript => "the output of perf script",
            Format::Trace => "a trace of Chrome events",
            Format::GoTrace => "a Go execution trace",
            Format::Foreign(foreign) => foreign.description(),
            Format::Unknown => "something unknown",
        })
    }
}

/// Number of bytes that are looked at to tell the form. Text that they don't tell is searched on
/// for a stack: a log may end in a crash.
const HEAD: usize = 64 << 10;

/// The size of a tar header.
const TAR_BLOCK: usize = 512;

/// The key of a trace's events.
const EVENTS: &[u8] = b"\"traceEvents\"";

/// Limits on the packed text that is searched for a stack.
const SEARCHED: GunzipLimits =
    GunzipLimits { max_bytes: 64 << 20, max_ratio: 100, ratio_free_bytes: 1 << 20 };

/// Returns the form that bytes seem to have. Gzip'd ones are told as others are; of text that
/// nothing else tells no more than the first 64 MiB are decompressed and searched for a stack, and for
/// the events of a trace.
pub fn sniff(bytes: &[u8]) -> Format {
    if is_gzip(bytes) {
        let mut unpacked = Gunzip::new(bytes, SEARCHED);
        let mut head = vec![0; HEAD];
        let (length, _) = unpacked.fill(&mut head);
        head.truncate(length);
        return match sniff_head(&head) {
            // What a server logs for each request may look like folded stacks.
            format @ (Format::Unknown | Format::Folded) if is_text(&head) => {
                find_packed(&mut unpacked, &head).unwrap_or(format)
            }
            format => format,
        };
    }
    let head = &bytes[..bytes.len().min(HEAD)];
    match sniff_head(head) {
        format @ (Format::Unknown | Format::Folded) if is_text(&dump::decode_beginning(head)) => {
            find_late(bytes).unwrap_or(format)
        }
        format => format,
    }
}

/// Returns the form that the beginning of what is not packed tells.
fn sniff_head(head: &[u8]) -> Format {
    // The name of the first entry could be the beginning of a profile.
    if is_tar(&head[..head.len().min(TAR_BLOCK)]) {
        return Format::Bundle;
    }
    if is_cpu_profile(head) {
        return Format::LegacyText;
    }
    if let Some(foreign) = ForeignFormat::of(head) {
        return Format::Foreign(foreign);
    }
    let head = &*dump::decode_beginning(head);
    if is_profile(&head[..head.len().min(TAR_BLOCK)]) {
        return Format::Pprof;
    }
    sniff_text(head)
}

fn sniff_text(head: &[u8]) -> Format {
    if is_go_trace(head) {
        return Format::GoTrace;
    }
    if is_trace(head) {
        return Format::Trace;
    }
    if head[preamble(head)..].starts_with(b"heap_v2/") {
        return Format::HeapV2;
    }
    let legacy: [&[u8]; 9] = [
        b"heap profile:",
        b"heapz ",
        b"growthz ",
        b"--- contention",
        b"--- heapz ",
        b"--- mutex:",
        b"--- symbol",
        b"--- threadz",
        b"--- Thread ",
    ];
    if legacy.iter().any(|start| head.starts_with(start)) {
        return Format::LegacyText;
    }
    if head.split(|&byte| byte == b'\n').any(starts_stacks) || has_stacks(head) {
        return Format::Dump;
    }
    if let Some(format) = sniff_import(head) {
        return format;
    }
    ForeignFormat::of_text(head).map_or(Format::Unknown, Format::Foreign)
}

/// Looks for what may come late in a text: a goroutine's stack behind the lines of a log, and the
/// events of a trace behind other keys.
struct LateSearch {
    parser: Parser,
    /// The end of what came, where the text may be a trace's JSON.
    tail: Option<Vec<u8>>,
}

impl LateSearch {
    fn new(head: &[u8]) -> LateSearch {
        let is_json = head.trim_ascii_start().starts_with(b"{");
        LateSearch { parser: Parser::new(&Options::default()), tail: is_json.then(Vec::new) }
    }

    /// Takes the next piece. Returns the form that it shows.
    fn push(&mut self, piece: &[u8]) -> Option<Format> {
        if let Some(tail) = &mut self.tail {
            tail.extend_from_slice(piece);
            if contains(tail, EVENTS) {
                return Some(Format::Trace);
            }
            tail.drain(..tail.len().saturating_sub(EVENTS.len()));
        }
        self.parser.feed(piece);
        self.parser.has_goroutines().then_some(Format::Dump)
    }

    fn finish(self) -> Option<Format> {
        (self.parser.finish().goroutines() > 0).then_some(Format::Dump)
    }
}

/// Returns the form of text that is being decompressed, where what comes tells it.
fn find_packed(unpacked: &mut Gunzip<&[u8]>, head: &[u8]) -> Option<Format> {
    let mut search = LateSearch::new(head);
    let mut found = search.push(head);
    let mut text = vec![0; HEAD];
    while found.is_none() {
        let (length, _) = unpacked.fill(&mut text);
        if length == 0 {
            return search.finish();
        }
        found = search.push(&text[..length]);
    }
    found
}

/// Returns the form of text whose beginning does not tell it.
fn find_late(bytes: &[u8]) -> Option<Format> {
    if !may_have_stacks(bytes) && !contains(bytes, EVENTS) {
        return None;
    }
    let mut search = LateSearch::new(bytes);
    bytes.chunks(HEAD).find_map(|piece| search.push(piece)).or_else(|| search.finish())
}

/// Returns whether no byte is a control character that text does not have.
fn is_text(head: &[u8]) -> bool {
    !head.iter().any(|&byte| byte < b'\t' || (14..27).contains(&byte))
}

/// Returns whether goroutines come out of a text, whatever a log has put around its lines.
fn has_stacks(text: &[u8]) -> bool {
    may_have_stacks(text) && dump::parse(text).goroutines() > 0
}

/// Returns whether a text has what goroutines begin with, as far as that can be seen: they may be in
/// UTF-16, and in lists of journald's bytes.
fn may_have_stacks(text: &[u8]) -> bool {
    contains(text, b"goroutine ")
        || matches!(text, [0xff | 0xfe, ..])
        || contains(text, b"\"MESSAGE\"")
}

/// Returns whether this is an execution trace of Go's: `go 1.22 trace` and zeros up to 16 bytes.
fn is_go_trace(head: &[u8]) -> bool {
    head.starts_with(b"go 1.") && head.get(5..16).is_some_and(|rest| contains(rest, b" trace\0"))
}

/// Returns whether this is JSON that has trace events, or that would have them if it went on.
fn is_trace(head: &[u8]) -> bool {
    match head.trim_ascii_start() {
        [b'{', ..] => contains(head, EVENTS) || contains(head, b"\"producer\":\"profilez\""),
        [b'[', rest @ ..] => {
            rest.trim_ascii_start().first() == Some(&b'{') && contains(head, b"\"ph\"")
        }
        _ => false,
    }
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    memmem::find(bytes, wanted).is_some()
}

/// Returns whether a line is the first of a goroutine's stack, or of a profile of counted stacks.
fn starts_stacks(line: &[u8]) -> bool {
    if let Some([b' ', b'0'..=b'9', ..]) = line.strip_prefix(b"goroutine") {
        return line.contains(&b'[') && line.trim_ascii_end().ends_with(b":");
    }
    let line = line.trim_ascii_end();
    let digits = line.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    digits > 0 && line[..line.len() - digits].ends_with(b" profile: total ")
}

/// Returns whether these are the bytes of a tar header: by its magic, or where an old one has none
/// by its checksum.
fn is_tar(head: &[u8]) -> bool {
    if head.len() < TAR_BLOCK {
        return false;
    }
    if &head[257..262] == b"ustar" {
        return true;
    }
    let digits = head[148..156].trim_ascii_start();
    let mut stated = 0_u32;
    for &digit in digits.iter().take_while(|digit| matches!(digit, b'0'..=b'7')) {
        stated = stated * 8 + u32::from(digit - b'0');
    }
    let sum = |range: &[u8]| range.iter().map(|&byte| u32::from(byte)).sum::<u32>();
    // The checksum counts its own field as eight blanks.
    stated != 0 && stated == sum(&head[..148]) + 8 * 32 + sum(&head[156..])
}

/// Returns whether bytes begin like a profile.proto: with a field of that message in its wire type,
/// and with bytes that no text has.
fn is_profile(head: &[u8]) -> bool {
    let Some(&tag) = head.first() else { return false };
    let wire_type = match tag >> 3 {
        1..=6 | 11 => 2,
        7..=10 | 12 | 14 | 15 => 0,
        13 => tag & 2,
        _ => return false,
    };
    // Escapes are what colours the text of a log, which may begin with a digit that is a tag.
    let is_control = |byte: u8| byte < b'\t' || ((14..b' ').contains(&byte) && byte != 0x1b);
    tag & 7 == wire_type && head.iter().any(|&byte| is_control(byte))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use profile_format::profile::Builder;
    use proptest::prelude::*;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn tar_header(magic: &[u8]) -> [u8; 512] {
        let mut header = [0; 512];
        header[..8].copy_from_slice(b"cpu.prof");
        header[257..257 + magic.len()].copy_from_slice(magic);
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        header
    }

    #[track_caller]
    fn check(bytes: impl AsRef<[u8]>, expected: Format) {
        assert_eq!(sniff(bytes.as_ref()), expected);
    }

    #[test]
    fn tells_by_content() {
        let profile = Builder::new(&[("samples", "count")]).finish();
        check(profile.encode(), Format::Pprof);
        check(profile.encode_gzip(), Format::Pprof);
        check(b"\x32\x00\x0a\x02\x08\x01", Format::Pprof);
        check(tar_header(b"ustar\0"), Format::Bundle);
        check(tar_header(b""), Format::Bundle);
        check(gzip(&tar_header(b"ustar\0")), Format::Bundle);
        check(gzip(&tar_header(b"")), Format::Bundle);
        check("heap_v2/524288\n  t*: 1: 2 [0: 0]\n", Format::HeapV2);
        check("goroutine 1 [running]:\nmain.main()\n", Format::Dump);
        check("panic: oops\n\ngoroutine 7 gp=0x1 m=0 [select]:\n", Format::Dump);
        check("goroutine profile: total 3\n1 @ 0x1\n", Format::Dump);
        check("goroutineleak profile: total 3\n", Format::Dump);
        check("\u{feff}goroutine 1 [running]:\nmain.main()\n", Format::Dump);
        let wide = "\u{feff}goroutine 1 [running]:\n".encode_utf16().flat_map(u16::to_le_bytes);
        check(wide.collect::<Vec<u8>>(), Format::Dump);
        check("heap profile: 1: 2 [3: 4] @ heap/1048576\n", Format::LegacyText);
        check("--- contention:\ncycles/second=1\n", Format::LegacyText);
        check("{\"displayTimeUnit\":\"ms\",\"traceEvents\":[]}", Format::Trace);
        check(" [{\"ph\":\"X\"", Format::Trace);
        check("go 1.22 trace\0\0\0\x01\x02", Format::GoTrace);
        check("go 1.5 trace\0\0\0\0", Format::GoTrace);
        let log = "2026/01/02 03:04:05 a line of a log\n".repeat(5000);
        check(format!("{log}goroutine 1 [running]:\n"), Format::Dump);
        check(
            format!("{log}goroutine 1 of [many]\n{log}a goroutine 1 [running]:\n"),
            Format::Unknown,
        );
        check(gzip(format!("{}goroutine 1 [running]:\n", &log[..2880]).as_bytes()), Format::Dump);
        let stack = "goroutine 1 [running]:\nmain.f()\n\t/a.go:1 +0x1\n";
        let around = |form: fn(&str) -> String| -> String { stack.lines().map(form).collect() };
        for text in [
            around(|line| format!("2026-10-02T11:22:33Z stderr F {line}\n")),
            around(|line| format!("2026-10-02 \x1b[36mweb |\x1b[0m {line}\n")),
            around(|line| format!("{{\"log\":{line:?}}}\n")),
            format!("{{\"level\":\"error\",\"stack\":{stack:?}}}\n"),
            format!("time=1 level=error msg={stack:?}\n"),
            format!("2026/01/02 03:04:05 {stack}"),
            format!("x_test.go:7: {}", stack.replace('\n', "\n    ")),
        ] {
            check(&text, Format::Dump);
            check(format!("{log}{text}"), Format::Dump);
            check(gzip(format!("{}{text}", &log[..2880]).as_bytes()), Format::Dump);
        }
        let request = "GET /cart?a=1;b=2 200 512\n".repeat(4000);
        check(&request, Format::Folded);
        check(format!("{request}{stack}"), Format::Dump);
        check(gzip(format!("{request}{stack}").as_bytes()), Format::Dump);
        for unknown in [
            "",
            "\n",
            "hello",
            "go 1.22 is out",
            "[{\"a\":1}]",
            "{\"format\": 1}",
            "2x4",
            "\n\tgoroutine 1 [x]",
        ] {
            check(unknown, Format::Unknown);
        }
        check(gzip(b""), Format::Unknown);
        check(gzip(b"hello"), Format::Unknown);
        check(gzip(&gzip(&profile.encode())), Format::Unknown);
        check([0x1f, 0x8b], Format::Unknown);
        check([0; 600], Format::Unknown);
    }

    #[test]
    fn what_is_packed_is_told_as_what_is_not() {
        let log = "2026/01/02 03:04:05 a line of a log\n".repeat(5000);
        let late = format!("{{\"schemaVersion\":1,\"about\":\"{log}\",\"traceEvents\":[]}}");
        for text in [
            "heap_v2/524288\n  t*: 1: 2 [0: 0]\n".to_owned(),
            "<jemalloc>: Leak approximation summary: ~1 bytes\nheap_v2/1\n".to_owned(),
            "heap profile: 1: 2 [3: 4] @ heap/1048576\n".to_owned(),
            "--- symbol\nbinary=a\n---\n".to_owned(),
            late.replace('\n', " ")[..60_000].replace("a line", "\"traceEvents\""),
            late.replace('\n', " "),
            format!("{log}goroutine 1 [running]:\n"),
            format!("{}\ngoroutine 1 [running]:\n", "x".repeat(3 * HEAD)),
            "<!DOCTYPE html><title>Log in</title>".to_owned(),
            log.clone(),
        ] {
            let format = sniff(text.as_bytes());
            check(gzip(text.as_bytes()), format);
            assert_eq!(format == Format::Unknown, text == log, "{}", &text[..20]);
        }
    }

    #[test]
    fn a_gzip_cut_short_is_still_told() {
        let whole = gzip(&tar_header(b"ustar\0"));
        check(&whole[..whole.len() - 8], Format::Bundle);
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..700)) {
            sniff(&bytes);
            sniff(&gzip(&bytes));
        }
    }
}
