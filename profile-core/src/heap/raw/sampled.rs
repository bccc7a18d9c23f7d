//! The wrapper around a global allocator.
//!
//! All of it runs inside an allocator: it does not allocate, lock, wait, panic, format, or touch a
//! thread-local that is initialised lazily or dropped. The one exception is the first sample of the
//! process, which reads the unwind tables: it does allocate, marked as work of the profiler's own.

use std::alloc::{GlobalAlloc, Layout};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering::Relaxed};

use crate::heap::countdown;
use crate::heap::live::{BlockFinder, BlockKey};
use crate::heap::recorder::{self, DEPTH};
use crate::heap::wrapper::Sampled;
use crate::stacks::raw::capture::{self, CapturedStack};

/// Small sampled blocks are aligned to this, so that a free tells most others by their address alone.
const TAG: usize = 1024;

/// Blocks from this size on are large: they are as they were asked for, so that the inner allocator
/// can grow them where they are, and a look at the filter is nothing beside what their end costs.
const LARGE: usize = 8 << 10;

/// Set by the first allocation, which is always due.
static USED: AtomicBool = AtomicBool::new(false);

/// Returns whether the program allocates through a wrapper.
pub(crate) fn is_used() -> bool {
    USED.load(Relaxed)
}

// SAFETY: every block comes from the inner allocator and goes back to it with the layout that it was
// asked for with: that of the caller, or for small blocks that the recorder holds the same with a larger
// alignment, which is valid for the caller's as well. The recorder knows of a block from before it
// is handed out until it is given back.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Sampled<A> {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if countdown::fits_in_interval(layout.size()) {
            // SAFETY: the caller's promise.
            unsafe { self.0.alloc(layout) }
        } else {
            // SAFETY: as above.
            unsafe { allocate_or_sample(&self.0, layout, A::alloc) }
        }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if countdown::fits_in_interval(layout.size()) {
            // SAFETY: the caller's promise.
            unsafe { self.0.alloc_zeroed(layout) }
        } else {
            // SAFETY: as above.
            unsafe { allocate_or_sample(&self.0, layout, A::alloc_zeroed) }
        }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if FILTER.may_hold(block, layout.size()) {
            // SAFETY: the caller's promise.
            unsafe { free(&self.0, block, layout) };
        } else {
            // SAFETY: as above.
            unsafe { self.0.dealloc(block, layout) };
        }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let fits = countdown::fits_in_interval(new_size);
        if fits && !FILTER.may_hold(block, layout.size()) {
            // SAFETY: the caller's promise.
            unsafe { self.0.realloc(block, layout, new_size) }
        } else {
            // SAFETY: as above.
            unsafe { resize(&self.0, block, layout, new_size, fits) }
        }
    }
}

/// The function by which an allocator is asked for a block.
type AllocateFn<A> = unsafe fn(&A, Layout) -> *mut u8;

/// Allocates where the allocation did not fit in the interval to the next sample.
///
/// # Safety
///
/// As [`GlobalAlloc::alloc`].
#[cold]
#[inline(never)]
unsafe fn allocate_or_sample<A>(inner: &A, layout: Layout, ask: AllocateFn<A>) -> *mut u8
where
    A: GlobalAlloc,
{
    USED.store(true, Relaxed);
    match countdown::take_sample_if_due(layout.size()) {
        // SAFETY: the caller's promise.
        Some(rate) => unsafe { sample(inner, layout, ask, rate) },
        // SAFETY: as above.
        None => unsafe { ask(inner, layout) },
    }
}

/// Allocates a sampled block; one that is not sampled where there is no room for it.
///
/// # Safety
///
/// As [`GlobalAlloc::alloc`].
#[inline(always)]
unsafe fn sample<A: GlobalAlloc>(
    inner: &A,
    layout: Layout,
    ask: AllocateFn<A>,
    rate: u64,
) -> *mut u8 {
    if let Some(tagged) = tagged(layout) {
        // SAFETY: the caller's promise; the layout differs in its alignment only.
        let block = unsafe { ask(inner, tagged) };
        if !block.is_null() {
            if record(block, layout.size(), rate) {
                return block;
            }
            // SAFETY: the block came from there with this layout, and nobody has seen it.
            unsafe { inner.dealloc(block, tagged) };
        }
    }
    // SAFETY: the caller's promise.
    unsafe { ask(inner, layout) }
}

/// Gives back a block that may be a sampled one.
///
/// # Safety
///
/// As [`GlobalAlloc::dealloc`].
#[cold]
#[inline(never)]
unsafe fn free<A: GlobalAlloc>(inner: &A, block: *mut u8, layout: Layout) {
    let layout = if forget(block) { tagged(layout).unwrap_or(layout) } else { layout };
    // SAFETY: the caller's promise; sampled blocks came from there with the tagged layout.
    unsafe { inner.dealloc(block, layout) };
}

/// Resizes a block where that is due, or the block may be a sampled one. As Go counts, it is a
/// block of the new size that is allocated, and one of the old that is freed.
///
/// # Safety
///
/// As [`GlobalAlloc::realloc`].
#[cold]
#[inline(never)]
unsafe fn resize<A: GlobalAlloc>(
    inner: &A,
    block: *mut u8,
    layout: Layout,
    new_size: usize,
    fits: bool,
) -> *mut u8 {
    let rate = if fits { None } else { countdown::take_sample_if_due(new_size) };
    let (was_large, is_large) = (layout.size() >= LARGE, new_size >= LARGE);
    if (!was_large && recorder::holds(key(block))) || (!is_large && rate.is_some()) {
        // SAFETY: the caller's promise.
        return unsafe { replace(inner, block, layout, new_size, rate) };
    }
    // Another thread may get the old block's address before this one is back.
    let taken = if was_large { recorder::take_out(key(block)) } else { None };
    // SAFETY: the caller's promise; a block that is large or not sampled has the caller's layout.
    let new = unsafe { inner.realloc(block, layout, new_size) };
    if new.is_null() {
        if let Some(taken) = taken
            && !recorder::put_back(key(block), taken)
        {
            FILTER.take(block);
        }
        return new;
    }
    if let Some(taken) = taken {
        recorder::count_free(taken);
        FILTER.take(block);
    }
    if let Some(rate) = rate {
        // Without room it is no sampled block.
        record(new, new_size, rate);
    }
    new
}

/// Resizes a block whose alignment changes, which no allocator can do in place. One of both is small,
/// and so is what is copied.
///
/// # Safety
///
/// As [`GlobalAlloc::realloc`].
#[inline(always)]
unsafe fn replace<A: GlobalAlloc>(
    inner: &A,
    block: *mut u8,
    layout: Layout,
    new_size: usize,
    rate: Option<u64>,
) -> *mut u8 {
    // SAFETY: `realloc` asks for a valid size, rounded up to the alignment (GlobalAlloc::realloc).
    let new_layout = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
    let new = match rate {
        // SAFETY: the new size is not 0 (GlobalAlloc::realloc).
        Some(rate) => unsafe { sample(inner, new_layout, A::alloc, rate) },
        // SAFETY: as above.
        None => unsafe { inner.alloc(new_layout) },
    };
    if !new.is_null() {
        // SAFETY: both are live blocks of at least this size, and different ones; the old one is
        // given back once.
        unsafe {
            ptr::copy_nonoverlapping(block, new, layout.size().min(new_size));
            free(inner, block, layout);
        }
    }
    new
}

/// Returns the layout of a sampled block.
fn tagged(layout: Layout) -> Option<Layout> {
    if layout.size() >= LARGE {
        return Some(layout);
    }
    Layout::from_size_align(layout.size(), layout.align().max(TAG)).ok()
}

fn key(block: *mut u8) -> BlockKey {
    BlockKey::new(block.addr(), BlockFinder::Wrapper)
}

/// Records a sampled block with the stack of its caller.
#[inline(always)]
fn record(block: *mut u8, size: usize, rate: u64) -> bool {
    static FIRST: AtomicBool = AtomicBool::new(true);
    if FIRST.load(Relaxed) && FIRST.swap(false, Relaxed) && !capture::is_ready() {
        capture::refresh_in_allocator();
    }
    FILTER.add(block);
    let allocated = |stack: CapturedStack<'_>| {
        recorder::record_allocation(key(block), size as u64, rate, stack.addresses, stack.truncated)
    };
    // Without a stack of ours it counts all the same.
    let recorded = capture::capture(DEPTH, allocated)
        .unwrap_or_else(|| allocated(CapturedStack { addresses: &[], truncated: true }));
    if !recorded {
        FILTER.take(block);
    }
    recorded
}

/// Forgets a block. Returns whether it was a sampled one.
fn forget(block: *mut u8) -> bool {
    let forgotten = recorder::record_free(key(block));
    if forgotten {
        FILTER.take(block);
    }
    forgotten
}

static FILTER: BlockFilter = BlockFilter { counts: [const { AtomicU8::new(0) }; 1 << FILTER_BITS] };

const FILTER_BITS: u32 = 16;

/// Says of most blocks at once that they are not sampled ones: counts those there are by a hash of
/// their address.
struct BlockFilter {
    counts: [AtomicU8; 1 << FILTER_BITS],
}

impl BlockFilter {
    /// Returns false where the block is certainly not a sampled one. Whoever frees a block got it
    /// from whoever allocated it, and sees what was counted before.
    #[inline(always)]
    fn may_hold(&self, block: *mut u8, size: usize) -> bool {
        (block.addr().is_multiple_of(TAG) || size >= LARGE) && self.count(block).load(Relaxed) != 0
    }

    fn add(&self, block: *mut u8) {
        // A count that has come to its end stays there.
        let up = |count: u8| count.checked_add(1);
        let _ = self.count(block).fetch_update(Relaxed, Relaxed, up);
    }

    fn take(&self, block: *mut u8) {
        let down = |count: u8| (count != u8::MAX).then(|| count.saturating_sub(1));
        let _ = self.count(block).fetch_update(Relaxed, Relaxed, down);
    }

    #[inline(always)]
    fn count(&self, block: *mut u8) -> &AtomicU8 {
        let hash = ((block.addr() / TAG) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        &self.counts[(hash >> (64 - FILTER_BITS)) as usize]
    }
}
