//! What a subscriber gets: stacks, and how often each was seen in the subscriber's own rate.

use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime};

use super::moments::Moments;
use super::ring::Head;

/// The stacks of a window.
#[derive(Debug)]
pub(crate) struct Stacks {
    pub(crate) hz: u32,
    /// Samples, by thread name and addresses: the name's index first.
    counts: HashMap<Box<[u64]>, i64>,
    names: Vec<String>,
    /// Each sample by itself, for a subscriber that wants them so; there are no counts then.
    moments: Option<Moments>,
    /// CPU time of each thread that did not make a whole sample yet.
    left_over: HashMap<u32, u64>,
    seed: u64,
    /// Samples whose stack was cut or lost its way.
    pub(crate) truncated: i64,
    /// CPU time that was seen and could not be recorded.
    pub(crate) dropped: Duration,
    pub(crate) start: SystemTime,
    opened: Instant,
    /// How long the window was open; set when it closes.
    pub(crate) duration: Duration,
    /// What is worth saying of the engine while it ran.
    pub(crate) notes: Vec<String>,
}

/// One stack of a window.
pub(crate) struct StacksOf<'a> {
    pub(crate) thread: &'a str,
    /// The interrupted instruction first, then an address inside each caller's call.
    pub(crate) addresses: &'a [u64],
    pub(crate) count: i64,
}

impl Stacks {
    pub(super) fn new(hz: u32) -> Stacks {
        let start = SystemTime::now();
        let seed = start.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
        Stacks {
            hz,
            counts: HashMap::new(),
            names: Vec::new(),
            moments: None,
            left_over: HashMap::new(),
            seed: seed as u64 | 1,
            truncated: 0,
            dropped: Duration::ZERO,
            start,
            opened: Instant::now(),
            duration: Duration::ZERO,
            notes: Vec::new(),
        }
    }

    /// The same for a subscriber that wants to know when each sample was taken.
    pub(super) fn one_by_one(hz: u32) -> Stacks {
        Stacks { moments: Some(Moments::default()), ..Stacks::new(hz) }
    }

    /// The samples one by one, of a subscriber that wanted them so.
    pub(crate) fn into_moments(self) -> Moments {
        self.moments.unwrap_or_default()
    }

    /// Nanoseconds of CPU time that a sample stands for.
    pub(crate) fn period(&self) -> u64 {
        1_000_000_000 / u64::from(self.hz)
    }

    /// Takes CPU time that a thread has used at a stack. Whole periods become samples there; what
    /// is left over is kept for the thread's next, so that totals are right in any rate.
    ///
    /// `key` has the thread name's index in front of the addresses.
    pub(super) fn add(&mut self, head: &Head, key: &[u64], weight: u64) {
        let period = self.period();
        let random = &mut self.seed;
        let left = self.left_over.entry(head.tid).or_insert_with(|| {
            // A random phase, so that a thread's first period is worth as much as any other.
            *random ^= *random << 13;
            *random ^= *random >> 7;
            *random ^= *random << 17;
            *random % period
        });
        *left += weight;
        let count = (*left / period) as i64;
        *left %= period;
        if count == 0 {
            return;
        }
        if head.truncated {
            self.truncated += count;
        }
        if let Some(moments) = &mut self.moments {
            moments.add(head.at, head.tid, key);
        } else if let Some(known) = self.counts.get_mut(key) {
            *known += count;
        } else {
            self.counts.insert(key.into(), count);
        }
    }

    pub(super) fn close(&mut self, names: &[String]) {
        self.duration = self.opened.elapsed();
        self.names = names.to_vec();
        if let Some(moments) = &mut self.moments {
            moments.close(names);
        }
        self.left_over = HashMap::new();
    }

    /// What is there, leaving nothing.
    pub(super) fn take(&mut self) -> Stacks {
        let empty = Stacks::new(self.hz);
        std::mem::replace(self, empty)
    }

    /// Every stack, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = StacksOf<'_>> {
        self.counts.iter().map(|(key, &count)| StacksOf {
            thread: self.names.get(key[0] as usize).map_or("", String::as_str),
            addresses: &key[1..],
            count,
        })
    }
}
