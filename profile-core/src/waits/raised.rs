//! The rates of open windows.

use crate::waits::rates::{Wanted, change};
use crate::waits::recorded::Of;

/// The rates of an open window. Dropping it puts back in force what was before.
#[derive(Debug)]
pub(crate) struct Raised {
    of: Of,
    nanos: u64,
}
impl Raised {
    /// At least one event for each `nanos` nanoseconds, which are not 0.
    pub(crate) fn new(of: Of, nanos: u64) -> Raised {
        change(|wanted| wanted.windows(of).push(nanos));
        Raised { of, nanos }
    }
}

impl Drop for Raised {
    fn drop(&mut self) {
        change(|wanted| {
            let windows = wanted.windows(self.of);
            if let Some(ours) = windows.iter().position(|&nanos| nanos == self.nanos) {
                windows.swap_remove(ours);
            }
        });
    }
}

impl Wanted {
    fn windows(&mut self, of: Of) -> &mut Vec<u64> {
        match of {
            Of::Block => &mut self.block_windows,
            Of::Mutex => &mut self.mutex_windows,
        }
    }
}
