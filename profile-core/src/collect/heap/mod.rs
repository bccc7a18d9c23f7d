//! `heap` and `allocs` from jemalloc's own sampling, through a dump into memory.
//!
//! What is measured: allocations sampled once every so many bytes (512 KiB unless set otherwise),
//! scaled to what they stand for: objects and bytes, allocated and still in use. Cost: while
//! sampling is on about 7 µs for each sampled allocation; for a profile one dump, during which
//! sampled allocations and frees of other threads may wait.
//!
//! Where it is blind: blocks that were allocated while sampling was off are never seen, and sites
//! that allocate much less than the sampling rate show by chance. Cumulative counts need jemalloc's
//! `prof_accum`, which keeps a few kilobytes for every thread that ends; without it `alloc_*` are 0
//! and `allocs` is not available.

use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use super::locate::{Locator, Symbols, unix_nanos};
use super::{Collector, File, Pending, Window};
use crate::jemalloc::{HeapDump, HeapDumpLimits, unbias};
use crate::profile::{Builder, Profile};
use crate::sys::jemalloc::{self, Flag};
use crate::sys::memory_file::MemoryFile;
use crate::{Error, Kind, Unavailable};

mod plumbing;

/// `heap` or `allocs`, from jemalloc.
#[derive(Clone, Copy, Debug)]
pub(super) struct JemallocHeap {
    kind: Kind,
}

impl JemallocHeap {
    pub(super) fn heap() -> JemallocHeap {
        JemallocHeap { kind: Kind::Heap }
    }

    pub(super) fn allocs() -> JemallocHeap {
        JemallocHeap { kind: Kind::Allocs }
    }
}

/// How to set a jemalloc option, for the hints.
const HOW: &str = "put `profilez::jemalloc_config!();` at the top of main.rs, or start the program \
                   with _RJEM_MALLOC_CONF=prof:true,prof_active:true,prof_accum:true";

impl Collector for JemallocHeap {
    fn kind(&self) -> Kind {
        self.kind
    }

    fn check(&self) -> Result<(), Unavailable> {
        let unavailable = |reason: &str, hint: &str| Err(Unavailable::new(self.kind, reason, hint));
        if !jemalloc::is_global_allocator() {
            return unavailable(
                "the program's global allocator is not jemalloc",
                "make tikv_jemallocator::Jemalloc, with its feature `profiling`, the #[global_allocator]",
            );
        }
        if jemalloc::flag(Flag::ConfigProf) != Some(true) {
            return unavailable(
                "jemalloc was built without profiling",
                "switch on the feature `profiling` of tikv-jemallocator",
            );
        }
        if jemalloc::flag(Flag::OptProf) != Some(true) {
            return unavailable("jemalloc was started with profiling off (opt.prof is false)", HOW);
        }
        let accumulates = jemalloc::flag(Flag::OptProfAccum) == Some(true);
        if self.kind == Kind::Allocs && !accumulates {
            return unavailable(
                "jemalloc keeps no cumulative counts (opt.prof_accum is false)",
                HOW,
            );
        }
        Ok(())
    }

    fn rate(&self) -> Option<u64> {
        jemalloc::sample_rate()
    }

    fn start(&self) -> Result<Box<dyn Window>, Error> {
        self.check()?;
        let sampling = Sampling::on().map_err(|source| self.failed(source))?;
        Ok(Box::new(HeapWindow { collector: *self, sampling }))
    }
}

impl JemallocHeap {
    fn failed(self, source: impl Into<crate::BoxError>) -> Error {
        Error::Collect { kind: self.kind, source: source.into() }
    }

    fn collect(self) -> Result<Vec<File>, Error> {
        let file = MemoryFile::new(c"profilez-heap").map_err(|source| self.failed(source))?;
        jemalloc::dump(&file.path()).map_err(|source| self.failed(source))?;
        let text = file.map().map_err(|source| self.failed(source))?;
        let dump = HeapDump::parse(&text, &HeapDumpLimits::default())
            .map_err(|source| self.failed(source))?;
        drop(text);
        let profile = self.profile(&dump);
        drop(dump);
        Ok(vec![File { name: self.kind.file_name(), bytes: profile.encode_gzip() }])
    }

    fn profile(self, dump: &HeapDump) -> Profile {
        let mut builder = Builder::new(&[
            ("alloc_objects", "count"),
            ("alloc_space", "bytes"),
            ("inuse_objects", "count"),
            ("inuse_space", "bytes"),
        ]);
        builder.period("space", "bytes", i64::try_from(dump.rate).unwrap_or(i64::MAX));
        let mut locator = Locator::new(&mut builder, Symbols::Resolved);
        let mut trimmer = plumbing::Trimmer::new();
        let mut stack = Vec::new();
        for site in dump.stacks() {
            stack.clear();
            stack.extend(site.addresses.iter().map(|address| {
                // Return addresses, all of them: the call is before each.
                locator.location(&mut builder, address.wrapping_sub(1))
            }));
            let stack = trimmer.trim(&mut builder, &mut stack);
            let counts = site.counts;
            let (inuse_objects, inuse_bytes) =
                unbias(counts.cur_objects, counts.cur_bytes, dump.rate);
            let (alloc_objects, alloc_bytes) =
                unbias(counts.accum_objects, counts.accum_bytes, dump.rate);
            let values = [alloc_objects, alloc_bytes, inuse_objects, inuse_bytes]
                .map(|value| i64::try_from(value).unwrap_or(i64::MAX));
            builder.sample(stack, &values, &[]);
        }
        builder.comment(&format!("engine: jemalloc, one sample every {} bytes", dump.rate));
        if jemalloc::flag(Flag::OptProfAccum) != Some(true) {
            builder.comment("alloc_objects and alloc_space are not collected: prof_accum is off");
        }
        let default_type =
            if self.kind == Kind::Allocs { builder.str("alloc_space") } else { builder.str("") };
        let profile = builder.profile_mut();
        profile.default_sample_type = default_type;
        profile.time_nanos = unix_nanos(SystemTime::now());
        builder.finish()
    }
}

struct HeapWindow {
    collector: JemallocHeap,
    sampling: Sampling,
}

impl Window for HeapWindow {
    fn close(self: Box<Self>) -> Pending {
        let collector = self.collector;
        // Blocks that were sampled stay known to jemalloc after sampling is off.
        drop(self.sampling);
        Box::new(move || collector.collect())
    }
}

/// Sampling is on while one of these lives. The last to go restores what the first found.
struct Sampling {
    _private: (),
}

struct Users {
    count: usize,
    was_active: bool,
}

static USERS: Mutex<Users> = Mutex::new(Users { count: 0, was_active: false });

impl Sampling {
    fn on() -> std::io::Result<Sampling> {
        let mut users = USERS.lock().unwrap_or_else(PoisonError::into_inner);
        if users.count == 0 {
            users.was_active = jemalloc::flag(Flag::ProfActive) == Some(true);
            if !users.was_active {
                jemalloc::set_active(true)?;
            }
        }
        users.count += 1;
        Ok(Sampling { _private: () })
    }
}

impl Drop for Sampling {
    fn drop(&mut self) {
        let mut users = USERS.lock().unwrap_or_else(PoisonError::into_inner);
        users.count -= 1;
        if users.count == 0 && !users.was_active {
            // The same call that switched it on; there is nobody to tell if it fails.
            let _ = jemalloc::set_active(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_says_in_one_sentence_what_is_missing() {
        // This test program's allocator is the system's.
        for collector in [JemallocHeap::heap(), JemallocHeap::allocs()] {
            let why = collector.check().unwrap_err();
            assert_eq!(why.kind, collector.kind());
            assert_eq!(why.reason, "the program's global allocator is not jemalloc");
            assert!(why.hint.contains("#[global_allocator]"), "{}", why.hint);
            assert!(collector.start().is_err());
        }
    }
}
