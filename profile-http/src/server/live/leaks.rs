//! Which sites look like leaks, and on what evidence.
//!
//! A leak grows. What a site allocated and what was freed of it between two looks are both chance where
//! blocks are sampled; without a leak they are the same on average, and their difference is beyond 3.5
//! times `sqrt(allocated + freed)`, in samples, once in 4000 times. So a site counts as growing where its
//! difference is beyond that, is of ten samples or more, and has gone on in the later half of the time. A
//! block made at the start, a table that was filled, a cache that is full: none of them grows, however much
//! it holds. One look says nothing.
//!
//! Looks are those of readers of `/stats`: nobody watches while nobody asks.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use profile_analysis::units::format_value;
use serde::Serialize;

use super::allocations::{AllocationSite, SiteId, SitePlace, SiteStack};
use super::frame_table::FrameTable;

/// The most looks that are remembered. Of more every second one is forgotten, so that they reach further
/// back the longer somebody watches.
const LOOKS: usize = 12;
/// The shortest time between two looks that is worth keeping: in less, nothing but chance happens.
const SHORTEST_GAP: Duration = Duration::from_secs(4);
/// The longest time that looks are apart on purpose: what happened an hour ago says little.
const WIDEST_GAP: Duration = Duration::from_secs(64);
/// The longest time without a look after which a site's past still says something of its present.
const LONGEST_GAP: Duration = Duration::from_secs(150);
/// The most sites that are watched, the largest ones. It bounds the memory.
const MOST_SITES: usize = 2000;
/// Number of samples from which on a difference says anything.
const LEAST_SAMPLES: f64 = 10.0;
/// Number of standard deviations from which on growth is no chance.
const SIGMAS: f64 = 3.5;

const MIB: u64 = 1 << 20;

/// The looks at what sites held earlier, by their id.
#[derive(Debug)]
pub(super) struct LeakWatch {
    looks: VecDeque<LeakLook>,
    /// Time between two looks that are kept.
    gap: Duration,
}

#[derive(Debug)]
struct LeakLook {
    taken: Instant,
    sites: HashMap<u64, SiteLook>,
}

/// What a site held at a look, and what it had allocated until then.
#[derive(Clone, Copy, Debug, Default)]
struct SiteLook {
    live_bytes: u64,
    /// In samples.
    live: f64,
    /// In samples; `None` where that is not kept.
    allocated: Option<f64>,
}

/// A site that looks like a leak.
#[derive(Debug, Serialize)]
pub(super) struct SiteLeak<'a> {
    pub(super) severity: LeakSeverity,
    /// The score from 0 to 100.
    pub(super) score: u32,
    #[serde(flatten)]
    pub(super) place: SitePlace<'a>,
    pub(super) live_bytes: u64,
    pub(super) live_count: u64,
    /// Number of sampled blocks that the figures of what it holds rest on, and the interval in which the
    /// true number of bytes is 19 times out of 20.
    pub(super) samples: u64,
    pub(super) live_bytes_low: u64,
    pub(super) live_bytes_high: u64,
    pub(super) alloc_bytes: u64,
    pub(super) alloc_count: u64,
    /// The share of all that the site ever allocated that it still holds; `None` where that is not
    /// kept.
    pub(super) retention: Option<f64>,
    /// Bytes that it held at each look, oldest first, this one last.
    pub(super) trend: Vec<u64>,
    /// The time from the first of these looks to the last.
    pub(super) trend_seconds: f64,
    pub(super) growing: bool,
    /// A sentence that says what speaks for the leak.
    pub(super) evidence: String,
    pub(super) stack: SiteStack<'a>,
    pub(super) id: SiteId,
}

/// A site and what speaks for a leak there.
pub(super) struct LeakSuspect<'a> {
    pub(super) site: &'a AllocationSite,
    severity: LeakSeverity,
    score: u32,
    retention: Option<f64>,
    trend: Vec<u64>,
    growth: SiteGrowth,
    /// The time from the first of these looks to the last.
    watched: Duration,
}

/// The growth of what a site holds from one look to another, in samples.
#[derive(Clone, Copy, Debug)]
struct SiteGrowth {
    grown: f64,
    /// Standard deviation of that by chance alone.
    deviation: f64,
}

impl SiteGrowth {
    fn between(before: SiteLook, now: SiteLook) -> SiteGrowth {
        let grown = now.live - before.live;
        let turnover = match (before.allocated, now.allocated) {
            (before, Some(now)) => {
                let allocated = (now - before.unwrap_or_default()).max(0.0);
                allocated + (allocated - grown).max(0.0)
            }
            // All of it may have been made anew.
            (_, None) => before.live + now.live,
        };
        SiteGrowth { grown, deviation: turnover.max(1.0).sqrt() }
    }

    /// Returns how many standard deviations it is.
    fn sigmas(self) -> f64 {
        self.grown / self.deviation
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum LeakSeverity {
    High,
    Medium,
    Low,
}

impl Default for LeakWatch {
    fn default() -> LeakWatch {
        LeakWatch { looks: VecDeque::new(), gap: SHORTEST_GAP }
    }
}

impl LeakWatch {
    /// Judges the sites by what they hold now and what they held before, and remembers this look.
    pub(super) fn judge<'a>(
        &mut self,
        sites: &'a [AllocationSite],
        now: Instant,
        limit: usize,
    ) -> Vec<LeakSuspect<'a>> {
        if self.looks.back().is_some_and(|look| now.duration_since(look.taken) > LONGEST_GAP) {
            *self = LeakWatch::default();
        }
        let mut suspects: Vec<_> =
            sites.iter().filter_map(|site| self.suspect(site, now)).collect();
        suspects.sort_by_key(|suspect| {
            let worst_first = std::cmp::Reverse((suspect.score, suspect.site.live_bytes));
            (suspect.severity, worst_first, suspect.site.id)
        });
        self.remember(sites, now);
        suspects.truncate(limit);
        suspects
    }

    fn remember(&mut self, sites: &[AllocationSite], now: Instant) {
        if self.looks.back().is_some_and(|look| now.duration_since(look.taken) < self.gap) {
            return;
        }
        if self.looks.len() == LOOKS && self.gap < WIDEST_GAP {
            // The first one stays.
            let mut number = 0;
            self.looks.retain(|_| {
                number += 1;
                number % 2 == 1
            });
            self.gap *= 2;
        } else if self.looks.len() == LOOKS {
            self.looks.pop_front();
        }
        let mut largest: Vec<&AllocationSite> =
            sites.iter().filter(|site| site.live_bytes > 0).collect();
        largest.sort_unstable_by_key(|site| (std::cmp::Reverse(site.live_bytes), site.id));
        let seen = largest.iter().take(MOST_SITES).map(|site| (site.id, SiteLook::of(site)));
        self.looks.push_back(LeakLook { taken: now, sites: seen.collect() });
    }

    /// Returns what speaks for a leak at a site; `None` where nothing does.
    fn suspect<'a>(&self, site: &'a AllocationSite, now: Instant) -> Option<LeakSuspect<'a>> {
        let this = SiteLook::of(site);
        if this.live < LEAST_SAMPLES || site.is_own() {
            return None;
        }
        // Looks that are far enough from this one.
        let before =
            self.looks.iter().filter(|look| now.duration_since(look.taken) >= SHORTEST_GAP);
        let known: Vec<(Instant, SiteLook)> = before
            .map(|look| (look.taken, look.sites.get(&site.id).copied().unwrap_or_default()))
            .chain([(now, this)])
            .collect();
        let (began, first) = known[0];
        let growth = SiteGrowth::between(first, this);
        let half = now - now.duration_since(began) / 2;
        let middle = known.partition_point(|&(taken, _)| taken < half);
        let lately = SiteGrowth::between(known[middle.min(known.len() - 1)].1, this);
        let goes_on = lately.grown >= growth.grown / 4.0 && lately.sigmas() >= 1.0;
        if growth.grown < LEAST_SAMPLES || growth.sigmas() < SIGMAS || !goes_on {
            return None;
        }
        let retention = (site.alloc_bytes > 0)
            .then(|| (site.live_bytes as f64 / site.alloc_bytes as f64).min(1.0));
        Some(LeakSuspect {
            site,
            severity: severity(growth, retention, site.live_bytes),
            score: score(growth, retention, site.live_bytes),
            retention,
            trend: known.iter().map(|(_, look)| look.live_bytes).collect(),
            growth,
            watched: now.duration_since(began),
        })
    }
}

impl SiteLook {
    fn of(site: &AllocationSite) -> SiteLook {
        SiteLook {
            live_bytes: site.live_bytes,
            live: site.live_sampled().samples,
            allocated: site.alloc_sampled().map(|amount| amount.samples),
        }
    }
}

impl<'a> LeakSuspect<'a> {
    pub(super) fn leak(self, table: Option<&'a FrameTable<'a>>) -> SiteLeak<'a> {
        let evidence = self.evidence();
        let LeakSuspect { site, severity, score, retention, trend, watched, .. } = self;
        let live = site.live_sampled();
        SiteLeak {
            severity,
            score,
            place: site.place(),
            live_bytes: site.live_bytes,
            live_count: site.live_count,
            samples: live.samples.round() as u64,
            live_bytes_low: (site.live_bytes as f64 - live.margin).max(0.0) as u64,
            live_bytes_high: (site.live_bytes as f64 + live.margin) as u64,
            alloc_bytes: site.alloc_bytes,
            alloc_count: site.alloc_count,
            retention,
            growing: true,
            evidence,
            trend,
            trend_seconds: watched.as_secs_f64(),
            stack: SiteStack::new(&site.frames, table),
            id: SiteId(site.id),
        }
    }

    /// Says what speaks for the leak, and on how many samples that rests.
    fn evidence(&self) -> String {
        let bytes = |bytes: u64| format_value(i64::try_from(bytes).unwrap_or(i64::MAX), "bytes");
        let LeakSuspect { site, retention, trend, growth, watched, .. } = self;
        let live = site.live_sampled();
        let mut text = format!("holds {} ", bytes(site.live_bytes));
        if live.margin >= 1.0 {
            text += &format!("± {} ", bytes(live.margin as u64));
        }
        text += &format!("in {} blocks, by {:.0} samples", site.live_count, live.samples);
        if let Some(retention) = retention {
            text += &format!(
                ", {:.0} % of the {} it ever allocated",
                100.0 * retention,
                bytes(site.alloc_bytes)
            );
        }
        text += &format!(
            "; grew by {} ({:.0} samples, {:.1} sigma) in {} looks over {:.0} s",
            bytes(site.live_bytes.saturating_sub(trend[0])),
            growth.grown,
            growth.sigmas(),
            trend.len(),
            watched.as_secs_f64()
        );
        text
    }
}

/// Returns the severity of growth that is no chance: `high` where it is plain, and most of what the site
/// ever allocated is still there.
fn severity(growth: SiteGrowth, retention: Option<f64>, live: u64) -> LeakSeverity {
    match retention {
        _ if live < MIB => LeakSeverity::Low,
        Some(retention) if retention >= 0.5 && growth.sigmas() >= SIGMAS + 0.5 => {
            LeakSeverity::High
        }
        _ => LeakSeverity::Medium,
    }
}

/// Returns a score from 0 to 100: half of it is growth, a quarter retention, a quarter how much is
/// held.
fn score(growth: SiteGrowth, retention: Option<f64>, live: u64) -> u32 {
    let growth = 50.0 * (growth.sigmas() / 10.0).min(1.0);
    let held = 25.0 * ((live as f64 / MIB as f64).max(1.0).log2() / 10.0).min(1.0);
    (growth + 25.0 * retention.unwrap_or(0.0) + held).round() as u32
}

#[cfg(test)]
mod tests {
    use super::super::allocations::tests::site;
    use super::*;

    /// Judges looks five seconds apart, and returns what the last one says.
    fn judge_looks(looks: u64, sites: impl Fn(u64) -> Vec<AllocationSite>) -> Vec<(u32, String)> {
        let (mut watch, began) = (LeakWatch::default(), Instant::now());
        let mut last = Vec::new();
        for look in 0..looks {
            let sites = sites(look);
            let now = began + Duration::from_secs(5 * look);
            let leaks = watch.judge(&sites, now, 10).into_iter().map(|suspect| suspect.leak(None));
            last =
                leaks.map(|leak| (leak.place.line - 40, format!("{:?}", leak.severity))).collect();
        }
        last
    }

    #[test]
    fn what_grows_is_a_leak_and_what_is_large_is_none() {
        let sites = |look: u64| {
            let leak = site(1, 2 * MIB * (look + 1), 2 * MIB * (look + 1));
            // One block of 20 MiB, a table that was filled at the start, and a cache that is full.
            let mut fixed = site(2, 20 * MIB, 20 * MIB);
            (fixed.alloc_count, fixed.live_count) = (1, 1);
            let table = site(3, 64 * MIB, 64 * MIB);
            let cache = site(4, (20 + 40 * look) * MIB, 20 * MIB + (look * 7 % 3) * MIB);
            // Half of what is allocated is kept.
            let half = site(5, 8 * MIB * (look + 1), 4 * MIB * (look + 1));
            vec![leak, fixed, table, cache, half]
        };
        // One look says nothing, nor do two.
        assert_eq!(judge_looks(1, sites), []);
        assert_eq!(judge_looks(2, sites), []);
        let expected = [(1, "High".to_owned()), (5, "High".to_owned())];
        let mut found = judge_looks(8, sites);
        found.sort();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_cache_that_fills_is_none_once_it_is_full() {
        let sites = |look: u64| {
            let held = 40 * MIB * look.min(4) / 4;
            vec![site(1, 40 * MIB * look / 4, held)]
        };
        assert_eq!(judge_looks(4, sites).len(), 1);
        assert_eq!(judge_looks(20, sites), []);
    }

    /// 90 kB/s is a sample each six seconds.
    #[test]
    fn a_slow_leak_is_found_by_whoever_watches_long_enough() {
        let sites = |look: u64| vec![site(1, 450_000 * (look + 1), 450_000 * (look + 1))];
        assert_eq!(judge_looks(10, sites), []);
        assert_eq!(judge_looks(17, sites), [(1, "Medium".to_owned())]);
        assert_eq!(judge_looks(40, sites), [(1, "High".to_owned())]);
    }

    /// What comes and goes by chance alone is rarely a leak.
    #[test]
    fn chance_is_no_leak() {
        let mut random = 0x9e37_79b9_7f4a_7c15u64;
        let mut held = move || {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            // 40 samples on average, with the deviation of a Poisson variable.
            (0..80).filter(|bit| random.rotate_left(*bit * 5) & 1 == 1).count() as u64
        };
        let (mut watch, began, mut found) = (LeakWatch::default(), Instant::now(), 0);
        for look in 0..2000u64 {
            let sites = [site(1, 40 * MIB / 2 * (look + 1), held() * MIB / 2)];
            found += watch.judge(&sites, began + Duration::from_secs(5 * look), 10).len();
        }
        assert!(found <= 4, "{found} of 2000");
    }

    #[test]
    fn the_evidence_says_what_it_rests_on() {
        let (mut watch, began) = (LeakWatch::default(), Instant::now());
        let sites: Vec<_> = (1..=5).map(|n| site(1, 4 * MIB * n, 4 * MIB * n)).collect();
        for (site, look) in sites.iter().zip(0..) {
            watch.judge(std::slice::from_ref(site), began + Duration::from_secs(5 * look), 10);
        }
        let now = began + Duration::from_secs(25);
        let leak = watch.judge(&sites[4..], now, 10).remove(0).leak(None);
        assert_eq!(leak.samples, 40);
        assert!(leak.live_bytes_low < leak.live_bytes && leak.live_bytes < leak.live_bytes_high);
        assert_eq!(leak.trend, [4, 8, 12, 16, 20, 20].map(|mib| mib * MIB));
        for part in ["holds 20.00 MiB ±", "by 40 samples", "100 % of", "in 6 looks over 25 s"] {
            assert!(leak.evidence.contains(part), "{part}: {}", leak.evidence);
        }
    }

    #[test]
    fn looks_in_quick_succession_are_no_evidence() {
        let (mut watch, began) = (LeakWatch::default(), Instant::now());
        for look in 0..50u64 {
            let now = began + Duration::from_millis(10 * look);
            let sites = [site(1, 40 * MIB * (look + 1), 40 * MIB * (look + 1))];
            assert!(watch.judge(&sites, now, 10).is_empty());
        }
        assert_eq!(watch.looks.len(), 1);
        // Nor is what happened long ago.
        let later = began + Duration::from_secs(1000);
        assert!(watch.judge(&[site(1, 4000 * MIB, 3000 * MIB)], later, 10).is_empty());
        assert_eq!(watch.looks.len(), 1);
    }
}
