//! The kinds of profile, by the names that Go tools already ask for, and every fact about them.
//!
//! The table is the one place that knows what a kind is called, what its profiles hold and what a
//! window is to it; everything else asks [`Kind::facts`].

use std::fmt;
use std::str::FromStr;

use crate::profile::{Builder, TextForm};

/// One kind of profile.
///
/// The names, and what the profiles hold, are those of Go's `runtime/pprof`, so that tools which
/// read Go profiles read ours unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Kind {
    /// On-CPU stacks of every thread over the window.
    Cpu,
    /// Sampled allocations, the live ones by default.
    Heap,
    /// Sampled allocations since the process started.
    Allocs,
    /// Time spent waiting, at the waiter's stack.
    Block,
    /// Time others waited, at the stack that released the lock.
    Mutex,
    /// Every OS thread and every known async task.
    Goroutine,
    /// The stack that created each thread.
    Threadcreate,
    /// A record of what happened when, as Chrome trace events.
    Trace,
}

/// The name of the second file of [`Kind::Goroutine`] in a bundle: the dump as text.
pub const DUMP_FILE_NAME: &str = "goroutine.txt";

/// Facts that are known of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KindFacts {
    /// The kind.
    pub kind: Kind,
    /// Its name in requests, manifests and file names.
    pub name: &'static str,
    /// Description of what its profiles hold, for people.
    pub about: &'static str,
    /// The name of its main file in a bundle.
    pub file_name: &'static str,
    /// The last part of its path below `/debug/pprof/`.
    pub endpoint: &'static str,
    /// The use that it makes of a window.
    pub window: WindowUse,
    /// A request that names no kind asks for it.
    pub is_default: bool,
    /// The shape of its profiles; `None` where its file is no profile.proto.
    pub profile: Option<ProfileShape>,
}

/// The use that a kind makes of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WindowUse {
    /// The kind exists only as a recording of a window.
    Recorded,
    /// The kind counts from the start of the process on, and of a window it tells exactly what that
    /// has added.
    Counted,
    /// The kind is what there is when the window is over.
    Snapshot,
}

/// The shape of a kind's profiles, whichever way they are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProfileShape {
    /// The sample types with their units. The last one is what is shown first, unless
    /// `default_sample_type` names another.
    pub sample_types: &'static [(&'static str, &'static str)],
    /// The sample type to show first; empty for the last one.
    pub default_sample_type: &'static str,
    /// The thing that a period counts, and its unit.
    pub period_type: (&'static str, &'static str),
    /// The period where nobody has set another rate.
    pub period: i64,
    /// The text that Go writes of it with `debug=1`.
    pub text_form: TextForm,
}

impl ProfileShape {
    /// The shape of `cpu`.
    pub const CPU: ProfileShape = ProfileShape {
        sample_types: &[("samples", "count"), ("cpu", "nanoseconds")],
        default_sample_type: "",
        period_type: ("cpu", "nanoseconds"),
        period: 10_000_000,
        text_form: TextForm::Count,
    };

    /// The shape of `heap`, and but for the type that is shown first of `allocs`.
    pub const HEAP: ProfileShape = ProfileShape {
        sample_types: &[
            ("alloc_objects", "count"),
            ("alloc_space", "bytes"),
            ("inuse_objects", "count"),
            ("inuse_space", "bytes"),
        ],
        default_sample_type: "",
        period_type: ("space", "bytes"),
        period: 512 << 10,
        text_form: TextForm::Heap,
    };

    /// The shape of `block`, and but for its text of `mutex`.
    pub const CONTENTION: ProfileShape = ProfileShape {
        sample_types: &[("contentions", "count"), ("delay", "nanoseconds")],
        default_sample_type: "",
        period_type: ("contentions", "count"),
        period: 1,
        text_form: TextForm::Contention,
    };

    /// The shape of `goroutine`.
    pub const GOROUTINE: ProfileShape = ProfileShape::counting(&[("goroutine", "count")]);

    /// The shape of `threadcreate`.
    pub const THREADCREATE: ProfileShape = ProfileShape::counting(&[("threadcreate", "count")]);

    /// Makes the shape of a kind that has a sample for each thing.
    const fn counting(types: &'static [(&'static str, &'static str)]) -> ProfileShape {
        ProfileShape {
            sample_types: types,
            default_sample_type: "",
            period_type: types[0],
            period: 1,
            text_form: TextForm::Count,
        }
    }

    /// Begins a profile of this shape, with the period that is in force.
    pub fn builder(&self, period: i64) -> Builder {
        let mut builder = Builder::new(self.sample_types);
        let (kind, unit) = self.period_type;
        builder.period(kind, unit, period);
        let default_sample_type = builder.str(self.default_sample_type);
        builder.profile_mut().default_sample_type = default_sample_type;
        builder
    }

    /// Tells whether there is a sample type of this name.
    pub fn has_type(&self, name: &str) -> bool {
        self.sample_types.iter().any(|&(known, _)| known == name)
    }

    /// Returns the sample type to show first.
    pub fn shown_type(&self) -> &'static str {
        match self.default_sample_type {
            "" => self.sample_types.last().map_or("", |&(name, _)| name),
            named => named,
        }
    }
}

/// Facts in the order of [`Kind`], which is that of the documentation.
const FACTS: &[KindFacts; 8] = &[
    KindFacts {
        kind: Kind::Cpu,
        name: "cpu",
        about: "On-CPU stacks of every thread over a window of ?seconds=, 30 by default. Read it with \
                go tool pprof.",
        file_name: "cpu.prof",
        endpoint: "profile",
        window: WindowUse::Recorded,
        is_default: true,
        profile: Some(ProfileShape::CPU),
    },
    KindFacts {
        kind: Kind::Heap,
        name: "heap",
        about: "Sampled allocations that are still in use",
        file_name: "heap.prof",
        endpoint: "heap",
        window: WindowUse::Snapshot,
        is_default: true,
        profile: Some(ProfileShape::HEAP),
    },
    KindFacts {
        kind: Kind::Allocs,
        name: "allocs",
        about: "All sampled allocations since the process started",
        file_name: "allocs.prof",
        endpoint: "allocs",
        window: WindowUse::Snapshot,
        is_default: true,
        profile: Some(ProfileShape { default_sample_type: "alloc_space", ..ProfileShape::HEAP }),
    },
    KindFacts {
        kind: Kind::Block,
        name: "block",
        about: "Time spent waiting, at the stack of the one that waited",
        file_name: "block.prof",
        endpoint: "block",
        window: WindowUse::Counted,
        is_default: true,
        profile: Some(ProfileShape::CONTENTION),
    },
    KindFacts {
        kind: Kind::Mutex,
        name: "mutex",
        about: "Time that others waited, at the stack that released the lock",
        file_name: "mutex.prof",
        endpoint: "mutex",
        window: WindowUse::Counted,
        is_default: true,
        profile: Some(ProfileShape { text_form: TextForm::Mutex, ..ProfileShape::CONTENTION }),
    },
    KindFacts {
        kind: Kind::Goroutine,
        name: "goroutine",
        about: "Every thread and every known task with its stack. With debug=2 as text, one by one.",
        file_name: "goroutine.prof",
        endpoint: "goroutine",
        window: WindowUse::Snapshot,
        is_default: true,
        profile: Some(ProfileShape::GOROUTINE),
    },
    KindFacts {
        kind: Kind::Threadcreate,
        name: "threadcreate",
        about: "The stacks that created threads",
        file_name: "threadcreate.prof",
        endpoint: "threadcreate",
        window: WindowUse::Snapshot,
        is_default: false,
        profile: Some(ProfileShape::THREADCREATE),
    },
    KindFacts {
        kind: Kind::Trace,
        name: "trace",
        about: "What happened when, over a window of ?seconds=, 1 by default",
        file_name: "trace.json",
        endpoint: "trace",
        window: WindowUse::Recorded,
        is_default: false,
        profile: None,
    },
];

/// Number of kinds that a request gets that names none.
const DEFAULTS: usize = {
    let (mut defaults, mut at) = (0, 0);
    while at < FACTS.len() {
        defaults += FACTS[at].is_default as usize;
        at += 1;
    }
    defaults
};

impl Kind {
    /// Every kind, in the order of the documentation.
    pub const ALL: [Kind; FACTS.len()] = {
        let (mut kinds, mut at) = ([Kind::Cpu; FACTS.len()], 0);
        while at < FACTS.len() {
            assert!(FACTS[at].kind as usize == at, "a row of the table is out of place");
            kinds[at] = FACTS[at].kind;
            at += 1;
        }
        kinds
    };

    /// The kinds of a request that names none, less what the process can't give.
    pub const DEFAULT: [Kind; DEFAULTS] = {
        let (mut kinds, mut length, mut at) = ([Kind::Cpu; DEFAULTS], 0, 0);
        while at < FACTS.len() {
            if FACTS[at].is_default {
                kinds[length] = FACTS[at].kind;
                length += 1;
            }
            at += 1;
        }
        kinds
    };

    /// Returns what is known of the kind.
    pub const fn facts(self) -> &'static KindFacts {
        &FACTS[self as usize]
    }

    /// Returns the kind's name, as it stands in requests, manifests and file names.
    pub const fn name(self) -> &'static str {
        self.facts().name
    }

    /// Returns the name of the kind's main file in a bundle.
    pub const fn file_name(self) -> &'static str {
        self.facts().file_name
    }

    /// Returns the kind that stands at a name below `/debug/pprof/`.
    pub fn at_endpoint(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.facts().endpoint == name)
    }

    /// Returns whether the kind exists only as a recording of the window, so that a failure to
    /// start it leaves nothing to wait for.
    pub const fn is_timed(self) -> bool {
        matches!(self.facts().window, WindowUse::Recorded)
    }

    /// Tells whether a window gives what happened in it, and not only what there is at its end.
    pub const fn is_windowed(self) -> bool {
        !matches!(self.facts().window, WindowUse::Snapshot)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A word that names no [`Kind`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown profile type {0:?}")]
pub struct UnknownKind(pub String);

impl FromStr for Kind {
    type Err = UnknownKind;

    /// Reads a kind's name, in either case.
    fn from_str(text: &str) -> Result<Kind, UnknownKind> {
        Kind::ALL
            .into_iter()
            .find(|kind| kind.name().eq_ignore_ascii_case(text))
            .ok_or_else(|| UnknownKind(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for kind in Kind::ALL {
            assert_eq!(kind.name().parse(), Ok(kind));
            assert_eq!(kind.name().to_uppercase().parse(), Ok(kind));
        }
        assert_eq!("heaps".parse::<Kind>(), Err(UnknownKind("heaps".into())));
        assert!("".parse::<Kind>().is_err());
    }

    #[test]
    fn no_two_kinds_share_a_name() {
        let of: [fn(&KindFacts) -> &str; 3] =
            [|facts| facts.name, |facts| facts.file_name, |facts| facts.endpoint];
        for of in of {
            let names = Kind::ALL.map(|kind| of(kind.facts()));
            let distinct: std::collections::BTreeSet<&str> = names.into_iter().collect();
            assert_eq!(distinct.len(), names.len(), "{names:?}");
        }
        for kind in Kind::ALL {
            assert_eq!(kind.facts().kind, kind);
            assert_eq!(Kind::at_endpoint(kind.facts().endpoint), Some(kind));
        }
        assert_eq!(Kind::at_endpoint("cpu"), None, "it is called profile there");
    }

    #[test]
    fn a_kind_says_how_its_profiles_begin() {
        let shown = |kind: Kind| kind.facts().profile.map(|shape| shape.shown_type());
        assert_eq!(
            Kind::ALL.map(shown),
            [
                Some("cpu"),
                Some("inuse_space"),
                Some("alloc_space"),
                Some("delay"),
                Some("delay"),
                Some("goroutine"),
                Some("threadcreate"),
                None,
            ]
        );
        for shape in Kind::ALL.into_iter().filter_map(|kind| kind.facts().profile) {
            let profile = shape.builder(shape.period).finish();
            profile.check().unwrap();
            assert_eq!(profile.sample_types.len(), shape.sample_types.len());
            assert_eq!(profile.str(profile.default_sample_type), shape.default_sample_type);
            assert_eq!(profile.period, shape.period);
        }
    }
}
