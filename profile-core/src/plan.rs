//! A request for profiles, parsed and checked once.

use std::time::Duration;

use profile_format::{DurationError, Kind, Unavailable, format_duration, parse_duration};

use crate::available::Available;
use crate::rate::{CpuRate, InvalidRate};
use crate::task::{Detail, UnknownDetail};

/// The window of a request that names none.
pub const DEFAULT_WINDOW: Duration = Duration::from_secs(10);
/// The shortest window: below it a 100 Hz sampler sees nothing.
pub const MIN_WINDOW: Duration = Duration::from_millis(10);

/// The words of `profiles` that are read: each kind several times.
const MOST_WORDS: usize = 64;

/// A plan of what to collect and for how long: kinds without repetition, in the order they were
/// asked for, all of them available, and a window within the limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    kinds: Vec<Kind>,
    names_kinds: bool,
    window: Duration,
    tasks: Option<Detail>,
    hz: Option<CpuRate>,
    left_out: Vec<Unavailable>,
}

/// A request that is not checked yet. Made by [`Plan::request`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "a request is no plan before it is checked"]
pub struct PlanRequest {
    kinds: Vec<Kind>,
    window: Option<Duration>,
    tasks: Option<Detail>,
    hz: Option<CpuRate>,
}

impl PlanRequest {
    /// Asks for these kinds, which all have to be available. None stand for [`Kind::DEFAULT`] less what the
    /// process can't give.
    pub fn kinds(self, kinds: impl IntoIterator<Item = Kind>) -> PlanRequest {
        let mut named: Vec<Kind> = Vec::new();
        for kind in kinds {
            if !named.contains(&kind) {
                named.push(kind);
            }
        }
        PlanRequest { kinds: named, ..self }
    }

    /// Asks for a window of this length, for the kinds that are timed.
    pub fn window(self, window: Duration) -> PlanRequest {
        PlanRequest { window: Some(window), ..self }
    }

    /// Asks for a dump that tells what tasks wait in, by these means.
    pub fn tasks(self, detail: Detail) -> PlanRequest {
        PlanRequest { tasks: Some(detail), ..self }
    }

    /// Asks for a CPU profile of this rate.
    pub fn hz(self, rate: CpuRate) -> PlanRequest {
        PlanRequest { hz: Some(rate), ..self }
    }

    /// Checks the request against what the process offers.
    ///
    /// # Errors
    ///
    /// A window that is out of range, which is never clamped in silence; a kind that was named but can't be
    /// given; and what is asked of a kind that is not.
    pub fn check(self, available: &Available) -> Result<Plan, PlanError> {
        let PlanRequest { kinds, window, tasks, hz } = self;
        let max = available.max_window();
        let window = window.map(|window| check_window(window, max)).transpose()?;
        let names_kinds = !kinds.is_empty();
        let mut plan =
            Plan { kinds, names_kinds, window: Duration::ZERO, tasks, hz, left_out: Vec::new() };
        for &kind in &plan.kinds {
            available.check(kind).map_err(|why| PlanError::Unavailable(why.clone()))?;
        }
        if plan.kinds.is_empty() {
            for kind in Kind::DEFAULT {
                match available.check(kind) {
                    Ok(()) => plan.kinds.push(kind),
                    Err(unavailable) => plan.left_out.push(unavailable.clone()),
                }
            }
        }
        plan.window = match window {
            Some(window) => window,
            None if plan.kinds.iter().any(|kind| kind.is_windowed()) => DEFAULT_WINDOW.min(max),
            // What there is now needs no time.
            None => Duration::ZERO,
        };
        if let Some(detail) = tasks {
            if !plan.kinds.contains(&Kind::Goroutine) {
                return Err(PlanError::TasksWithoutDump);
            }
            available
                .check_tasks(detail)
                .map_err(|why| PlanError::TasksUnavailable { detail, why: why.clone() })?;
        }
        if let Some(rate) = hz {
            if !plan.kinds.contains(&Kind::Cpu) {
                return Err(PlanError::RateWithoutCpu);
            }
            available
                .check_rate()
                .map_err(|why| PlanError::RateUnavailable { rate, why: why.clone() })?;
        }
        Ok(plan)
    }
}

/// The reason why a request is not a plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// `duration` is not a duration.
    #[error("invalid duration")]
    InvalidDuration {
        /// The reason why it is none.
        source: DurationError,
        /// The longest window this process gives.
        max: Duration,
    },
    /// The window is zero or negative.
    #[error("the duration must be positive, from {} to {}", format_duration(MIN_WINDOW), format_duration(*max))]
    NotPositive {
        /// The longest window this process gives.
        max: Duration,
    },
    /// The window is shorter than [`MIN_WINDOW`].
    #[error("the duration must be from {} to {}", format_duration(MIN_WINDOW), format_duration(*max))]
    TooShort {
        /// The longest window this process gives.
        max: Duration,
    },
    /// The window is longer than this process gives.
    #[error("the duration cannot exceed {}", format_duration(*max))]
    TooLong {
        /// The longest window this process gives.
        max: Duration,
    },
    /// A word in `profiles` names no kind.
    #[error("unknown profile type {0:?}")]
    UnknownKind(String),
    /// `profiles` has more words than are read.
    #[error("too many profile types: {count}, where at most {most} are read")]
    TooManyKinds {
        /// Number of words, repetitions included.
        count: usize,
        /// Number of words that are read.
        most: usize,
    },
    /// `tasks` is no word for how tasks tell what they wait in.
    #[error("invalid tasks parameter")]
    InvalidTasks(#[source] UnknownDetail),
    /// `tasks` is for a dump, and none is asked for.
    #[error("tasks is for the profile type \"goroutine\", which is not among those asked for")]
    TasksWithoutDump,
    /// This process has no tasks that could tell what they wait in by these means.
    #[error("tasks={} is not available: {}", .detail.name(), .why.reason)]
    TasksUnavailable {
        /// The means that were asked for.
        detail: Detail,
        /// The reason why there are none, and what to switch on.
        why: Unavailable,
    },
    /// `hz` is no rate of a CPU profile.
    #[error("invalid hz parameter")]
    InvalidRate(#[source] InvalidRate),
    /// `hz` is for a CPU profile, and none is asked for.
    #[error("hz is for the profile type \"cpu\", which is not among those asked for")]
    RateWithoutCpu,
    /// The CPU profiles of this process have one rate only.
    #[error("hz={rate} is not available: {}", .why.reason)]
    RateUnavailable {
        /// The rate that was asked for.
        rate: CpuRate,
        /// The reason why it can't be had, and what to do about it.
        why: Unavailable,
    },
    /// A parameter that is none of `duration`, `seconds`, `profiles`, `tasks` and `hz`.
    #[error("unknown parameter {0:?}")]
    UnknownParameter(String),
    /// A parameter that stands twice, or `duration` beside `seconds`.
    #[error("parameter {0:?} is given more than once")]
    RepeatedParameter(String),
    /// A kind was asked for by name that this process can't give.
    #[error(transparent)]
    Unavailable(Unavailable),
}

impl Plan {
    /// Reads a query string such as `duration=10s&profiles=cpu,heap`, against what the process
    /// offers.
    ///
    /// `duration` (or `seconds`) takes Go's syntax or bare seconds. Absent or empty it stands for
    /// [`DEFAULT_WINDOW`], or for no time at all where every kind is what there is at one moment. `profiles` is a list separated by commas; spaces, letter case, empty words and
    /// repetitions don't matter. Absent or empty it stands for [`Kind::DEFAULT`] less what the
    /// process can't give, which is then listed in [`Plan::left_out`]. `tasks` names a [`Detail`] for the dump,
    /// and `hz` a [`CpuRate`] for the CPU profile. `_`, which keeps caches out, is left aside.
    ///
    /// # Errors
    ///
    /// A request that can't be understood or is out of range, and a kind that was named but can't
    /// be given. Windows are never clamped in silence.
    pub fn parse(query: &str, available: &Available) -> Result<Plan, PlanError> {
        let (mut duration, mut profiles, mut tasks, mut hz) = (None, None, None, None);
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            let slot = match key.as_ref() {
                "duration" | "seconds" => &mut duration,
                "profiles" => &mut profiles,
                "tasks" => &mut tasks,
                "hz" => &mut hz,
                "_" => continue,
                _ => return Err(PlanError::UnknownParameter(excerpt(&key))),
            };
            if slot.replace(value).is_some() {
                return Err(PlanError::RepeatedParameter(key.into_owned()));
            }
        }
        let max = available.max_window();
        let mut request = Plan::request();
        if let Some(text) = duration.as_deref().filter(|text| !text.is_empty()) {
            request = request.window(parse_window(text, max)?);
        }
        request = request.kinds(parse_kinds(profiles.as_deref().unwrap_or_default())?);
        if let Some(name) = tasks.as_deref().filter(|name| !name.is_empty()) {
            request = request.tasks(name.parse().map_err(PlanError::InvalidTasks)?);
        }
        if let Some(rate) = hz.as_deref().filter(|rate| !rate.is_empty()) {
            request = request.hz(rate.parse().map_err(PlanError::InvalidRate)?);
        }
        request.check(available)
    }

    /// Begins a request in code: of the default kinds, for [`DEFAULT_WINDOW`] where a kind needs time, unless
    /// its methods say otherwise.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use profile_core::{Collectors, Kind, Plan};
    ///
    /// # fn main() -> Result<(), profile_core::PlanError> {
    /// let available = Collectors::new().available();
    /// let plan = Plan::request()
    ///     .kinds([Kind::Trace])
    ///     .window(Duration::from_millis(20))
    ///     .check(&available)?;
    /// assert_eq!(plan.kinds(), [Kind::Trace]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn request() -> PlanRequest {
        PlanRequest::default()
    }

    /// Returns the kinds, without repetition, in the order they were asked for.
    pub fn kinds(&self) -> &[Kind] {
        &self.kinds
    }

    /// Returns whether the kinds were named, and are not the default ones.
    pub fn names_kinds(&self) -> bool {
        self.names_kinds
    }

    /// Returns the time for which the timed kinds record; zero where there is none and no time was named.
    pub fn window(&self) -> Duration {
        self.window
    }

    /// Returns the means by which the dump is to tell what tasks wait in, if it is asked to.
    pub fn tasks(&self) -> Option<Detail> {
        self.tasks
    }

    /// Returns the rate of the CPU profile, if one is asked for.
    pub fn hz(&self) -> Option<CpuRate> {
        self.hz
    }

    /// Returns the default kinds that this process can't give. Empty where kinds were named.
    pub fn left_out(&self) -> &[Unavailable] {
        &self.left_out
    }
}

fn parse_window(text: &str, max: Duration) -> Result<Duration, PlanError> {
    let window = match parse_duration(text) {
        Ok(window) => window,
        Err(DurationError::Negative(_)) => return Err(PlanError::NotPositive { max }),
        Err(DurationError::Overflow(_)) => return Err(PlanError::TooLong { max }),
        Err(source) => return Err(PlanError::InvalidDuration { source, max }),
    };
    check_window(window, max)
}

fn check_window(window: Duration, max: Duration) -> Result<Duration, PlanError> {
    if window.is_zero() {
        Err(PlanError::NotPositive { max })
    } else if window < MIN_WINDOW {
        Err(PlanError::TooShort { max })
    } else if window > max {
        Err(PlanError::TooLong { max })
    } else {
        Ok(window)
    }
}

fn parse_kinds(list: &str) -> Result<Vec<Kind>, PlanError> {
    let words = || list.split(',').map(str::trim).filter(|word| !word.is_empty());
    let count = words().count();
    if count > MOST_WORDS {
        return Err(PlanError::TooManyKinds { count, most: MOST_WORDS });
    }
    let mut kinds = Vec::new();
    for word in words() {
        let kind = word.parse().map_err(|_| PlanError::UnknownKind(excerpt(word)))?;
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    Ok(kinds)
}

/// Cuts a word from outside, so that it can't swell an error message.
fn excerpt(word: &str) -> String {
    word.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::available::DEFAULT_MAX_WINDOW;

    fn all() -> Available {
        Available::new(Kind::ALL.map(|kind| (kind, Ok(()))))
    }

    #[track_caller]
    fn check(query: &str, kinds: &[Kind], millis: u64) {
        let plan = Plan::parse(query, &all()).unwrap();
        assert_eq!(plan.kinds(), kinds, "{query}");
        assert_eq!(plan.window(), Duration::from_millis(millis), "{query}");
    }

    #[track_caller]
    fn refused(query: &str) -> PlanError {
        Plan::parse(query, &all()).expect_err(query)
    }

    #[test]
    fn reads_requests() {
        check("", &Kind::DEFAULT, 10_000);
        check("duration=&profiles=", &Kind::DEFAULT, 10_000);
        check("duration=1m", &Kind::DEFAULT, 60_000);
        check("seconds=5", &Kind::DEFAULT, 5_000);
        check("duration=10ms&profiles=heap", &[Kind::Heap], 10);
        check("profiles=cpu,cpu,heap,heap", &[Kind::Cpu, Kind::Heap], 10_000);
        check("profiles=+Mutex%2C%20block,", &[Kind::Mutex, Kind::Block], 10_000);
        check("profiles=,", &Kind::DEFAULT, 10_000);
        check("duration=1s&_=1732000000&_=2", &Kind::DEFAULT, 1000);
    }

    #[test]
    fn what_there_is_now_needs_no_time() {
        for kind in [Kind::Heap, Kind::Allocs, Kind::Goroutine, Kind::Threadcreate] {
            check(&format!("profiles={kind}"), &[kind], 0);
        }
        check("profiles=heap,goroutine", &[Kind::Heap, Kind::Goroutine], 0);
        check("profiles=heap&duration=1s", &[Kind::Heap], 1000);
        for kind in [Kind::Cpu, Kind::Block, Kind::Mutex, Kind::Trace] {
            check(&format!("profiles=heap,{kind}"), &[Kind::Heap, kind], 10_000);
        }
    }

    #[test]
    fn refuses_with_the_range() {
        let max = DEFAULT_MAX_WINDOW;
        assert_eq!(refused("duration=0"), PlanError::NotPositive { max });
        assert_eq!(refused("duration=-5s"), PlanError::NotPositive { max });
        assert_eq!(refused("duration=1ns"), PlanError::TooShort { max });
        assert_eq!(refused("duration=5m"), PlanError::TooLong { max });
        assert_eq!(refused("duration=60.000000001"), PlanError::TooLong { max });
        assert_eq!(refused("duration=999999999h"), PlanError::TooLong { max });
        assert!(refused("duration=5m").to_string().contains("1m0s"));
        assert!(refused("duration=1ns").to_string().contains("10ms to 1m0s"));
        for text in ["notaduration", "abc", "1e3", "5d"] {
            let error = refused(&format!("duration={text}"));
            assert!(
                matches!(error, PlanError::InvalidDuration { max: DEFAULT_MAX_WINDOW, .. }),
                "{text}"
            );
        }
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        assert_eq!(refused("profiles=nonexistent"), PlanError::UnknownKind("nonexistent".into()));
        assert_eq!(refused("profile=cpu"), PlanError::UnknownParameter("profile".into()));
        assert_eq!(
            refused("duration=1s&duration=2s"),
            PlanError::RepeatedParameter("duration".into())
        );
        assert_eq!(
            refused("duration=1s&seconds=2"),
            PlanError::RepeatedParameter("seconds".into())
        );
        assert_eq!(refused("tasks=stacks"), PlanError::InvalidTasks(UnknownDetail));
        assert_eq!(refused("tasks=await-tree&profiles=heap"), PlanError::TasksWithoutDump);
        assert!(matches!(
            refused("tasks=await-tree"),
            PlanError::TasksUnavailable { detail: Detail::AwaitTree, .. }
        ));
        assert_eq!(Plan::parse("tasks=", &all()).unwrap().tasks(), None);
        for rate in ["0", "1001", "fast"] {
            assert_eq!(refused(&format!("hz={rate}")), PlanError::InvalidRate(InvalidRate));
        }
        assert_eq!(refused("hz=99&profiles=heap"), PlanError::RateWithoutCpu);
        assert_eq!(refused("hz=99&hz=100"), PlanError::RepeatedParameter("hz".into()));
        let many = |count| format!("profiles={}", vec!["goroutine"; count].join(","));
        check(&many(64), &[Kind::Goroutine], 0);
        assert_eq!(refused(&many(65)), PlanError::TooManyKinds { count: 65, most: 64 });
        assert!(refused(&many(3000)).to_string().contains("at most 64"));
    }

    #[test]
    fn a_rate_is_for_the_cpu_profile() {
        let hz = |query| Plan::parse(query, &all()).unwrap().hz().map(CpuRate::hz);
        assert_eq!(hz("hz=999"), Some(999));
        assert_eq!(hz("hz=1&profiles=cpu"), Some(1));
        assert_eq!(hz("hz=&profiles=heap"), None);
    }

    #[test]
    fn a_default_kind_may_be_missing_but_a_named_one_may_not() {
        let missing = Unavailable::new(Kind::Block, "nothing records it", "switch it on");
        let available =
            Available::new(Kind::ALL.map(|kind| {
                (kind, if kind == Kind::Block { Err(missing.clone()) } else { Ok(()) })
            }));
        let plan = Plan::parse("", &available).unwrap();
        assert!(!plan.kinds().contains(&Kind::Block));
        assert_eq!(plan.left_out(), std::slice::from_ref(&missing));
        assert_eq!(
            Plan::parse("profiles=heap,block", &available),
            Err(PlanError::Unavailable(missing))
        );
    }

    #[test]
    fn the_process_sets_the_longest_window() {
        let available = all().with_max_window(Duration::from_secs(5));
        assert_eq!(Plan::parse("", &available).unwrap().window(), Duration::from_secs(5));
        assert!(Plan::parse("duration=6s", &available).is_err());
    }

    proptest! {
        #[test]
        fn never_panics(query in "\\PC*") {
            let _ = Plan::parse(&query, &all());
        }

        #[test]
        fn a_plan_keeps_its_promises(query in "(duration|profiles)=[a-z0-9,%]*(&(profiles|seconds)=[cpuheapmutex,]*)?") {
            if let Ok(plan) = Plan::parse(&query, &all()) {
                let range = MIN_WINDOW..=DEFAULT_MAX_WINDOW;
                let is_now = !plan.kinds().iter().any(|kind| kind.is_windowed());
                prop_assert!(range.contains(&plan.window()) || is_now && plan.window().is_zero());
                prop_assert!(!plan.kinds().is_empty() && plan.kinds().len() <= Kind::ALL.len());
            }
        }
    }
}
