//! Which samples have a label that is looked for, in the words of `go tool pprof`.

use profile_format::profile::{Profile, Sample};
use regex::Regex;

use crate::Result;
use crate::pattern::compile;

/// A condition on labels as `-tagfocus` and `-tagignore` of `go tool pprof` take it:
/// `KEY=REGEX,...` for samples in whose label of that name one of the expressions finds something;
/// `REGEX,...` where each has to be found in some `name:value`; or `KEY=RANGE` and `RANGE` for
/// numbers, such as `4kb`, `4kb:`, `:4kb` or `1ms:2ms`.
pub(crate) struct TagMatch<'a> {
    key: Option<&'a str>,
    wanted: WantedValues,
}

enum WantedValues {
    Texts(Vec<Regex>),
    Numbers { least: Option<UnitAmount>, most: Option<UnitAmount> },
}

/// A number with its unit.
#[derive(Clone, Copy)]
struct UnitAmount {
    number: f64,
    unit: ParsedUnit,
}

/// A unit: the quantity that it measures, and its size.
#[derive(Clone, Copy)]
struct ParsedUnit {
    measures: UnitMeasure,
    size: f64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum UnitMeasure {
    Memory,
    Time,
    Anything,
}

impl<'a> TagMatch<'a> {
    pub(crate) fn parse(text: &'a str) -> Result<TagMatch<'a>> {
        let (key, value) = match text.split_once('=') {
            Some((key, value)) => (Some(key), value),
            None => (None, text),
        };
        let wanted = match parse_range(value) {
            Some((least, most)) => WantedValues::Numbers { least, most },
            None => WantedValues::Texts(value.split(',').map(compile).collect::<Result<_>>()?),
        };
        Ok(TagMatch { key, wanted })
    }

    pub(crate) fn matches(&self, profile: &Profile, sample: &Sample<'_>) -> bool {
        let has_key = |name: &str| self.key.is_none_or(|key| key == name);
        let mut numbers = sample.labels.iter().filter(|label| label.str.0 == 0);
        let texts = || {
            let texts = sample.labels.iter().filter(|label| label.str.0 != 0);
            texts.map(|label| (profile.str(label.key), profile.str(label.str)))
        };
        match &self.wanted {
            WantedValues::Numbers { least, most } => numbers.any(|label| {
                let key = profile.str(label.key);
                let unit = match (profile.str(label.num_unit), key) {
                    // As `go tool pprof` guesses.
                    ("", "bytes" | "alignment" | "request") => "bytes",
                    (unit, _) => unit,
                };
                let amount =
                    UnitAmount { number: label.num as f64, unit: ParsedUnit::from_name(unit) };
                has_key(key)
                    && least.is_none_or(|least| amount.reaches(least))
                    && most.is_none_or(|most| most.reaches(amount))
            }),
            WantedValues::Texts(patterns) => match self.key {
                Some(key) => texts().any(|(name, value)| {
                    name == key && patterns.iter().any(|pattern| pattern.is_match(value))
                }),
                None => patterns.iter().all(|pattern| {
                    texts().any(|(name, value)| pattern.is_match(&format!("{name}:{value}")))
                }),
            },
        }
    }
}

impl UnitAmount {
    /// Returns whether both measure the same quantity and this is at least as much as the other.
    fn reaches(self, other: UnitAmount) -> bool {
        self.unit.measures == other.unit.measures
            && self.number * self.unit.size >= other.number * other.unit.size
    }
}

impl ParsedUnit {
    fn from_name(name: &str) -> ParsedUnit {
        let memory = |power: i32| (UnitMeasure::Memory, 1024_f64.powi(power));
        let name = name.to_ascii_lowercase();
        let short = name.strip_suffix('s').filter(|short| short.len() > 1).unwrap_or(&name);
        let (measures, size) = match short {
            "b" | "byte" => memory(0),
            "k" | "kb" | "kib" | "kilobyte" | "kibibyte" => memory(1),
            "m" | "mb" | "mib" | "megabyte" | "mebibyte" => memory(2),
            "g" | "gb" | "gib" | "gigabyte" | "gibibyte" => memory(3),
            "t" | "tb" | "tib" | "terabyte" | "tebibyte" => memory(4),
            "p" | "pb" | "pib" | "petabyte" | "pebibyte" => memory(5),
            "n" | "ns" | "nanosecond" => (UnitMeasure::Time, 1.0),
            "u" | "us" | "\u{b5}" | "microsecond" => (UnitMeasure::Time, 1e3),
            "ms" | "millisecond" => (UnitMeasure::Time, 1e6),
            "s" | "sec" | "second" => (UnitMeasure::Time, 1e9),
            "min" | "minute" => (UnitMeasure::Time, 60e9),
            "hr" | "hour" => (UnitMeasure::Time, 3600e9),
            "day" => (UnitMeasure::Time, 86_400e9),
            _ => (UnitMeasure::Anything, 1.0),
        };
        ParsedUnit { measures, size }
    }
}

/// Returns a range's ends, both included; one number alone is both.
fn parse_range(text: &str) -> Option<(Option<UnitAmount>, Option<UnitAmount>)> {
    match text.split_once(':') {
        None => parse_amount(text).map(|exact| (Some(exact), Some(exact))),
        Some((least, "")) => Some((Some(parse_amount(least)?), None)),
        Some(("", most)) => Some((None, Some(parse_amount(most)?))),
        Some((least, most)) => {
            let (mut least, most) = (parse_amount(least)?, parse_amount(most)?);
            if least.unit.measures == UnitMeasure::Anything {
                least.unit = most.unit;
            }
            Some((Some(least), Some(most)))
        }
    }
}

fn parse_amount(text: &str) -> Option<UnitAmount> {
    let digits = |byte: char| byte.is_ascii_digit() || matches!(byte, '+' | '-');
    let (number, unit) = text.split_at(text.find(|byte| !digits(byte)).unwrap_or(text.len()));
    let number: i64 = number.parse().ok()?;
    let is_unit = unit.chars().all(|letter| letter.is_ascii_alphabetic());
    is_unit.then(|| UnitAmount { number: number as f64, unit: ParsedUnit::from_name(unit) })
}
