//! What is worth another try, and how long to wait for it.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{Client, Progress};
use crate::{Error, HandshakeError, Result};

/// The time that a whole collection has.
#[derive(Clone, Copy, Debug)]
pub(super) struct RetryBudget {
    end: Instant,
}

impl RetryBudget {
    pub(super) fn new(whole: Duration) -> RetryBudget {
        // A century is as good as for ever, and whoever adds to it stays within what the clock counts.
        const CENTURY: Duration = Duration::from_secs(3_000_000_000);
        RetryBudget { end: Instant::now() + whole.min(CENTURY) }
    }

    pub(super) fn left(&self) -> Duration {
        self.end.saturating_duration_since(Instant::now())
    }
}

/// Set once, from another thread, when a collection is not wanted any more.
#[derive(Debug, Default)]
pub(super) struct CancelFlag {
    cancelled: Mutex<bool>,
    changed: Condvar,
}

impl CancelFlag {
    pub(super) fn set(&self) {
        *self.cancelled.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }

    pub(super) fn is_set(&self) -> bool {
        *self.cancelled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits, but no longer than until it is set.
    pub(super) fn wait(&self, duration: Duration) {
        let guard = self.cancelled.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.changed.wait_timeout_while(guard, duration, |cancelled| !*cancelled));
    }
}

/// Time that a busy service is left alone if it doesn't say.
const WHILE_BUSY: Duration = Duration::from_secs(1);
/// The wait before the first repetition. Each further one is twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

impl Client {
    /// Tries until it succeeds, or fails in a way that time won't mend, or leaves less of the budget
    /// than the `needed` time.
    pub(super) fn retry_within<T>(
        &self,
        budget: RetryBudget,
        needed: Duration,
        progress: &mut dyn FnMut(Progress),
        mut attempt: impl FnMut() -> Result<T>,
    ) -> Result<T> {
        let mut failures = 0;
        loop {
            let error = match attempt() {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            let wait = match busy_wait(&error) {
                Some(wait) => wait,
                None if failures < self.retries && is_transient(&error) => {
                    failures += 1;
                    FIRST_WAIT.saturating_mul(1 << (failures - 1).min(10)).min(LONGEST_WAIT)
                }
                None => return Err(error),
            };
            if self.cancel.is_set() || wait.saturating_add(needed) >= budget.left() {
                return Err(error);
            }
            progress(Progress::Waiting(wait));
            self.cancel.wait(wait);
            if self.cancel.is_set() {
                return Err(error);
            }
        }
    }
}

/// Returns how long to wait where somebody else is served at the moment, which our own answer says,
/// or Go's texts; else `None`.
fn busy_wait(error: &Error) -> Option<Duration> {
    let Error::Refused { status, message, retry_after, .. } = error else { return None };
    let in_use = ["already in use", "already enabled"];
    let is_busy =
        *status == 409 || (*status == 500 && in_use.iter().any(|text| message.contains(text)));
    let wait = || retry_after.unwrap_or(WHILE_BUSY).max(Duration::from_millis(100));
    is_busy.then(wait)
}

/// Returns whether the failure is one of the connection rather than of the service.
fn is_transient(error: &Error) -> bool {
    match error {
        Error::Request { .. } | Error::Handshake { source: HandshakeError::HungUp, .. } => true,
        Error::Refused { status, .. } => matches!(status, 502..=504),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, message: &str, retry_after: Option<u64>) -> Error {
        Error::Refused {
            url: String::new(),
            status,
            message: message.to_owned(),
            retry_after: retry_after.map(Duration::from_secs),
        }
    }

    #[test]
    fn knows_who_is_busy() {
        let check = |error: Error, wait: Option<u64>| {
            assert_eq!(busy_wait(&error), wait.map(Duration::from_secs), "{error}");
        };
        check(refused(409, "a bundle is being collected", Some(7)), Some(7));
        check(refused(409, "", None), Some(1));
        let go = "Could not enable CPU profiling: cpu profiling already in use";
        check(refused(500, go, None), Some(1));
        check(refused(500, "Could not enable tracing: tracing is already enabled", None), Some(1));
        check(refused(500, "boom", None), None);
        check(refused(404, go, None), None);
    }

    #[test]
    fn gives_up_when_the_budget_or_the_patience_ends() {
        let client = Client::builder("localhost:1").unwrap().retries(2).build();
        let mut tries = 0;
        let mut waits = Vec::new();
        let mut attempt = |error: fn() -> Error, budget: u64| {
            (tries, waits) = (0, Vec::new());
            let failed = client.retry_within(
                RetryBudget::new(Duration::from_millis(budget)),
                Duration::ZERO,
                &mut |progress| waits.push(progress),
                || {
                    tries += 1;
                    Err::<(), _>(error())
                },
            );
            assert!(failed.is_err());
            (tries, waits.len())
        };
        assert_eq!(attempt(|| refused(503, "", None), 60_000), (3, 2));
        assert_eq!(attempt(|| refused(400, "", None), 60_000), (1, 0));
        assert_eq!(attempt(|| refused(409, "", Some(100)), 60_000), (1, 0));
        assert_eq!(attempt(|| refused(409, "", None), 1_500), (2, 1));
    }

    #[test]
    fn no_number_is_too_large() {
        let client = Client::builder("localhost:1").unwrap().build();
        for after in [u64::MAX, i64::MAX as u64, u64::MAX / 1_000_000_000, 1 << 40] {
            for whole in [Duration::MAX, Duration::from_secs(60)] {
                for needed in [Duration::MAX, Duration::ZERO] {
                    let busy = || Err::<(), _>(refused(409, "", Some(after)));
                    let budget = RetryBudget::new(whole);
                    let failed = client.retry_within(budget, needed, &mut |_| {}, busy);
                    assert!(matches!(failed, Err(Error::Refused { .. })), "{after} {whole:?}");
                }
            }
        }
    }

    #[test]
    fn a_wait_ends_when_it_is_called_off() {
        let client = Client::builder("localhost:1").unwrap().build();
        let canceller = client.clone();
        let began = Instant::now();
        let failed = client.retry_within(
            RetryBudget::new(Duration::from_secs(3600)),
            Duration::ZERO,
            &mut |_| canceller.cancel(),
            || Err::<(), _>(refused(409, "", Some(600))),
        );
        assert!(failed.is_err());
        assert!(began.elapsed() < Duration::from_secs(300));
    }
}
