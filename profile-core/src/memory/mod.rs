//! The numbers of the process's memory, by the names that Go's `MemStats` has for them.
//!
//! A number that this process can't give is `None`, never 0. Where jemalloc is the global allocator
//! the numbers are its own, which takes its feature `stats` for all but one of them. Where glibc's malloc
//! is, it says what it holds. Elsewhere what [`alloc::Sampled`](crate::heap::alloc::Sampled) has sampled
//! gives estimates. All numbers of the allocator are of one source. [`stats`] takes some tens of microseconds.

mod process;
#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
mod raw;

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod glibc;
#[cfg(all(feature = "jemalloc", target_os = "linux"))]
mod jemalloc;
#[cfg(all(feature = "heap", stacks))]
mod sampled;

use crate::sys::own_work::OwnWork;

/// Numbers of the process's memory, in bytes but for the counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryStats {
    /// The source of the allocator's numbers.
    pub source: Option<Source>,
    /// Go's `Alloc` and `HeapAlloc`: bytes of blocks in use.
    pub alloc: Option<u64>,
    /// Go's `TotalAlloc`: bytes ever allocated.
    pub total_alloc: Option<u64>,
    /// Go's `Mallocs`: blocks ever allocated.
    pub mallocs: Option<u64>,
    /// Go's `Frees`: blocks ever freed.
    pub frees: Option<u64>,
    /// Go's `HeapObjects`: blocks in use.
    pub heap_objects: Option<u64>,
    /// Go's `HeapInuse`: bytes of the pages that hold blocks in use.
    pub heap_inuse: Option<u64>,
    /// Go's `HeapIdle`: bytes that the allocator has and holds no blocks in.
    pub heap_idle: Option<u64>,
    /// Go's `HeapReleased`: those of them that the system has back.
    pub heap_released: Option<u64>,
    /// Go's `HeapSys`: bytes of addresses that the allocator has of the system.
    pub heap_sys: Option<u64>,
    /// Go's `Sys`: bytes that the process has of the machine's memory, its resident set.
    pub sys: Option<u64>,
    /// The most that the resident set ever was. Go doesn't have it.
    pub peak_sys: Option<u64>,
}

/// The source of the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Source {
    /// jemalloc's statistics.
    Jemalloc,
    /// Estimates from what was sampled.
    Sampled,
    /// glibc's malloc.
    Glibc,
}

/// Reads an allocator's numbers; `None` where the program doesn't allocate through it.
type ReadStats = fn() -> Option<MemoryStats>;

/// The sources of this build, those that count before the one that estimates.
static SOURCES: &[ReadStats] = &[
    #[cfg(all(feature = "jemalloc", target_os = "linux"))]
    jemalloc::stats,
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    glibc::stats,
    #[cfg(all(feature = "heap", stacks))]
    sampled::stats,
];

/// Returns the numbers as they are now.
///
/// ```
/// let stats = profile_core::memory::stats();
/// if let Some(alloc) = stats.alloc {
///     println!("{alloc} bytes in use");
/// }
/// # #[cfg(target_os = "linux")]
/// assert!(stats.sys.unwrap() > 100_000);
/// ```
pub fn stats() -> MemoryStats {
    let _own = OwnWork::begin();
    // Of one source, all of them: an exact number beside an estimate would contradict it.
    let allocator = SOURCES.iter().find_map(|source| source()).unwrap_or_default();
    let (sys, peak_sys) = process::resident();
    MemoryStats { sys, peak_sys, ..allocator }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn what_is_allocated_shows() {
        let before = stats();
        let kept = std::hint::black_box(vec![1u8; 64 << 20]);
        let after = stats();
        assert!(after.sys >= before.sys.map(|bytes| bytes + (60 << 20)), "{before:?} {after:?}");
        assert!(after.peak_sys >= after.sys);
        // This test program's allocator is the system's.
        #[cfg(target_env = "gnu")]
        {
            assert_eq!(after.source, Some(Source::Glibc));
            assert!(after.alloc >= before.alloc.map(|bytes| bytes + (60 << 20)));
            assert_eq!((after.total_alloc, after.frees), (None, None));
        }
        drop(kept);
    }
}
