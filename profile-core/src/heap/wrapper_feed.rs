//! The feed by the wrapper around the global allocator.

use std::sync::{Mutex, PoisonError};

use crate::heap::feed::HeapFeed;
use crate::heap::raw::sampled;
use crate::heap::{Feeder, countdown};
use crate::stacks::raw::capture;

/// The wrapper, which samples from the first allocation on.
pub(crate) const FEED: HeapFeed = HeapFeed {
    feeder: Feeder::Sampled,
    install,
    is_installed: sampled::is_used,
    rate: countdown::rate,
    rate_when_on,
    sampling: || Ok(Box::new(WrapperSampling::on())),
};

fn install() -> bool {
    let is_used = sampled::is_used();
    if is_used {
        capture::refresh();
    }
    is_used
}

fn rate_when_on() -> u64 {
    match countdown::rate() {
        0 => countdown::DEFAULT_RATE,
        rate => rate,
    }
}

/// The wrapper samples while one of these lives. The last to go restores what the first found.
struct WrapperSampling;

/// The number of users, and whether they have switched sampling on.
static USERS: Mutex<(usize, bool)> = Mutex::new((0, false));

impl WrapperSampling {
    fn on() -> WrapperSampling {
        let mut users = USERS.lock().unwrap_or_else(PoisonError::into_inner);
        if users.0 == 0 {
            users.1 = countdown::rate() == 0;
            if users.1 {
                countdown::set_rate(countdown::DEFAULT_RATE);
            }
        }
        users.0 += 1;
        WrapperSampling
    }
}

impl Drop for WrapperSampling {
    fn drop(&mut self) {
        let mut users = USERS.lock().unwrap_or_else(PoisonError::into_inner);
        users.0 -= 1;
        // Somebody else may have set another rate meanwhile, who wants it kept.
        if users.0 == 0 && users.1 && countdown::rate() == countdown::DEFAULT_RATE {
            countdown::set_rate(0);
        }
    }
}
