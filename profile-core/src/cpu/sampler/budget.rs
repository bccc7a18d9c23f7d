//! How many timers may be taken, so that the program's own `timer_create` and `sigqueue` go on working.

use crate::cpu::sampler::raw::signals::SignalStatus;

/// Timers that there is room for.
///
/// Each counts against `RLIMIT_SIGPENDING`, with every signal that is queued: a limit of the user's, over all
/// of their processes and containers (getrlimit(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimerBudget {
    most: u64,
    /// The limit, and the part of it that others have.
    limit: u64,
    others: u64,
}

impl TimerBudget {
    /// Room for as many as one likes.
    pub(crate) const UNLIMITED: TimerBudget =
        TimerBudget { most: u64::MAX, limit: u64::MAX, others: 0 };

    /// Makes a budget of half of what would be free without the timers that are held already.
    pub(crate) fn new(status: &SignalStatus, held: usize) -> TimerBudget {
        let others = status.queued.saturating_sub(held as u64);
        let most = status.limit.saturating_sub(others) / 2;
        TimerBudget { most, limit: status.limit, others }
    }

    /// Returns whether someone who holds `held` timers may take one more.
    pub(crate) fn has_room(&self, held: usize) -> bool {
        (held as u64) < self.most
    }

    /// Describes the limit, for people.
    pub(crate) fn reason(&self) -> String {
        let TimerBudget { most, limit, others } = self;
        format!(
            "RLIMIT_SIGPENDING is {limit}, of which others use {others}: {most} timers are half of the rest"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_is_left_to_others() {
        let budget = |queued, limit, held| {
            TimerBudget::new(&SignalStatus { queued, limit, blocks: false }, held)
        };
        for (queued, limit, held, most) in [
            (0, 100, 0, 50),
            (50, 100, 50, 50),
            (50, 100, 0, 25),
            (100, 100, 50, 25),
            (130, 100, 0, 0),
            (0, 0, 0, 0),
            (3, u64::MAX, 0, u64::MAX / 2 - 1),
        ] {
            assert_eq!(budget(queued, limit, held).most, most, "{queued} of {limit}, {held} ours");
        }
        assert!(budget(0, 100, 0).has_room(49) && !budget(0, 100, 0).has_room(50));
        assert!(TimerBudget::UNLIMITED.has_room(1 << 40));
    }
}
