//! `heap` and `allocs`: what was allocated, and what of it is in use.
//!
//! What is measured: blocks sampled once every so many bytes (512 KiB unless set otherwise), scaled
//! to what they stand for: objects and bytes, allocated and in use. They come from the first of
//! these that the program has: the record, written by
//! [`alloc::Sampled`](crate::heap::alloc::Sampled) or by jemalloc's hooks, or else a dump of
//! jemalloc's own. Cost: a nanosecond or two for an allocation and its free, about 2 µs for each
//! that is sampled; reading the record disturbs nobody.
//!
//! Where it is blind: blocks that were allocated while sampling was off, or before jemalloc's hooks
//! were put in, are never seen, and sites that allocate much less than the sampling rate show by
//! chance.

#[cfg(all(feature = "jemalloc", target_os = "linux"))]
mod dump;
#[cfg(all(feature = "heap", stacks))]
mod record;
mod runtime_frames;

use std::time::SystemTime;

use profile_format::profile::{Builder, Profile};
use profile_format::{BoxError, Kind, ProfileShape, Unavailable};

use crate::collector::{Collector, File, Pending, Window};
use crate::error::Error;
use crate::stacks::locate::{AddressLocator, Symbols, unix_nanos};
use crate::stacks::own_frames::without_thread_root;

/// `heap` or `allocs`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeapCollector {
    kind: Kind,
}

/// The origin of a profile: the record or jemalloc's own dump.
trait HeapSource: Sync {
    /// Returns an error where it does not have a kind.
    fn check(&self, kind: Kind) -> Result<(), Unavailable>;

    /// Returns the bytes between two samples.
    fn rate(&self) -> Option<u64>;

    /// Switches sampling on, if it is off, until the value is dropped.
    fn sampling(&self) -> Result<Box<dyn Send>, BoxError>;

    /// Takes what is known now; the result makes a profile of it.
    fn take(&self, kind: Kind) -> Result<TakenHeap, BoxError>;
}

/// The rest of the work on what was taken: naming its stacks.
type TakenHeap = Box<dyn FnOnce() -> Result<Profile, BoxError> + Send>;

/// The one place that knows which sources are compiled in: the better first.
const SOURCES: &[&dyn HeapSource] = &[
    #[cfg(all(feature = "heap", stacks))]
    &record::HeapRecordSource,
    #[cfg(all(feature = "jemalloc", target_os = "linux"))]
    &dump::JemallocDump,
];

impl HeapCollector {
    pub(crate) fn new(kind: Kind) -> HeapCollector {
        // What is allocated from here on is to be seen.
        crate::heap::install();
        HeapCollector { kind }
    }

    /// Returns the first source that has the kind; else the reason of the last one, which is the
    /// one with most to say.
    fn source(self) -> Result<&'static dyn HeapSource, Unavailable> {
        let mut why = None;
        for source in SOURCES {
            match source.check(self.kind) {
                Ok(()) => return Ok(*source),
                Err(unavailable) => why = Some(unavailable),
            }
        }
        Err(why.unwrap_or_else(|| {
            let reason = "stacks can't be read on this system";
            Unavailable::new(self.kind, reason, "use Linux on x86_64 or aarch64")
        }))
    }

    fn failed(self, source: BoxError) -> Error {
        Error::Collect { kind: self.kind, source }
    }

    fn finish(self, taken: Result<TakenHeap, BoxError>) -> Result<Vec<File>, Error> {
        let profile = taken.and_then(|taken| taken()).map_err(|error| self.failed(error))?;
        Ok(vec![File { name: self.kind.file_name(), bytes: profile.into() }])
    }
}

impl Collector for HeapCollector {
    fn kind(&self) -> Kind {
        self.kind
    }

    fn check(&self) -> Result<(), Unavailable> {
        self.source().map(|_| ())
    }

    fn rate(&self) -> Option<u64> {
        self.source().ok()?.rate()
    }

    fn snapshot(&self) -> Result<Vec<File>, Error> {
        let _own = crate::OwnWork::begin();
        self.finish(self.source()?.take(self.kind))
    }

    fn start(&self) -> Result<Box<dyn Window>, Error> {
        let source = self.source()?;
        let sampling = source.sampling().map_err(|error| self.failed(error))?;
        Ok(Box::new(HeapWindow { heap: *self, source, sampling }))
    }
}

struct HeapWindow {
    heap: HeapCollector,
    source: &'static dyn HeapSource,
    sampling: Box<dyn Send>,
}

impl Window for HeapWindow {
    fn close(self: Box<Self>) -> Pending {
        let (heap, source) = (self.heap, self.source);
        // Blocks that were sampled stay known when sampling is off.
        drop(self.sampling);
        let taken = source.take(heap.kind);
        Box::new(move || heap.finish(taken))
    }
}

/// A profile of a kind, stack by stack.
struct HeapProfileStacks {
    builder: Builder,
    locator: AddressLocator,
    trimmer: runtime_frames::AllocatorTrimmer,
    stack: Vec<u32>,
}

impl HeapProfileStacks {
    fn new(kind: Kind, rate: u64, taken: SystemTime) -> HeapProfileStacks {
        let shape = kind.facts().profile.unwrap_or(ProfileShape::HEAP);
        let mut builder = shape.builder(i64::try_from(rate).unwrap_or(i64::MAX));
        builder.profile_mut().time_nanos = unix_nanos(taken);
        let locator = AddressLocator::new(&mut builder, Symbols::Resolved);
        HeapProfileStacks {
            builder,
            locator,
            trimmer: runtime_frames::AllocatorTrimmer::default(),
            stack: Vec::new(),
        }
    }

    /// Adds a stack of addresses inside calls, with objects and bytes allocated and in use.
    fn add(&mut self, addresses: impl Iterator<Item = u64>, values: [u64; 4]) {
        let mut stack = std::mem::take(&mut self.stack);
        stack.clear();
        let addresses = without_thread_root(addresses.collect()).into_iter();
        stack.extend(addresses.map(|address| self.locator.location(&mut self.builder, address)));
        let mut trimmed = self.trimmer.trim(&mut self.builder, &mut stack).to_vec();
        self.locator.take_own_frames_out(&mut self.builder, &mut trimmed);
        add(&mut self.builder, &trimmed, values);
        self.stack = stack;
    }
}

/// Adds a stack of locations.
fn add(builder: &mut Builder, stack: &[u32], values: [u64; 4]) {
    let clamped = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    builder.sample(stack, &values.map(clamped), &[]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_says_in_one_sentence_what_is_missing() {
        // This test program's allocator is the system's.
        for collector in [HeapCollector::new(Kind::Heap), HeapCollector::new(Kind::Allocs)] {
            let why = collector.check().unwrap_err();
            assert_eq!(why.kind, collector.kind());
            assert!(
                why.reason.starts_with("the program's global allocator is not"),
                "{}",
                why.reason
            );
            assert!(why.hint.contains("#[global_allocator]"), "{}", why.hint);
            assert!(collector.start().is_err());
            assert!(collector.snapshot().is_err());
        }
    }
}
