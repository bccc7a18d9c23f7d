//! Whether a log has put something before a dump's lines.

use super::{Options, parse_with};

/// Number of bytes of a text that [`is_prefixed`] looks at.
const LOOKED_AT: usize = 1 << 20;

/// Returns whether goroutines begin in the middle of lines, so that
/// [`strip_prefix`](Options::strip_prefix) would find them. Only the first MiB is looked at.
pub fn is_prefixed(text: &[u8]) -> bool {
    let options = Options { strip_prefix: true, ..Options::default() };
    !parse_with(&text[..text.len().min(LOOKED_AT)], &options).unwrapped.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_noticed() {
        assert!(is_prefixed(
            b"x\nJan 02 app[1]: goroutine 1 [running]:\nJan 02 app[1]: main.f()\n"
        ));
        assert!(is_prefixed(b"{\"log\":\"goroutine 1 [running]:\\n\"}\n"));
        for text in
            ["", "goroutine 1 [running]:\n", "a goroutine 1 [is here]\n", "x goroutine 1 of [a]:\n"]
        {
            assert!(!is_prefixed(text.as_bytes()), "{text}");
        }
    }
}
