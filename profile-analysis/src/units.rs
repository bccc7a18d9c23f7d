//! Values for people: bytes, times and counts.

/// The quantity that a unit measures, and its size in bytes or nanoseconds.
enum UnitScale {
    Bytes(f64),
    Nanoseconds(f64),
}

impl UnitScale {
    /// Reads a unit, in the singular or plural.
    fn of(unit: &str) -> Option<UnitScale> {
        use UnitScale::{Bytes, Nanoseconds};
        let unit = unit.to_ascii_lowercase();
        let one = unit.strip_suffix('s').filter(|one| one.len() > 2).unwrap_or(&unit);
        Some(match one {
            "byte" | "b" => Bytes(1.0),
            "kilobyte" | "kibibyte" | "kb" | "kib" => Bytes(1024.0),
            "megabyte" | "mebibyte" | "mb" | "mib" => Bytes(1024.0 * 1024.0),
            "gigabyte" | "gibibyte" | "gb" | "gib" => Bytes(1024.0 * 1024.0 * 1024.0),
            "nanosecond" | "ns" => Nanoseconds(1.0),
            "microsecond" | "us" | "\u{b5}s" => Nanoseconds(1e3),
            "millisecond" | "ms" => Nanoseconds(1e6),
            "second" | "sec" | "s" => Nanoseconds(1e9),
            "minute" | "min" => Nanoseconds(60e9),
            "hour" | "hr" => Nanoseconds(3600e9),
            _ => return None,
        })
    }
}

/// Writes a value in its unit, at three to four digits: `1.50 MiB`, `2.13 s`, `1234567`.
///
/// Bytes go in powers of 1024 and times in powers of 1000, whatever the profile counts them in; of
/// other units the number is written in full, and the unit only where it says more than `count`.
pub fn format_value(value: i64, unit: &str) -> String {
    const SIZES: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    match (unit, UnitScale::of(unit)) {
        ("" | "count", _) => value.to_string(),
        (_, Some(UnitScale::Bytes(size))) => scale_value(value as f64 * size, 1024.0, &SIZES),
        (_, Some(UnitScale::Nanoseconds(size))) => {
            let nanoseconds = value as f64 * size;
            match nanoseconds.abs() >= 1e9 {
                true => format!("{:.2} s", nanoseconds / 1e9),
                false => scale_value(nanoseconds, 1000.0, &["ns", "\u{b5}s", "ms"]),
            }
        }
        (other, None) => format!("{value} {other}"),
    }
}

/// Writes a share of a total: `12.3%`, or nothing of nothing.
pub fn format_percent(part: i64, total: i64) -> String {
    if total == 0 { "-".to_owned() } else { format!("{:.1}%", percent(part, total)) }
}

/// Returns a share of a total in percent, 0 of nothing.
pub fn percent(part: i64, total: i64) -> f64 {
    if total == 0 { 0.0 } else { part as f64 / total as f64 * 100.0 }
}

/// Writes how many there are of something: `1 group`, `3 groups`.
pub fn plural(count: u64, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// Returns a text with its round sizes and times in larger units: `512 KiB` for `524288 bytes`.
pub(crate) fn round_units(text: &str) -> String {
    const SIZES: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    const TIMES: [(u64, &str); 3] = [(1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "\u{b5}s")];
    let mut words: Vec<String> = text.split(' ').map(str::to_owned).collect();
    for at in 1..words.len() {
        let unit = words[at].trim_end_matches([',', ';', '.']);
        let units = match unit {
            "bytes" => SIZES,
            "ns" => TIMES,
            _ => continue,
        };
        let Ok(number @ 1..) = words[at - 1].parse::<u64>() else { continue };
        if let Some((size, name)) = units.into_iter().find(|(size, _)| number % size == 0) {
            let rest = &words[at][unit.len()..];
            words[at] = format!("{name}{rest}");
            words[at - 1] = (number / size).to_string();
        }
    }
    words.join(" ")
}

fn scale_value(value: f64, base: f64, units: &[&str]) -> String {
    let (mut scaled, mut unit) = (value, 0);
    // 1023.996 KiB would be written as 1024.00 KiB.
    while scaled.abs() >= base - 0.005 && unit + 1 < units.len() {
        scaled /= base;
        unit += 1;
    }
    if unit == 0 { format!("{value} {}", units[0]) } else { format!("{scaled:.2} {}", units[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: i64, unit: &str, expected: &str) {
        assert_eq!(format_value(value, unit), expected);
    }

    #[test]
    fn writes_for_people() {
        check(0, "bytes", "0 B");
        check(1023, "bytes", "1023 B");
        check(1024, "bytes", "1.00 KiB");
        check(1_048_575, "bytes", "1.00 MiB");
        check(-1_572_864, "bytes", "-1.50 MiB");
        check(i64::MAX, "bytes", "8.00 EiB");
        check(999, "nanoseconds", "999 ns");
        check(1_500, "nanoseconds", "1.50 \u{b5}s");
        check(20_000_000, "nanoseconds", "20.00 ms");
        check(90_000_000_000, "nanoseconds", "90.00 s");
        check(i64::MIN, "count", "-9223372036854775808");
        check(5, "widgets", "5 widgets");
        check(1_500, "microseconds", "1.50 ms");
        check(90_000, "ms", "90.00 s");
        check(2, "seconds", "2.00 s");
        check(3, "hours", "10800.00 s");
        check(2048, "kilobytes", "2.00 MiB");
        check(-3, "KiB", "-3.00 KiB");
        check(7, "samples", "7 samples");
        assert_eq!(format_percent(1, 3), "33.3%");
        assert_eq!(format_percent(1, 0), "-");
        assert_eq!((plural(1, "group"), plural(0, "group")), ("1 group".into(), "0 groups".into()));
    }

    #[test]
    fn round_numbers_get_larger_units() {
        for (text, expected) in [
            ("one sample every 524288 bytes", "one sample every 512 KiB"),
            ("one every 524288 bytes, unwound", "one every 512 KiB, unwound"),
            ("one event for each 1000000 ns", "one event for each 1 ms"),
            ("12 bytes at byte 1024", "12 bytes at byte 1024"),
            ("0 bytes  of bytes", "0 bytes  of bytes"),
        ] {
            assert_eq!(round_units(text), expected);
        }
    }
}
