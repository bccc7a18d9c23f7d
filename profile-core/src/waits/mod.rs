//! Who waits, and who makes others wait: the rates of the profiles `block` and `mutex`.
//!
//! A session records waits as long as its window is open, and needs none of this. A program that
//! wants them recorded all the time, for profiles since its start, sets rates of its own, as Go's
//! programs do; a session raises them for its window and restores them.
//!
//! What is recorded needs the feature `intercept`, on Linux. Without it rates are kept, and have no
//! effect.
//!
//! ```
//! use profile_core::waits;
//!
//! // One event for each millisecond that threads are blocked; one of ten contended unlocks.
//! let before = waits::set_block_profile_rate(1_000_000);
//! waits::set_mutex_profile_fraction(10);
//! // …
//! assert_eq!(waits::set_block_profile_rate(before), 1_000_000);
//! # waits::set_mutex_profile_fraction(0);
//! ```

mod current_rates;
#[cfg(intercepted)]
mod raised;
mod rates;
#[cfg(intercepted)]
#[allow(unsafe_code)]
pub(crate) mod raw;

#[cfg(intercepted)]
pub(crate) mod births;
#[cfg(intercepted)]
pub(crate) mod block;
#[cfg(all(feature = "sampler", stacks))]
pub(crate) mod block_sampled;
#[cfg(all(any(feature = "sampler", intercepted), stacks))]
pub(crate) mod encode;
#[cfg(intercepted)]
pub(crate) mod in_progress;
#[cfg(intercepted)]
pub(crate) mod mutex;
#[cfg(all(any(feature = "sampler", intercepted), stacks))]
pub(crate) mod own_frames;
#[cfg(intercepted)]
pub(crate) mod record;
#[cfg(all(any(feature = "sampler", intercepted), stacks))]
#[cfg_attr(not(intercepted), allow(dead_code))]
pub(crate) mod recorded;
#[cfg(all(feature = "sampler", stacks))]
pub(crate) mod sampled;
#[cfg(intercepted)]
mod table;
#[cfg(intercepted)]
mod waiters;
#[cfg(intercepted)]
pub(crate) mod yields;

#[cfg(intercepted)]
pub(crate) use crate::waits::current_rates::{BLOCK_RATE, MUTEX_FRACTION};
#[cfg(intercepted)]
pub(crate) use crate::waits::raised::RaisedRate;
#[cfg(intercepted)]
pub(crate) use crate::waits::recorded::SITE;
#[cfg(intercepted)]
pub(crate) use crate::waits::table::{DEPTH, WaitEntry, WaitTable};

/// Records one event of `block` for each `nanos` nanoseconds that a thread is blocked, on average;
/// all of them at 1, none at 0, which is how a program starts. Returns the previous rate.
///
/// Does as Go's `runtime.SetBlockProfileRate`: waits that are longer are all recorded, shorter ones
/// as likely as they are long, and with the weight of those left out.
pub fn set_block_profile_rate(nanos: u64) -> u64 {
    rates::change(|wanted| std::mem::replace(&mut wanted.block, nanos))
}

/// Records one of `events` wakes that end others' waiting, on average, for `mutex`; all of them at
/// 1, none at 0, which is how a program starts. Returns the previous fraction.
///
/// Does as Go's `runtime.SetMutexProfileFraction`.
pub fn set_mutex_profile_fraction(events: u64) -> u64 {
    rates::change(|wanted| std::mem::replace(&mut wanted.mutex, events))
}
