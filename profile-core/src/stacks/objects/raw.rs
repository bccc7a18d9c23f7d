//! The dynamic linker's own list of what is loaded.
//!
//! Read from memory rather than from the files, so that it stays right when a file was replaced or
//! deleted since it was loaded.

use std::ffi::CStr;
use std::ops::Range;
use std::path::PathBuf;

use crate::stacks::objects::{CodeSegment, LoadedObject};

/// Lists every object, the main program first.
///
/// The dynamic linker holds its lock while it shows what is loaded, and an allocator may want that lock
/// while it holds its own. So nothing is allocated meanwhile: where the room that was made doesn't do,
/// more is made, and all of it is read again.
pub(crate) fn loaded() -> Vec<LoadedObject> {
    let mut listing = ObjectListing::default();
    loop {
        // SAFETY: dl_iterate_phdr(3) calls `visit` with a valid `dl_phdr_info` and hands the pointer
        // through; `visit` takes it back as what it is.
        unsafe {
            libc::dl_iterate_phdr(Some(visit), (&raw mut listing).cast());
        }
        if listing.has_all() {
            break;
        }
        listing.make_room();
    }
    listing.listed.iter().enumerate().map(|(at, listed)| listing.object(listed, at == 0)).collect()
}

const PAGE: u64 = 4096;

/// A listing that is filled while the dynamic linker shows its objects, and the room that it would
/// have taken.
#[derive(Default)]
struct ObjectListing {
    listed: Vec<ListedObject>,
    objects_wanted: usize,
    headers: Vec<libc::Elf64_Phdr>,
    headers_wanted: usize,
    bytes: Vec<u8>,
    bytes_wanted: usize,
}

/// An object as it was shown: parts of the listing.
struct ListedObject {
    bias: u64,
    headers: Range<usize>,
    name: Range<usize>,
    build_id: Range<usize>,
}

impl ObjectListing {
    fn has_all(&self) -> bool {
        self.listed.len() == self.objects_wanted
    }

    /// Makes room for what there was and a little more, and begins again.
    fn make_room(&mut self) {
        *self = ObjectListing {
            listed: Vec::with_capacity(self.objects_wanted + 4),
            headers: Vec::with_capacity(self.headers_wanted + 32),
            bytes: Vec::with_capacity(self.bytes_wanted + 512),
            ..ObjectListing::default()
        };
    }

    /// Takes an object if there is room for it.
    fn add(&mut self, bias: u64, headers: &[libc::Elf64_Phdr], name: &[u8], build_id: &[u8]) {
        self.objects_wanted += 1;
        self.headers_wanted += headers.len();
        self.bytes_wanted += name.len() + build_id.len();
        let has_room = self.listed.len() < self.listed.capacity()
            && self.headers_wanted <= self.headers.capacity()
            && self.bytes_wanted <= self.bytes.capacity();
        if has_room {
            let headers = copy(&mut self.headers, headers);
            let name = copy(&mut self.bytes, name);
            let build_id = copy(&mut self.bytes, build_id);
            self.listed.push(ListedObject { bias, headers, name, build_id });
        }
    }

    fn object(&self, listed: &ListedObject, is_program: bool) -> LoadedObject {
        let bias = listed.bias;
        let segments: Vec<CodeSegment> = self.headers[listed.headers.clone()]
            .iter()
            .filter(|header| header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_X != 0)
            .map(|header| {
                let start = bias.wrapping_add(header.p_vaddr);
                let limit = start.wrapping_add(header.p_memsz);
                CodeSegment {
                    start: start & !(PAGE - 1),
                    limit: limit.next_multiple_of(PAGE),
                    offset: header.p_offset & !(PAGE - 1),
                }
            })
            .collect();
        let mut image = None;
        let path = match &self.bytes[listed.name.clone()] {
            b"" if is_program => main_program(),
            b"" => PathBuf::from("[unnamed]"),
            // The one object without a file: the kernel maps it.
            name if name.starts_with(b"linux-vdso") || name.starts_with(b"linux-gate") => {
                // SAFETY: the kernel maps whole pages of it, readable, and nothing unmaps them.
                image = segments.first().map(|segment| unsafe { memory(segment) });
                PathBuf::from("[vdso]")
            }
            name => PathBuf::from(String::from_utf8_lossy(name).into_owned()),
        };
        let build_id = self.bytes[listed.build_id.clone()].to_vec();
        LoadedObject { path, bias, segments, build_id, image }
    }
}

/// Appends to a vector that has room for it, and returns the range that it took.
fn copy<T: Copy>(to: &mut Vec<T>, what: &[T]) -> Range<usize> {
    let begin = to.len();
    to.extend_from_slice(what);
    begin..to.len()
}

/// # Safety
///
/// To be called by `dl_iterate_phdr` only, with a pointer to a [`ObjectListing`].
unsafe extern "C" fn visit(
    info: *mut libc::dl_phdr_info,
    _size: libc::size_t,
    listing: *mut libc::c_void,
) -> libc::c_int {
    // SAFETY: `loaded` passed this pointer and nobody else uses it during the call.
    let listing = unsafe { &mut *listing.cast::<ObjectListing>() };
    // SAFETY: the dynamic linker passes a structure that is valid during the call.
    let info = unsafe { &*info };
    let headers: &[libc::Elf64_Phdr] = if info.dlpi_phdr.is_null() {
        &[]
    } else {
        // SAFETY: `dlpi_phdr` points at `dlpi_phnum` program headers, mapped as long as the object.
        unsafe { std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) }
    };
    let bias = info.dlpi_addr;
    let name = if info.dlpi_name.is_null() {
        c""
    } else {
        // SAFETY: `dlpi_name` is a NUL-terminated text that lives as long as the object.
        unsafe { CStr::from_ptr(info.dlpi_name) }
    };
    let build_id = headers
        .iter()
        .filter(|header| header.p_type == libc::PT_NOTE)
        .find_map(|header| {
            // SAFETY: a PT_NOTE segment lies inside a PT_LOAD one, so that it is mapped and
            // readable at this address for as long as the object is loaded.
            let notes = unsafe {
                std::slice::from_raw_parts(
                    bias.wrapping_add(header.p_vaddr) as *const u8,
                    header.p_memsz as usize,
                )
            };
            gnu_build_id(notes, header.p_align as usize)
        })
        .unwrap_or_default();
    listing.add(bias, headers, name.to_bytes(), build_id);
    0
}

/// # Safety
///
/// All of the segment is mapped and readable, and stays so.
unsafe fn memory(segment: &CodeSegment) -> &'static [u8] {
    let length = (segment.limit - segment.start) as usize;
    // SAFETY: the caller's promise.
    unsafe { std::slice::from_raw_parts(segment.start as *const u8, length) }
}

/// Reads the running program's path as it was when started; `/proc` marks a deleted one.
fn main_program() -> PathBuf {
    std::fs::read_link("/proc/self/exe").map_or_else(
        |_| PathBuf::from("/proc/self/exe"),
        |path| {
            let text = path.to_string_lossy();
            text.strip_suffix(" (deleted)").map(PathBuf::from).unwrap_or(path)
        },
    )
}

/// Finds the build id among ELF notes: name size, description size, type, then name and
/// description, each padded to four bytes (or eight in a segment aligned so).
fn gnu_build_id(mut notes: &[u8], align: usize) -> Option<&[u8]> {
    const NT_GNU_BUILD_ID: u32 = 3;
    let align = if align == 8 { 8 } else { 4 };
    loop {
        let (header, rest) = notes.split_at_checked(12)?;
        let word = |at: usize| u32::from_ne_bytes(header[at..at + 4].try_into().expect("4 bytes"));
        let (name_size, desc_size, kind) = (word(0) as usize, word(4) as usize, word(8));
        let name = rest.get(..name_size)?;
        // The description follows at the next aligned offset from the note's start.
        let desc_at = (12 + name_size).next_multiple_of(align) - 12;
        let desc = rest.get(desc_at..desc_at.checked_add(desc_size)?)?;
        if kind == NT_GNU_BUILD_ID && name == b"GNU\0" {
            return Some(desc);
        }
        let next = (12 + desc_at + desc_size).next_multiple_of(align);
        notes = notes.get(next..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_main_program_comes_first_with_its_code_and_build_id() {
        let objects = loaded();
        let main = &objects[0];
        assert_eq!(main.path, std::env::current_exe().unwrap());
        let here = loaded as fn() -> Vec<LoadedObject> as usize as u64;
        assert!(main.segments.iter().any(|s| (s.start..s.limit).contains(&here)), "{main:x?}");
        assert!(!main.build_id.is_empty(), "the linker of this machine writes build ids");
        assert!(!crate::sys::raw::host::host_name().is_empty());
    }

    #[test]
    fn segments_are_those_of_proc_self_maps() {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let main = &loaded()[0];
        for segment in &main.segments {
            let line =
                format!("{:x}-{:x} r-xp {:08x}", segment.start, segment.limit, segment.offset);
            assert!(maps.contains(&line), "no line {line} in\n{maps}");
        }
    }

    #[test]
    fn broken_notes_end_the_search() {
        assert_eq!(gnu_build_id(&[], 4), None);
        assert_eq!(gnu_build_id(&[0xff; 64], 4), None);
        let mut notes = Vec::new();
        for word in [4u32, 2, 3] {
            notes.extend_from_slice(&word.to_ne_bytes());
        }
        notes.extend_from_slice(b"GNU\0\xab\xcd\0\0");
        assert_eq!(gnu_build_id(&notes, 4), Some(&[0xab, 0xcd][..]));
        for end in 0..18 {
            assert_eq!(gnu_build_id(&notes[..end], 4), None);
        }
    }
}
