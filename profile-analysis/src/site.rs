//! Which frame of a stack is the user's: the first one past the standard library and the allocator.
//!
//! An allocation's leaf frames are nearly always `alloc::raw_vec` and its like. What a reader wants
//! to see is who asked for it.

/// Beginnings of names of the standard library, for frames without a source file.
const STANDARD: [&str; 6] = ["alloc::", "core::", "std::", "<alloc::", "<core::", "<std::"];

/// Beginnings of names of allocators and of `hashbrown`, wherever their source is.
const PLUMBING: [&str; 17] = [
    "hashbrown::",
    "<hashbrown::",
    "tikv_jemallocator::",
    "<tikv_jemallocator::",
    "tikv_jemalloc_sys::",
    "jemallocator::",
    "<jemallocator::",
    "_rjem_",
    "je_",
    "mimalloc::",
    "<mimalloc::",
    "mi_",
    "__libc_malloc",
    "__libc_calloc",
    "__libc_realloc",
    "__rust_",
    "__rustc",
];

/// Functions of libc's allocator.
const LIBC: [&str; 8] = [
    "malloc",
    "calloc",
    "realloc",
    "free",
    "aligned_alloc",
    "posix_memalign",
    "memalign",
    "reallocarray",
];

/// Returns whether a frame belongs to the standard library or to an allocator.
///
/// The source file decides where it is known: `/rustc/<hash>/library/` and
/// `/lib/rustlib/src/rust/library/` hold the standard library, and a function that merely carries
/// its name, such as `<alloc::vec::Vec<T> as service::Trait>::f`, is the user's. Pass an empty file
/// where it is not known. Allocators, and `hashbrown`, go by their names.
pub fn is_plumbing(function: &str, file: &str) -> bool {
    if LIBC.contains(&function) || PLUMBING.iter().any(|start| function.starts_with(start)) {
        return true;
    }
    if file.is_empty() {
        return STANDARD.iter().any(|start| function.starts_with(start));
    }
    is_standard_file(file)
}

fn is_standard_file(file: &str) -> bool {
    let in_library = |rest: &str| rest.replace('\\', "/").contains("/library/");
    if let Some((_, rest)) = file.split_once("/rustc/") {
        return in_library(rest);
    }
    file.contains("/lib/rustlib/src/rust/library/")
        || file.contains("\\lib\\rustlib\\src\\rust\\library\\")
        || file.starts_with("/rust/deps/")
        || file.starts_with("library/std/src/")
}

/// Returns the index of the first frame that is the user's, counted from the leaf; frames are pairs
/// of a function and its source file, inlined ones included. `None` where all are plumbing.
pub fn user_frame<'a>(frames: impl IntoIterator<Item = (&'a str, &'a str)>) -> Option<usize> {
    frames.into_iter().position(|(function, file)| !is_plumbing(function, file))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUSTC: &str = "/rustc/59807616e1fa2540724bfbac14d7976d7e4a3860/library";

    #[track_caller]
    fn check(function: &str, file: &str, plumbing: bool) {
        assert_eq!(is_plumbing(function, file), plumbing, "{function} {file}");
    }

    #[test]
    fn knows_the_standard_library() {
        check("alloc::raw_vec::finish_grow", &format!("{RUSTC}/alloc/src/raw_vec.rs"), true);
        let toolchain = "/home/u/.rustup/toolchains/1.88/lib/rustlib/src/rust/library";
        check("core::iter::fold", &format!("{toolchain}/core/src/iter.rs"), true);
        check("<T as Trait>::f", &format!("{toolchain}/core/src/iter.rs"), true);
        check("f", "/rust/deps/hashbrown-0.15.2/src/raw/mod.rs", true);
        check("alloc::vec::Vec<T>::push", "", true);
        check("<alloc::string::String as core::clone::Clone>::clone", "", true);
        check("__rustc::__rust_alloc", "", true);
    }

    #[test]
    fn knows_allocators() {
        check("tikv_jemallocator::Jemalloc::alloc", "/root/.cargo/registry/src/lib.rs", true);
        check("_rjem_je_prof_backtrace", "prof_sys.c", true);
        check("malloc", "", true);
        check("malloc_stats_of_mine", "src/main.rs", false);
    }

    #[test]
    fn knows_the_user() {
        check("service::run", "src/main.rs", false);
        check("service::run", "", false);
        check("<alloc::vec::Vec<T> as service::Trait>::f", "src/main.rs", false);
        check("core::f", "/src/core/lib.rs", false);
        check("rustc_driver::main", "/rustc/1a2b/compiler/rustc_driver/src/lib.rs", false);
        check("main.main", "/go/src/main.go", false);
    }

    #[test]
    fn finds_the_first() {
        let stack = [
            ("alloc::alloc::alloc", RUSTC.to_owned() + "/alloc/src/alloc.rs"),
            ("service::inlined", "src/a.rs".to_owned()),
            ("service::run", "src/b.rs".to_owned()),
        ];
        let frames = || stack.iter().map(|(function, file)| (*function, file.as_str()));
        assert_eq!(user_frame(frames()), Some(1));
        assert_eq!(user_frame(frames().take(1)), None);
    }
}
