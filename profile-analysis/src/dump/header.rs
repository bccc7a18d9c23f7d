//! The first line of a goroutine: `goroutine 7 [select, 5 minutes, locked to thread]:`.
//!
//! | Go | what is new |
//! | --- | --- |
//! | 1.23 | `gp=0x… m=3 mp=0x…` or `m=nil` before the bracket, in crashes |
//! | 1.24 | `, synctest group N` |
//! | 1.26 | ` (leaked)`, ` (durable)`, `, synctest bubble N`, ` labels:{"k": "v"}` inside the bracket |
//! | 1.27 | ` {k: "v"}` after the bracket |
//!
//! Only a whole line of this form counts, from its first column to the colon at its end.

use super::labels;

/// A goroutine's header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct GoroutineHeader<'a> {
    pub(super) id: u64,
    /// The state without suffixes.
    pub(super) state: &'a [u8],
    pub(super) wait: Option<u64>,
    pub(super) locked: bool,
    pub(super) leaked: bool,
    /// True where `gp=` is there, as in crashes.
    pub(super) crash: bool,
    /// The labels as they are written, without their braces.
    pub(super) labels: Option<&'a [u8]>,
}

/// The meaning of a line that begins with `goroutine `.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum HeaderLine<'a> {
    Header(GoroutineHeader<'a>),
    /// A line that begins as a header does and then breaks off.
    CutOff,
    /// Any other text.
    Text,
}

/// Words that may stand before the bracket, each with a value up to the next blank.
const WORDS: [&[u8]; 3] = [b"gp=", b"m=", b"mp="];

/// Reads a line, given without its newline.
pub(super) fn parse(line: &[u8]) -> HeaderLine<'_> {
    let Some(rest) = line.strip_prefix(b"goroutine ") else { return HeaderLine::Text };
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let Some(id) = parse_number(&rest[..digits]) else {
        return if rest.is_empty() { HeaderLine::CutOff } else { HeaderLine::Text };
    };
    let mut rest = &rest[digits..];
    let mut crash = false;
    loop {
        rest = match rest {
            [] | [b' '] => return HeaderLine::CutOff,
            [b' ', b'[', inside @ ..] => break rest = inside,
            [b' ', word @ ..] if WORDS.iter().any(|name| word.starts_with(name)) => {
                crash = true;
                match memchr::memchr(b' ', word) {
                    Some(end) => &word[end..],
                    None => return HeaderLine::CutOff,
                }
            }
            [b' ', word @ ..] if WORDS.iter().any(|name| name.starts_with(word)) => {
                return HeaderLine::CutOff;
            }
            _ => return HeaderLine::Text,
        };
    }
    parse_brackets(id, crash, rest)
}

/// Reads the rest of a header, from behind its opening bracket on.
fn parse_brackets(id: u64, crash: bool, rest: &[u8]) -> HeaderLine<'_> {
    let mut labels = None;
    let (content, after) = match memchr::memchr2(b']', b'{', rest) {
        None => return HeaderLine::CutOff,
        // Labels inside the bracket may hold brackets.
        Some(brace) if rest[brace] == b'{' => {
            let Some(content) = rest[..brace].strip_suffix(b" labels:") else {
                return HeaderLine::Text;
            };
            let Some(end) = labels::braced_length(&rest[brace..]) else {
                return HeaderLine::CutOff;
            };
            labels = Some(&rest[brace + 1..brace + end - 1]);
            match rest[brace + end..].strip_prefix(b"]") {
                Some(after) => (content, after),
                None if rest.len() == brace + end => return HeaderLine::CutOff,
                None => return HeaderLine::Text,
            }
        }
        Some(bracket) => (&rest[..bracket], &rest[bracket + 1..]),
    };
    match after {
        b":" => {}
        [] | [b' '] => return HeaderLine::CutOff,
        // The blank may be missing.
        [b' ', braced @ ..] | braced if braced[0] == b'{' && labels.is_none() => {
            let Some(end) = labels::braced_length(braced) else { return HeaderLine::CutOff };
            labels = Some(&braced[1..end - 1]);
            match &braced[end..] {
                b":" => {}
                [] => return HeaderLine::CutOff,
                _ => return HeaderLine::Text,
            }
        }
        _ => return HeaderLine::Text,
    }
    let mut header = GoroutineHeader {
        id,
        state: content,
        wait: None,
        locked: false,
        leaked: false,
        crash,
        labels,
    };
    header.read_state();
    if header.state.is_empty() { HeaderLine::Text } else { HeaderLine::Header(header) }
}

impl GoroutineHeader<'_> {
    /// Splits the text in the brackets, which `state` holds at first, into the state, the wait and
    /// the remarks on the goroutine.
    fn read_state(&mut self) {
        let content = self.state;
        if let Some(comma) = memchr::memchr(b',', content) {
            self.state = &content[..comma];
            for part in content[comma + 1..].split(|&byte| byte == b',') {
                match part.trim_ascii() {
                    b"locked to thread" => self.locked = true,
                    part => self.wait = self.wait.or(parse_wait(part)),
                }
            }
        }
        let (state, leaked) = split_suffixes(self.state);
        self.state = state;
        self.leaked |= leaked;
    }
}

/// Returns the header at the beginning of a line, without its labels: for lines whose labels are
/// too long to be read to their end.
pub(super) fn strip_labels(line: &[u8]) -> Option<Vec<u8>> {
    line.strip_prefix(b"goroutine ")?;
    let end = memchr::memchr2(b']', b'{', line)?;
    let head = match line[end..] {
        [b']', b' ', b'{', ..] => &line[..end],
        [b'{', ..] => line[..end].strip_suffix(b" labels:")?,
        _ => return None,
    };
    Some([head, b"]:"].concat())
}

/// Returns whether Go has this state, given without its suffixes. What is made up in the text of a
/// panic mostly isn't one.
pub(super) fn is_known_state(state: &[u8]) -> bool {
    const STATES: &[&str] = &[
        "idle",
        "runnable",
        "running",
        "syscall",
        "waiting",
        "dead",
        "copystack",
        "preempted",
        "leaked",
        "waiting for cgo callback",
        "???",
        "GC assist marking",
        "GC assist wait",
        "GC mark termination",
        "GC scavenge wait",
        "GC sweep wait",
        "GC weak to strong wait",
        "GC worker (active)",
        "GC worker (idle)",
        "force gc (idle)",
        "garbage collection",
        "garbage collection scan",
        "wait for GC cycle",
        "finalizer wait",
        "cleanup wait",
        "chan receive",
        "chan receive (nil chan)",
        "chan send",
        "chan send (nil chan)",
        "select",
        "select (no cases)",
        "semacquire",
        "semarelease",
        "sync.Cond.Wait",
        "sync.Mutex.Lock",
        "sync.RWMutex.Lock",
        "sync.RWMutex.RLock",
        "sync.WaitGroup.Wait",
        "sync.WaitGroup",
        "synctest.Run",
        "synctest.Wait",
        "coroutine",
        "IO wait",
        "sleep",
        "panicwait",
        "debug call",
        "dumping heap",
        "stopping the world",
        "flushing proc caches",
        "page trace flush",
        "trace goroutine status",
        "trace proc status",
        "trace reader (blocked)",
        "timer goroutine (idle)",
        "GOMAXPROCS updater (idle)",
        "updating GOMAXPROCS (idle)",
    ];
    STATES.iter().any(|known| known.as_bytes() == state)
}

/// Reads a line that is a header in a grammar that isn't known: a number, words, a known state in
/// brackets, and a colon at the end. Returns what can be told of it.
pub(super) fn parse_odd(line: &[u8]) -> Option<GoroutineHeader<'_>> {
    let rest = line.strip_prefix(b"goroutine ")?.strip_suffix(b":")?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let id = parse_number(&rest[..digits])?;
    let open = memchr::memchr(b'[', &rest[digits..])? + digits;
    let length = memchr::memchr2(b']', b'{', &rest[open..])?;
    let mut header = GoroutineHeader {
        id,
        state: rest[open + 1..open + length].trim_ascii(),
        wait: None,
        locked: false,
        leaked: false,
        crash: false,
        labels: None,
    };
    header.read_state();
    is_known_state(header.state).then_some(header)
}

/// Returns a state without its suffixes, and whether one of these says that it is of what is leaked.
pub(super) fn split_suffixes(mut state: &[u8]) -> (&[u8], bool) {
    let mut leaked = false;
    while let Some((rest, suffix)) = split_suffix(state) {
        leaked |= suffix == b"leaked";
        state = rest;
    }
    (state, leaked)
}

/// Splits off a suffix that is no part of the state, such as ` (leaked)`; ` (nil chan)` is a part
/// of it.
fn split_suffix(state: &[u8]) -> Option<(&[u8], &'static [u8])> {
    const SUFFIXES: [&[u8]; 4] = [b"leaked", b"scan", b"durable", b"synctest"];
    let inner = state.strip_suffix(b")")?;
    SUFFIXES.into_iter().find_map(|suffix| {
        let state = inner.strip_suffix(suffix)?.strip_suffix(b" (")?;
        Some((state, suffix))
    })
}

/// Reads a number in digits. Larger ones than `u64` holds become the largest.
pub(super) fn parse_number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, digit| {
        let digit = digit.wrapping_sub(b'0');
        (digit < 10).then(|| number.saturating_mul(10).saturating_add(digit.into()))
    })
}

/// Returns the whole minutes of a wait such as `5 minutes`, `1 minute` or `3 hours`; `None` for less
/// than one.
pub(super) fn parse_wait(text: &[u8]) -> Option<u64> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, unit) = text.split_at(digits);
    let number = parse_number(number)?;
    let unit = unit.trim_ascii_start();
    let minutes = match unit.strip_suffix(b"s").unwrap_or(unit) {
        b"minute" | b"min" | b"m" => return Some(number),
        b"hour" | b"hr" | b"h" => number.saturating_mul(60),
        b"day" | b"d" => number.saturating_mul(24 * 60),
        b"second" | b"sec" | b"" if unit != b"" => number / 60,
        _ => return None,
    };
    (minutes > 0).then_some(minutes)
}

/// Returns the id in `[originating from goroutine 7]:`.
pub(super) fn parse_ancestor(line: &[u8]) -> Option<u64> {
    parse_number(line.strip_prefix(b"[originating from goroutine ")?.strip_suffix(b"]:")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn header(line: &str) -> GoroutineHeader<'_> {
        match parse(line.as_bytes()) {
            HeaderLine::Header(header) => header,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[track_caller]
    fn check(line: &str, state: &str, wait: Option<u64>, labels: Option<&str>) {
        let header = header(line);
        assert_eq!(header.state, state.as_bytes(), "{line}");
        assert_eq!((header.wait, header.labels), (wait, labels.map(str::as_bytes)), "{line}");
    }

    #[test]
    fn every_version_is_read() {
        check("goroutine 7 [running]:", "running", None, None);
        check("goroutine 7 [select, 5 minutes]:", "select", Some(5), None);
        check(
            "goroutine 7 [IO wait, 91275 minutes, locked to thread]:",
            "IO wait",
            Some(91275),
            None,
        );
        check(
            "goroutine 1 gp=0xc000002380 m=nil [chan receive, 1 minutes]:",
            "chan receive",
            Some(1),
            None,
        );
        check("goroutine 0 gp=0xa7eb60 m=0 mp=0xa7fb00 [idle]:", "idle", None, None);
        check("goroutine 5 [select (durable), synctest bubble 3]:", "select", None, None);
        check(
            "goroutine 5 [chan receive (synctest), synctest group 3]:",
            "chan receive",
            None,
            None,
        );
        check("goroutine 5 [select (no cases)]:", "select (no cases)", None, None);
        check(
            "goroutine 5 [chan send (nil chan) (leaked) (scan)]:",
            "chan send (nil chan)",
            None,
            None,
        );
        check("goroutine 5 [???]:", "???", None, None);
        check(
            r#"goroutine 5 [chan receive, 2 minutes labels:{"a]b": "c}\"]:", "d": ""}]:"#,
            "chan receive",
            Some(2),
            Some(r#""a]b": "c}\"]:", "d": """#),
        );
        check(
            r#"goroutine 5 [chan receive] {endpoint: /api/v1, t: "we]ird \"x\": y}"}:"#,
            "chan receive",
            None,
            Some(r#"endpoint: /api/v1, t: "we]ird \"x\": y}""#),
        );
        assert!(header("goroutine 5 [chan receive (leaked)]:").leaked);
        assert!(header("goroutine 5 [chan receive, locked to thread]:").locked);
        assert!(header("goroutine 0 gp=0xa7eb60 m=0 mp=0xa7fb00 [idle]:").crash);
        assert_eq!(header("goroutine 99999999999999999999 [a]:").id, u64::MAX);
    }

    #[test]
    fn waits_are_read_in_every_unit() {
        for (text, minutes) in [
            ("1 minute", Some(1)),
            ("0 minutes", Some(0)),
            ("3 hours", Some(180)),
            ("1 hour", Some(60)),
            ("2 days", Some(2880)),
            ("90 seconds", Some(1)),
            ("59 seconds", None),
            ("125s", Some(2)),
            ("2h", Some(120)),
            ("7", None),
            ("synctest group 3", None),
        ] {
            let line = format!("goroutine 7 [select, {text}, locked to thread]:");
            assert_eq!(header(&line).wait, minutes, "{text}");
        }
    }

    #[test]
    fn odd_headers_are_recognised() {
        for line in [
            "goroutine 7 [select] of 9:",
            "goroutine 7 x=1 [select]:",
            "goroutine 7 [select, 3 hours]<a=b>:",
            "goroutine 7: [select]:",
        ] {
            assert_eq!(parse(line.as_bytes()), HeaderLine::Text, "{line}");
            assert_eq!(parse_odd(line.as_bytes()).map(|odd| odd.state), Some(&b"select"[..]));
        }
        for line in
            ["goroutine 7 [fake] of 9:", "goroutine 7 [select]: no", "goroutine x [select]:"]
        {
            assert_eq!(parse_odd(line.as_bytes()), None, "{line}");
        }
        check(r#"goroutine 7 [select]{"a": "b"}:"#, "select", None, Some(r#""a": "b""#));
    }

    #[test]
    fn text_is_no_header() {
        for text in [
            "goroutine 7 is stuck",
            "goroutine running on other thread",
            "goroutine 7 [running]: and so on",
            "goroutine 7 [running] {a: b}: c",
            "goroutine 7 []:",
            "goroutine 7 x=1 [running]:",
            "goroutine  7 [running]:",
            "goroutine -7 [running]:",
            "goroutine pool",
            " goroutine 7 [running]:",
        ] {
            assert_eq!(parse(text.as_bytes()), HeaderLine::Text, "{text}");
        }
    }

    #[test]
    fn every_beginning_of_a_header_is_cut_off() {
        for line in [
            "goroutine 12 [chan receive, 5 minutes]:",
            "goroutine 12 gp=0xc0 m=3 mp=0xc1 [running]:",
            r#"goroutine 12 [select] {a: "b\"}:", c: d}:"#,
            r#"goroutine 12 [select labels:{"a": "b]:"}]:"#,
        ] {
            for end in "goroutine ".len()..line.len() {
                assert_eq!(parse(&line.as_bytes()[..end]), HeaderLine::CutOff, "{}", &line[..end]);
            }
        }
    }
}
