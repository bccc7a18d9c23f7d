//! What writes the record of allocations in this build, and what reads it: nothing, where it can't
//! be had.

use crate::heap::feed::{HeapFeed, HeapRecord};
#[cfg(all(feature = "jemalloc", stacks))]
use crate::heap::hooks_feed;
#[cfg(all(feature = "heap", stacks))]
use crate::heap::{recorded, wrapper_feed};

/// The feeds of this build. The first that writes is the record's.
static FEEDS: &[HeapFeed] = &[
    #[cfg(all(feature = "heap", stacks))]
    wrapper_feed::FEED,
    #[cfg(all(feature = "jemalloc", stacks))]
    hooks_feed::FEED,
];

/// The record of this build, if it has one.
pub(crate) static RECORD: &[HeapRecord] = &[
    #[cfg(all(feature = "heap", stacks))]
    recorded::RECORD,
];

/// Sees to it that one of the feeds writes, and returns it.
pub(crate) fn install() -> Option<&'static HeapFeed> {
    FEEDS.iter().find(|feed| (feed.install)())
}

/// Returns the feed that writes.
pub(crate) fn installed() -> Option<&'static HeapFeed> {
    FEEDS.iter().find(|feed| (feed.is_installed)())
}
