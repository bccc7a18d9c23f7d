//! Queries as Go reads them: forgiving in what it ignores, and in this order.

use std::time::Duration;

use profile_core::task::Detail;
use profile_core::{CpuRate, Kind};

use super::super::reply::{self, HttpRefusal};

/// Go's window of `/profile` where none is asked for.
const PROFILE: Duration = Duration::from_secs(30);
const TRACE: Duration = Duration::from_secs(1);

/// A thing to be taken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum ProfileJob {
    /// The CPU profile of a window, at the rate that is asked for.
    Profile { window: Duration, hz: Option<CpuRate> },
    /// The trace of a window.
    Trace(Duration),
    /// The state of a kind now; for a dump, by what means tasks tell what they wait in.
    Now { kind: Kind, gc: bool, tasks: Option<Detail> },
    /// The same as text, in Go's form of this number.
    Text { kind: Kind, debug: i64, tasks: Option<Detail> },
    /// The growth of a kind in a window.
    Delta { kind: Kind, window: Duration },
}

impl ProfileJob {
    pub(super) fn kind(&self) -> Kind {
        match *self {
            ProfileJob::Profile { .. } => Kind::Cpu,
            ProfileJob::Trace(_) => Kind::Trace,
            ProfileJob::Now { kind, .. }
            | ProfileJob::Text { kind, .. }
            | ProfileJob::Delta { kind, .. } => kind,
        }
    }

    /// Returns the name of the file in the answer; `None` for a text.
    pub(super) fn file_name(&self) -> Option<String> {
        match self {
            ProfileJob::Profile { .. } | ProfileJob::Trace(_) | ProfileJob::Now { .. } => {
                Some(self.kind().facts().endpoint.to_owned())
            }
            ProfileJob::Delta { kind, .. } => Some(format!("{kind}-delta")),
            ProfileJob::Text { .. } => None,
        }
    }
}

/// A query's values. The first of a name counts, and an empty one is as none.
pub(super) struct ProfileForm<'a>(&'a str);

impl<'a> ProfileForm<'a> {
    pub(super) fn new(query: &'a str) -> ProfileForm<'a> {
        ProfileForm(query)
    }

    fn value(&self, name: &str) -> Option<String> {
        let mut pairs = form_urlencoded::parse(self.0.as_bytes());
        let (_, value) = pairs.find(|(key, _)| key == name)?;
        Some(value.into_owned()).filter(|value| !value.is_empty())
    }

    /// Reads a number as Go's `Atoi` gives it where the error is ignored: 0 for what is none, and
    /// the nearest for what is too large.
    fn number(&self, name: &str) -> i64 {
        use std::num::IntErrorKind::{NegOverflow, PosOverflow};
        let value = self.value(name).unwrap_or_default();
        value.parse::<i64>().unwrap_or_else(|error| match error.kind() {
            PosOverflow => i64::MAX,
            NegOverflow => i64::MIN,
            _ => 0,
        })
    }
}

/// Reads the query of `/profile`: whole seconds, and 30 for anything else. Go has no rate in the
/// query, so that nothing that is ignored there is refused here but a bad one.
pub(super) fn parse_profile(
    form: &ProfileForm<'_>,
    max: Duration,
) -> Result<ProfileJob, HttpRefusal> {
    let seconds = form.value("seconds").and_then(|value| value.parse::<i64>().ok());
    let window = match seconds {
        Some(seconds @ 1..) => {
            bounded_window(seconds as f64, max).ok_or_else(|| reply::seconds_too_many(max))?
        }
        _ => PROFILE.min(max),
    };
    let hz = form.value("hz").map(|value| value.parse()).transpose();
    Ok(ProfileJob::Profile { window, hz: hz.map_err(|error| reply::bad_hz(&error))? })
}

/// Reads the query of `/trace`: seconds and parts of them, and 1 for anything else.
pub(super) fn parse_trace(
    form: &ProfileForm<'_>,
    max: Duration,
) -> Result<ProfileJob, HttpRefusal> {
    let seconds = form.value("seconds").and_then(|value| value.parse::<f64>().ok());
    let window = match seconds {
        Some(seconds) if seconds > 0.0 => {
            bounded_window(seconds, max).ok_or_else(|| reply::seconds_too_long(max))?
        }
        _ => TRACE.min(max),
    };
    Ok(ProfileJob::Trace(window))
}

/// Reads the query of the other endpoints: as they are now, as text, or what is new after some
/// seconds.
pub(super) fn parse_snapshot(
    kind: Kind,
    form: &ProfileForm<'_>,
    max: Duration,
) -> Result<ProfileJob, HttpRefusal> {
    let debug = form.number("debug");
    let tasks = match (kind, form.value("tasks")) {
        (Kind::Goroutine, Some(name)) => {
            Some(name.parse().map_err(|error| reply::bad_tasks(&error))?)
        }
        _ => None,
    };
    if let Some(seconds) = form.value("seconds") {
        let seconds = match seconds.parse::<i64>() {
            Ok(seconds @ 1..) => seconds,
            _ => return Err(reply::bad_seconds()),
        };
        if debug != 0 {
            return Err(reply::seconds_with_debug());
        }
        if tasks.is_some() {
            return Err(reply::seconds_with_tasks());
        }
        let window =
            bounded_window(seconds as f64, max).ok_or_else(|| reply::seconds_too_many(max))?;
        return Ok(ProfileJob::Delta { kind, window });
    }
    if debug != 0 {
        return Ok(ProfileJob::Text { kind, debug, tasks });
    }
    Ok(ProfileJob::Now { kind, gc: kind == Kind::Heap && form.number("gc") > 0, tasks })
}

/// Bounds a window. Go takes any number of seconds; here a window ends.
fn bounded_window(seconds: f64, max: Duration) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds).ok().filter(|window| *window <= max)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: Duration = Duration::from_secs(60);

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    #[test]
    fn what_go_ignores_is_ignored() {
        for (query, window) in [
            ("", 30),
            ("seconds=", 30),
            ("seconds=0", 30),
            ("seconds=-5", 30),
            ("seconds=1.5", 30),
            ("seconds=5s", 30),
            ("seconds=99999999999999999999", 30),
            ("seconds=5", 5),
            ("seconds=%2B5&seconds=7", 5),
            ("x&seconds=60", 60),
        ] {
            let job = parse_profile(&ProfileForm::new(query), MAX).unwrap();
            let window = Duration::from_secs(window);
            assert_eq!(job, ProfileJob::Profile { window, hz: None }, "{query}");
        }
        for (query, window) in
            [("", 1.0), ("seconds=0", 1.0), ("seconds=NaN", 1.0), ("seconds=0.25", 0.25)]
        {
            assert_eq!(
                parse_trace(&ProfileForm::new(query), MAX).unwrap(),
                ProfileJob::Trace(seconds(window))
            );
        }
        let short = Duration::from_millis(500);
        let job = ProfileJob::Profile { window: short, hz: None };
        assert_eq!(parse_profile(&ProfileForm::new(""), short).unwrap(), job);
    }

    #[test]
    fn a_rate_is_in_its_range() {
        let hz = |query| match parse_profile(&ProfileForm::new(query), MAX) {
            Ok(ProfileJob::Profile { hz, .. }) => Ok(hz.map(CpuRate::hz)),
            Ok(other) => panic!("{other:?}"),
            Err(refusal) => Err(refusal.message().to_owned()),
        };
        assert_eq!(hz("seconds=1&hz=999"), Ok(Some(999)));
        assert_eq!(hz("hz="), Ok(None));
        for query in ["hz=0", "hz=1001", "hz=-1", "hz=fast"] {
            let why = "invalid value for \"hz\" - must be a whole number from 1 to 1000";
            assert_eq!(hz(query), Err(why.to_owned()), "{query}");
        }
    }

    #[test]
    fn windows_end() {
        for query in ["seconds=61", "seconds=9223372036854775807"] {
            assert!(parse_profile(&ProfileForm::new(query), MAX).is_err(), "{query}");
            assert!(parse_snapshot(Kind::Heap, &ProfileForm::new(query), MAX).is_err(), "{query}");
        }
        for query in ["seconds=60.5", "seconds=inf", "seconds=1e300"] {
            let refusal = parse_trace(&ProfileForm::new(query), MAX).unwrap_err();
            // Parts of a second are taken.
            assert!(refusal.message().ends_with("must be greater than 0, and at most 60"));
        }
    }

    #[test]
    fn snapshots() {
        let (kind, tasks) = (Kind::Heap, None);
        for (query, job) in [
            ("", ProfileJob::Now { kind, gc: false, tasks }),
            ("gc=1", ProfileJob::Now { kind, gc: true, tasks }),
            ("gc=yes&debug=no", ProfileJob::Now { kind, gc: false, tasks }),
            ("debug=1&gc=1", ProfileJob::Text { kind, debug: 1, tasks }),
            ("debug=2", ProfileJob::Text { kind, debug: 2, tasks }),
            ("debug=99999999999999999999", ProfileJob::Text { kind, debug: i64::MAX, tasks }),
            ("seconds=2&gc=1", ProfileJob::Delta { kind, window: seconds(2.0) }),
            ("seconds=2&debug=0", ProfileJob::Delta { kind, window: seconds(2.0) }),
        ] {
            assert_eq!(
                parse_snapshot(kind, &ProfileForm::new(query), MAX).unwrap(),
                job,
                "{query}"
            );
        }
        let gc = parse_snapshot(Kind::Allocs, &ProfileForm::new("gc=1"), MAX).unwrap();
        assert_eq!(gc, ProfileJob::Now { kind: Kind::Allocs, gc: false, tasks });
        let dump = |query| parse_snapshot(Kind::Goroutine, &ProfileForm::new(query), MAX);
        let (kind, tasks) = (Kind::Goroutine, Some(Detail::AwaitTree));
        assert_eq!(dump("tasks=await-tree").unwrap(), ProfileJob::Now { kind, gc: false, tasks });
        assert_eq!(
            dump("tasks=await-tree&debug=2").unwrap(),
            ProfileJob::Text { kind, debug: 2, tasks }
        );
        assert_eq!(dump("tasks=").unwrap(), ProfileJob::Now { kind, gc: false, tasks: None });
        assert!(dump("tasks=await-tree&seconds=1").is_err());
        assert!(dump("tasks=all").is_err());
        assert!(
            parse_snapshot(Kind::Heap, &ProfileForm::new("tasks=all"), MAX).is_ok(),
            "Go ignores it"
        );
    }
}
