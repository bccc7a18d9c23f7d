//! One bundle at a time: the gate, and the permit that opens it again when dropped.

use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

/// Lets one session in at a time.
///
/// Clones share one state. [`Gate::process`] is the gate that real collectors want, since what they
/// switch on belongs to the whole process.
#[derive(Clone, Debug, Default)]
pub struct Gate {
    holder: Arc<Mutex<Option<GateHolder>>>,
}

/// The session that holds the gate.
#[derive(Clone, Copy, Debug)]
struct GateHolder {
    since: SystemTime,
    window: Duration,
}

/// The right to run a session. Dropping it lets the next one in.
#[derive(Debug)]
#[must_use = "dropping the permit opens the gate again"]
pub struct Permit {
    holder: Arc<Mutex<Option<GateHolder>>>,
}

/// Another session holds the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a profile collection is already in progress")]
pub struct Busy {
    /// Time at which the session that holds the gate began.
    pub since: SystemTime,
    /// Time at which its window ends. What it recorded is handed over after that.
    pub until: SystemTime,
}

impl Busy {
    /// Returns the time to wait before trying again: until the window ends, and at least a second.
    pub fn retry_after(&self) -> Duration {
        let left = self.until.duration_since(SystemTime::now()).unwrap_or_default();
        left.max(Duration::from_secs(1))
    }
}

impl Gate {
    /// Makes a gate of its own, for a test or for collectors that share nothing with others.
    pub fn new() -> Gate {
        Gate::default()
    }

    /// Returns the one gate of this process.
    pub fn process() -> Gate {
        static PROCESS: LazyLock<Gate> = LazyLock::new(Gate::new);
        PROCESS.clone()
    }

    /// Enters for a session of `window`.
    ///
    /// # Errors
    ///
    /// [`Busy`] says since when and until when another session holds the gate.
    pub fn try_enter(&self, window: Duration) -> Result<Permit, Busy> {
        let mut holder = lock(&self.holder);
        if let Some(GateHolder { since, window }) = *holder {
            return Err(Busy { since, until: since + window });
        }
        *holder = Some(GateHolder { since: SystemTime::now(), window });
        Ok(Permit { holder: Arc::clone(&self.holder) })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        *lock(&self.holder) = None;
    }
}

/// Locks the state. It is one value that is always whole, so a poisoned lock holds nothing broken.
fn lock(holder: &Mutex<Option<GateHolder>>) -> MutexGuard<'_, Option<GateHolder>> {
    holder.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lets_one_in_at_a_time() {
        let gate = Gate::new();
        let window = Duration::from_secs(10);
        let permit = gate.try_enter(window).unwrap();
        let busy = gate.clone().try_enter(Duration::from_secs(1)).unwrap_err();
        assert_eq!(busy.until, busy.since + window);
        let wait = busy.retry_after();
        assert!(wait > Duration::from_secs(8) && wait <= window, "{wait:?}");
        drop(permit);
        drop(gate.try_enter(window).unwrap());
    }

    #[test]
    fn a_session_past_its_window_is_worth_another_try_soon() {
        let busy = Busy { since: SystemTime::UNIX_EPOCH, until: SystemTime::UNIX_EPOCH };
        assert_eq!(busy.retry_after(), Duration::from_secs(1));
    }

    #[test]
    fn a_panic_opens_the_gate() {
        let gate = Gate::new();
        let inner = gate.clone();
        let panicked = std::thread::spawn(move || {
            let _permit = inner.try_enter(Duration::ZERO).unwrap();
            panic!("expected by the test");
        });
        assert!(panicked.join().is_err());
        assert!(gate.try_enter(Duration::ZERO).is_ok());
    }
}
