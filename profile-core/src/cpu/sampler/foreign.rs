//! Another handler in the place of ours: a second profiler in the process, or a program's own.

use crate::cpu::raw::sigprof;
use crate::cpu::sampler::raw::signals;

/// What is known of a handler that has taken the place of ours.
#[derive(Default)]
pub(super) struct ForeignHandler {
    /// Its address, while it is there.
    address: Option<usize>,
    /// True where ours has run since the last look: then this one passes signals on.
    passes_on: bool,
    /// CPU time that the program had used when ours had last run, in nanoseconds.
    since: i64,
    is_alone: bool,
}

impl ForeignHandler {
    /// Looks who handles the signal. The program has used this much CPU time, in nanoseconds, and
    /// where `enough` of it goes by without a sample, the other one passes nothing on.
    pub(super) fn look(&mut self, used: i64, enough: i64) {
        let address = sigprof::read_handler().filter(|&handler| handler != signals::our_handler());
        if address != self.address || std::mem::take(&mut self.passes_on) {
            *self = ForeignHandler { address, since: used, ..ForeignHandler::default() };
        }
        self.is_alone |= address.is_some() && used - self.since > enough;
    }

    /// Takes note that ours has run.
    pub(super) fn note_sample(&mut self) {
        self.passes_on = true;
    }

    /// Returns whether it passes nothing on, so that there are no timers.
    pub(super) fn is_alone(&self) -> bool {
        self.is_alone
    }

    pub(super) fn address(&self) -> Option<usize> {
        self.address
    }
}
