//! From the record, which the wrapper or jemalloc's hooks write.

use std::time::SystemTime;

use profile_format::profile::{Function, Line, Profile};
use profile_format::{BoxError, Kind, Unavailable};

use crate::heap::profile::{HeapProfileStacks, HeapSource, TakenHeap};
use crate::heap::recorder::{self, RecorderHealth};
use crate::heap::sites::SiteView;
use crate::heap::{Amounts, Feeder, feeds, recorded};
use crate::stacks::raw::capture;

pub(crate) struct HeapRecordSource;

impl HeapSource for HeapRecordSource {
    fn check(&self, kind: Kind) -> Result<(), Unavailable> {
        match feeds::installed() {
            Some(_) => Ok(()),
            None => Err(Unavailable::new(
                kind,
                "the program's global allocator is not wrapped in profilez::alloc::Sampled",
                "make `profilez::alloc::Sampled::new(std::alloc::System)`, or the same around another \
                 allocator, the #[global_allocator]",
            )),
        }
    }

    fn rate(&self) -> Option<u64> {
        feeds::installed().map(|feed| (feed.rate)())
    }

    fn sampling(&self) -> Result<Box<dyn Send>, BoxError> {
        // What was loaded since the last time is to have its stacks.
        capture::refresh();
        let feed = feeds::installed().ok_or("nothing is recorded")?;
        (feed.sampling)()
    }

    fn take(&self, kind: Kind) -> Result<TakenHeap, BoxError> {
        let feed = feeds::installed().ok_or("nothing is recorded")?;
        capture::refresh();
        let record = TakenRecord {
            kind,
            taken: SystemTime::now(),
            // A window is over when its profile is written, and sampling may be off again.
            rate: (feed.rate_when_on)(),
            feeder: feed.feeder,
            // Their stacks stay where they are for good.
            sites: recorded::sites().collect(),
            health: recorder::health(),
        };
        Ok(Box::new(move || Ok(record.profile())))
    }
}

/// The record at one moment.
struct TakenRecord {
    kind: Kind,
    taken: SystemTime,
    rate: u64,
    feeder: Feeder,
    sites: Vec<(SiteView, Amounts)>,
    health: RecorderHealth,
}

impl TakenRecord {
    fn profile(self) -> Profile {
        let TakenRecord { kind, taken, rate, feeder, sites, health } = self;
        let mut stacks = HeapProfileStacks::new(kind, rate, taken);
        for (site, amounts) in sites {
            let values = [
                amounts.alloc_objects,
                amounts.alloc_bytes,
                amounts.inuse_objects,
                amounts.inuse_bytes,
            ];
            if site.stack().len() == 0 {
                // Stacks that found no room.
                let name = stacks.builder.str("[stack not recorded]");
                let function = stacks.builder.function(Function { name, ..Function::default() });
                let line = Line { function, ..Line::default() };
                let location = stacks.builder.location(None, 0, &[line]);
                crate::heap::profile::add(&mut stacks.builder, &[location], values);
            } else {
                stacks.add(site.stack(), values);
            }
        }
        let engine = match feeder {
            Feeder::Sampled => "profilez, a sampling allocator",
            Feeder::Jemalloc => "jemalloc's sampling, recorded by profilez since it was started",
        };
        stacks
            .builder
            .comment(&format!("engine: {engine}, one sample every {rate} bytes, unwind tables"));
        let RecorderHealth { sites, live, dropped, stackless, truncated } = health;
        stacks.builder.comment(&format!("recorder: {sites} stacks, {live} sampled blocks in use"));
        for (count, what) in [
            (dropped, "sampled blocks found no room"),
            (stackless, "sampled blocks have no stack, which found no room"),
            (truncated, "sampled blocks have a stack without its beginning"),
        ] {
            if count > 0 {
                stacks.builder.comment(&format!("lost: {count} {what}"));
            }
        }
        stacks.builder.finish()
    }
}
