//! From a dump of jemalloc's own into memory: where it has no hooks.
//!
//! Cost: about 7 µs for each sampled allocation, in jemalloc's unwinder; for a profile one dump,
//! during which sampled allocations and frees of other threads may wait. Cumulative counts need
//! jemalloc's `prof_accum`, which keeps a few kilobytes for every thread that ends; without it
//! `alloc_*` are 0 and `allocs` is not available.

use std::time::SystemTime;

use profile_format::jemalloc::{HeapDump, HeapDumpLimits, unbias};
use profile_format::profile::Profile;
use profile_format::{BoxError, Kind, Unavailable};

use crate::heap::profile::{HeapProfileStacks, HeapSource, TakenHeap};
use crate::heap::raw::jemalloc::{self, JemallocFlag, JemallocSampling};
use crate::heap::raw::memory_file::MemoryFile;

pub(crate) struct JemallocDump;

/// Hint that tells how to set a jemalloc option.
const HOW: &str = "put `profilez::jemalloc_config!();` at the top of main.rs, or start the program \
                   with _RJEM_MALLOC_CONF=prof:true,prof_active:true";

impl HeapSource for JemallocDump {
    fn check(&self, kind: Kind) -> Result<(), Unavailable> {
        let unavailable = |reason: &str, hint: &str| Err(Unavailable::new(kind, reason, hint));
        if !jemalloc::is_global_allocator() {
            return unavailable(
                "the program's global allocator is not jemalloc, nor wrapped in \
                 profilez::alloc::Sampled",
                "make tikv_jemallocator::Jemalloc, with its feature `profiling`, the \
                 #[global_allocator], or `profilez::alloc::Sampled::new(std::alloc::System)`",
            );
        }
        if jemalloc::flag(JemallocFlag::ConfigProf) != Some(true) {
            return unavailable(
                "jemalloc was built without profiling",
                "switch on the feature `profiling` of tikv-jemallocator",
            );
        }
        if jemalloc::flag(JemallocFlag::OptProf) != Some(true) {
            return unavailable("jemalloc was started with profiling off (opt.prof is false)", HOW);
        }
        let accumulates = jemalloc::flag(JemallocFlag::OptProfAccum) == Some(true);
        if kind == Kind::Allocs && !accumulates {
            return unavailable(
                "this jemalloc has no sampling hooks, and keeps no cumulative counts \
                 (opt.prof_accum is false)",
                "update tikv-jemallocator, or add prof_accum:true to jemalloc's options",
            );
        }
        Ok(())
    }

    fn rate(&self) -> Option<u64> {
        jemalloc::sample_rate()
    }

    fn sampling(&self) -> Result<Box<dyn Send>, BoxError> {
        Ok(Box::new(JemallocSampling::on()?))
    }

    fn take(&self, kind: Kind) -> Result<TakenHeap, BoxError> {
        let taken = SystemTime::now();
        let file = MemoryFile::new(c"profilez-heap")?;
        jemalloc::dump(&file.path())?;
        Ok(Box::new(move || JemallocDump::convert(kind, taken, file)))
    }
}

impl JemallocDump {
    fn convert(kind: Kind, taken: SystemTime, file: MemoryFile) -> Result<Profile, BoxError> {
        let text = file.map()?;
        let dump = HeapDump::parse(&text, &HeapDumpLimits::default())?;
        drop(text);
        let mut stacks = HeapProfileStacks::new(kind, dump.rate, taken);
        for site in dump.stacks() {
            let counts = site.counts;
            let (inuse_objects, inuse_bytes) =
                unbias(counts.cur_objects, counts.cur_bytes, dump.rate);
            let (alloc_objects, alloc_bytes) =
                unbias(counts.accum_objects, counts.accum_bytes, dump.rate);
            // Return addresses, all of them: the call is before each.
            let calls = site.addresses.iter().map(|address| address.wrapping_sub(1));
            stacks.add(calls, [alloc_objects, alloc_bytes, inuse_objects, inuse_bytes]);
        }
        stacks.builder.comment(&format!("engine: jemalloc, one sample every {} bytes", dump.rate));
        if jemalloc::flag(JemallocFlag::OptProfAccum) != Some(true) {
            stacks
                .builder
                .comment("alloc_objects and alloc_space are not collected: prof_accum is off");
        }
        Ok(stacks.builder.finish())
    }
}
