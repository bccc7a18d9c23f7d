//! What `perf script` prints: a line for each sample, then its frames, the leaf first.
//!
//! ```text
//! shop  4711/4712 [003] 12345.678901:     250000 task-clock:u:
//!         55d0c0de1111 shop::cart::total+0x21 (/usr/bin/shop)
//!         7f6c2b0d2d09 [unknown] (/usr/lib/libc.so.6)
//!
//! ```

use profile_format::profile::Profile;

use super::{NamedFrame, StackBuilder};

/// The head of a sample.
struct SampleHead<'a> {
    command: &'a str,
    period: i64,
    event: &'a str,
}

/// Returns whether the first line that says anything is the head of a sample, and the one after it
/// is a frame.
pub(super) fn is_perf_script(text: &str) -> bool {
    let mut lines = text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    lines.next().is_some_and(|line| parse_head(line).is_some())
        && lines.next().is_some_and(|line| parse_frame(line).is_some())
}

/// Reads the head of a sample: a name, which may have blanks, a process, perhaps a processor, a
/// time, perhaps a period, and an event.
fn parse_head(line: &str) -> Option<SampleHead<'_>> {
    if line.starts_with([' ', '\t']) && parse_frame(line).is_some() {
        return None;
    }
    let is_time = |word: &str| {
        word.strip_suffix(':').is_some_and(|time| {
            time.contains('.') && time.chars().all(|c| c.is_ascii_digit() || c == '.')
        })
    };
    let time = line.split_whitespace().find(|word| is_time(word))?;
    let at = line.find(time)?;
    let (before, after) = (&line[..at], &line[at + time.len()..]);
    let is_process = |word: &str| word.chars().all(|c| c.is_ascii_digit() || c == '/');
    let process = before.split_whitespace().rfind(|word| is_process(word))?;
    let command = before[..before.rfind(process)?].trim();
    let mut words = after.split_whitespace();
    let first = words.next()?;
    let (period, event) = match first.parse::<i64>() {
        Ok(period) => (period, words.next()?),
        Err(_) => (1, first),
    };
    Some(SampleHead { command, period, event: event.trim_end_matches(':') })
}

/// Reads a frame: an address, a name with an offset, and the object in parentheses.
fn parse_frame(line: &str) -> Option<NamedFrame<'_>> {
    let rest = line.strip_prefix([' ', '\t'])?.trim();
    let (address, rest) = rest.split_once(' ')?;
    u64::from_str_radix(address, 16).ok()?;
    let rest = rest.trim();
    let (name, object) = match rest.rsplit_once(" (") {
        Some((name, object)) => (name, object.trim_end_matches(')')),
        None => (rest, ""),
    };
    let function = match name.rsplit_once("+0x") {
        Some((name, offset)) if offset.bytes().all(|byte| byte.is_ascii_hexdigit()) => name,
        _ => name,
    };
    let object = if object == "inlined" { "" } else { object };
    // A place without a name is told by its object.
    let function = if function == "[unknown]" && !object.is_empty() { object } else { function };
    Some(NamedFrame { function, object, ..NamedFrame::default() })
}

pub(super) fn read(bytes: &[u8]) -> (Profile, Vec<String>) {
    let mut stacks: Option<StackBuilder> = None;
    let (mut open, mut places) = (None::<(String, i64, String)>, Vec::new());
    let mut offset = 0;
    for line in bytes.split(|&byte| byte == b'\n') {
        let text = String::from_utf8_lossy(line);
        let text = text.trim_end();
        if text.is_empty() || parse_frame(text).is_none() {
            if let (Some(stacks), Some(head)) = (&mut stacks, open.take()) {
                add_sample(stacks, &head, &places);
            }
            places.clear();
        }
        if let Some(frame) = parse_frame(text) {
            if let Some(stacks) = &mut stacks {
                places.push(stacks.place(frame));
            }
        } else if let Some(SampleHead { command, period, event }) = parse_head(text) {
            stacks.get_or_insert_with(|| {
                let is_clock = event.contains("clock");
                let unit = if is_clock { "nanoseconds" } else { "count" };
                let kind = if is_clock { "cpu" } else { event.split(':').next().unwrap_or(event) };
                StackBuilder::new(&[("samples", "count"), (kind, unit)])
            });
            open = Some((command.to_owned(), period, event.to_owned()));
        } else if let (Some(stacks), false) =
            (&mut stacks, text.is_empty() || text.starts_with('#'))
        {
            stacks.warn(|| format!("unknown line at byte {offset}"));
        }
        offset += line.len() + 1;
    }
    let mut stacks = stacks.unwrap_or_else(|| StackBuilder::new(&[("samples", "count")]));
    if let Some(head) = open {
        add_sample(&mut stacks, &head, &places);
    }
    stacks.finish()
}

fn add_sample(stacks: &mut StackBuilder, head: &(String, i64, String), places: &[u32]) {
    let (command, period, event) = head;
    let labels =
        [stacks.builder.text_label("command", command), stacks.builder.text_label("event", event)];
    stacks.sample(places, &[1, *period], &labels);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::top::{TopOptions, top};
    use crate::{Format, read};

    const TEXT: &str = "# captured on: x\n
shop worker  4711/4712 [003] 12345.678901:     250000 task-clock:u:
\t    55d0c0de1111 shop::cart::total+0x21 (/usr/bin/shop)
\t    55d0c0de1110 shop::main (inlined)
\t    7f6c2b0d2d09 [unknown] (/usr/lib/libc.so.6)

idle 1 12345.679000: task-clock:u:
\tffffffff8104f45a native_write_msr+0xa ([kernel.kallsyms])
";

    #[test]
    fn samples_are_read() {
        assert!(is_perf_script(TEXT));
        let read = read(TEXT.as_bytes()).unwrap();
        assert_eq!(read.format, Format::PerfScript);
        let options = TopOptions { cum: true, ..TopOptions::default() };
        let top = top(&read.stacks, &options).unwrap();
        let rows: Vec<_> =
            top.rows.iter().map(|row| (row.name.as_str(), row.flat, row.cum)).collect();
        assert_eq!((top.sample_type.as_str(), top.total), ("cpu", 250_001));
        assert_eq!(
            rows,
            [
                ("/usr/lib/libc.so.6", 0, 250_000),
                ("shop::cart::total", 250_000, 250_000),
                ("shop::main", 0, 250_000),
                ("native_write_msr", 1, 1),
            ]
        );
        assert!(!is_perf_script("12:00:01.5: a line of a log\n  at f (x)\n"));
    }
}
