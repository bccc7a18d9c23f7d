//! jemalloc's statistics, name by name. The many names of size classes are translated once.

use std::sync::OnceLock;

use tikv_jemalloc_ctl::raw;

/// Bytes that jemalloc has and holds; each may be missing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct JemallocSizes {
    pub(crate) allocated: Option<u64>,
    pub(crate) active: Option<u64>,
    pub(crate) mapped: Option<u64>,
    pub(crate) retained: Option<u64>,
}

/// Sums since the start: blocks allocated and freed, and the bytes of the allocated ones.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct AllocationSums {
    pub(crate) allocated: u64,
    pub(crate) freed: u64,
    pub(crate) bytes: u64,
}

/// Reads the sizes. `None` where this jemalloc keeps no statistics.
pub(crate) fn sizes() -> Option<JemallocSizes> {
    // SAFETY: `epoch` is a `uint64_t` (jemalloc(3)); writing it brings the statistics up to date.
    unsafe { raw::write(b"epoch\0", 1u64) }.ok()?;
    let size = |name: &[u8]| {
        // SAFETY: these names are of `size_t` (jemalloc(3)).
        unsafe { raw::read::<libc::size_t>(name) }.ok().map(|size| size as u64)
    };
    let allocated = size(b"stats.allocated\0");
    allocated?;
    Some(JemallocSizes {
        allocated,
        active: size(b"stats.active\0"),
        mapped: size(b"stats.mapped\0"),
        retained: size(b"stats.retained\0"),
    })
}

/// A size class: its blocks' size, and where it counts those allocated and freed.
struct SizeClass {
    size: u64,
    allocated: [usize; 6],
    freed: [usize; 6],
}

/// The sum over all arenas (MALLCTL_ARENAS_ALL).
const ALL: &str = "stats.arenas.4096";

/// Reads the sums as of the last [`sizes`]. `None` where this jemalloc doesn't say.
pub(crate) fn allocation_sums() -> Option<AllocationSums> {
    static CLASSES: OnceLock<Option<Vec<SizeClass>>> = OnceLock::new();
    let classes = CLASSES.get_or_init(classes).as_ref()?;
    let mut ever = AllocationSums::default();
    for class in classes {
        // SAFETY: `nmalloc` and `ndalloc` of a class are `uint64_t` (jemalloc(3)), and these are
        // their translated names.
        let read = |mib: &[usize; 6]| unsafe { raw::read_mib::<u64>(mib) }.ok();
        let (allocated, freed) = (read(&class.allocated)?, read(&class.freed)?);
        ever.allocated += allocated;
        ever.freed += freed;
        ever.bytes += allocated * class.size;
    }
    Some(ever)
}

fn classes() -> Option<Vec<SizeClass>> {
    // SAFETY: these names are of `unsigned` (jemalloc(3)).
    let bins = unsafe { raw::read::<libc::c_uint>(b"arenas.nbins\0") }.ok()?;
    // SAFETY: as above.
    let extents = unsafe { raw::read::<libc::c_uint>(b"arenas.nlextents\0") }.ok()?;
    let small = (0..bins).map(|bin| class("bin", "bins", bin));
    let large = (0..extents).map(|extent| class("lextent", "lextents", extent));
    small.chain(large).collect()
}

fn class(size: &str, counts: &str, number: libc::c_uint) -> Option<SizeClass> {
    let size = format!("arenas.{size}.{number}.size\0");
    // SAFETY: the size of a class is a `size_t` (jemalloc(3)).
    let size = unsafe { raw::read::<libc::size_t>(size.as_bytes()) }.ok()? as u64;
    let mib = |count: &str| {
        let name = format!("{ALL}.{counts}.{number}.{count}\0");
        let mut mib = [0; 6];
        raw::name_to_mib(name.as_bytes(), &mut mib).ok()?;
        Some(mib)
    };
    Some(SizeClass { size, allocated: mib("nmalloc")?, freed: mib("ndalloc")? })
}
