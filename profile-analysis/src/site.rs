//! Which frame of a stack is the user's: the first one of the program's own code.
//!
//! An allocation's leaf frames are nearly always `alloc::raw_vec` and its like. What a reader wants
//! to see is who asked for it.

use profile_format::owner::FrameOwner;

/// Returns whether a frame belongs to the standard library, to an allocator, to a lock or to the
/// profiler; see [`FrameOwner`]. Pass an empty file where it is not known.
pub fn is_plumbing(function: &str, file: &str) -> bool {
    FrameOwner::of(function, file).is_plumbing()
}

/// Returns the index of the first frame that is the program's own, counted from the leaf; frames are
/// pairs of a function and its source file, inlined ones included. Where there is none, that of the
/// first library's; `None` where all are plumbing.
pub fn user_frame<'a>(frames: impl IntoIterator<Item = (&'a str, &'a str)>) -> Option<usize> {
    let mut library = None;
    for (index, (function, file)) in frames.into_iter().enumerate() {
        match FrameOwner::of(function, file) {
            FrameOwner::Program => return Some(index),
            owner if !owner.is_plumbing() => library = library.or(Some(index)),
            _ => {}
        }
    }
    library
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
        let library = ("from_str", "/root/.cargo/registry/src/index/serde_json-1.0.1/src/de.rs");
        assert_eq!(user_frame([library, ("service::run", "src/b.rs")]), Some(1));
        assert_eq!(user_frame([("malloc", ""), library]), Some(1));
    }
}
