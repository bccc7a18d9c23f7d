//! The unwind tables of everything that is loaded, as they lie in memory.
//!
//! The tables of the program, libc and the dynamic linker stay where they are for as long as the
//! process lives and are read in place. Those of any other object are copied, because it could be
//! unloaded while a signal handler reads them.

use std::borrow::Cow;
use std::ffi::CStr;

use gimli::BaseAddresses;

use super::rule::{self, Rule, Scratch};

/// Counts what was ever loaded and unloaded: it changes whenever the tables do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Generation {
    added: u64,
    removed: u64,
}

/// The present generation.
pub(crate) fn generation() -> Generation {
    let mut generation = Generation { added: 0, removed: 0 };
    // SAFETY: dl_iterate_phdr(3) hands the pointer through to `read`, which takes it as what it is.
    unsafe { libc::dl_iterate_phdr(Some(read), (&raw mut generation).cast()) };
    return generation;

    unsafe extern "C" fn read(
        info: *mut libc::dl_phdr_info,
        _size: libc::size_t,
        generation: *mut libc::c_void,
    ) -> libc::c_int {
        // SAFETY: the dynamic linker's structure, and the pointer passed above.
        unsafe {
            let info = &*info;
            *generation.cast::<Generation>() =
                Generation { added: info.dlpi_adds, removed: info.dlpi_subs };
        }
        // The counts are the same for every object: one is enough.
        1
    }
}

/// Every object with unwind tables, by address.
pub(super) struct Modules {
    modules: Box<[Module]>,
}

struct Module {
    /// Its code, and what lies between.
    start: u64,
    limit: u64,
    hdr: Cow<'static, [u8]>,
    frames: Cow<'static, [u8]>,
    bases: BaseAddresses,
}

impl Modules {
    pub(super) fn load() -> Modules {
        let mut loading = Loading { seen: 0, modules: Vec::new() };
        // SAFETY: dl_iterate_phdr(3) hands the pointer through to `add`, which takes it as what it
        // is. Nothing is unloaded during the call.
        unsafe { libc::dl_iterate_phdr(Some(add), (&raw mut loading).cast()) };
        loading.modules.sort_by_key(|module| module.start);
        Modules { modules: loading.modules.into() }
    }

    /// Whether an address is code of an object.
    pub(super) fn contains(&self, address: u64) -> bool {
        self.find(address).is_some()
    }

    pub(super) fn rule(&self, scratch: &mut Scratch, address: u64) -> Rule {
        match self.find(address) {
            Some(module) => {
                rule::look_up(scratch, &module.hdr, &module.frames, &module.bases, address)
            }
            None => Rule::Nowhere,
        }
    }

    /// Where the function that holds an address begins.
    pub(super) fn function(&self, address: u64) -> Option<u64> {
        let module = self.find(address)?;
        rule::function(&module.hdr, &module.frames, &module.bases, address)
    }

    fn find(&self, address: u64) -> Option<&Module> {
        let after = self.modules.partition_point(|module| module.start <= address);
        self.modules[..after].last().filter(|module| address < module.limit)
    }
}

struct Loading {
    /// Objects so far; the first is the program.
    seen: usize,
    modules: Vec<Module>,
}

/// # Safety
///
/// To be called by `dl_iterate_phdr` only, with a pointer to a [`Loading`].
unsafe extern "C" fn add(
    info: *mut libc::dl_phdr_info,
    _size: libc::size_t,
    loading: *mut libc::c_void,
) -> libc::c_int {
    // SAFETY: `load` passed this pointer and nobody else uses it during the call.
    let loading = unsafe { &mut *loading.cast::<Loading>() };
    // SAFETY: the dynamic linker passes a structure that is valid during the call.
    let info = unsafe { &*info };
    if !info.dlpi_phdr.is_null() {
        // SAFETY: `info` describes an object that is loaded, for the whole of this call.
        loading.modules.extend(unsafe { module(info, loading.seen == 0) });
    }
    loading.seen += 1;
    0
}

/// # Safety
///
/// `info` describes an object that stays loaded during the call.
unsafe fn module(info: &libc::dl_phdr_info, is_program: bool) -> Option<Module> {
    // SAFETY: `dlpi_phdr` points at `dlpi_phnum` program headers, mapped as long as the object.
    let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) };
    let bias = info.dlpi_addr;
    let range = |header: &libc::Elf64_Phdr| {
        let start = bias.wrapping_add(header.p_vaddr);
        start..start.wrapping_add(header.p_memsz)
    };
    let loads = || headers.iter().filter(|header| header.p_type == libc::PT_LOAD);
    let code = || loads().filter(|header| header.p_flags & libc::PF_X != 0).map(range);
    let start = code().map(|range| range.start).min()?;
    let limit = code().map(|range| range.end).max()?;

    let hdr_range = headers.iter().find(|h| h.p_type == libc::PT_GNU_EH_FRAME).map(range)?;
    // SAFETY: PT_GNU_EH_FRAME lies inside a loaded segment of the object.
    let hdr: &'static [u8] = unsafe { memory(&hdr_range) };
    let bases = BaseAddresses::default().set_eh_frame_hdr(hdr_range.start);
    let parsed = gimli::EhFrameHdr::new(hdr, gimli::NativeEndian).parse(&bases, 8).ok()?;
    let frames_start = parsed.eh_frame_ptr().direct().ok()?;
    let segment = loads().map(range).find(|range| range.contains(&frames_start))?;
    // SAFETY: from the tables' start to the end of the loaded segment that holds them.
    let to_end: &'static [u8] = unsafe { memory(&(frames_start..segment.end)) };
    let frames = &to_end[..length(to_end)];
    let bases = bases.set_eh_frame(frames_start);

    let (hdr, frames) = if is_program || never_unloaded(info) {
        (Cow::Borrowed(hdr), Cow::Borrowed(frames))
    } else {
        (Cow::Owned(hdr.to_vec()), Cow::Owned(frames.to_vec()))
    };
    Some(Module { start, limit, hdr, frames, bases })
}

/// # Safety
///
/// The range is mapped and readable; what becomes of the slice after the object is unloaded is the
/// caller's to prevent.
unsafe fn memory(range: &std::ops::Range<u64>) -> &'static [u8] {
    let len = usize::try_from(range.end - range.start).unwrap_or(0);
    // SAFETY: the caller's promise.
    unsafe { std::slice::from_raw_parts(range.start as *const u8, len) }
}

/// The length of the tables: entries, each with its length in front, until one of length 0.
fn length(tables: &[u8]) -> usize {
    let mut at = 0;
    while let Some(word) = tables.get(at..at + 4) {
        let len = u32::from_ne_bytes(word.try_into().expect("4 bytes"));
        if len == 0 {
            return at + 4;
        }
        // 64-bit entries are allowed and written by nobody.
        let Some(next) = at.checked_add(4 + len as usize).filter(|_| len != u32::MAX) else {
            break;
        };
        at = next;
    }
    tables.len()
}

/// Whether an object is one that nothing can unload.
fn never_unloaded(info: &libc::dl_phdr_info) -> bool {
    if info.dlpi_name.is_null() {
        return false;
    }
    // SAFETY: `dlpi_name` is a NUL-terminated text that lives as long as the object.
    let path = unsafe { CStr::from_ptr(info.dlpi_name) }.to_bytes();
    let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or(path);
    [&b"libc.so"[..], b"libc.musl", b"ld-linux", b"ld-musl", b"linux-vdso"]
        .iter()
        .any(|known| name.starts_with(known))
}
