//! The parameters of the live endpoints. Unknown ones are refused, as those of `/profile` are, but for
//! the `_` that keeps caches out.

use std::time::Duration;

use profile_core::Kind;
use profile_core::task::{Detail, UnknownDetail};
use profile_format::{format_duration, parse_duration};

use super::super::reply::{self, HttpRefusal};

/// Number of sites in `/stats` where nothing else is asked for.
const DEFAULT_SITES: usize = 50;
const MOST_SITES: usize = 1000;

/// The kind that `/flame` draws, the time that it records, and the form of the picture.
#[derive(Debug, PartialEq)]
pub(super) struct FlameQuery {
    pub(super) kind: Kind,
    pub(super) window: Duration,
    pub(super) form: FlameForm,
}

/// The form of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FlameForm {
    /// The tree that the page draws.
    Json,
    Svg,
    Html,
    Folded,
}

/// The parameters of `/stats`: how many sites it lists, `limit`; whether their stacks are numbers of
/// frames in a table, `stacks=table`; and whether names are whole however long, `names=full`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StatsQuery {
    pub(super) limit: usize,
    pub(super) table: bool,
    pub(super) full_names: bool,
}

pub(super) fn parse_stats(query: &str) -> Result<StatsQuery, HttpRefusal> {
    let mut stats = StatsQuery { limit: DEFAULT_SITES, table: false, full_names: false };
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match (&*name, &*value) {
            ("limit", value) => {
                let number = value.parse().ok().filter(|limit| (1..=MOST_SITES).contains(limit));
                stats.limit = number.ok_or_else(|| {
                    let range = format!("limit is a number from 1 to {MOST_SITES}.");
                    reply::bad_parameter("Invalid limit parameter.", range)
                })?;
            }
            ("stacks", "table") => stats.table = true,
            ("stacks", "lines" | "") => stats.table = false,
            ("stacks", _) => {
                let values = "stacks is lines or table.".to_owned();
                return Err(reply::bad_parameter("Invalid stacks parameter.", values));
            }
            ("names", "full") => stats.full_names = true,
            ("names", "short" | "") => stats.full_names = false,
            ("names", _) => {
                let values = "names is short or full.".to_owned();
                return Err(reply::bad_parameter("Invalid names parameter.", values));
            }
            ("_", _) => {}
            (name, _) => return Err(reply::unknown_parameter(name, "limit, stacks, names")),
        }
    }
    Ok(stats)
}

/// The parameters of `/goroutines`: whether it adds the dump it was made from, `raw`, and by what
/// means tasks tell what they wait in, `tasks`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct GoroutinesQuery {
    pub(super) raw: bool,
    pub(super) tasks: Option<Detail>,
}

pub(super) fn parse_goroutines(query: &str) -> Result<GoroutinesQuery, HttpRefusal> {
    let mut goroutines = GoroutinesQuery::default();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match (&*name, &*value) {
            ("raw", "true" | "1" | "") => goroutines.raw = true,
            ("raw", "false" | "0") => goroutines.raw = false,
            ("raw", _) => {
                let values = "raw is true or false.".to_owned();
                return Err(reply::bad_parameter("Invalid raw parameter.", values));
            }
            ("tasks", "") => goroutines.tasks = None,
            ("tasks", detail) => {
                goroutines.tasks = Some(detail.parse().map_err(|error: UnknownDetail| {
                    reply::bad_parameter("Invalid tasks parameter.", error.to_string())
                })?);
            }
            ("_", _) => {}
            (name, _) => return Err(reply::unknown_parameter(name, "raw, tasks")),
        }
    }
    Ok(goroutines)
}

/// Reads the parameters of `/flame`: `kind`, for kinds that record `seconds`, and `format`.
pub(super) fn parse_flame(query: &str, longest: Duration) -> Result<FlameQuery, HttpRefusal> {
    let window = Duration::from_secs(5).min(longest);
    let mut flame = FlameQuery { kind: Kind::Cpu, window, form: FlameForm::Json };
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*name {
            "format" => {
                flame.form = match &*value {
                    "json" | "" => FlameForm::Json,
                    "svg" => FlameForm::Svg,
                    "html" => FlameForm::Html,
                    "folded" => FlameForm::Folded,
                    _ => {
                        let values = "format is json, svg, html or folded.".to_owned();
                        return Err(reply::bad_parameter("Invalid format parameter.", values));
                    }
                };
            }
            "kind" => {
                flame.kind = value
                    .parse()
                    .ok()
                    .filter(|kind: &Kind| kind.facts().profile.is_some())
                    .ok_or_else(|| {
                        let drawn = |kind: &Kind| kind.facts().profile.is_some();
                        reply::unknown_kind(&value, Kind::ALL.into_iter().filter(drawn))
                    })?;
            }
            "seconds" | "duration" => {
                let shortest = Duration::from_millis(10);
                flame.window = parse_duration(&value)
                    .ok()
                    .filter(|window| (shortest..=longest).contains(window))
                    .ok_or_else(|| {
                        let range = format!(
                            "The duration may be from {} to {}.",
                            format_duration(shortest),
                            format_duration(longest)
                        );
                        reply::bad_parameter("Invalid duration parameter.", range)
                    })?;
            }
            "_" => {}
            name => {
                return Err(reply::unknown_parameter(name, "kind, seconds, duration, format"));
            }
        }
    }
    Ok(flame)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_in_their_range_and_names_are_known() {
        let stats = StatsQuery { limit: 50, table: false, full_names: false };
        for same in ["", "stacks=lines&names=short", "stacks=&names=&_=1732"] {
            assert_eq!(parse_stats(same).unwrap(), stats, "{same}");
        }
        let asked = StatsQuery { limit: 7, table: true, full_names: true };
        assert_eq!(parse_stats("limit=7&stacks=table&names=full").unwrap(), asked);
        for bad in [
            "limit=0",
            "limit=1001",
            "limit=x",
            "limit=",
            "limits=3",
            "raw=true",
            "stacks=tables",
            "names=long",
        ] {
            assert!(parse_stats(bad).is_err(), "{bad}");
        }
        assert!(!parse_goroutines("").unwrap().raw);
        assert!(parse_goroutines("raw=true").unwrap().raw);
        assert!(!parse_goroutines("raw=false").unwrap().raw);
        let asked = GoroutinesQuery { raw: true, tasks: Some(Detail::AwaitTree) };
        assert_eq!(parse_goroutines("tasks=await-tree&raw=1").unwrap(), asked);
        assert_eq!(parse_goroutines("tasks=").unwrap(), GoroutinesQuery::default());
        for bad in ["raw=yes", "tasks=true", "task=await-tree"] {
            assert!(parse_goroutines(bad).is_err(), "{bad}");
        }
        let longest = Duration::from_secs(60);
        let flame = |kind, millis, form| {
            Ok(FlameQuery { kind, window: Duration::from_millis(millis), form })
        };
        let read = |query: &str| {
            parse_flame(query, longest).map_err(|refusal| refusal.message().to_owned())
        };
        assert_eq!(read("kind=heap&_=17"), flame(Kind::Heap, 5000, FlameForm::Json));
        assert_eq!(read("seconds=1500ms"), flame(Kind::Cpu, 1500, FlameForm::Json));
        for (format, form) in
            [("svg", FlameForm::Svg), ("html", FlameForm::Html), ("folded", FlameForm::Folded)]
        {
            assert_eq!(read(&format!("format={format}")), flame(Kind::Cpu, 5000, form));
        }
        for bad in [
            "format=png",
            "kind=trace",
            "kind=x",
            "seconds=61",
            "seconds=0",
            "seconds=-1",
            "second=1",
        ] {
            assert!(parse_flame(bad, longest).is_err(), "{bad}");
        }
    }
}
