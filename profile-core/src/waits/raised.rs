//! The rates of open windows.

use crate::waits::rates::{WantedRates, change};
use crate::waits::recorded::WaitProfile;

/// The rates of an open window. Dropping it puts back in force what was before.
#[derive(Debug)]
pub(crate) struct RaisedRate {
    of: WaitProfile,
    nanos: u64,
}
impl RaisedRate {
    /// Asks for at least one event for each `nanos` nanoseconds, which are not 0.
    pub(crate) fn new(of: WaitProfile, nanos: u64) -> RaisedRate {
        change(|wanted| wanted.windows(of).push(nanos));
        RaisedRate { of, nanos }
    }
}

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

impl WantedRates {
    fn windows(&mut self, of: WaitProfile) -> &mut Vec<u64> {
        match of {
            WaitProfile::Block => &mut self.block_windows,
            WaitProfile::Mutex => &mut self.mutex_windows,
        }
    }
}
