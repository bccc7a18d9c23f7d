//! jemalloc's control interface, name by name, with the type that each name has.

use std::ffi::CString;
use std::io;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use tikv_jemalloc_ctl::raw;

/// Reads a flag that can only be read, such as `opt.prof`. `None` where this build has no such
/// name.
pub(crate) fn flag(name: JemallocFlag) -> Option<bool> {
    // SAFETY: the names of `JemallocFlag` end in NUL and hold a C `bool` (jemalloc(3), MALLCTL NAMESPACE),
    // which jemalloc writes as 0 or 1.
    unsafe { raw::read::<bool>(name.name()) }.ok()
}

/// The flags that are read here; every one is a C `bool`.
#[derive(Clone, Copy)]
pub(crate) enum JemallocFlag {
    /// Built with profiling.
    ConfigProf,
    /// Profiling was switched on at start.
    OptProf,
    /// Counts are kept since the start.
    OptProfAccum,
    /// Allocations are being sampled.
    ProfActive,
}

impl JemallocFlag {
    fn name(self) -> &'static [u8] {
        match self {
            JemallocFlag::ConfigProf => b"config.prof\0",
            JemallocFlag::OptProf => b"opt.prof\0",
            JemallocFlag::OptProfAccum => b"opt.prof_accum\0",
            JemallocFlag::ProfActive => b"prof.active\0",
        }
    }
}

/// Sampling is on while one of these lives. The last to go restores what the first found.
pub(crate) struct JemallocSampling {
    _private: (),
}

struct SamplingUsers {
    count: usize,
    was_active: bool,
}

static USERS: Mutex<SamplingUsers> = Mutex::new(SamplingUsers { count: 0, was_active: false });

impl JemallocSampling {
    pub(crate) fn on() -> io::Result<JemallocSampling> {
        let mut users = USERS.lock().unwrap_or_else(PoisonError::into_inner);
        if users.count == 0 {
            users.was_active = flag(JemallocFlag::ProfActive) == Some(true);
            if !users.was_active {
                set_active(true)?;
            }
        }
        users.count += 1;
        Ok(JemallocSampling { _private: () })
    }
}

impl Drop for JemallocSampling {
    fn drop(&mut self) {
        let mut users = USERS.lock().unwrap_or_else(PoisonError::into_inner);
        users.count -= 1;
        if users.count == 0 && !users.was_active {
            // The same call that switched it on; there is nobody to tell if it fails.
            let _ = set_active(false);
        }
    }
}

/// Switches sampling on or off.
fn set_active(active: bool) -> io::Result<()> {
    // SAFETY: `prof.active` is a C `bool`, read and written (jemalloc(3)).
    unsafe { raw::write(b"prof.active\0", active) }
        .map_err(|error| io::Error::other(error.to_string()))
}

/// Returns the bytes allocated between two samples, on average.
pub(crate) fn sample_rate() -> Option<u64> {
    // SAFETY: `prof.lg_sample` is a `size_t` (jemalloc(3)).
    let log2 = unsafe { raw::read::<libc::size_t>(b"prof.lg_sample\0") }.ok()?;
    1u64.checked_shl(u32::try_from(log2).ok()?)
}

/// Writes a heap dump to a path.
pub(crate) fn dump(path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: `prof.dump` takes a `const char *` (jemalloc(3)) that is read during the call only;
    // `path` outlives it.
    unsafe { raw::write(b"prof.dump\0", path.as_ptr()) }
        .map_err(|error| io::Error::other(error.to_string()))
}

/// Returns the range that jemalloc's functions lie in by which a program asks for memory, as far as
/// they are next to each other: told by the first and the last of those that have a name in Rust.
pub(crate) fn code_range() -> Range<u64> {
    /// Bytes before the first of them, of functions that these call: 26 KiB in version 5.3.1.
    const BEFORE: u64 = 64 << 10;
    /// Bytes from the beginning of the last one on.
    const BEHIND: u64 = 4 << 10;
    let functions = [
        tikv_jemalloc_sys::malloc as *const () as u64,
        tikv_jemalloc_sys::calloc as *const () as u64,
        tikv_jemalloc_sys::realloc as *const () as u64,
        tikv_jemalloc_sys::aligned_alloc as *const () as u64,
        tikv_jemalloc_sys::posix_memalign as *const () as u64,
        tikv_jemalloc_sys::mallocx as *const () as u64,
        tikv_jemalloc_sys::rallocx as *const () as u64,
        tikv_jemalloc_sys::xallocx as *const () as u64,
        tikv_jemalloc_sys::sdallocx as *const () as u64,
    ];
    let (first, last) = functions
        .iter()
        .fold((u64::MAX, 0), |(first, last), &function| (first.min(function), last.max(function)));
    first.saturating_sub(BEFORE)..last.saturating_add(BEHIND)
}

/// Returns whether Rust's global allocator is this jemalloc: an allocation must move its counter.
pub(crate) fn is_global_allocator() -> bool {
    // SAFETY: `thread.allocated` is a `uint64_t` (jemalloc(3)).
    let allocated = || unsafe { raw::read::<u64>(b"thread.allocated\0") }.unwrap_or(0);
    let before = allocated();
    drop(std::hint::black_box(Box::new([0u8; 64])));
    allocated() > before
}
