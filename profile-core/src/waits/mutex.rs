//! `mutex`: how long others waited for a lock, at the stack that released it.
//!
//! What is measured: whenever a lock is released and somebody is woken, the time that those who are
//! asleep on it have waited since it was last released, at the stack of the thread that releases
//! it: std's `Mutex`, `RwLock` and `ReentrantLock`, and those of `parking_lot`. Condition
//! variables, channels and parked threads have no holder, and are told from locks by the waiter's
//! functions. It is seen as for `block`, sampled by the time that others waited, and costs as much.
//!
//! Where it is blind: as `block`; the time from a wake-up to the woken thread's running, which is
//! the scheduler's; and of `parking_lot`, whose sleepers don't say for which lock they sleep, the
//! time of the one that is woken is charged as a whole to who wakes it, and not shared among all
//! who held the lock meanwhile. Nobody is charged for a lock that is never released: that is in
//! `block`.

use std::sync::atomic::Ordering;

use profile_format::{Kind, Unavailable};

use crate::collector::{Collector, File, Pending, Window};
use crate::error::Error;
use crate::stacks::locate::Symbols;
use crate::stacks::raw::capture;
use crate::waits::block::check_intercepted;
use crate::waits::encode::{WaitProfileStyle, build_profile};
use crate::waits::in_progress::WaitSums;
use crate::waits::recorded::WaitProfile;
use crate::waits::{MUTEX_FRACTION, RaisedRate};

/// Profiles of waiting, at the stack that others waited for.
#[derive(Clone, Copy, Debug)]
pub struct MutexProfile {
    nanos: u64,
    symbols: Symbols,
}

/// Nanoseconds of others' waiting for each event within a window; see `block`.
const RATE: u64 = 1_000_000;

impl MutexProfile {
    /// Makes a collector of one event for each millisecond that others wait within a window.
    pub fn new() -> MutexProfile {
        MutexProfile { nanos: RATE, symbols: Symbols::Resolved }
    }

    /// Returns the same with one event for each `nanos` nanoseconds; every one at 1.
    #[must_use]
    pub fn rate(self, nanos: u64) -> MutexProfile {
        MutexProfile { nanos: nanos.max(1), ..self }
    }

    fn style(self, is_window: bool) -> WaitProfileStyle {
        WaitProfileStyle { of: WaitProfile::Mutex, symbols: self.symbols, idle: false, is_window }
    }
}

impl Default for MutexProfile {
    fn default() -> MutexProfile {
        MutexProfile::new()
    }
}

impl Collector for MutexProfile {
    fn kind(&self) -> Kind {
        Kind::Mutex
    }

    fn check(&self) -> Result<(), Unavailable> {
        check_intercepted(Kind::Mutex)
    }

    fn rate(&self) -> Option<u64> {
        Some(self.nanos)
    }

    /// Encodes everything recorded since the program started, with the fraction that it has set.
    fn snapshot(&self) -> Result<Vec<File>, Error> {
        self.check()?;
        let recorded = WaitSums::take(WaitProfile::Mutex)
            .recorded_since(WaitProfile::Mutex, &WaitSums::default());
        let note = match MUTEX_FRACTION.load(Ordering::Relaxed) {
            0 => "engine: profilez, interposed futex calls; no fraction is set".to_owned(),
            fraction => {
                format!("engine: profilez, interposed futex calls, one of {fraction} events")
            }
        };
        let bytes = build_profile(&recorded, self.style(false), &[note]);
        Ok(vec![File { name: Kind::Mutex.file_name(), bytes: bytes.into() }])
    }

    fn start(&self) -> Result<Box<dyn Window>, Error> {
        self.check()?;
        capture::refresh();
        let before = WaitSums::take(WaitProfile::Mutex);
        let raised = RaisedRate::new(WaitProfile::Mutex, self.nanos);
        Ok(Box::new(MutexWindow { profile: *self, before, raised }))
    }
}

struct MutexWindow {
    profile: MutexProfile,
    before: WaitSums,
    raised: RaisedRate,
}

impl Window for MutexWindow {
    fn close(self: Box<Self>) -> Pending {
        let MutexWindow { profile, before, raised } = *self;
        let recorded =
            WaitSums::take(WaitProfile::Mutex).recorded_since(WaitProfile::Mutex, &before);
        drop(raised);
        Box::new(move || {
            let note = format!(
                "engine: profilez, interposed futex calls, one event for each {} ns",
                profile.nanos
            );
            let bytes = build_profile(&recorded, profile.style(true), &[note]);
            Ok(vec![File { name: Kind::Mutex.file_name(), bytes: bytes.into() }])
        })
    }
}
