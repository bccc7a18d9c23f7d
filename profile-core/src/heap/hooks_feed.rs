//! The feed by jemalloc's hooks: when they are put in, and what they say.

use std::sync::OnceLock;

use profile_format::BoxError;

use crate::heap::Feeder;
use crate::heap::feed::HeapFeed;
use crate::heap::raw::hooks;
use crate::heap::raw::jemalloc::{self, JemallocFlag};

/// jemalloc's sampling hooks.
pub(crate) const FEED: HeapFeed =
    HeapFeed { feeder: Feeder::Jemalloc, install, is_installed, rate, rate_when_on, sampling };

/// Tells whether they are in, once that was tried.
static INSTALLED: OnceLock<bool> = OnceLock::new();

/// Puts the hooks in where jemalloc is the global allocator and could sample.
fn install() -> bool {
    *INSTALLED.get_or_init(|| {
        let can_sample =
            jemalloc::is_global_allocator() && jemalloc::flag(JemallocFlag::OptProf) == Some(true);
        can_sample && jemalloc::sample_rate().is_some_and(hooks::install)
    })
}

fn is_installed() -> bool {
    INSTALLED.get().is_some_and(|installed| *installed)
}

/// Returns the bytes between two samples; 0 while sampling is off.
fn rate() -> u64 {
    let is_active = jemalloc::flag(JemallocFlag::ProfActive) == Some(true);
    if is_active { rate_when_on() } else { 0 }
}

/// Returns the bytes between two samples while sampling is on.
fn rate_when_on() -> u64 {
    jemalloc::sample_rate().unwrap_or(0)
}

/// Switches jemalloc's sampling on, if it is off, until the value is dropped.
fn sampling() -> Result<Box<dyn Send>, BoxError> {
    Ok(Box::new(jemalloc::JemallocSampling::on()?))
}
