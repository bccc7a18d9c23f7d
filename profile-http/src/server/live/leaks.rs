//! Which sites look like leaks, and on what evidence.
//!
//! Three things count: how much a site holds, how much of what it ever allocated it still holds
//! (its retention), and whether that grew from look to look. Looks are those of readers of
//! `/stats`: nobody watches while nobody asks.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use profile_analysis::units::format_value;
use serde::Serialize;

use super::allocations::{AllocationSite, SiteId, SitePlace, SiteStack};
use super::frame_table::FrameTable;

/// The most looks that are remembered.
const LOOKS: usize = 6;
/// The shortest time between two looks that is worth keeping: in less, nothing but chance happens.
const SHORTEST_GAP: Duration = Duration::from_secs(4);
/// The longest time without a look after which a site's past still says something of its present.
const LONGEST_GAP: Duration = Duration::from_secs(120);
/// The most sites that are watched, the largest ones. It bounds the memory.
const MOST_SITES: usize = 2000;
/// Number of rises in a row, from one look to the next, that count as growth.
const RISES: usize = 2;

const MIB: u64 = 1 << 20;

/// The looks at what sites held earlier, by their id.
#[derive(Debug, Default)]
pub(super) struct LeakWatch {
    looks: VecDeque<LeakLook>,
}

#[derive(Debug)]
struct LeakLook {
    taken: Instant,
    live: HashMap<u64, u64>,
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
    rises: usize,
    /// The time from the first of these looks to the last.
    watched: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum LeakSeverity {
    High,
    Medium,
    Low,
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
            self.looks.clear();
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
        if self.looks.back().is_some_and(|look| now.duration_since(look.taken) < SHORTEST_GAP) {
            return;
        }
        let mut largest: Vec<&AllocationSite> =
            sites.iter().filter(|site| site.live_bytes > 0).collect();
        largest.sort_unstable_by_key(|site| (std::cmp::Reverse(site.live_bytes), site.id));
        let live = largest.iter().take(MOST_SITES).map(|site| (site.id, site.live_bytes)).collect();
        if self.looks.len() == LOOKS {
            self.looks.pop_front();
        }
        self.looks.push_back(LeakLook { taken: now, live });
    }

    fn suspect<'a>(&self, site: &'a AllocationSite, now: Instant) -> Option<LeakSuspect<'a>> {
        let retention = (site.alloc_bytes > 0)
            .then(|| (site.live_bytes as f64 / site.alloc_bytes as f64).min(1.0));
        // Most sites are none, however they have grown.
        severity(true, retention, site.live_bytes)?;
        if site.is_own() {
            return None;
        }
        // Looks that are far enough from this one.
        let before =
            self.looks.iter().filter(|look| now.duration_since(look.taken) >= SHORTEST_GAP);
        let known: Vec<(Instant, u64)> = before
            .map(|look| (look.taken, look.live.get(&site.id).copied().unwrap_or(0)))
            .chain([(now, site.live_bytes)])
            .collect();
        let trend: Vec<u64> = known.iter().map(|&(_, bytes)| bytes).collect();
        let rises = trend.windows(2).rev().take_while(|pair| pair[1] > pair[0]).count();
        let growing = rises >= RISES;
        Some(LeakSuspect {
            site,
            severity: severity(growing, retention, site.live_bytes)?,
            score: score(growing, rises, retention, site.live_bytes),
            retention,
            trend,
            rises,
            watched: now.duration_since(known[0].0),
        })
    }
}

impl<'a> LeakSuspect<'a> {
    pub(super) fn leak(self, table: Option<&'a FrameTable<'a>>) -> SiteLeak<'a> {
        let LeakSuspect { site, severity, score, retention, trend, rises, watched } = self;
        let seconds = watched.as_secs_f64();
        SiteLeak {
            severity,
            score,
            place: site.place(),
            live_bytes: site.live_bytes,
            live_count: site.live_count,
            alloc_bytes: site.alloc_bytes,
            alloc_count: site.alloc_count,
            retention,
            growing: rises >= RISES,
            evidence: evidence(site, retention, rises, &trend, seconds),
            trend,
            trend_seconds: seconds,
            stack: SiteStack::new(&site.frames, table),
            id: SiteId(site.id),
        }
    }
}

/// Returns the severity; `None` where nothing speaks for a leak. Where it is not known what was
/// allocated, growth alone speaks.
fn severity(growing: bool, retention: Option<f64>, live: u64) -> Option<LeakSeverity> {
    let Some(retention) = retention else {
        return (growing && live >= MIB).then_some(LeakSeverity::Medium);
    };
    if (growing && retention >= 0.5 && live >= MIB) || (retention >= 0.8 && live >= 10 * MIB) {
        Some(LeakSeverity::High)
    } else if retention >= 0.5 && live >= MIB {
        Some(LeakSeverity::Medium)
    } else if retention >= 0.3 && live >= 100 << 10 {
        Some(LeakSeverity::Low)
    } else {
        None
    }
}

/// Returns a score from 0 to 100: half of it is growth, a quarter retention, a quarter how much is
/// held.
fn score(growing: bool, rises: usize, retention: Option<f64>, live: u64) -> u32 {
    let growth = if growing { 30.0 + 20.0 * rises.min(LOOKS) as f64 / LOOKS as f64 } else { 0.0 };
    let held = 25.0 * ((live as f64 / MIB as f64).max(1.0).log2() / 10.0).min(1.0);
    (growth + 25.0 * retention.unwrap_or(0.0) + held).round() as u32
}

fn evidence(
    site: &AllocationSite,
    retention: Option<f64>,
    rises: usize,
    trend: &[u64],
    seconds: f64,
) -> String {
    let bytes = |bytes: u64| format_value(i64::try_from(bytes).unwrap_or(i64::MAX), "bytes");
    let mut text = format!("holds {} in {} blocks", bytes(site.live_bytes), site.live_count);
    if let Some(retention) = retention {
        text += &format!(
            ", {:.0} % of the {} it ever allocated",
            100.0 * retention,
            bytes(site.alloc_bytes)
        );
    }
    match trend.len() - 1 {
        0 => text += "; not watched long enough to tell whether it grows",
        pairs if rises == 0 => {
            text += &format!("; not growing in {pairs} looks over {seconds:.0} s");
        }
        pairs => {
            let grown = trend[trend.len() - 1].saturating_sub(trend[pairs - rises]);
            text += &format!(
                "; grew by {} in the last {rises} of {pairs} looks over {seconds:.0} s",
                bytes(grown)
            );
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::allocations::tests::site;
    use super::*;

    #[test]
    fn a_site_that_grows_and_keeps_what_it_takes_climbs_to_the_top() {
        let mut watch = LeakWatch::default();
        let began = Instant::now();
        let sites = |look: u64| {
            let leak = site(1, 2 * MIB * (look + 1), 2 * MIB * (look + 1));
            let cache = site(2, 40 * MIB, 9 * MIB);
            let steady = site(3, 6 * MIB, 4 * MIB);
            let churn = site(4, 4000 * MIB, 2 * MIB);
            [leak, cache, steady, churn]
        };
        for look in 0..4u64 {
            watch.judge(&sites(look), began + Duration::from_secs(5 * look), 10);
        }
        let sites = sites(4);
        let last = watch.judge(&sites, began + Duration::from_secs(20), 10);
        let last: Vec<_> = last.into_iter().map(|suspect| suspect.leak(None)).collect();
        let severities: Vec<_> =
            last.iter().map(|leak| (leak.place.line - 40, leak.severity)).collect();
        assert_eq!(severities, [(1, LeakSeverity::High), (3, LeakSeverity::Medium)]);
        assert!(last[0].growing && !last[1].growing);
        assert_eq!(last[0].trend, [2, 4, 6, 8, 10].map(|mib| mib * MIB));
        assert!(last[0].evidence.contains("100 % of"), "{}", last[0].evidence);
        assert!(
            last[0].evidence.contains("the last 4 of 4 looks over 20 s"),
            "{}",
            last[0].evidence
        );
        assert!(last[0].score > last[1].score);
    }

    #[test]
    fn looks_in_quick_succession_are_no_evidence() {
        let mut watch = LeakWatch::default();
        let began = Instant::now();
        for look in 0..50u64 {
            let now = began + Duration::from_millis(10 * look);
            let sites = [site(1, 4 * MIB, 2 * MIB + look)];
            let leaks = watch.judge(&sites, now, 10);
            assert!(leaks[0].rises < RISES);
        }
        assert_eq!(watch.looks.len(), 1);
        // Nor is what happened long ago.
        let later = began + Duration::from_secs(1000);
        assert_eq!(watch.judge(&[site(1, 4 * MIB, 3 * MIB)], later, 10)[0].trend.len(), 1);
    }
}
