//! The unwind tables of everything that is loaded, as they lie in memory.
//!
//! The tables of the program, libc and the dynamic linker stay where they are for as long as the
//! process lives and are read in place. Those of any other object are copied, because it could be
//! unloaded while a signal handler reads them.

use std::ffi::CStr;
use std::ops::Range;

use gimli::BaseAddresses;

use crate::stacks::unwind::rule::{self, UnwindRule, UnwindScratch};

/// Counts what was ever loaded and unloaded: it changes whenever the tables do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TableGeneration {
    added: u64,
    removed: u64,
}

/// Reads the present generation.
pub(crate) fn generation() -> TableGeneration {
    let mut generation = TableGeneration { added: 0, removed: 0 };
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
            *generation.cast::<TableGeneration>() =
                TableGeneration { added: info.dlpi_adds, removed: info.dlpi_subs };
        }
        // The counts are the same for every object: one is enough.
        1
    }
}

/// Every object with unwind tables, by address.
pub(crate) struct UnwindModules {
    modules: Vec<UnwindModule>,
    /// The tables of objects that could be unloaded.
    copies: Vec<u8>,
}

/// An object with its tables.
struct UnwindModule {
    /// Its code, and what lies between.
    start: u64,
    limit: u64,
    hdr: TableBytes,
    frames: TableBytes,
    bases: BaseAddresses,
}

/// The bytes of a table: in place, or a range of the copies.
enum TableBytes {
    InPlace(&'static [u8]),
    Copied(Range<usize>),
}

impl UnwindModules {
    /// Reads the tables of everything that is loaded.
    ///
    /// The dynamic linker holds its lock while it shows what is loaded, and an allocator may want that
    /// lock while it holds its own. So nothing is allocated meanwhile: where the room that was made
    /// doesn't do, more is made, and all of it is read again.
    pub(crate) fn load() -> UnwindModules {
        let mut loading = LoadingModules::default();
        loop {
            // SAFETY: dl_iterate_phdr(3) hands the pointer through to `add`, which takes it as what
            // it is. Nothing is unloaded during the call.
            unsafe { libc::dl_iterate_phdr(Some(add), (&raw mut loading).cast()) };
            if loading.has_all() {
                break;
            }
            loading.make_room();
        }
        let LoadingModules { mut modules, copies, .. } = loading;
        modules.sort_unstable_by_key(|module| module.start);
        UnwindModules { modules, copies }
    }

    /// Returns whether an address is code of an object.
    pub(crate) fn contains(&self, address: u64) -> bool {
        self.find(address).is_some()
    }

    pub(crate) fn rule(&self, scratch: &mut UnwindScratch, address: u64) -> UnwindRule {
        match self.find(address) {
            Some(module) => {
                let (hdr, frames) = (self.bytes(&module.hdr), self.bytes(&module.frames));
                rule::look_up(scratch, hdr, frames, &module.bases, address)
            }
            None => UnwindRule::Nowhere,
        }
    }

    /// Returns the beginning of the function that holds an address.
    pub(crate) fn function_start(&self, address: u64) -> Option<u64> {
        let module = self.find(address)?;
        let (hdr, frames) = (self.bytes(&module.hdr), self.bytes(&module.frames));
        rule::function_start(hdr, frames, &module.bases, address)
    }

    fn find(&self, address: u64) -> Option<&UnwindModule> {
        let after = self.modules.partition_point(|module| module.start <= address);
        self.modules[..after].last().filter(|module| address < module.limit)
    }

    fn bytes<'a>(&'a self, table: &'a TableBytes) -> &'a [u8] {
        match table {
            TableBytes::InPlace(bytes) => bytes,
            TableBytes::Copied(range) => &self.copies[range.clone()],
        }
    }
}

/// A list of modules that is filled while the dynamic linker shows its objects, and the room that
/// it would have taken.
#[derive(Default)]
struct LoadingModules {
    /// Objects so far; the first is the program.
    seen: usize,
    modules: Vec<UnwindModule>,
    modules_wanted: usize,
    copies: Vec<u8>,
    bytes_wanted: usize,
}

impl LoadingModules {
    fn has_all(&self) -> bool {
        self.modules.len() == self.modules_wanted && self.copies.len() == self.bytes_wanted
    }

    /// Makes room for what there was and a little more, and begins again.
    fn make_room(&mut self) {
        let modules = Vec::with_capacity(self.modules_wanted + 4);
        let copies = Vec::with_capacity(self.bytes_wanted + self.bytes_wanted / 8);
        *self = LoadingModules { modules, copies, ..LoadingModules::default() };
    }

    /// Takes an object if there is room for it.
    fn add(&mut self, found: FoundModule) {
        let FoundModule { start, limit, hdr, frames, bases, can_be_unloaded } = found;
        let bytes = if can_be_unloaded { hdr.len() + frames.len() } else { 0 };
        self.modules_wanted += 1;
        self.bytes_wanted += bytes;
        let room = self.copies.capacity() - self.copies.len();
        if self.modules.len() == self.modules.capacity() || room < bytes {
            return;
        }
        let (hdr, frames) = if can_be_unloaded {
            (self.copy(hdr), self.copy(frames))
        } else {
            (TableBytes::InPlace(hdr), TableBytes::InPlace(frames))
        };
        self.modules.push(UnwindModule { start, limit, hdr, frames, bases });
    }

    fn copy(&mut self, table: &[u8]) -> TableBytes {
        let begin = self.copies.len();
        self.copies.extend_from_slice(table);
        TableBytes::Copied(begin..self.copies.len())
    }
}

/// An object with its tables where they lie.
struct FoundModule {
    start: u64,
    limit: u64,
    hdr: &'static [u8],
    frames: &'static [u8],
    bases: BaseAddresses,
    can_be_unloaded: bool,
}

/// # Safety
///
/// To be called by `dl_iterate_phdr` only, with a pointer to a [`LoadingModules`].
unsafe extern "C" fn add(
    info: *mut libc::dl_phdr_info,
    _size: libc::size_t,
    loading: *mut libc::c_void,
) -> libc::c_int {
    // SAFETY: `load` passed this pointer and nobody else uses it during the call.
    let loading = unsafe { &mut *loading.cast::<LoadingModules>() };
    // SAFETY: the dynamic linker passes a structure that is valid during the call.
    let info = unsafe { &*info };
    if !info.dlpi_phdr.is_null()
        // SAFETY: `info` describes an object that is loaded, for the whole of this call.
        && let Some(found) = unsafe { find(info, loading.seen == 0) }
    {
        loading.add(found);
    }
    loading.seen += 1;
    0
}

/// # Safety
///
/// `info` describes an object that stays loaded for as long as what is found is used.
unsafe fn find(info: &libc::dl_phdr_info, is_program: bool) -> Option<FoundModule> {
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
    // Whoever damaged a header of a file has not kept the loader from loading it.
    let is_loaded = |table: &std::ops::Range<u64>| {
        let within =
            |load: std::ops::Range<u64>| load.start <= table.start && table.end <= load.end;
        table.start <= table.end && loads().map(range).any(within)
    };
    if !is_loaded(&hdr_range) {
        return None;
    }
    // SAFETY: it lies inside a loaded segment of the object, as was just seen.
    let hdr: &'static [u8] = unsafe { memory(&hdr_range) };
    let bases = BaseAddresses::default().set_eh_frame_hdr(hdr_range.start);
    let parsed = gimli::EhFrameHdr::new(hdr, gimli::NativeEndian).parse(&bases, 8).ok()?;
    let frames_start = parsed.eh_frame_ptr().direct().ok()?;
    let segment = loads().map(range).find(|range| range.contains(&frames_start))?;
    // SAFETY: from the tables' start to the end of the loaded segment that holds them.
    let to_end: &'static [u8] = unsafe { memory(&(frames_start..segment.end)) };
    let frames = &to_end[..length(to_end)];
    let bases = bases.set_eh_frame(frames_start);
    let can_be_unloaded = !(is_program || never_unloaded(info));
    Some(FoundModule { start, limit, hdr, frames, bases, can_be_unloaded })
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

/// Returns the length of the tables: entries, each with its length in front, until one of length 0.
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

/// Returns whether an object is one that nothing can unload.
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
