//! CPU time of a window that no sample stands for, and why.

use std::fmt;
use std::time::Duration;

use crate::cpu::sampler::account::WindowBalance;

/// CPU time of a window that no sample stands for, with its cause.
#[derive(Clone, Debug)]
pub(crate) struct MissingTime {
    used: Duration,
    missing: Duration,
    cause: Option<String>,
}

/// Missing time below which nothing is said.
const LEAST: Duration = Duration::from_millis(50);
/// Missing part of the time used, one in so many, below which nothing is said either.
const PART: u32 = 50;
/// Missing time up to which no window fails.
const FAILS: Duration = Duration::from_millis(100);
/// The same limit where the reason is not known: chance has a part in how much of short lives is
/// seen.
const FAILS_UNEXPLAINED: Duration = Duration::from_secs(1);

impl MissingTime {
    /// Compares what is missing with what was used; `None` where next to nothing is missing.
    pub(crate) fn new(
        balance: WindowBalance,
        blocking: Option<String>,
        foreign: Option<usize>,
    ) -> Option<MissingTime> {
        let time = |nanos: i64| Duration::from_nanos(nanos.max(0).cast_unsigned());
        let (used, missing) = (time(balance.used), time(balance.missing));
        if missing < LEAST || missing < used / PART {
            return None;
        }
        let mut causes = Vec::new();
        if let Some(threads) = blocking.filter(|_| balance.blocked > 0) {
            causes.push(format!("{threads} and used {:.1?}", time(balance.blocked)));
        }
        if let Some(handler) = foreign {
            let handler = match handler {
                libc::SIG_DFL => "SIG_DFL".to_owned(),
                libc::SIG_IGN => "SIG_IGN".to_owned(),
                handler => format!("a handler at {handler:#x}"),
            };
            causes.push(format!("something else has taken SIGPROF meanwhile ({handler})"));
        }
        let cause = (!causes.is_empty()).then(|| causes.join("; "));
        Some(MissingTime { used, missing, cause })
    }

    /// Returns whether it is most of the window, so that what is left would mislead.
    pub(crate) fn is_most(&self) -> bool {
        let least = if self.cause.is_some() { FAILS } else { FAILS_UNEXPLAINED };
        self.missing > self.used / 2 && self.missing > least
    }
}

impl fmt::Display for MissingTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cause = self.cause.as_deref().unwrap_or(
            "threads that live for less than a tick of the kernel, or that none finds at work",
        );
        write!(f, "{:.1?} of {:.1?} of CPU time are in no sample: {cause}", self.missing, self.used)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing(
        used: i64,
        missing: i64,
        blocked: i64,
        foreign: Option<usize>,
    ) -> Option<MissingTime> {
        let threads = Some("a thread blocks SIGPROF (worker)".to_owned());
        let balance =
            WindowBalance { used: used * 1_000_000, missing: missing * 1_000_000, blocked };
        MissingTime::new(balance, threads, foreign)
    }

    #[test]
    fn what_is_missing_is_told_with_its_cause() {
        assert!(missing(2000, 49, 0, None).is_none());
        assert!(missing(10_000, 199, 0, None).is_none());
        let some = missing(2000, 800, 790_000_000, None).unwrap();
        assert!(!some.is_most());
        assert_eq!(
            some.to_string(),
            "800.0ms of 2.0s of CPU time are in no sample: a thread blocks SIGPROF (worker) and used 790.0ms"
        );
        assert!(missing(2000, 1100, 1, None).unwrap().is_most());
        assert!(missing(300, 160, 0, Some(libc::SIG_DFL)).unwrap().is_most());
        assert!(!missing(300, 160, 0, None).unwrap().is_most(), "that may be chance");
        assert!(missing(3000, 1600, 0, None).unwrap().is_most());
    }
}
