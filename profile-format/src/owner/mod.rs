//! Whose code a frame of a stack is: the one table that every reader and writer of stacks asks.
//!
//! The source file decides where it lies in a folder that says what is in there: functions that were
//! inlined have bare names (`park`, `{closure#0}`) in programs that are built with line tables alone.
//! Where the file says nothing the name does, and a telling name is believed before a file in nobody's
//! folder. What is not known is the program's.

mod name;
mod source;
mod waits;

use std::borrow::Cow;

use name::{
    crate_of, is_allocator_function, is_go_standard, is_standard_crate, is_system_function,
};
use source::{CrateFile, CrateHome, with_slashes};

pub use waits::{FrameText, WaitKind, find_idle_word, find_release, find_wait};

/// The owner of a frame's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FrameOwner {
    /// A memory allocator, or what the compiler puts before it.
    Allocator,
    /// The standard library of Rust or Go, or libc.
    Standard,
    /// A library whose functions lock, park and poll for others, such as `parking_lot`.
    Locks,
    /// A library that runs the program's tasks and jobs, such as `tokio`.
    Runtime,
    /// This profiler.
    Profiler(OwnFrame),
    /// Any other library that was downloaded to be built.
    Library,
    /// The program.
    Program,
}

/// The reason for which a frame of the profiler's is in a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OwnFrame {
    /// The profiler is at work.
    Work,
    /// It stands in for the program's allocator.
    Allocating,
    /// It stands in for a function of libc that the program called.
    Passing,
    /// It is around what the program does, such as a future or a thread.
    Around,
}

impl FrameOwner {
    /// Tells the owner of a function by its name and its source file, empty where unknown.
    ///
    /// ```
    /// use profile_format::owner::FrameOwner;
    ///
    /// let file = "/root/.cargo/registry/src/index/tokio-1.48.0/src/runtime/park.rs";
    /// assert_eq!(FrameOwner::of("park", file), FrameOwner::Runtime);
    /// assert_eq!(FrameOwner::of("malloc", ""), FrameOwner::Allocator);
    /// assert_eq!(FrameOwner::of("shop::park", "src/main.rs"), FrameOwner::Program);
    /// ```
    pub fn of(function: &str, file: &str) -> FrameOwner {
        let file = with_slashes(file);
        let place = CrateFile::locate(&file);
        if let Some(place) = place {
            let known = match place.home {
                CrateHome::Standard => Some(FrameOwner::Standard),
                CrateHome::Downloaded | CrateHome::Named => {
                    known_owner(place.name, place.module_path(), function)
                }
            };
            // C code of a library may bring an allocator of its own along.
            if let Some(owner) = known {
                return owner;
            }
            if place.home == CrateHome::Downloaded {
                let is_allocator = is_allocator_function(function);
                return if is_allocator { FrameOwner::Allocator } else { FrameOwner::Library };
            }
        }
        owner_by_name(function, &file)
    }

    /// Returns whether such a frame says little of what a program does: it is the standard
    /// library's, an allocator's, a lock's, or the profiler's own.
    pub fn is_plumbing(self) -> bool {
        !matches!(self, FrameOwner::Runtime | FrameOwner::Library | FrameOwner::Program)
    }
}

/// Crates that are allocators, or lie between one and the program.
const ALLOCATORS: [&str; 15] = [
    "tikv_jemallocator",
    "tikv_jemalloc_sys",
    "jemallocator",
    "jemalloc_sys",
    "jemalloc",
    "mimalloc",
    "libmimalloc_sys",
    "snmalloc",
    "snmalloc_rs",
    "snmalloc_sys",
    "tcmalloc",
    "tcmalloc_better",
    "gperftools",
    "rpmalloc",
    "dlmalloc",
];

/// Crates that only lock, park and poll for others.
const LOCKS: [&str; 20] = [
    "parking_lot",
    "parking_lot_core",
    "lock_api",
    "parking",
    "event_listener",
    "event_listener_strategy",
    "async_lock",
    "crossbeam",
    "crossbeam_utils",
    "crossbeam_channel",
    "crossbeam_epoch",
    "crossbeam_deque",
    "crossbeam_queue",
    "flume",
    "futures_core",
    "futures_util",
    "futures_channel",
    "futures_lite",
    "once_cell",
    "spin",
];

/// Crates that run the program's tasks and jobs.
const RUNTIMES: [&str; 25] = [
    "tokio",
    "mio",
    "rayon",
    "rayon_core",
    "async_std",
    "async_io",
    "async_executor",
    "async_global_executor",
    "async_task",
    "async_signal",
    "async_process",
    "blocking",
    "polling",
    "smol",
    "futures",
    "futures_executor",
    "actix_rt",
    "glommio",
    "monoio",
    "compio_runtime",
    "threadpool",
    "rusty_pool",
    "signal_hook",
    "signal_hook_registry",
    "ctrlc",
];

/// Crates that the standard library is built of, and that programs have copies of.
const STANDARD: [&str; 2] = ["hashbrown", "compiler_builtins"];

/// The last parts of the names of the profiler's crates; see [`own_part`].
const OWN_CRATES: [&str; 5] = ["core", "http", "format", "archive", "analysis"];

/// Modules of the profiler that are in the program's stacks, the deepest first, by their crate.
const OWN_MODULES: [(&str, &str, OwnFrame); 14] = [
    ("core", "heap/profile", OwnFrame::Work),
    ("core", "heap/names", OwnFrame::Work),
    ("core", "heap/recorded", OwnFrame::Work),
    ("core", "heap", OwnFrame::Allocating),
    ("core", "waits/sampled", OwnFrame::Work),
    ("core", "waits/raw/births", OwnFrame::Around),
    ("core", "waits", OwnFrame::Passing),
    ("core", "task", OwnFrame::Around),
    ("core", "events", OwnFrame::Passing),
    ("core", "stacks", OwnFrame::Passing),
    ("core", "sys", OwnFrame::Passing),
    ("core", "trace/layer", OwnFrame::Around),
    ("core", "cpu/sampler/raw", OwnFrame::Passing),
    ("http", "tasks", OwnFrame::Around),
];

/// Returns the owner of a crate's code; `None` where it is just any crate.
fn known_owner(name: &str, module: &str, function: &str) -> Option<FrameOwner> {
    let is_in = |crates: &[&str]| crates.iter().any(|known| is_same_crate(known, name));
    if let Some(part) = own_part(name) {
        // Its tests are programs.
        let is_test =
            module.split('/').any(|part| part == "tests") || function.contains("::tests::");
        return (!is_test).then(|| FrameOwner::Profiler(own_frame(part, module)));
    }
    if is_same_crate(name, "tokio") && module.split('/').next() == Some("loom") {
        // Its way to locks.
        return Some(FrameOwner::Locks);
    }
    if is_in(&ALLOCATORS) {
        Some(FrameOwner::Allocator)
    } else if is_in(&LOCKS) {
        Some(FrameOwner::Locks)
    } else if is_in(&RUNTIMES) {
        Some(FrameOwner::Runtime)
    } else if is_in(&STANDARD) {
        Some(FrameOwner::Standard)
    } else {
        None
    }
}

/// Returns whether two names are the same crate's: as its folder is called, and as its code is.
fn is_same_crate(left: &str, right: &str) -> bool {
    let plain = |byte: u8| if byte == b'-' { b'_' } else { byte };
    left.bytes().map(plain).eq(right.bytes().map(plain))
}

/// Returns the last part of the name of a crate of the profiler's, of those that have the same
/// beginning as this one: a copy under other names is known as well.
fn own_part(name: &str) -> Option<&'static str> {
    let prefix = env!("CARGO_PKG_NAME").trim_end_matches("format");
    let (before, part) = name.split_at_checked(prefix.len())?;
    let part = OWN_CRATES.into_iter().find(|&own| own == part)?;
    is_same_crate(before, prefix).then_some(part)
}

fn own_frame(part: &str, module: &str) -> OwnFrame {
    let is_below = |whole: &str| {
        module.strip_prefix(whole).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let found = OWN_MODULES.iter().find(|(of, whole, _)| *of == part && is_below(whole));
    found.map_or(OwnFrame::Work, |&(.., frame)| frame)
}

/// Tells the owner where the file is in no folder that is known.
fn owner_by_name(function: &str, file: &str) -> FrameOwner {
    if is_allocator_function(function) {
        return FrameOwner::Allocator;
    }
    if function.ends_with(GAP) {
        return FrameOwner::Standard;
    }
    let Some(name) = crate_of(function) else {
        // An inlined function, or one of C or of Go.
        let is_system = (file.is_empty() || is_libc_file(file)) && is_system_function(function);
        let is_standard = is_system || is_go_standard(function, file);
        let is_module = file.contains("/pkg/mod/") || file.contains("/vendor/");
        return match () {
            () if is_standard => FrameOwner::Standard,
            () if is_module => FrameOwner::Library,
            () => FrameOwner::Program,
        };
    };
    if is_standard_crate(name) {
        // A crate of this name whose file is known lies elsewhere.
        return if file.is_empty() { FrameOwner::Standard } else { FrameOwner::Program };
    }
    let path = function.split_once(name).map_or("", |(_, path)| path.trim_start_matches("::"));
    let end = path.find(|c: char| !c.is_alphanumeric() && c != '_' && c != ':');
    let module = path[..end.unwrap_or(path.len())].replace("::", "/");
    known_owner(name, &module, function).unwrap_or(FrameOwner::Program)
}

/// Returns whether a file is of libc's sources, which are compiled from their own folder.
fn is_libc_file(file: &str) -> bool {
    file.starts_with("./") || file.starts_with("../") || file.contains("/sysdeps/")
}

/// Returns the name of a frame that stands for so many others, which a stack is too deep to have.
pub fn gap_name(left_out: u64) -> String {
    format!("[{left_out}{GAP}")
}

/// The end of the name of such a frame.
const GAP: &str = " frames left out]";

/// Returns whether a frame is the standard library's way to the allocator.
pub fn is_allocating(function: &str, file: &str) -> bool {
    let file = with_slashes(file);
    match CrateFile::locate(&file) {
        Some(CrateFile { name, home: CrateHome::Standard, path }) => match name {
            "alloc" => path == "src/alloc.rs" || path.starts_with("src/raw_vec"),
            "core" => path.starts_with("src/alloc/"),
            _ => false,
        },
        _ => {
            let plain = function.trim_start_matches('<');
            let mut modules = ["alloc::alloc::", "alloc::raw_vec::", "core::alloc::"].iter();
            FrameOwner::of(function, &file) == FrameOwner::Standard
                && modules.any(|module| plain.starts_with(module))
        }
    }
}

/// Returns a function's name with the path of its module, where it is the bare name of an inlined
/// one and its file says which crate and module it is of.
///
/// ```
/// use profile_format::owner::qualified_name;
///
/// let file = "/root/.cargo/registry/src/index/tokio-1.48.0/src/runtime/park.rs";
/// assert_eq!(qualified_name("park", file), "tokio::runtime::park::park");
/// assert_eq!(qualified_name("shop::park", file), "shop::park");
/// ```
pub fn qualified_name<'a>(function: &'a str, file: &str) -> Cow<'a, str> {
    if !is_bare(function) {
        return function.into();
    }
    let file = with_slashes(file);
    let Some(place) = CrateFile::locate(&file).filter(|place| place.path.ends_with(".rs")) else {
        return function.into();
    };
    let is_sure = match place.home {
        CrateHome::Standard | CrateHome::Downloaded => true,
        CrateHome::Named => known_owner(place.name, place.module_path(), function).is_some(),
    };
    if !is_sure {
        return function.into();
    }
    join_path(&place.name.replace('-', "_"), place.module_path(), function).into()
}

/// Returns a function's name with the path of its module in a crate.
fn join_path(name: &str, module: &str, function: &str) -> String {
    let mut path = name.to_owned();
    for part in module.split('/').filter(|part| !part.is_empty()) {
        path.push_str("::");
        path.push_str(part);
    }
    path.push_str("::");
    path.push_str(function);
    path
}

/// Returns whether a name has no path before it.
fn is_bare(function: &str) -> bool {
    let end = function.find('<').unwrap_or(function.len());
    end > 0 && !function[..end].contains("::") && !function.starts_with('[')
}

#[cfg(test)]
mod tests;
