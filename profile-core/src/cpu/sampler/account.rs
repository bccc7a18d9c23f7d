//! The program's CPU time against what samples account for.

use crate::cpu::sampler::raw::timer::CpuClock;

/// The CPU time that the process has used, against the time that samples stand for. All in
/// nanoseconds.
///
/// A thread that ends takes its timer with it, and with the timer up to a tick of its time. Over
/// threads that live for milliseconds that adds up; it is charged to samples of threads as young.
/// What can't be sampled at all is charged to nobody, and told.
pub(crate) struct CpuTimeAccount {
    /// The program's CPU time when counting began.
    from: i64,
    /// Time that samples stood for, those that found no room included.
    sampled: i64,
    /// Time that was added to samples of young threads.
    added: i64,
    /// Time that no sample stood for when it was last computed.
    missing: i64,
    /// Part of `missing` that no sample is going to stand for.
    given_up: i64,
    /// Part of `given_up` that threads used which block the signal.
    blocked: i64,
    /// Time that is still to be added to samples of young threads.
    owed: i64,
    /// Time used and time missing when threads were last judged to be missed or not.
    judged: (i64, i64),
}

/// The state of an account when a window was opened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AccountMark {
    used: i64,
    missing: i64,
    blocked: i64,
}

/// CPU time of a window, and what of it no sample stands for, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WindowBalance {
    pub(crate) used: i64,
    pub(crate) missing: i64,
    /// Time that threads used which block the signal, as far as they were known.
    pub(crate) blocked: i64,
}

impl CpuTimeAccount {
    pub(crate) fn new() -> CpuTimeAccount {
        CpuTimeAccount {
            from: CpuTimeAccount::program(),
            sampled: 0,
            added: 0,
            missing: 0,
            given_up: 0,
            blocked: 0,
            owed: 0,
            judged: (0, 0),
        }
    }

    /// Reads the CPU time that the program has used so far, without this thread.
    fn program() -> i64 {
        let used = |clock: CpuClock| clock.now().unwrap_or_default().cast_signed();
        used(CpuClock::Process) - used(CpuClock::OwnThread)
    }

    /// Reads the CPU time that the program has used since counting began.
    pub(crate) fn used(&self) -> i64 {
        CpuTimeAccount::program() - self.from
    }

    /// Computes what is missing, where running timers still account for `pending`.
    pub(crate) fn update_missing(&mut self, pending: i64) {
        let used = self.used();
        self.missing = used - self.sampled - self.added - pending;
        self.owed = (self.missing - self.given_up).max(0);
    }

    /// Adds the time that samples stand for; or that they stood for, where a clock begins anew and
    /// forgets it.
    pub(crate) fn add_sampled(&mut self, nanos: i64) {
        self.sampled += nanos;
    }

    /// Adds the time that threads have used which block the signal: no sample is going to stand for
    /// it.
    pub(crate) fn add_blocked(&mut self, nanos: i64) {
        self.blocked += nanos;
        self.given_up += nanos;
    }

    /// Gives up all that is missing now: no sample is going to stand for it.
    pub(crate) fn give_up_missing(&mut self) {
        self.given_up = self.given_up.max(self.missing);
        self.owed = 0;
    }

    /// Takes, from the time that is owed, what a young thread's sample is worth beyond its own
    /// time: not so much that one stack gets all.
    pub(crate) fn take_owed(&mut self, weight: i64) -> i64 {
        let extra = self.owed.min(4 * weight);
        self.owed -= extra;
        self.added += extra;
        extra
    }

    /// Judges whether more than a fiftieth of the time was missed since this was last judged;
    /// `None` where too little has been used to tell.
    pub(crate) fn judge_misses(&mut self, enough: i64) -> Option<bool> {
        let (used, missing) = (self.used(), self.added + self.owed);
        let (used_before, missing_before) = self.judged;
        if used - used_before < enough {
            return None;
        }
        self.judged = (used, missing);
        Some(50 * (missing - missing_before) > used - used_before)
    }

    /// Returns the present state, with what was missing when that was last computed.
    pub(crate) fn mark(&self) -> AccountMark {
        let used = self.used();
        AccountMark { used, missing: self.missing, blocked: self.blocked }
    }

    /// Returns the time used and missed since a state.
    pub(crate) fn balance_since(&self, mark: AccountMark) -> WindowBalance {
        let now = self.mark();
        let used = (now.used - mark.used).max(0);
        let missing = (now.missing - mark.missing).clamp(0, used);
        WindowBalance { used, missing, blocked: now.blocked - mark.blocked }
    }
}
