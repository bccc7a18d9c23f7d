//! Whose code a frame is: the allocator's, what lies between it and the program, or the program's.

use crate::heap::{raw, wrapper};

/// The most places in the code that jemalloc, the wrapper and Rust's own functions around them
/// take.
pub(crate) const ALLOCATOR_DEPTH: usize = 12;

/// The owner of a frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum FrameOwner {
    /// An allocator's, or ours inside it.
    Allocator,
    /// The standard library's way to it.
    Runtime,
    /// The program's, or that of a library it calls.
    User,
}

impl FrameOwner {
    /// Tells the owner by a function's name and file. Inlined functions have short names only
    /// (`alloc`, `grow_one`), so the file tells as well.
    pub(crate) fn of(name: &str, file: &str) -> FrameOwner {
        let allocator = name.starts_with("_rjem_")
            || name.starts_with("prof_backtrace")
            || name.contains("tikv_jemallocator::")
            || name.starts_with(wrapper::MODULE)
            || name.strip_prefix('<').is_some_and(|name| name.starts_with(wrapper::MODULE))
            || name.starts_with(raw::MODULE)
            || file.contains("/tikv-jemallocator-")
            || file.contains("/jemalloc/src/")
            || file.contains("/jemalloc/include/")
            || file.ends_with(raw::sampled::FILE);
        let shims = ["__rust_alloc", "__rust_realloc", "__rdl_", "__rg_", "__rustc::"];
        let is_runtime = shims.iter().any(|shim| name.starts_with(shim))
            || ["alloc::alloc::", "alloc::raw_vec::", "<alloc::alloc::", "<alloc::raw_vec::"]
                .iter()
                .any(|module| name.starts_with(module))
            || file.ends_with("/library/alloc/src/alloc.rs")
            || file.contains("/library/alloc/src/raw_vec")
            || file.contains("/library/core/src/alloc/");
        if allocator {
            FrameOwner::Allocator
        } else if is_runtime {
            FrameOwner::Runtime
        } else {
            FrameOwner::User
        }
    }
}
