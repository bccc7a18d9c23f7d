//! The parameters of the live endpoints. Unknown ones are refused, as those of `/profile` are.

use std::time::Duration;

use profile_core::Kind;
use profile_core::task::{Detail, UnknownDetail};
use profile_format::{format_duration, parse_duration};

use super::super::reply::{self, HttpRefusal};

/// Number of sites in `/stats` where nothing else is asked for.
const DEFAULT_SITES: usize = 50;
const MOST_SITES: usize = 1000;

/// The kind that `/flame` draws, and the time that it records.
#[derive(Debug, PartialEq)]
pub(super) struct FlameQuery {
    pub(super) kind: Kind,
    pub(super) window: Duration,
}

/// Reads how many sites `/stats` lists: `limit`.
pub(super) fn parse_stats(query: &str) -> Result<usize, HttpRefusal> {
    let mut limit = DEFAULT_SITES;
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*name {
            "limit" => {
                let number = value.parse().ok().filter(|limit| (1..=MOST_SITES).contains(limit));
                limit = number.ok_or_else(|| {
                    let range = format!("limit is a number from 1 to {MOST_SITES}.");
                    reply::bad_parameter("Invalid limit parameter.", range)
                })?;
            }
            name => return Err(reply::unknown_parameter(name, "limit")),
        }
    }
    Ok(limit)
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
            (name, _) => return Err(reply::unknown_parameter(name, "raw, tasks")),
        }
    }
    Ok(goroutines)
}

/// Reads the parameters of `/flame`: `kind`, and for kinds that record `seconds`.
pub(super) fn parse_flame(query: &str, longest: Duration) -> Result<FlameQuery, HttpRefusal> {
    let mut flame = FlameQuery { kind: Kind::Cpu, window: Duration::from_secs(5).min(longest) };
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*name {
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
            name => return Err(reply::unknown_parameter(name, "kind, seconds, duration")),
        }
    }
    Ok(flame)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_in_their_range_and_names_are_known() {
        assert_eq!(parse_stats("").unwrap(), 50);
        assert_eq!(parse_stats("limit=7").unwrap(), 7);
        for bad in ["limit=0", "limit=1001", "limit=x", "limit=", "limits=3", "raw=true"] {
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
        let heap = FlameQuery { kind: Kind::Heap, window: Duration::from_secs(5) };
        assert_eq!(parse_flame("kind=heap", longest).unwrap(), heap);
        let cpu = FlameQuery { kind: Kind::Cpu, window: Duration::from_millis(1500) };
        assert_eq!(parse_flame("seconds=1500ms", longest).unwrap(), cpu);
        for bad in ["kind=trace", "kind=x", "seconds=61", "seconds=0", "seconds=-1", "second=1"] {
            assert!(parse_flame(bad, longest).is_err(), "{bad}");
        }
    }
}
