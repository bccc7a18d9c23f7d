//! Allocation sites: what each has allocated and still holds, by its full stack.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::Arc;

use profile_analysis::site::user_frame;
use profile_core::heap::{self, Frame};
use profile_core::profile::{DecodeLimits, Profile};
use profile_core::single::{self, KindFiles};
use profile_core::{Collectors, Kind};
use profile_format::owner::{FrameOwner, OwnFrame};
use profile_format::profile::SampledAmount;
use serde::{Serialize, Serializer};

use super::frame_table::{FrameLine, FrameTable};

/// A site and its totals.
#[derive(Clone, Debug)]
pub(super) struct AllocationSite {
    /// The id of its stack: the same for the same stack, as long as the process lives.
    pub(super) id: u64,
    /// The frames from the function that allocated up, inlined ones included.
    pub(super) frames: Arc<[Frame]>,
    pub(super) alloc_bytes: u64,
    pub(super) alloc_count: u64,
    pub(super) live_bytes: u64,
    pub(super) live_count: u64,
    /// Bytes between two samples on average; 0 where every block counts.
    pub(super) rate: u64,
}

/// A row of `top_allocations` or `inuse_allocations`.
#[derive(Debug, Serialize)]
pub(super) struct AllocationRow<'a> {
    #[serde(flatten)]
    pub(super) place: SitePlace<'a>,
    pub(super) bytes: u64,
    pub(super) count: u64,
    pub(super) stack: SiteStack<'a>,
    pub(super) id: SiteId,
}

/// The frame that a reader wants to see: the first of the program, else the first past the standard
/// library and the allocator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct SitePlace<'a> {
    pub(super) function: &'a str,
    /// The source file; empty where unknown.
    pub(super) file: &'a str,
    /// The line; 0 where unknown.
    pub(super) line: u32,
}

/// A row's stack, from the function that allocated up: a line for each frame, or its number in the
/// answer's table.
#[derive(Clone, Copy, Debug)]
pub(super) enum SiteStack<'a> {
    Lines(&'a [Frame]),
    Numbers(&'a [u32]),
}

/// The id of a site: the same for the same stack, as long as the process lives.
#[derive(Clone, Copy, Debug)]
pub(super) struct SiteId(pub(super) u64);

/// The totals that a row shows.
#[derive(Clone, Copy)]
pub(super) enum TotalsShown {
    Allocated,
    Live,
}

impl<'a> SiteStack<'a> {
    /// Writes a stack by the numbers of its frames, where there is a table.
    pub(super) fn new(frames: &'a [Frame], table: Option<&'a FrameTable<'a>>) -> SiteStack<'a> {
        table.map_or(SiteStack::Lines(frames), |table| SiteStack::Numbers(table.numbers(frames)))
    }
}

impl Serialize for SiteStack<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            SiteStack::Lines(frames) => serializer.collect_seq(frames.iter().map(FrameLine)),
            SiteStack::Numbers(numbers) => serializer.collect_seq(*numbers),
        }
    }
}

impl Serialize for SiteId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:016x}", self.0))
    }
}

impl AllocationSite {
    /// Returns what is known of what the site holds.
    pub(super) fn live_sampled(&self) -> SampledAmount {
        SampledAmount::new(self.live_bytes, self.live_count, self.rate)
    }

    /// Returns what is known of what it ever allocated; `None` where that is not kept.
    pub(super) fn alloc_sampled(&self) -> Option<SampledAmount> {
        let amount = || SampledAmount::new(self.alloc_bytes, self.alloc_count, self.rate);
        (self.alloc_bytes > 0).then(amount)
    }

    pub(super) fn place(&self) -> SitePlace<'_> {
        let names = self.frames.iter().map(|frame| (&*frame.function, &*frame.file));
        let frame = self.frames.get(user_frame(names).unwrap_or(0));
        frame.map_or_else(SitePlace::default, |frame| SitePlace {
            function: &frame.function,
            file: &frame.file,
            line: frame.line,
        })
    }

    /// Returns whether the profiler allocated it, at its work.
    pub(super) fn is_own(&self) -> bool {
        let is_own = |frame: &Frame| {
            let owner = FrameOwner::of(&frame.function, &frame.file);
            owner == FrameOwner::Profiler(OwnFrame::Work)
        };
        self.frames.iter().any(is_own)
    }

    fn total(&self, of: TotalsShown) -> (u64, u64) {
        match of {
            TotalsShown::Allocated => (self.alloc_bytes, self.alloc_count),
            TotalsShown::Live => (self.live_bytes, self.live_count),
        }
    }

    pub(super) fn row<'a>(
        &'a self,
        of: TotalsShown,
        table: Option<&'a FrameTable<'a>>,
    ) -> AllocationRow<'a> {
        let (bytes, count) = self.total(of);
        let stack = SiteStack::new(&self.frames, table);
        AllocationRow { place: self.place(), bytes, count, stack, id: SiteId(self.id) }
    }
}

/// Returns the largest sites, in an order that does not change while they don't. Sites without
/// anything are left out.
pub(super) fn largest_sites(
    sites: &[AllocationSite],
    of: TotalsShown,
    limit: usize,
) -> Vec<&AllocationSite> {
    let mut order: Vec<&AllocationSite> =
        sites.iter().filter(|site| site.total(of).0 > 0).collect();
    order.sort_unstable_by_key(|site| (std::cmp::Reverse(site.total(of)), site.id));
    order.truncate(limit);
    order
}

/// The most stacks of each list that are looked at: those that allocated most, and those that hold
/// most.
const MOST_STACKS: usize = 1000;

/// Returns every site that matters: of what is recorded all along, or else of a heap profile.
/// Errors are texts for the answer's `errors`.
pub(super) fn read_sites(collectors: &Collectors) -> Result<Vec<AllocationSite>, String> {
    if let Some(top) = heap::top(MOST_STACKS) {
        return Ok(sites_of_top(top));
    }
    // What a kind that can't be given lacks is listed elsewhere.
    if collectors.collector(Kind::Heap).check().is_err() {
        return Ok(Vec::new());
    }
    let bytes = single::snapshot(collectors, Kind::Heap).and_then(KindFiles::main);
    let bytes = bytes.map_err(|error| error.chain())?;
    let profile = Profile::decode(&bytes, &DecodeLimits::default())
        .map_err(|error| format!("the heap profile can't be read: {error}"))?;
    Ok(sites_of_profile(&profile))
}

/// Returns the sites of both lists, each once.
fn sites_of_top(top: heap::Top) -> Vec<AllocationSite> {
    let (mut known, rate) = (HashSet::new(), top.rate);
    let all = top.by_alloc.into_iter().chain(top.by_inuse).filter(|site| known.insert(site.id));
    all.map(|site| AllocationSite {
        id: site.id,
        frames: site.stack,
        alloc_bytes: site.amounts.alloc_bytes,
        alloc_count: site.amounts.alloc_objects,
        live_bytes: site.amounts.inuse_bytes,
        live_count: site.amounts.inuse_objects,
        rate,
    })
    .collect()
}

/// Returns the sites of a heap profile. Samples with the same frames are one site.
fn sites_of_profile(profile: &Profile) -> Vec<AllocationSite> {
    let index = |name: &str| {
        profile.sample_types.iter().position(|sample_type| profile.str(sample_type.kind) == name)
    };
    let columns = ["alloc_space", "alloc_objects", "inuse_space", "inuse_objects"].map(index);
    let hasher = BuildHasherDefault::<DefaultHasher>::default();
    let mut sites: Vec<AllocationSite> = Vec::new();
    let mut known: HashMap<u64, usize> = HashMap::new();
    for at in 0..profile.samples.len() {
        let sample = profile.samples.get(at);
        let [alloc_bytes, alloc_count, live_bytes, live_count] = columns.map(|column| {
            column.and_then(|column| u64::try_from(sample.values[column]).ok()).unwrap_or(0)
        });
        let frames = frames(profile, sample.stack);
        let id = hasher.hash_one(&frames);
        let site = *known.entry(id).or_insert_with(|| {
            sites.push(AllocationSite {
                id,
                frames: frames.into(),
                alloc_bytes: 0,
                alloc_count: 0,
                live_bytes: 0,
                live_count: 0,
                rate: u64::try_from(profile.period).unwrap_or(0),
            });
            sites.len() - 1
        });
        let site = &mut sites[site];
        site.alloc_bytes = site.alloc_bytes.saturating_add(alloc_bytes);
        site.alloc_count = site.alloc_count.saturating_add(alloc_count);
        site.live_bytes = site.live_bytes.saturating_add(live_bytes);
        site.live_count = site.live_count.saturating_add(live_count);
    }
    sites
}

/// Gives these sites their whole names, as far as they are recorded all along.
pub(super) fn name_in_full(sites: &mut [AllocationSite]) {
    let ids: Vec<u64> = sites.iter().map(|site| site.id).collect();
    let whole = heap::stacks_in_full(&ids);
    for site in sites {
        if let Some(frames) = whole.get(&site.id) {
            site.frames = Arc::clone(frames);
        }
    }
}

fn frames(profile: &Profile, stack: &[u32]) -> Vec<Frame> {
    let mut frames = Vec::new();
    for &location in stack {
        let location = &profile.locations[location as usize];
        let lines = profile.lines_of(location);
        if lines.is_empty() {
            frames.push(Frame::new(&format!("{:#x}", location.address), "", 0));
        }
        frames.extend(lines.iter().map(|line| {
            let function = profile.functions[line.function as usize];
            let number = u32::try_from(line.line).unwrap_or(0);
            Frame::new(profile.str(function.name), profile.str(function.filename), number)
        }));
    }
    frames
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) const RATE: u64 = 512 << 10;

    pub(in super::super) fn site(id: u64, alloc_bytes: u64, live_bytes: u64) -> AllocationSite {
        let frames = [
            Frame::new("alloc::vec::Vec<T>::with_capacity", "", 0),
            Frame::new("shop::cart::add", "src/cart.rs", 40 + id as u32),
            Frame::new("shop::main", "src/main.rs", 7),
        ];
        let frames = frames.into();
        let (alloc_count, live_count) = (alloc_bytes / 10, live_bytes / 10);
        AllocationSite { id, frames, alloc_bytes, alloc_count, live_bytes, live_count, rate: RATE }
    }

    #[test]
    fn the_largest_come_first_and_ties_stay_in_order() {
        let sites = [site(3, 50, 0), site(2, 70, 10), site(1, 50, 10), site(4, 0, 0)];
        let ids = |of| -> Vec<u32> {
            largest_sites(&sites, of, 10).iter().map(|site| site.place().line - 40).collect()
        };
        assert_eq!(ids(TotalsShown::Allocated), [2, 1, 3]);
        assert_eq!(ids(TotalsShown::Live), [1, 2]);
        let rows = largest_sites(&sites, TotalsShown::Live, 1);
        assert_eq!(rows.len(), 1);
        let row = serde_json::to_value(rows[0].row(TotalsShown::Live, None)).unwrap();
        assert_eq!(row["function"], "shop::cart::add");
        assert_eq!(row["stack"][0], "alloc::vec::Vec<T>::with_capacity");
        assert_eq!(row["stack"][1], "shop::cart::add src/cart.rs:41");
        assert_eq!(row["id"], "0000000000000001");
    }
}
