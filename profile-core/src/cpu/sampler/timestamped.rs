//! Samples one by one, each with its time: the newest of them, as many as there is room for.

use std::collections::VecDeque;

/// Addresses that are kept, and as many words of times and threads: 16 MiB at most.
const MOST: usize = 1 << 20;

/// The samples of a window, oldest first.
#[derive(Debug, Default)]
pub(crate) struct TimestampedSamples {
    samples: VecDeque<TimestampedSample>,
    addresses: usize,
    names: Vec<String>,
    /// Older samples that there was no room for.
    pub(crate) lost: u64,
}

/// A thread was at work at this moment.
#[derive(Debug)]
pub(crate) struct TimestampedSample {
    pub(crate) at: u64,
    pub(crate) thread: u32,
    /// The thread's name, as an index.
    name: u64,
    /// The interrupted instruction first, then an address inside each caller's call.
    pub(crate) addresses: Box<[u64]>,
}

impl TimestampedSamples {
    /// Adds a sample; `key` has the thread name's index in front of the addresses.
    pub(crate) fn add(&mut self, at: u64, thread: u32, key: &[u64]) {
        let Some((&name, addresses)) = key.split_first() else { return };
        self.addresses += addresses.len().max(1);
        while self.addresses > MOST
            && let Some(oldest) = self.samples.pop_front()
        {
            self.addresses -= oldest.addresses.len().max(1);
            self.lost += 1;
        }
        self.samples.push_back(TimestampedSample { at, thread, name, addresses: addresses.into() });
    }

    pub(crate) fn close(&mut self, names: &[String]) {
        self.names = names.to_vec();
    }

    /// Returns the name of a sample's thread.
    pub(crate) fn name(&self, sample: &TimestampedSample) -> &str {
        self.names.get(sample.name as usize).map_or("", String::as_str)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &TimestampedSample> {
        self.samples.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_lost_and_counted() {
        let mut samples = TimestampedSamples::default();
        let fit = (MOST / 64) as u64;
        (0..fit + 10).for_each(|at| samples.add(at, 1, &[at; 65]));
        assert_eq!(samples.lost, 10);
        let kept: Vec<u64> = samples.iter().map(|sample| sample.at).collect();
        assert_eq!(kept, (10..fit + 10).collect::<Vec<_>>());
        assert!(samples.iter().all(|sample| sample.addresses[..] == [sample.at; 64]));
    }
}
