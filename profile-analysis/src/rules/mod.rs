//! Ordered rules that say what goroutines and threads are for: the first that matches decides.
//!
//! A file of rules is TOML. User rules come before the shipped ones.
//!
//! ```toml
//! [[rule]]
//! id = "checkout"                        # what a verdict names
//! category = "per-request"               # or "background", "unknown"
//! match = { any_frame = ["shop/checkout.*", "/^main\\.handle[A-Z]/"] }
//! unless = { state = "sleep" }           # optional
//! stuck_after = "5m"                     # optional; whole minutes
//! severity = "high"                      # optional; shown with what looks stuck
//! ```
//!
//! `match` and `unless` hold where each of their conditions does: `any_frame`, `top_user_frame` (the
//! first one past the standard library), `created_by`, `state`, and `label`, a table of keys and
//! patterns. A condition is one pattern or a list of which one has to match. Patterns are globs of
//! the whole name, or regular expressions between slashes.

mod file;
mod pattern;

use std::sync::OnceLock;

use serde::Serialize;

use pattern::NamePattern;
pub(crate) use pattern::{PatternBits, regex_error_reason};

/// Purposes of a goroutine, thread or task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Category {
    /// Serves the process, and waits most of its time.
    Background,
    /// Works for somebody who waits for an answer.
    PerRequest,
    /// Matches no rule, or one that says so, which is no statement about health.
    #[default]
    Unknown,
}

impl Category {
    /// Returns the category's name, as rules write it.
    pub fn name(self) -> &'static str {
        match self {
            Category::Background => "background",
            Category::PerRequest => "per-request",
            Category::Unknown => "unknown",
        }
    }
}

/// Reasons why rules are refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RuleError {
    /// The file is no TOML, or not of rules; holds the place and the reason.
    #[error("{0}")]
    File(String),
    /// A rule holds a pattern that makes no sense.
    #[error("rule {rule:?}: pattern {pattern:?}: {reason}")]
    Pattern {
        /// The rule's id.
        rule: String,
        /// The pattern.
        pattern: String,
        /// The fault, in words.
        reason: String,
    },
    /// A rule's `stuck_after` is no time in whole minutes.
    #[error(
        "rule {rule:?}: stuck_after is {value:?} and has to be whole minutes, such as \"5m\" or \"2h\""
    )]
    StuckAfter {
        /// The rule's id.
        rule: String,
        /// The value.
        value: String,
    },
    /// A rule without a condition would match everything.
    #[error("rule {rule:?} has no condition")]
    NoCondition {
        /// The rule's id.
        rule: String,
    },
    /// Two rules have the same id, so that a verdict could not say which of them it comes from.
    #[error("rule {rule:?} is there twice")]
    Twice {
        /// The id.
        rule: String,
    },
    /// The file has more than [`MAX_RULES`] rules.
    #[error("more than the limit of {MAX_RULES} rules")]
    TooMany,
    /// The file is larger than [`MAX_FILE`].
    #[error("the rules are longer than the limit of {MAX_FILE} bytes")]
    TooLong,
}

/// The most rules of a file.
pub const MAX_RULES: usize = 10_000;
/// The longest file of rules in bytes.
pub const MAX_FILE: usize = 4 << 20;

/// Ordered rules.
#[derive(Clone, Debug, Default)]
pub struct RuleSet {
    rules: Vec<StackRule>,
    /// The patterns for functions of all rules; conditions name them by their number.
    functions: Vec<NamePattern>,
}

#[derive(Clone, Debug)]
struct StackRule {
    id: String,
    category: Category,
    all: RuleConditions,
    unless: Option<RuleConditions>,
    stuck_after: Option<u64>,
    severity: Option<String>,
}

/// Conditions of a rule; each that isn't empty has to hold.
#[derive(Clone, Debug, Default)]
struct RuleConditions {
    any_frame: Vec<usize>,
    top_user_frame: Vec<usize>,
    created_by: Vec<usize>,
    state: Vec<NamePattern>,
    label: Vec<(String, Vec<NamePattern>)>,
}

/// The facts of a group that rules look at.
pub(crate) struct RuleSubject<'a> {
    /// Patterns that match any frame; the next two are of the first user frame, and of the creator.
    pub(crate) any_frame: &'a PatternBits,
    pub(crate) top_user_frame: &'a PatternBits,
    pub(crate) created_by: &'a PatternBits,
    pub(crate) state: &'a str,
    pub(crate) labels: &'a [(String, String, u64)],
}

/// The judgement of the rules on a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdict<'a> {
    /// The category.
    pub category: Category,
    /// Id of the rule that decided.
    pub rule: Option<&'a str>,
    /// Number of minutes of waiting from which on a member counts as stuck, where the rule says
    /// one.
    pub stuck_after: Option<u64>,
    /// Severity, where the rule says one.
    pub severity: Option<&'a str>,
}

/// Checks what must hold of any bytes, for fuzzing and for tests that run its corpus: they are
/// refused, or are rules that give a verdict.
#[doc(hidden)]
pub fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(rules) = RuleSet::parse(text) {
        let bits = rules.match_functions("main.(*server).handle");
        rules.verdict(&RuleSubject {
            any_frame: &bits,
            top_user_frame: &bits,
            created_by: &bits,
            state: "select",
            labels: &[],
        });
    }
}

impl RuleSet {
    /// Returns the shipped rules: for Go's runtime, net/http, database/sql and gRPC, and for Rust's
    /// tokio, hyper, rayon and std.
    pub fn shipped() -> &'static RuleSet {
        static SHIPPED: OnceLock<RuleSet> = OnceLock::new();
        SHIPPED.get_or_init(|| {
            let files = [include_str!("requests.toml"), include_str!("background.toml")];
            // A test reads them all.
            let read = |rules: RuleSet, file| rules.then(RuleSet::parse(file).unwrap_or_default());
            files.into_iter().fold(RuleSet::default(), read)
        })
    }

    /// Returns the names that the developer page this project replaces looked for, as rules:
    /// requests before the background, and as names of functions instead of anywhere in the text.
    pub fn original() -> &'static RuleSet {
        static ORIGINAL: OnceLock<RuleSet> = OnceLock::new();
        ORIGINAL.get_or_init(|| RuleSet::parse(include_str!("original.toml")).unwrap_or_default())
    }

    /// Reads a file of rules.
    ///
    /// # Errors
    ///
    /// Where it makes no sense, or is beyond a limit.
    pub fn parse(toml: &str) -> Result<RuleSet, RuleError> {
        file::parse(toml)
    }

    /// Returns these rules, followed by others.
    #[must_use]
    pub fn then(mut self, others: RuleSet) -> RuleSet {
        let before = self.functions.len();
        self.functions.extend(others.functions);
        self.rules.extend(others.rules.into_iter().map(|mut rule| {
            let conditions = std::iter::once(&mut rule.all).chain(&mut rule.unless);
            for RuleConditions { any_frame, top_user_frame, created_by, .. } in conditions {
                let numbers = any_frame.iter_mut().chain(top_user_frame).chain(created_by);
                numbers.for_each(|number| *number += before);
            }
            rule
        }));
        self
    }

    /// Returns the number of rules.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Returns whether there is no rule.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Returns the patterns for functions that match a name.
    pub(crate) fn match_functions(&self, function: &str) -> PatternBits {
        let mut bits = self.no_bits();
        for (number, pattern) in self.functions.iter().enumerate() {
            if pattern.matches(function) {
                bits[number / 64] |= 1 << (number % 64);
            }
        }
        bits
    }

    /// Returns bits where no pattern matches.
    pub(crate) fn no_bits(&self) -> PatternBits {
        vec![0; self.functions.len().div_ceil(64)]
    }

    /// Returns the verdict of the first rule that matches.
    pub(crate) fn verdict(&self, subject: &RuleSubject<'_>) -> Verdict<'_> {
        let applies = |rule: &&StackRule| {
            rule.all.hold(subject) && !rule.unless.as_ref().is_some_and(|u| u.hold(subject))
        };
        self.rules.iter().find(applies).map_or_else(Verdict::default, |rule| Verdict {
            category: rule.category,
            rule: Some(&rule.id),
            stuck_after: rule.stuck_after,
            severity: rule.severity.as_deref(),
        })
    }
}

impl RuleConditions {
    fn hold(&self, subject: &RuleSubject<'_>) -> bool {
        let one = |numbers: &[usize], bits: &PatternBits| {
            numbers.is_empty() || numbers.iter().any(|n| bits[n / 64] & (1 << (n % 64)) != 0)
        };
        let text = |patterns: &[NamePattern], text: &str| patterns.iter().any(|p| p.matches(text));
        one(&self.any_frame, subject.any_frame)
            && one(&self.top_user_frame, subject.top_user_frame)
            && one(&self.created_by, subject.created_by)
            && (self.state.is_empty() || text(&self.state, subject.state))
            && self.label.iter().all(|(wanted, patterns)| {
                let labels = subject.labels.iter();
                labels.filter(|(key, ..)| key == wanted).any(|(_, value, _)| text(patterns, value))
            })
    }

    fn is_empty(&self) -> bool {
        let RuleConditions { any_frame, top_user_frame, created_by, state, label } = self;
        [any_frame, top_user_frame, created_by].iter().all(|numbers| numbers.is_empty())
            && state.is_empty()
            && label.is_empty()
    }
}
