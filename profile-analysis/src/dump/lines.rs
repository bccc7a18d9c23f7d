//! The two lines of a frame: `name(arguments)` and `\tfile:line +0x1f fp=0x… sp=0x… pc=0x…`.

use memchr::memmem;

/// Returns the function of a line, and whether its frame is inlined into the next; `None` where the
/// line is no function's.
///
/// What follows the last parenthesis that is not inside others are arguments. A frame of C has a
/// name alone.
pub(super) fn parse_function(line: &[u8]) -> Option<(&[u8], bool)> {
    if line.last() != Some(&b')') {
        let bare = !line.is_empty() && !line.iter().any(u8::is_ascii_whitespace);
        return (bare || line == b"non-Go function").then_some((line, false));
    }
    let open = find_opening(line)?;
    let name = &line[..open];
    (!name.is_empty()).then_some((name, &line[open..] == b"(...)"))
}

/// Returns the offset of the parenthesis that the last byte closes; where it closes none, the
/// offset of the last one.
fn find_opening(line: &[u8]) -> Option<usize> {
    let last = memchr::memrchr(b'(', line)?;
    if memchr::memchr(b')', &line[last..line.len() - 1]).is_none() {
        return Some(last);
    }
    let mut depth = 0_usize;
    for at in memchr::memrchr2_iter(b'(', b')', line) {
        match line[at] {
            b')' => depth += 1,
            _ if depth <= 1 => return Some(at),
            _ => depth -= 1,
        }
    }
    Some(last)
}

/// Returns `file:line` of a line without its tab: without the offset and what follows it. Empty
/// where there is only a program counter.
pub(super) fn trim_place(line: &[u8]) -> &[u8] {
    let mut place = line;
    for name in [&b"pc=0x"[..], b"sp=0x", b"fp=0x"] {
        place = strip_word(place, name);
    }
    strip_word(place, b"+0x")
}

/// Removes the last word where it is `name` and a hexadecimal number.
fn strip_word<'a>(text: &'a [u8], name: &[u8]) -> &'a [u8] {
    let digits = text.iter().rev().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (before, number) = text.split_at(text.len() - digits);
    match before.strip_suffix(name) {
        Some([]) if !number.is_empty() => b"",
        Some([rest @ .., b' ']) if !number.is_empty() => rest,
        _ => text,
    }
}

/// Returns the file and the line number of a place; 0 where it has none.
pub(super) fn split_place(place: &[u8]) -> (&[u8], u64) {
    let digits = place.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    match place.split_at(place.len() - digits) {
        ([file @ .., b':'], number) => match super::header::parse_number(number) {
            Some(line) => (file, line),
            None => (place, 0),
        },
        _ => (place, 0),
    }
}

/// Returns the name in `created by F in goroutine 7`.
pub(super) fn parse_creator(line: &[u8]) -> Option<&[u8]> {
    let name = line.strip_prefix(b"created by ")?;
    let digits = name.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let name = match name[..name.len() - digits].strip_suffix(b" in goroutine ") {
        Some(name) if digits > 0 => name,
        _ => name,
    };
    (!name.is_empty()).then_some(name)
}

/// Returns whether a line says that frames are left out: `...23 frames elided...`.
pub(super) fn is_elision(line: &[u8]) -> bool {
    line.strip_prefix(b"...").is_some_and(|rest| rest.ends_with(b" frames elided..."))
}

/// Returns whether a last line without a newline may be the end of a place: `:31`, `:31 +0x1d`. A
/// frame of Go that is not inlined has an offset, and where there are registers the last is `pc`.
pub(super) fn may_end_place(line: &[u8], inlined: bool) -> bool {
    if memmem::find(line, b" fp=0x").is_some() && memmem::find(line, b" pc=0x").is_none() {
        return false;
    }
    let stripped = trim_place(line);
    let (file, number) = split_place(stripped);
    let go = file.ends_with(b".go") || file.ends_with(b".s");
    number > 0 && (inlined || !go || stripped.len() < line.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn is_function(line: &str, expected: &str) {
        let found = parse_function(line.as_bytes()).map(|(name, _)| String::from_utf8_lossy(name));
        assert_eq!(found.as_deref(), Some(expected), "{line}");
    }

    #[track_caller]
    fn is_place(line: &str, file: &str, number: u64) {
        let (found, line_number) = split_place(trim_place(line.as_bytes()));
        assert_eq!(String::from_utf8_lossy(found), file, "{line}");
        assert_eq!(line_number, number, "{line}");
    }

    #[test]
    fn functions_end_at_their_arguments() {
        is_function("main.main()", "main.main");
        is_function("main.(*T).M({0x1, 0x2}, 0x3?)", "main.(*T).M");
        is_function("main.(*Stack[...]).Pop(...)", "main.(*Stack[...]).Pop");
        is_function("main.main.func1.1({0x1, ...}, _)", "main.main.func1.1");
        is_function("<T as a::B<fn(u8)>>::f()", "<T as a::B<fn(u8)>>::f");
        is_function("panic({0x1?, 0x2?})", "panic");
        is_function("a.f((1)(2))", "a.f");
        is_function("a.f(1)2)", "a.f");
        is_function("x_cgo_thread", "x_cgo_thread");
        is_function("non-Go function", "non-Go function");
        assert_eq!(parse_function(b"exit status 2"), None);
        assert_eq!(parse_function(b"()"), None);
        assert_eq!(parse_function(b""), None);
        assert_eq!(parse_function(b"f(...)"), Some((&b"f"[..], true)));
    }

    #[test]
    fn places_lose_what_changes() {
        is_place("/src/app/main.go:31 +0x1d", "/src/app/main.go", 31);
        is_place("/src/app/main.go:31", "/src/app/main.go", 31);
        is_place("/a.go:5 +0xe fp=0x7ff sp=0x7ff pc=0x40fb8e", "/a.go", 5);
        is_place("C:/Program Files (x86)/a b.go:12 +0x5", "C:/Program Files (x86)/a b.go", 12);
        is_place("/goroutine pool/a +0x1/b.go:7 +0x2", "/goroutine pool/a +0x1/b.go", 7);
        is_place("file.c:12 pc=0x123", "file.c", 12);
        is_place("pc=0x123", "", 0);
        is_place("?:0", "?", 0);
        is_place("/odd", "/odd", 0);
    }

    #[test]
    fn creators_lose_their_id() {
        assert_eq!(parse_creator(b"created by main.f in goroutine 12"), Some(&b"main.f"[..]));
        assert_eq!(parse_creator(b"created by main.f"), Some(&b"main.f"[..]));
        assert_eq!(parse_creator(b"created by "), None);
        assert_eq!(parse_creator(b"created.by()"), None);
    }

    #[test]
    fn an_end_may_be_whole() {
        assert!(may_end_place(b"/a.go:31 +0x1d", false));
        assert!(may_end_place(b"/a.go:31", true));
        assert!(may_end_place(b"/a.rs:31", false));
        assert!(!may_end_place(b"/a.go:31", false));
        assert!(!may_end_place(b"/a.go", true));
        assert!(!may_end_place(b"/a.go:", true));
        assert!(!may_end_place(b"/a.go:5 +0xe fp=0x7ff sp=0x7", false));
        assert!(may_end_place(b"/a.go:5 +0xe fp=0x7ff sp=0x7ff pc=0x4", false));
    }
}
