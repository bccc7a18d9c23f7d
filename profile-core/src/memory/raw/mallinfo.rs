//! glibc's `mallinfo2`, which came with glibc 2.33: it is looked up by name.

use std::sync::OnceLock;

/// Sizes of the memory that malloc has and holds, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MallocSizes {
    /// Memory that malloc has of the system for small blocks.
    pub(crate) arena: u64,
    /// Memory that malloc has of the system in mappings, one for each large block.
    pub(crate) mapped: u64,
    /// Memory in small blocks that are in use.
    pub(crate) in_use: u64,
    /// Memory in small blocks that are free.
    pub(crate) free: u64,
}

/// Reads the figures as they are now. `None` where glibc is older.
pub(crate) fn read() -> Option<MallocSizes> {
    type MallinfoFn = unsafe extern "C" fn() -> libc::mallinfo2;
    static FUNCTION: OnceLock<Option<MallinfoFn>> = OnceLock::new();
    let function = FUNCTION.get_or_init(|| {
        // SAFETY: dlsym(3) with a text that ends in NUL. What is found under this name is glibc's
        // function, of this type (mallinfo2(3)).
        unsafe {
            let found = libc::dlsym(libc::RTLD_DEFAULT, c"mallinfo2".as_ptr());
            (!found.is_null()).then(|| std::mem::transmute::<*mut libc::c_void, MallinfoFn>(found))
        }
    });
    // SAFETY: mallinfo2(3), which takes nothing and may be called at any time.
    let info = unsafe { (*function)?() };
    Some(MallocSizes {
        arena: info.arena as u64,
        mapped: info.hblkhd as u64,
        in_use: info.uordblks as u64,
        free: info.fordblks as u64,
    })
}
