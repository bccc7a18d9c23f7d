//! The crate or package that a function is of, told from its name alone: where its file says
//! nothing.

/// Returns the crate that a function of Rust is of: `tokio` of `<tokio::task::Id as
/// core::fmt::Debug>::fmt`. `None` where its name has no path, as those of C and of Go.
///
/// An implementation is in the crate of its type or in that of its trait: it is the first of these
/// that is not the standard library's.
pub(super) fn crate_of(name: &str) -> Option<&str> {
    let Some(inner) = name.strip_prefix('<') else { return first_segment(name) };
    let (of_type, of_trait) = split_implementation(inner);
    let of_trait = of_trait.and_then(first_segment);
    match first_segment(of_type) {
        Some(name) if !is_standard_crate(name) => Some(name),
        of_type => of_trait.filter(|name| !is_standard_crate(name)).or(of_type).or(of_trait),
    }
}

/// Returns whether a crate is one of the standard library's.
pub(super) fn is_standard_crate(name: &str) -> bool {
    ["std", "core", "alloc", "proc_macro", "test"].contains(&name)
}

/// Splits what stands in the angle brackets of `<Type as Trait>::f`.
fn split_implementation(inner: &str) -> (&str, Option<&str>) {
    let mut depth = 0_usize;
    for (at, byte) in inner.bytes().enumerate() {
        match byte {
            b'<' | b'(' | b'[' => depth += 1,
            b'>' if depth == 0 => return (&inner[..at], None),
            b'>' | b')' | b']' => depth = depth.saturating_sub(1),
            b' ' if depth == 0 && inner[at..].starts_with(" as ") => {
                return (&inner[..at], Some(&inner[at + 4..]));
            }
            _ => {}
        }
    }
    (inner, None)
}

/// Returns the crate at the beginning of a path, past what types have before it.
fn first_segment(path: &str) -> Option<&str> {
    let mut path = path;
    loop {
        let before = path.len();
        path = path.trim_start_matches(['<', '&', '*', '(', '[', ' ']);
        for word in ["mut ", "const ", "dyn ", "impl "] {
            path = path.strip_prefix(word).unwrap_or(path);
        }
        if path.len() == before {
            break;
        }
    }
    let (first, _) = path.split_once("::")?;
    let is_name =
        !first.is_empty() && first.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    is_name.then_some(first)
}

/// The first parts of the paths of Go's standard library.
const GO_STANDARD: [&str; 47] = [
    "archive",
    "bufio",
    "bytes",
    "cmp",
    "compress",
    "container",
    "context",
    "crypto",
    "database",
    "debug",
    "embed",
    "encoding",
    "errors",
    "expvar",
    "flag",
    "fmt",
    "go",
    "hash",
    "html",
    "image",
    "index",
    "internal",
    "io",
    "iter",
    "log",
    "maps",
    "math",
    "mime",
    "net",
    "os",
    "panic",
    "path",
    "plugin",
    "reflect",
    "regexp",
    "runtime",
    "slices",
    "sort",
    "strconv",
    "strings",
    "sync",
    "syscall",
    "testing",
    "text",
    "time",
    "unicode",
    "vendor",
];

/// Returns whether a function is of Go's standard library, by its package and the place of its
/// source: below `src`, or with `-trimpath` at the beginning.
pub(super) fn is_go_standard(function: &str, file: &str) -> bool {
    let first = function.split(['/', '.']).next().unwrap_or_default();
    if !GO_STANDARD.contains(&first) || !function.contains('.') {
        return false;
    }
    let after_slash = function.rfind('/').map_or(0, |slash| slash + 1);
    let package = match function[after_slash..].find('.') {
        Some(dot) => &function[..after_slash + dot],
        None => function,
    };
    // The runtime implements functions of other packages.
    file.is_empty()
        || file.contains("/src/runtime/")
        || file.starts_with("runtime/")
        || file.strip_prefix(package).is_some_and(|rest| rest.starts_with('/'))
        || file
            .rsplit_once(package)
            .is_some_and(|(before, rest)| before.ends_with("/src/") && rest.starts_with('/'))
}

/// Functions of libc's allocator, without the underscores before them.
const ALLOCATING: [&str; 14] = [
    "malloc",
    "calloc",
    "realloc",
    "free",
    "cfree",
    "aligned_alloc",
    "posix_memalign",
    "memalign",
    "reallocarray",
    "valloc",
    "pvalloc",
    "malloc_consolidate",
    "sysmalloc",
    "systrim",
];

/// Beginnings of names of allocators' functions.
const ALLOCATORS: [&str; 16] = [
    "_rjem_",
    "je_",
    "jet_",
    "mi_",
    "_mi_",
    "sn_rust_",
    "tc_",
    "tcmalloc::",
    "rpmalloc",
    "_int_",
    "__libc_malloc",
    "__libc_calloc",
    "__libc_realloc",
    "__libc_free",
    "operator new",
    "operator delete",
];

/// Beginnings of names of the functions that Rust's compiler puts before an allocator.
const SHIMS: [&str; 5] = ["__rust_", "__rustc::__r", "__rdl_", "__rg_", "__rustc::___r"];

/// Static functions of jemalloc at its end of a stack.
const JEMALLOC: [&str; 3] = ["prof_backtrace", "prof_alloc_prep", "prof_tctx_create"];

/// Returns whether a function is an allocator's, or one of those that Rust's compiler puts before
/// it.
pub(super) fn is_allocator_function(name: &str) -> bool {
    if ALLOCATING.contains(&name) || ALLOCATING.contains(&name.trim_start_matches("__GI_")) {
        return true;
    }
    ALLOCATORS.iter().chain(&SHIMS).chain(&JEMALLOC).any(|start| name.starts_with(start))
}

/// Functions of libc that programs end up in, beside those with underscores before them.
const SYSTEM: [&str; 54] = [
    "syscall",
    "read",
    "write",
    "readv",
    "writev",
    "pread64",
    "pwrite64",
    "open",
    "open64",
    "openat",
    "close",
    "fsync",
    "fdatasync",
    "fstat",
    "lseek",
    "mmap",
    "mmap64",
    "munmap",
    "mprotect",
    "madvise",
    "mremap",
    "brk",
    "sbrk",
    "send",
    "sendto",
    "sendmsg",
    "recv",
    "recvfrom",
    "recvmsg",
    "accept",
    "accept4",
    "connect",
    "poll",
    "ppoll",
    "select",
    "nanosleep",
    "clock_nanosleep",
    "clock_gettime",
    "usleep",
    "sleep",
    "sched_yield",
    "sigwait",
    "sigtimedwait",
    "getrandom",
    "getpid",
    "start_thread",
    "clone",
    "clone3",
    "qsort",
    "bcmp",
    "exit",
    "_start",
    "_exit",
    "abort",
];

/// Beginnings of names of functions of libc.
const SYSTEMS: [&str; 12] = [
    "__",
    "pthread_",
    "epoll_",
    "io_uring_",
    "memcpy",
    "memmove",
    "memset",
    "memcmp",
    "memchr",
    "memrchr",
    "strlen",
    "_dl_",
];

/// Returns whether a function without a path is libc's, or the kernel's.
pub(super) fn is_system_function(name: &str) -> bool {
    let name = name.split(['@', '.']).next().unwrap_or_default();
    SYSTEM.contains(&name) || SYSTEMS.iter().any(|start| name.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_the_crate_of_a_name() {
        for (name, expected) in [
            ("tokio::runtime::park", Some("tokio")),
            ("<tokio::task::Id as core::fmt::Debug>::fmt", Some("tokio")),
            ("<alloc::vec::Vec<T> as shop::Cart>::add", Some("shop")),
            ("<alloc::string::String as core::clone::Clone>::clone", Some("alloc")),
            ("<T as shop::Cart>::add", Some("shop")),
            ("<&mut dyn shop::Cart as core::fmt::Debug>::fmt", Some("shop")),
            ("<shop::Cart<fn(u8) -> u8>>::add", Some("shop")),
            ("<(core::a::B, u8) as x::Y>::f", Some("x")),
            ("{closure#0}<shop::run::{closure_env#1}, ()>", None),
            ("main", None),
            ("net/http.(*conn).serve", None),
            ("<", None),
            ("", None),
            ("::", None),
        ] {
            assert_eq!(crate_of(name), expected, "{name}");
        }
    }

    #[test]
    fn knows_functions_of_libc() {
        for name in ["syscall", "__memmove_avx_unaligned_erms", "memcpy@plt", "epoll_wait"] {
            assert!(is_system_function(name), "{name}");
        }
        for name in ["main", "readings", "shop_memcpy", ""] {
            assert!(!is_system_function(name), "{name}");
        }
    }
}
