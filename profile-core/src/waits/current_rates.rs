//! The rates that are in force.

use std::sync::atomic::AtomicU64;

/// Nanoseconds of waiting for one event of `block`; 0 records none.
pub(crate) static BLOCK_RATE: AtomicU64 = AtomicU64::new(0);
/// Number of events of `mutex` of which one is recorded; 0 records none.
pub(crate) static MUTEX_FRACTION: AtomicU64 = AtomicU64::new(0);
/// Nanoseconds of others' waiting for one event of `mutex`; 0 records none.
pub(crate) static MUTEX_RATE: AtomicU64 = AtomicU64::new(0);
/// Time at which the first of them was set, on the clock of waits; 0 while none is.
pub(crate) static SINCE: AtomicU64 = AtomicU64::new(0);
