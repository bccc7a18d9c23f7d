//! The rates in force: what the program has set, and what open windows raise them to.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

#[cfg(intercepted)]
use crate::waits::recorded::WaitProfile;

/// The rate of `block` that is in force: nanoseconds of waiting for one event; 0 is never.
pub(crate) static BLOCK_RATE: AtomicU64 = AtomicU64::new(0);
/// The fraction of `mutex` that is in force: events of which one is recorded; 0 is none.
pub(crate) static MUTEX_FRACTION: AtomicU64 = AtomicU64::new(0);
/// The rate of `mutex` that is in force: nanoseconds of others' waiting for one event; 0 is never.
pub(crate) static MUTEX_RATE: AtomicU64 = AtomicU64::new(0);
/// Time at which the first of them was set, on the clock of waits; 0 while none is.
pub(crate) static SINCE: AtomicU64 = AtomicU64::new(0);

static WANTED: Mutex<WantedRates> = Mutex::new(WantedRates {
    block: 0,
    mutex: 0,
    block_windows: Vec::new(),
    mutex_windows: Vec::new(),
});

/// The rates that are wanted, and by whom.
pub(super) struct WantedRates {
    /// The program's rate of `block`.
    pub(super) block: u64,
    /// The program's fraction of `mutex`.
    pub(super) mutex: u64,
    /// The rate of each open window.
    block_windows: Vec<u64>,
    mutex_windows: Vec<u64>,
}

/// Changes what is wanted, and puts the result in force.
pub(super) fn change<T>(change: impl FnOnce(&mut WantedRates) -> T) -> T {
    let _own = crate::OwnWork::begin();
    let mut wanted = WANTED.lock().unwrap_or_else(PoisonError::into_inner);
    let changed = change(&mut wanted);
    let finest = |program: u64, windows: &[u64]| {
        windows.iter().copied().chain((program != 0).then_some(program)).min().unwrap_or(0)
    };
    let block = finest(wanted.block, &wanted.block_windows);
    let mutex_rate = finest(0, &wanted.mutex_windows);
    let is_on = block != 0 || mutex_rate != 0 || wanted.mutex != 0;
    BLOCK_RATE.store(block, Ordering::Relaxed);
    MUTEX_RATE.store(mutex_rate, Ordering::Relaxed);
    MUTEX_FRACTION.store(wanted.mutex, Ordering::Relaxed);
    let since = if is_on { crate::waits::switched_on(SINCE.load(Ordering::Relaxed)) } else { 0 };
    SINCE.store(since, Ordering::SeqCst);
    changed
}

/// The rates of an open window. Dropping it puts back in force what was before.
#[cfg(intercepted)]
#[derive(Debug)]
pub(crate) struct RaisedRate {
    of: WaitProfile,
    nanos: u64,
}
#[cfg(intercepted)]
impl RaisedRate {
    /// Asks for at least one event for each `nanos` nanoseconds, which are not 0.
    pub(crate) fn new(of: WaitProfile, nanos: u64) -> RaisedRate {
        change(|wanted| wanted.windows(of).push(nanos));
        RaisedRate { of, nanos }
    }
}

#[cfg(intercepted)]
impl Drop for RaisedRate {
    fn drop(&mut self) {
        change(|wanted| {
            let windows = wanted.windows(self.of);
            if let Some(ours) = windows.iter().position(|&nanos| nanos == self.nanos) {
                windows.swap_remove(ours);
            }
        });
    }
}

#[cfg(intercepted)]
impl WantedRates {
    fn windows(&mut self, of: WaitProfile) -> &mut Vec<u64> {
        match of {
            WaitProfile::Block => &mut self.block_windows,
            WaitProfile::Mutex => &mut self.mutex_windows,
        }
    }
}
