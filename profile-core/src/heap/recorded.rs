//! The record as it is read: who writes it, and its largest sites.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::heap::feed::{HeapFeed, HeapRecord};
use crate::heap::names::{self, SiteNames};
use crate::heap::sites::SiteView;
use crate::heap::{Amounts, Frame, Top, TopSite, countdown, recorder};
use crate::stacks::raw::capture;
use crate::sys::own_work::OwnWork;

/// The functions that read the record.
pub(crate) const RECORD: HeapRecord =
    HeapRecord { top, stacks_in_full, rate: countdown::rate, set_rate: countdown::set_rate };

/// Returns every site at which anything was allocated.
pub(crate) fn sites() -> impl Iterator<Item = (SiteView, Amounts)> {
    recorder::sites().filter_map(|site| {
        let totals = site.totals();
        let inuse = totals.alloc.saturating_sub(totals.freed);
        let amounts = Amounts {
            alloc_objects: totals.alloc.whole_objects(),
            alloc_bytes: totals.alloc.bytes,
            inuse_objects: inuse.whole_objects(),
            inuse_bytes: inuse.bytes,
        };
        (amounts.alloc_objects > 0).then_some((site, amounts))
    })
}

/// Returns the sum of all that was allocated.
pub(crate) fn total() -> Amounts {
    let mut total = Amounts::default();
    sites().for_each(|(_, amounts)| total.add(amounts));
    total
}

/// Fewer stacks than this are named all, so that those that only differ in addresses are joined.
const NAMED: usize = 1000;

fn top(n: usize, feed: &HeapFeed) -> Top {
    let _own = OwnWork::begin();
    capture::refresh();
    let mut total = Amounts::default();
    let mut sites: Vec<(SiteView, Amounts)> = sites().collect();
    sites.iter().for_each(|&(_, amounts)| total.add(amounts));
    let named = NAMED.max(n.saturating_mul(4));
    if sites.len() > named {
        let mut chosen = largest(&mut sites, named, |amounts| amounts.alloc_bytes).to_vec();
        let (_, rest) = sites.split_at_mut(named);
        chosen.extend_from_slice(largest(rest, named, |amounts| amounts.inuse_bytes));
        sites = chosen;
    }

    let mut names = SiteNames::lock();
    names.learn(sites.iter().map(|&(site, _)| site));
    let mut merged: HashMap<u32, Amounts> = HashMap::with_capacity(sites.len());
    for (site, amounts) in sites {
        if let Some(stack) = names.number(site) {
            merged.entry(stack).or_default().add(amounts);
        }
    }
    let mut merged: Vec<(u32, Amounts)> = merged.into_iter().collect();
    let mut best = |by: fn(&Amounts) -> u64| -> Vec<TopSite> {
        let best = largest(&mut merged, n, by);
        best.sort_unstable_by_key(|(_, amounts)| Reverse(by(amounts)));
        let found = best.iter().filter(|(_, amounts)| by(amounts) > 0);
        let site = |&(stack, amounts): &(u32, Amounts)| {
            let (id, stack) = names.stack(stack);
            TopSite { id, stack, amounts }
        };
        found.map(site).collect()
    };
    Top {
        feeder: feed.feeder,
        rate: (feed.rate)(),
        total,
        by_alloc: best(|amounts| amounts.alloc_bytes),
        by_inuse: best(|amounts| amounts.inuse_bytes),
        dropped: recorder::health().dropped,
    }
}

fn stacks_in_full(ids: &[u64]) -> HashMap<u64, Arc<[Frame]>> {
    let _own = OwnWork::begin();
    let mut wanted: HashSet<u64> = ids.iter().copied().collect();
    let known = SiteNames::lock();
    let mut found = Vec::new();
    for site in recorder::sites() {
        // Of the sites with the same names one is enough.
        if let Some(id) = known.id(site).filter(|id| wanted.remove(id)) {
            found.push((id, site));
        }
    }
    drop(known);
    names::stacks_in_full(found.iter().copied())
}

/// Puts the `n` largest in front, in no order.
fn largest<T>(all: &mut [(T, Amounts)], n: usize, by: fn(&Amounts) -> u64) -> &mut [(T, Amounts)] {
    if n < all.len() {
        all.select_nth_unstable_by_key(n, |(_, amounts)| Reverse(by(amounts)));
    }
    let n = n.min(all.len());
    &mut all[..n]
}

impl Amounts {
    fn add(&mut self, other: Amounts) {
        let sum = |a: u64, b: u64| a.saturating_add(b);
        self.alloc_objects = sum(self.alloc_objects, other.alloc_objects);
        self.alloc_bytes = sum(self.alloc_bytes, other.alloc_bytes);
        self.inuse_objects = sum(self.inuse_objects, other.inuse_objects);
        self.inuse_bytes = sum(self.inuse_bytes, other.inuse_bytes);
    }
}
