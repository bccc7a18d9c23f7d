//! Records of `debug=1`: `5 @ 0x4896ca 0x41701c`, labels, and a line for each frame.

use memchr::memmem;

use super::scan::{ScanState, StackReader};
use super::{Problem, header, lines};

impl StackReader {
    /// Begins a record such as `5 @ 0x4896ca 0x41701c`: a number of goroutines, whose stack is on
    /// the lines that follow.
    pub(super) fn begin_record(&mut self, line: &[u8]) {
        let digits = line.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if let (Some(count), [b' ', b'@', addresses @ ..]) =
            (header::parse_number(&line[..digits]), &line[digits..])
        {
            self.task.count = count;
            self.task.leaked = self.counts.leaks;
            self.state =
                ScanState::Record { address: address_length(addresses.trim_ascii_start()) };
        }
    }

    /// Reads a line of a record, whose addresses are this long.
    pub(super) fn read_record_line(&mut self, line: &[u8], address: usize, offset: u64) {
        if let Some(text) = line.strip_prefix(b"# labels: ") {
            match text {
                [b'{', inside @ .., b'}'] => self.read_labels(inside, offset),
                _ => self.table.warn(offset, Problem::BrokenLabels),
            }
        } else if let Some(frame) = line.strip_prefix(b"#").and_then(|rest| parse(rest, address)) {
            self.push_frame(frame.name, frame.place, false, offset);
        } else if line != b"#" {
            self.end_goroutine(offset);
            self.state = ScanState::Text;
            self.read_text_line(line, offset);
        }
    }

    /// Compares the total of the profile that ends here with its records.
    pub(super) fn check_total(&mut self, offset: u64) {
        if let Some(said) = self.counts.total.take() {
            if said != self.counts.sum {
                self.table.warn(offset, Problem::Total(said, self.counts.sum));
                self.counts.truncated |= self.counts.sum < said;
            }
            self.counts.sum = 0;
        }
    }
}

/// A line of a record.
struct RecordFrame<'a> {
    /// The function, or the address where it has no name.
    name: &'a [u8],
    place: &'a [u8],
}

/// Reads `\t0x4896ca\tmain.f+0x38\t\t/src/main.go:7`, from behind its `#`. Its columns may have lost
/// the tabs between them.
fn parse(text: &[u8], address: usize) -> Option<RecordFrame<'_>> {
    if let Some(columns) = text.strip_prefix(b"\t") {
        let mut columns = columns.split(|&byte| byte == b'\t').filter(|c| !c.is_empty());
        let address = columns.next().unwrap_or_default();
        let (function, place) = (columns.next(), columns.next().unwrap_or_default());
        let name = function.map_or(address, strip_offset);
        if memmem::find(address, b" ").is_none() || function.is_some() {
            return (!name.is_empty()).then_some(RecordFrame { name, place });
        }
    }
    let text = lines::trim_indent(text);
    let digits = text.strip_prefix(b"0x")?.iter().take_while(|b| b.is_ascii_hexdigit()).count();
    // Without a tab nothing but its length tells where the address ends.
    let length = if digits + 2 > address && address > 2 { address } else { digits + 2 };
    let rest = lines::trim_indent(&text[length..]);
    let Some(plus) = memmem::find(rest, b"+0x") else {
        let name = if rest.is_empty() { &text[..length] } else { rest };
        return Some(RecordFrame { name, place: b"" });
    };
    let after = &rest[plus + 3..];
    let digits = after.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    // The letter of a drive may be a digit, too.
    let is_drive =
        digits > 1 && after[digits - 1].is_ascii_uppercase() && after.get(digits) == Some(&b':');
    let place = lines::trim_indent(&after[digits - usize::from(is_drive)..]);
    Some(RecordFrame { name: &rest[..plus], place })
}

/// Returns the length of the address at the beginning of a text.
fn address_length(text: &[u8]) -> usize {
    text.iter().take_while(|byte| !byte.is_ascii_whitespace()).count()
}

/// Returns `main.f` of `main.f+0x38`.
fn strip_offset(name: &[u8]) -> &[u8] {
    let digits = name.iter().rev().take_while(|byte| byte.is_ascii_hexdigit()).count();
    name[..name.len() - digits].strip_suffix(b"+0x").unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_records_are_read_without_their_tabs() {
        let line = "\t0x48d5a4\tsync.(*Mutex).Lock+0x24\t\t/go/src/runtime/sema.go:95";
        for tab in ["\t", "        ", "    ", "#011", "\\t", ""] {
            let line = line.replace('\t', tab);
            let frame = parse(line.as_bytes(), 8).unwrap();
            assert_eq!(frame.name, b"sync.(*Mutex).Lock", "{line}");
            assert_eq!(frame.place, b"/go/src/runtime/sema.go:95", "{line}");
        }
        let frame = parse(b"0x48d5a4bytes.f+0x24C:/go/a.go:95", 8).unwrap();
        assert_eq!((frame.name, frame.place), (&b"bytes.f"[..], &b"C:/go/a.go:95"[..]));
        let frame = parse(b"       0x48d5a4", 8).unwrap();
        assert_eq!((frame.name, frame.place), (&b"0x48d5a4"[..], &b""[..]));
    }
}
