//! What a stack waits for or releases, and whether the thread has anything to do at all: told from
//! its functions, the leaf first.
//!
//! Names are those of std since 1.81, `parking_lot`, glibc and musl.

use std::borrow::Cow;

use super::{FrameOwner, OwnFrame, qualified_name};

/// A function of a stack, with the path of its module as far as that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameText<'a> {
    /// The function's name.
    pub name: Cow<'a, str>,
    /// The owner of its code.
    pub owner: FrameOwner,
}

impl<'a> FrameText<'a> {
    /// Takes a function's name and its source file, empty where unknown.
    pub fn new(function: &'a str, file: &str) -> FrameText<'a> {
        FrameText { name: qualified_name(function, file), owner: FrameOwner::of(function, file) }
    }
}

/// The kind of thing that a thread waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitKind {
    /// A mutex.
    Mutex,
    /// A lock for readers and writers.
    RwLock,
    /// A condition.
    Condvar,
    /// A channel, by who receives.
    Channel,
    /// Another thread that unparks this one.
    Park,
    /// An initialisation by another thread.
    Once,
    /// Anything else.
    Other,
}

impl WaitKind {
    /// Returns the word that profiles have for it.
    pub fn word(self) -> &'static str {
        match self {
            WaitKind::Mutex => "mutex",
            WaitKind::RwLock => "rwlock",
            WaitKind::Condvar => "condvar",
            WaitKind::Channel => "channel",
            WaitKind::Park => "park",
            WaitKind::Once => "once",
            WaitKind::Other => "other",
        }
    }
}

/// Frames at the leaf in which the deciding one is looked for. Beyond them is the program.
const NEAR: usize = 12;

/// Functions that wait, by their type or, inlined, by their module. The first that is found decides:
/// taking a lock again at the end of a wait on a condition is a wait for the lock.
const WAITING: [(&str, WaitKind); 27] = [
    ("Mutex::lock_contended", WaitKind::Mutex),
    ("mutex::futex::lock_contended", WaitKind::Mutex),
    ("RawMutex::lock_slow", WaitKind::Mutex),
    ("raw_mutex::lock_slow", WaitKind::Mutex),
    ("pthread_mutex_lock", WaitKind::Mutex),
    ("pthread_mutex_timedlock", WaitKind::Mutex),
    ("__lll_lock_wait", WaitKind::Mutex),
    ("RwLock::read_contended", WaitKind::RwLock),
    ("RwLock::write_contended", WaitKind::RwLock),
    ("RawRwLock::lock_", WaitKind::RwLock),
    ("RawRwLock::upgrade_slow", WaitKind::RwLock),
    ("RawRwLock::wait_for_readers", WaitKind::RwLock),
    ("raw_rwlock::lock_", WaitKind::RwLock),
    ("raw_rwlock::upgrade_slow", WaitKind::RwLock),
    ("raw_rwlock::wait_for_readers", WaitKind::RwLock),
    ("pthread_rwlock_", WaitKind::RwLock),
    ("Condvar::wait", WaitKind::Condvar),
    ("condvar::wait", WaitKind::Condvar),
    ("condvar::futex::wait", WaitKind::Condvar),
    ("pthread_cond_wait", WaitKind::Condvar),
    ("pthread_cond_timedwait", WaitKind::Condvar),
    ("Once::wait", WaitKind::Once),
    ("Once::call", WaitKind::Once),
    ("Parker::park", WaitKind::Park),
    ("thread::park", WaitKind::Park),
    ("thread_parking::futex::park", WaitKind::Park),
    ("thread::functions::park", WaitKind::Park),
];

/// Finds the thing that a stack which ends in a wait waits for, and the index of the function that
/// says so.
pub fn find_wait(frames: &[FrameText<'_>]) -> (WaitKind, usize) {
    let near = frames.iter().take(NEAR).enumerate();
    let found = near.filter(|(_, frame)| is_wait_frame(frame)).find_map(|(index, frame)| {
        let (_, wait) = WAITING.iter().find(|(part, _)| names_function(&frame.name, part))?;
        Some((*wait, index))
    });
    match found {
        // A channel parks the thread that receives.
        Some((WaitKind::Park, index))
            if frames.iter().skip(index).take(NEAR).any(|frame| is_channel(&frame.name)) =>
        {
            (WaitKind::Channel, index)
        }
        Some(found) => found,
        None => (WaitKind::Other, 0),
    }
}

fn is_channel(name: &str) -> bool {
    ["::mpmc::", "::mpsc::", "crossbeam_channel::", "flume::"]
        .iter()
        .any(|part| name.contains(part))
}

/// Functions that release a lock and wake who waits for it.
const RELEASING: [&str; 16] = [
    "futex::Mutex::wake",
    "futex::Mutex::unlock",
    "mutex::futex::wake",
    "mutex::futex::unlock",
    "RwLock::wake_writer_or_readers",
    "RawMutex::unlock_slow",
    "raw_mutex::unlock_slow",
    "RawRwLock::unlock_shared_slow",
    "RawRwLock::unlock_exclusive_slow",
    "raw_rwlock::unlock_",
    "RawRwLock::downgrade",
    "RawRwLock::bump_",
    "RawMutex::bump",
    "pthread_mutex_unlock",
    "pthread_rwlock_unlock",
    "__lll_lock_wake",
];

/// Returns the index of the function that releases a lock, in a stack that wakes others. `None`
/// where it is anything else that they waited for.
pub fn find_release(frames: &[FrameText<'_>]) -> Option<usize> {
    let releases = |frame: &FrameText<'_>| {
        is_wait_frame(frame) && RELEASING.iter().any(|part| names_function(&frame.name, part))
    };
    frames.iter().take(NEAR).position(releases)
}

/// Modules in which a worker waits for something to do, and what it is. They count where they are the
/// first functions beyond what locks and parks: a worker that waits in the middle of its work has the
/// work in between.
const IDLE: [(&str, &str); 30] = [
    ("tokio::runtime::scheduler::multi_thread::park::", "tokio worker"),
    ("tokio::runtime::scheduler::multi_thread::worker::", "tokio worker"),
    ("tokio::runtime::scheduler::multi_thread_alt::", "tokio worker"),
    ("tokio::runtime::scheduler::current_thread::", "tokio worker"),
    ("tokio::runtime::driver::", "tokio worker"),
    ("tokio::runtime::time::", "tokio worker"),
    ("tokio::runtime::io::driver::", "tokio worker"),
    ("tokio::runtime::signal::", "tokio worker"),
    ("tokio::runtime::blocking::pool::", "tokio blocking pool"),
    ("tokio::process::", "tokio worker"),
    ("rayon_core::sleep::", "rayon worker"),
    ("rayon_core::registry::wait_until_cold", "rayon worker"),
    ("rayon_core::registry::WorkerThread::wait_until_cold", "rayon worker"),
    ("rayon_core::registry::main_loop", "rayon worker"),
    ("blocking::", "blocking pool"),
    ("async_io::driver::", "async-io driver"),
    ("async_io::reactor::", "async-io driver"),
    ("async_executor::", "async executor"),
    ("async_global_executor::", "async executor"),
    ("async_std::task::", "async executor"),
    ("async_std::rt::", "async executor"),
    ("smol::", "async executor"),
    ("actix_server::", "actix server"),
    ("actix_rt::", "actix worker"),
    ("threadpool::", "thread pool"),
    ("rusty_pool::", "thread pool"),
    ("signal_hook::", "signal handler"),
    ("ctrlc::", "signal handler"),
    ("indicatif::progress_bar::", "progress bar"),
    ("tracing_appender::", "log writer"),
];

/// Names the worker that a thread is which waits for something to do; `None` for other threads.
pub fn find_idle_word(frames: &[FrameText<'_>]) -> Option<&'static str> {
    let wait = find_wait(frames).0;
    let is_lock = matches!(wait, WaitKind::Mutex | WaitKind::RwLock);
    // A wait inside libc that is no lock: it is seen only where it lasts, as of a thread that is
    // joined, or that waits for a signal.
    let is_in_libc = |name: &str| name.starts_with("__futex_abstimed_wait");
    if frames.first().is_some_and(|frame| is_in_libc(&frame.name)) && !is_lock {
        return Some("libc");
    }
    let at = frames.iter().position(|frame| !is_wait_frame(frame))?;
    let beyond = &frames[at..];
    let first = &beyond[0];
    if matches!(first.owner, FrameOwner::Profiler(_)) {
        return Some("profilez");
    }
    if is_lock {
        return None;
    }
    if let Some(&(_, word)) = IDLE.iter().find(|(start, _)| plain(&first.name).starts_with(start)) {
        return Some(word);
    }
    if waits_for_the_end(beyond) && matches!(wait, WaitKind::Park | WaitKind::Other) {
        return Some("main thread");
    }
    let parks = ["tokio::runtime::park::", "async_io::block_on", "futures_lite::future::block_on"];
    if !parks.iter().any(|start| plain(&first.name).starts_with(start)) {
        return None;
    }
    // A worker of a runtime without a driver for I/O parks like any thread.
    let is_worker = |frame: &FrameText<'_>| {
        plain(&frame.name).starts_with("tokio::runtime::scheduler::multi_thread")
    };
    let is_runtime =
        |frame: &&FrameText<'_>| frame.owner == FrameOwner::Runtime || is_wait_frame(frame);
    if beyond.iter().take_while(is_runtime).any(is_worker) {
        return Some("tokio worker");
    }
    // The main thread of an async program: all it does is wait for the program's end.
    frames.iter().any(is_main_thread).then_some("tokio main thread")
}

/// Returns whether a frame is the root of the main thread.
fn is_main_thread(frame: &FrameText<'_>) -> bool {
    frame.name == "main" || plain(&frame.name).starts_with("std::rt::lang_start")
}

/// Returns whether a stack is `main` itself, from the standard library's frames that wait on: it
/// parks, or joins a server's thread, as long as the program runs.
fn waits_for_the_end(beyond: &[FrameText<'_>]) -> bool {
    let Some((first, rest)) = beyond.split_first() else { return false };
    first.name.ends_with("::main")
        && rest.iter().any(is_main_thread)
        && rest.iter().all(|frame| is_wait_frame(frame) || is_main_thread(frame))
}

/// Returns whether a frame only waits for who called it.
fn is_wait_frame(frame: &FrameText<'_>) -> bool {
    match frame.owner {
        FrameOwner::Standard | FrameOwner::Locks | FrameOwner::Allocator => true,
        FrameOwner::Runtime => {
            let waits = ["mio::", "polling::"];
            waits.iter().any(|start| plain(&frame.name).starts_with(start))
        }
        FrameOwner::Profiler(own) => matches!(own, OwnFrame::Passing | OwnFrame::Around),
        FrameOwner::Library => plain(&frame.name).starts_with("rustix::"),
        FrameOwner::Program => false,
    }
}

/// Returns a name without the brackets that an implementation's has: `<a::B as c::D>::e` begins as
/// `a::B`.
fn plain(name: &str) -> &str {
    name.trim_start_matches(['<', '&'])
}

/// Returns whether a name is that of a function, or begins with it: `futex::Mutex::wake` is in
/// `<std::sys::sync::mutex::futex::Mutex>::wake`, and `Mutex::lock_slow` in
/// `a::Mutex<R>::lock_slow`.
fn names_function(name: &str, part: &str) -> bool {
    let Some((kind, function)) = part.rsplit_once("::") else {
        // libc's own names have underscores before and after, and a version behind.
        return name.trim_start_matches('_').starts_with(part.trim_start_matches('_'));
    };
    name.match_indices("::").any(|(at, _)| {
        if !name[at + 2..].starts_with(function) {
            return false;
        }
        let mut kind_of_name = name[..at].trim_end_matches('>');
        if let Some(start) = kind_of_name.rfind(&format!("{kind}<")) {
            kind_of_name = &kind_of_name[..start + kind.len()];
        }
        let before = kind_of_name.strip_suffix(kind);
        before.is_some_and(|before| !before.ends_with(|c: char| c.is_alphanumeric() || c == '_'))
    })
}
