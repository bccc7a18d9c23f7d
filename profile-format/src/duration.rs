//! Durations as Go writes them (`1m30s`, `500ms`), and bare seconds.

use std::time::Duration;

/// The reason why a text is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DurationError {
    /// The text is not of the form `1m30s`, `500ms` or `10`.
    #[error("invalid duration {0:?}")]
    Syntax(String),
    /// A number is followed by a unit that is none of `ns us µs ms s m h`.
    #[error("unknown unit {unit:?} in duration {text:?}")]
    Unit {
        /// The whole text.
        text: String,
        /// The unit that is not one.
        unit: String,
    },
    /// The duration is below zero.
    #[error("negative duration {0:?}")]
    Negative(String),
    /// The duration is more than can be counted (about 292 years).
    #[error("duration {0:?} is too long to be counted")]
    Overflow(String),
}

/// Reads a duration in Go's syntax, or bare seconds: `1m30s`, `500ms`, `1.5h`, `1µs`, `10`, `2.5`.
///
/// # Errors
///
/// See [`DurationError`]. Text of any length is read in one pass and never panics.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let syntax = || DurationError::Syntax(excerpt(text));
    let overflow = || DurationError::Overflow(excerpt(text));
    let (negative, unsigned) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if unsigned.is_empty() {
        return Err(syntax());
    }
    let mut rest = unsigned;
    let mut nanos: u64 = 0;
    while !rest.is_empty() {
        let number_len = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, after) = rest.split_at(number_len);
        let unit_len = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_len);
        let unit_nanos: u64 = match unit {
            "ns" => 1,
            // U+00B5 is the micro sign, U+03BC the Greek letter: Go takes both.
            "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            // Bare seconds stand alone.
            "" if number.len() == unsigned.len() => 1_000_000_000,
            "" => return Err(syntax()),
            other if number.is_empty() => {
                let _ = other;
                return Err(syntax());
            }
            other => {
                return Err(DurationError::Unit { text: excerpt(text), unit: excerpt(other) });
            }
        };
        let part = scale(number, unit_nanos).map_err(|error| match error {
            NumberError::Syntax => syntax(),
            NumberError::Overflow => overflow(),
        })?;
        nanos = nanos.checked_add(part).filter(|&n| n <= i64::MAX as u64).ok_or_else(overflow)?;
        rest = after;
    }
    if negative && nanos > 0 {
        return Err(DurationError::Negative(excerpt(text)));
    }
    Ok(Duration::from_nanos(nanos))
}

enum NumberError {
    Syntax,
    Overflow,
}

/// Returns `number × unit` in nanoseconds, digits below a nanosecond cut off.
fn scale(number: &str, unit_nanos: u64) -> Result<u64, NumberError> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return Err(NumberError::Syntax);
    }
    let mut total: u64 = 0;
    for digit in whole.bytes() {
        total = total
            .checked_mul(10)
            .and_then(|t| t.checked_add(u64::from(digit - b'0')))
            .ok_or(NumberError::Overflow)?;
    }
    total = total.checked_mul(unit_nanos).ok_or(NumberError::Overflow)?;
    // No unit has more than 13 digits of nanoseconds, so later digits can't matter.
    let mut place = unit_nanos as f64;
    let mut part = 0.0;
    for digit in fraction.bytes().take(18) {
        place /= 10.0;
        part += f64::from(digit - b'0') * place;
    }
    total.checked_add(part.round() as u64).ok_or(NumberError::Overflow)
}

/// Cuts the text, so that an error message stays short whatever came in.
fn excerpt(text: &str) -> String {
    const MOST: usize = 40;
    match text.char_indices().nth(MOST) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

/// Writes a duration as Go does: `1m0s`, `1.5s`, `500ms`, `0s`.
pub fn format_duration(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    if nanos == 0 {
        return "0s".to_owned();
    }
    if nanos < 1_000_000_000 {
        let (unit_nanos, unit) = match nanos {
            0..1_000 => (1, "ns"),
            1_000..1_000_000 => (1_000, "\u{b5}s"),
            _ => (1_000_000, "ms"),
        };
        return format!("{}{unit}", decimal(nanos, unit_nanos));
    }
    let minute = 60_000_000_000;
    let (minutes, below) = (nanos / minute, nanos % minute);
    let seconds = decimal(below, 1_000_000_000);
    match (minutes / 60, minutes % 60) {
        (0, 0) => format!("{seconds}s"),
        (0, minutes) => format!("{minutes}m{seconds}s"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
    }
}

/// Writes `nanos / unit` as a decimal number without trailing zeros; `unit` is a power of ten.
fn decimal(nanos: u128, unit: u128) -> String {
    let (whole, fraction) = (nanos / unit, nanos % unit);
    if fraction == 0 {
        return whole.to_string();
    }
    let digits = unit.ilog10() as usize;
    let fraction = format!("{fraction:0digits$}");
    format!("{whole}.{}", fraction.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, nanos: u64) {
        assert_eq!(parse_duration(text), Ok(Duration::from_nanos(nanos)), "{text}");
    }

    #[test]
    fn reads_what_go_reads() {
        check("0", 0);
        check("0s", 0);
        check("10", 10_000_000_000);
        check("2.5", 2_500_000_000);
        check("+5s", 5_000_000_000);
        check("1m30s", 90_000_000_000);
        check("500ms", 500_000_000);
        check("1.5h", 5_400_000_000_000);
        check("1µs", 1_000);
        check("1μs", 1_000);
        check("1us", 1_000);
        check("7ns", 7);
        check(".5s", 500_000_000);
        check("1.s", 1_000_000_000);
        check("1h2m3s4ms5us6ns", 3_723_004_005_006);
        check("0.1s", 100_000_000);
        check("-0s", 0);
    }

    #[test]
    fn refuses_the_rest() {
        let bad = [
            "",
            "s",
            "-",
            "+",
            ".",
            ".s",
            "1..2s",
            "notaduration",
            "10 s",
            "1m30",
            "30 1m",
            "1e3s",
            " 5s",
            "5s ",
            "0x10s",
            "--1s",
            "٣s",
        ];
        for text in bad {
            assert!(parse_duration(text).is_err(), "{text:?}");
        }
        assert!(matches!(parse_duration("5d"), Err(DurationError::Unit { .. })));
        assert!(matches!(parse_duration("-1s"), Err(DurationError::Negative(_))));
        assert!(matches!(parse_duration("-5"), Err(DurationError::Negative(_))));
        for text in ["9223372036854775808ns", "99999999999999999999s", "300000000h"] {
            assert!(matches!(parse_duration(text), Err(DurationError::Overflow(_))), "{text}");
        }
        let long = "9".repeat(100_000);
        assert!(parse_duration(&long).unwrap_err().to_string().len() < 200);
    }

    #[test]
    fn writes_as_go_writes() {
        let cases = [
            (0, "0s"),
            (1, "1ns"),
            (1_500, "1.5\u{b5}s"),
            (10_000_000, "10ms"),
            (1_000_000_000, "1s"),
            (1_500_000_000, "1.5s"),
            (60_000_000_000, "1m0s"),
            (3_600_000_000_000, "1h0m0s"),
            (3_723_004_005_006, "1h2m3.004005006s"),
        ];
        for (nanos, text) in cases {
            assert_eq!(format_duration(Duration::from_nanos(nanos)), text);
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC*") {
            let _ = parse_duration(&text);
        }

        #[test]
        fn what_is_written_reads_back(nanos in 0..i64::MAX as u64) {
            let duration = Duration::from_nanos(nanos);
            prop_assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
        }
    }
}
