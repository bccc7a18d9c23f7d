//! From sampled counts to estimates, and from a dump to a profile.

use std::marker::PhantomData;

use super::addresses::AddressTable;
use super::parse::{StackVisitor, rate, visit};
use super::{Counts, HeapDump, HeapDumpError, HeapDumpLimits, MappedRegion};
use crate::ProfileShape;
use crate::profile::{Builder, Mapping, Profile, SampleStream, Samples, WireId};

/// Scales what was sampled at one stack up to what was allocated there: blocks and bytes.
///
/// A block of `s` bytes is sampled with probability `1 - exp(-s / rate)`, so each sampled block
/// stands for the inverse of that many. `s` is the stack's mean block size, as in jeprof and Go. To
/// be applied exactly once, to each stack by itself and never to sums. jemalloc 5.3 with
/// `prof_unbias` writes numbers that come out right after this.
///
/// Where nothing was sampled, or everything (a rate of 0 or 1), the numbers stay as they are.
pub fn unbias(count: u64, bytes: u64, rate: u64) -> (u64, u64) {
    if count == 0 || bytes == 0 || rate <= 1 {
        return (count, bytes);
    }
    let mean = bytes as f64 / count as f64;
    let scale = -1.0 / (-mean / rate as f64).exp_m1();
    ((count as f64 * scale).round() as u64, (bytes as f64 * scale).round() as u64)
}

/// Converts a dump to a gzip'd profile, the same as [`HeapDump::to_profile`] gives. Stacks go
/// straight from one text to the other, so that little more memory is needed than for both.
///
/// # Errors
///
/// Only where the first line is not that of such a dump. What can't be read is left out.
pub fn convert(bytes: &[u8], limits: &HeapDumpLimits) -> Result<Vec<u8>, HeapDumpError> {
    let rate = rate(bytes)?;
    let mut stream = SampleStream::new();
    let mut converter = DumpConverter::new(rate, |stack: &[WireId], values: &[i64; 4]| {
        stream.sample(stack, values);
    });
    let around = visit(bytes, limits, &mut converter);
    let profile = converter.finish(&around.regions);
    Ok(stream.finish(&profile))
}

impl HeapDump {
    /// Converts the dump to a profile with the four sample types of a Go heap profile, estimates of
    /// what the whole process allocated.
    ///
    /// Addresses are those of the calls, one less than the dump's return addresses, and have no
    /// names. Samples have no label `bytes`, as Go's have: a dump does not tell the sizes of
    /// blocks, and a stack's mean is the quotient of its values. Stacks at which nothing was
    /// counted are left out; jemalloc's own frames are not.
    pub fn to_profile(&self) -> Profile {
        let mut samples = Samples::new(4);
        let mut converter = DumpConverter::new(self.rate, |stack: &[u32], values: &[i64; 4]| {
            samples.push(stack, values, &[]);
        });
        let mut places = Vec::new();
        for stack in self.stacks() {
            places.clear();
            places.extend(stack.addresses.iter().map(|&address| converter.place(address)));
            converter.stack(&places, stack.counts);
        }
        let profile = converter.finish(&self.regions);
        Profile { samples, ..profile }
    }
}

/// Turns stacks of a dump into samples, and keeps what these refer to.
struct DumpConverter<P, F> {
    builder: Builder,
    rate: u64,
    addresses: AddressTable,
    accumulates: bool,
    emit: F,
    /// The type that the index of an address becomes.
    place: PhantomData<fn(u32) -> P>,
}

impl<P, F: FnMut(&[P], &[i64; 4])> DumpConverter<P, F> {
    fn new(rate: u64, emit: F) -> DumpConverter<P, F> {
        let builder = ProfileShape::HEAP.builder(clamp(rate));
        let addresses = AddressTable::new();
        let place = PhantomData;
        DumpConverter { builder, rate, addresses, accumulates: false, emit, place }
    }

    /// Returns the profile without its samples.
    fn finish(mut self, regions: &[MappedRegion]) -> Profile {
        if !self.accumulates {
            self.builder.comment("alloc_objects, alloc_space: not collected, prof_accum was off");
        }
        let ranges = add_mappings(&mut self.builder, regions);
        for location in &mut self.builder.profile_mut().locations {
            location.mapping = mapping_of(&ranges, location.address);
        }
        self.builder.finish()
    }
}

impl<P, F> StackVisitor for DumpConverter<P, F>
where
    P: From<u32> + Copy + Default,
    F: FnMut(&[P], &[i64; 4]),
{
    type AddressPlace = P;

    fn place(&mut self, return_address: u64) -> P {
        let index = self.addresses.index(return_address, || {
            self.builder.location(None, return_address.saturating_sub(1), &[])
        });
        index.into()
    }

    fn stack(&mut self, stack: &[P], counts: Counts) {
        let Counts { cur_objects, cur_bytes, accum_objects, accum_bytes } = counts;
        self.accumulates |= accum_objects > 0;
        if accum_objects == 0 && cur_objects == 0 {
            return;
        }
        let (alloc_objects, alloc_bytes) = unbias(accum_objects, accum_bytes, self.rate);
        let (inuse_objects, inuse_bytes) = unbias(cur_objects, cur_bytes, self.rate);
        let values = [alloc_objects, alloc_bytes, inuse_objects, inuse_bytes].map(clamp);
        (self.emit)(stack, &values);
    }
}

/// Addresses of a mapping, and its index.
type MappedRange = (u64, u64, u32);

/// Adds the regions that hold code, the main binary first, and returns their ranges in order.
fn add_mappings(builder: &mut Builder, regions: &[MappedRegion]) -> Vec<MappedRange> {
    let mut code: Vec<&MappedRegion> = regions.iter().filter(|region| region.executable).collect();
    if let Some(main) = code.iter().position(|region| is_program(&region.path)) {
        code[..=main].rotate_right(1);
    }
    let mut ranges: Vec<MappedRange> = code
        .into_iter()
        .map(|region| {
            let filename = builder.str(region.path.trim_end_matches(" (deleted)"));
            let index = builder.mapping(Mapping {
                start: region.start,
                limit: region.limit,
                offset: region.offset,
                filename,
                ..Mapping::default()
            });
            (region.start, region.limit, index)
        })
        .collect();
    ranges.sort_unstable();
    ranges
}

/// Returns whether a mapped file looks like a program, not like a library or a name in brackets.
fn is_program(path: &str) -> bool {
    path.starts_with('/')
        && !path.contains(".so.")
        && !path.trim_end_matches(" (deleted)").ends_with(".so")
}

/// Returns the mapping whose range holds an address. Ranges of a real process do not overlap.
fn mapping_of(ranges: &[MappedRange], address: u64) -> Option<u32> {
    let after = ranges.partition_point(|&(start, ..)| start <= address);
    let &(_, limit, index) = ranges.get(after.checked_sub(1)?)?;
    (address < limit).then_some(index)
}

fn clamp(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::profile::DecodeLimits;

    #[test]
    fn unbiases_as_the_formula_says() {
        assert_eq!(unbias(0, 0, 524_288), (0, 0));
        assert_eq!(unbias(3, 0, 524_288), (3, 0));
        assert_eq!(unbias(3, 300, 1), (3, 300));
        assert_eq!(unbias(3, 300, 0), (3, 300));
        // One block as large as the rate: 1 / (1 - 1/e) = 1.5820.
        assert_eq!(unbias(1_000_000, 524_288_000_000, 524_288), (1_581_977, 829_411_403_691));
        // A small block stands for the whole rate.
        assert_eq!(unbias(1, 16, 524_288), (32_769, 524_296));
        // A large one for itself.
        assert_eq!(unbias(1, 1 << 30, 524_288), (1, 1 << 30));
        assert_eq!(unbias(u64::MAX, 1, u64::MAX).0, u64::MAX);
    }

    #[test]
    fn becomes_a_profile() {
        let text = "heap_v2/1
 t*: 4: 64 [8: 128]
@ 0x2001 0x1001
 t*: 2: 32 [8: 128]
@ 0x9001 0x1001
 t*: 2: 32 [0: 0]
@ 0x1001
 t*: 0: 0 [0: 0]

MAPPED_LIBRARIES:
2000-3000 r-xp 00000000 fe:00 1 /lib/libc.so.6
1000-2000 r-xp 00004000 fe:00 2 /bin/service (deleted)
5000-6000 rw-p 00000000 00:00 0 [heap]
";
        let dump = HeapDump::parse(text.as_bytes(), &HeapDumpLimits::default()).unwrap();
        let profile = dump.to_profile();
        assert_eq!(profile.check(), Ok(()));
        let files: Vec<_> =
            profile.mappings.iter().map(|mapping| profile.str(mapping.filename)).collect();
        assert_eq!(files, ["/bin/service", "/lib/libc.so.6"]);
        let places: Vec<_> =
            profile.locations.iter().map(|place| (place.address, place.mapping)).collect();
        assert_eq!(places, [(0x2000, Some(1)), (0x1000, Some(0)), (0x9000, None)]);
        let samples: Vec<_> = profile
            .samples
            .iter()
            .map(|sample| (sample.stack, sample.values, sample.labels.len()))
            .collect();
        assert_eq!(
            samples,
            [
                ([0, 1].as_slice(), [8, 128, 2, 32].as_slice(), 0),
                ([2, 1].as_slice(), [0, 0, 2, 32].as_slice(), 0),
            ]
        );
        assert_eq!((profile.period, profile.comments.len()), (1, 0));

        let converted = convert(text.as_bytes(), &HeapDumpLimits::default()).unwrap();
        let converted = Profile::decode(&converted, &DecodeLimits::default()).unwrap();
        assert_eq!(converted.encode(), profile.encode());
        assert!(convert(b"heap", &HeapDumpLimits::default()).is_err());
    }

    proptest! {
        #[test]
        fn never_scales_down(count in 1_u64..1 << 40, bytes in 1_u64..1 << 50, rate in any::<u64>()) {
            let (objects, space) = unbias(count, bytes, rate);
            prop_assert!(objects >= count && space >= bytes);
        }
    }
}
