//! How long the members of a group have been waiting, as counts of minutes.

use std::collections::BTreeMap;

/// Waits in whole minutes, each with the number of members that have waited that long.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waits {
    counts: BTreeMap<u64, u64>,
    known: u64,
    /// The longest wait, which stays exact when no more distinct waits are kept.
    max: u64,
}

impl Waits {
    /// Counts a wait. Where there is no room for another number of minutes, it counts as the next
    /// lower one that is there, else as the lowest. Returns true if the number of minutes was new.
    pub(crate) fn add(&mut self, minutes: u64, count: u64, room: bool) -> bool {
        self.known = self.known.saturating_add(count);
        self.max = self.max.max(minutes);
        if let Some(known) = self.counts.get_mut(&minutes) {
            *known = known.saturating_add(count);
            return false;
        }
        if !room && let Some((_, lower)) = self.counts.range_mut(..minutes).next_back() {
            *lower = lower.saturating_add(count);
            return false;
        }
        if !room && let Some((_, higher)) = self.counts.iter_mut().next() {
            *higher = higher.saturating_add(count);
            return false;
        }
        self.counts.insert(minutes, count);
        true
    }

    /// Adds the waits of other members.
    pub(crate) fn merge(&mut self, other: &Waits) {
        for (minutes, count) in other.iter() {
            self.add(minutes, count, true);
        }
        self.max = self.max.max(other.max);
    }

    /// Returns the waits in minutes, the shortest first, each with the number of members that have
    /// waited that long.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> {
        self.counts.iter().map(|(&minutes, &count)| (minutes, count))
    }

    /// Returns the number of members whose wait is known. The others may have waited for less than
    /// a minute, or for hours without a garbage collection that would have noticed.
    pub fn known(&self) -> u64 {
        self.known
    }

    /// Returns the number of members that have waited for this many minutes, or longer.
    pub fn at_least(&self, minutes: u64) -> u64 {
        self.counts.range(minutes..).fold(0, |sum, (_, &count)| sum.saturating_add(count))
    }

    /// Returns the shortest known wait.
    pub fn min(&self) -> Option<u64> {
        self.counts.keys().next().copied()
    }

    /// Returns the longest known wait.
    pub fn max(&self) -> Option<u64> {
        (self.known > 0).then_some(self.max)
    }

    /// Returns the median of the known waits; of two in the middle the lower one.
    pub fn median(&self) -> Option<u64> {
        let mut before = 0_u64;
        let middle = self.known.div_ceil(2);
        self.iter().find_map(|(minutes, count)| {
            before = before.saturating_add(count);
            (before >= middle).then_some(minutes)
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn says_what_a_sorted_list_says(mut list in proptest::collection::vec(0_u64..20, 1..40)) {
            let mut waits = Waits::default();
            for &minutes in &list {
                waits.add(minutes, 1, true);
            }
            list.sort_unstable();
            prop_assert_eq!(waits.min(), list.first().copied());
            prop_assert_eq!(waits.max(), list.last().copied());
            prop_assert_eq!(waits.median(), Some(list[(list.len() - 1) / 2]));
            let long = list.iter().filter(|&&minutes| minutes >= 7).count() as u64;
            prop_assert_eq!(waits.at_least(7), long);
        }
    }

    #[test]
    fn without_room_the_longest_is_still_known() {
        let mut waits = Waits::default();
        assert!(waits.add(5, 1, true));
        assert!(!waits.add(3, 1, false));
        assert!(!waits.add(90, 1, false));
        assert_eq!((waits.known(), waits.min(), waits.max()), (3, Some(5), Some(90)));
        assert_eq!(Waits::default().median(), None);
    }
}
