//! The rates in force: what the program has set, and what open windows raise them to.

use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};

use crate::sys::own_work::OwnWork;
use crate::waits::current_rates::{BLOCK_RATE, MUTEX_FRACTION, MUTEX_RATE, SINCE};
#[cfg(intercepted)]
use crate::waits::in_progress;

static WANTED: Mutex<WantedRates> = Mutex::new(WantedRates {
    block: 0,
    mutex: 0,
    block_windows: Vec::new(),
    mutex_windows: Vec::new(),
});

/// The rates that are wanted, and by whom.
pub(crate) struct WantedRates {
    /// The program's rate of `block`.
    pub(super) block: u64,
    /// The program's fraction of `mutex`.
    pub(super) mutex: u64,
    /// The rate of each open window.
    pub(super) block_windows: Vec<u64>,
    pub(super) mutex_windows: Vec<u64>,
}

/// Changes what is wanted, and puts the result in force.
pub(super) fn change<T>(change: impl FnOnce(&mut WantedRates) -> T) -> T {
    let _own = OwnWork::begin();
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
    let since = if is_on { switch_on_if_off(SINCE.load(Ordering::Relaxed)) } else { 0 };
    SINCE.store(since, Ordering::SeqCst);
    changed
}

/// Functions that make ready for recording, in a build that can. They return the time since when
/// it is on.
static SWITCHES: &[fn() -> u64] = &[
    #[cfg(intercepted)]
    in_progress::switch_on,
];

/// Makes ready for recording, if it was off until now. Returns the time
/// since when it is on, or 0 where it can't be.
fn switch_on_if_off(since: u64) -> u64 {
    if since != 0 { since } else { SWITCHES.first().map_or(0, |switch_on| switch_on()) }
}
