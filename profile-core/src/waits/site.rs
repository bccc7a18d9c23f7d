//! What a stack waits for or find_release, and whether the thread has anything to do at all: told
//! from the names of its functions, the leaf first.
//!
//! Names are those of std since 1.81, `parking_lot`, glibc and musl. They are the same with and
//! without debug information, as none of the functions that decide is ever inlined.

/// The kind of thing that a thread waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaitKind {
    Mutex,
    RwLock,
    Condvar,
    Channel,
    Park,
    Once,
    Other,
}

impl WaitKind {
    /// Returns the word that profiles have for it.
    pub(crate) fn word(self) -> &'static str {
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

/// Functions that wait. The first that is found decides: taking a lock again at the end of a wait
/// on a condition is a wait for the lock.
const WAITING: [(&str, WaitKind); 18] = [
    ("Mutex::lock_contended", WaitKind::Mutex),
    ("RawMutex::lock_slow", WaitKind::Mutex),
    ("pthread_mutex_lock", WaitKind::Mutex),
    ("pthread_mutex_timedlock", WaitKind::Mutex),
    ("__lll_lock_wait", WaitKind::Mutex),
    ("RwLock::read_contended", WaitKind::RwLock),
    ("RwLock::write_contended", WaitKind::RwLock),
    ("RawRwLock::lock_", WaitKind::RwLock),
    ("RawRwLock::upgrade_slow", WaitKind::RwLock),
    ("RawRwLock::wait_for_readers", WaitKind::RwLock),
    ("pthread_rwlock_", WaitKind::RwLock),
    ("Condvar::wait", WaitKind::Condvar),
    ("pthread_cond_wait", WaitKind::Condvar),
    ("pthread_cond_timedwait", WaitKind::Condvar),
    ("Once::wait", WaitKind::Once),
    ("Once::call", WaitKind::Once),
    ("Parker::park", WaitKind::Park),
    ("thread::park", WaitKind::Park),
];

/// Finds the thing that a stack which ends in a wait waits for, and the index of the function that
/// says so.
pub(crate) fn find_wait<'a>(names: impl Iterator<Item = &'a str> + Clone) -> (WaitKind, usize) {
    let found = names.clone().take(NEAR).enumerate().find_map(|(index, name)| {
        let (_, wait) = WAITING.iter().find(|(part, _)| names_function(name, part))?;
        Some((*wait, index))
    });
    match found {
        // A channel parks the thread that receives.
        Some((WaitKind::Park, index)) if names.skip(index).take(NEAR).any(is_channel) => {
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
const RELEASING: [&str; 12] = [
    "futex::Mutex::wake",
    "futex::Mutex::unlock",
    "RwLock::wake_writer_or_readers",
    "RawMutex::unlock_slow",
    "RawRwLock::unlock_shared_slow",
    "RawRwLock::unlock_exclusive_slow",
    "RawRwLock::downgrade",
    "RawRwLock::bump_",
    "RawMutex::bump",
    "pthread_mutex_unlock",
    "pthread_rwlock_unlock",
    "__lll_lock_wake",
];

/// Returns the index of the function that releases a lock, in a stack that wakes others. `None`
/// where it is anything else that they waited for.
pub(crate) fn find_release<'a>(names: impl Iterator<Item = &'a str>) -> Option<usize> {
    names.take(NEAR).position(|name| RELEASING.iter().any(|part| names_function(name, part)))
}

/// Beginnings of names of functions in which a worker waits for something to do, and what it is.
/// They count where they are the first functions beyond std's and `parking_lot`'s: a worker that
/// waits in the middle of its work has the work in between.
const IDLE: [(&str, &str); 11] = [
    ("tokio::runtime::scheduler::multi_thread::park::", "tokio worker"),
    ("tokio::runtime::scheduler::multi_thread::worker::", "tokio worker"),
    ("tokio::runtime::driver::", "tokio worker"),
    ("tokio::runtime::time::", "tokio worker"),
    ("tokio::runtime::io::driver::", "tokio worker"),
    ("tokio::runtime::blocking::pool::", "tokio blocking pool"),
    ("rayon_core::sleep::", "rayon worker"),
    ("rayon_core::registry::WorkerThread::wait_until_cold", "rayon worker"),
    ("blocking::", "blocking pool"),
    ("indicatif::progress_bar::TickerControl", "progress bar"),
    ("profile_http::", "profilez"),
];

/// Names the worker that a thread is which waits for something to do; `None` for other threads.
pub(crate) fn find_idle_word<'a>(
    mut names: impl Iterator<Item = &'a str> + Clone,
) -> Option<&'static str> {
    // A wait inside libc that is no lock: it is seen only where it lasts, as of a thread that is
    // joined, or that waits for a signal.
    let in_libc = |name: &str| name.starts_with("__futex_abstimed_wait");
    if names.clone().next().is_some_and(in_libc)
        && !matches!(find_wait(names.clone()).0, WaitKind::Mutex | WaitKind::RwLock)
    {
        return Some("libc");
    }
    let mut beyond = names.clone().skip_while(|name| is_runtime_frame(name));
    let first = beyond.next()?;
    if let Some((_, what)) = IDLE.iter().find(|(start, _)| plain(first).starts_with(start)) {
        return Some(what);
    }
    if !plain(first).starts_with("tokio::runtime::park::") {
        return None;
    }
    // A worker of a runtime without a driver for I/O parks like any thread.
    let is_worker = |name: &str| plain(name).starts_with("tokio::runtime::scheduler::multi_thread");
    let is_runtime = |name: &&str| plain(name).starts_with("tokio::") || is_runtime_frame(name);
    if beyond.take_while(is_runtime).any(is_worker) {
        return Some("tokio worker");
    }
    // The main thread of an async program: all it does is wait for the program's end.
    let is_main = |name: &str| name == "main" || name.starts_with("std::rt::lang_start");
    names.any(is_main).then_some("tokio main thread")
}

fn is_runtime_frame(name: &str) -> bool {
    const PARTS: [&str; 9] = [
        "std::",
        "core::",
        "alloc::",
        "parking_lot::",
        "parking_lot_core::",
        "lock_api::",
        "tokio::loom::",
        "syscall",
        "pthread_",
    ];
    let plain = plain(name);
    PARTS.iter().any(|part| plain.starts_with(part)) || plain.starts_with("__")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_wait(names: &[&str], wait: WaitKind, index: usize, idles: Option<&str>) {
        assert_eq!(find_wait(names.iter().copied()), (wait, index));
        assert_eq!(find_idle_word(names.iter().copied()), idles);
    }

    #[test]
    fn tells_what_is_waited_for() {
        let futex = "std::sys::pal::unix::futex::futex_wait";
        let lock = "<std::sys::sync::mutex::futex::Mutex>::lock_contended";
        let once = "<std::sys::sync::once::futex::Once>::wait";
        check_wait(&[futex, once, "shop::sell"], WaitKind::Once, 1, None);
        check_wait(&["core::ops::function::FnOnce::call_once"], WaitKind::Other, 0, None);
        let park = "std::sys::sync::thread_parking::futex::Parker::park";
        let wait = "std::sys::sync::condvar::futex::Condvar::wait_optional_timeout";
        check_wait(&[futex, lock, "shop::sell"], WaitKind::Mutex, 1, None);
        check_wait(&[futex, lock, wait, "shop::sell"], WaitKind::Mutex, 1, None);
        check_wait(
            &[futex, wait, "std::sync::Condvar::wait", "shop::sell"],
            WaitKind::Condvar,
            1,
            None,
        );
        check_wait(&[futex, park, "std::thread::park", "shop::sell"], WaitKind::Park, 1, None);
        let receive = "std::sync::mpmc::list::Channel<T>::recv";
        check_wait(&[futex, park, receive, "shop::sell"], WaitKind::Channel, 1, None);
        let slow = "parking_lot::raw_mutex::RawMutex::lock_slow";
        let parker = "parking_lot_core::thread_parker::imp::ThreadParker::park";
        check_wait(&["syscall", parker, slow, "shop::sell"], WaitKind::Mutex, 2, None);
        check_wait(&["shop::own_futex", "shop::sell"], WaitKind::Other, 0, None);
        check_wait(&[], WaitKind::Other, 0, None);
    }

    #[test]
    fn tells_idle_workers_from_those_that_wait_in_their_work() {
        let futex = "std::sys::pal::unix::futex::futex_wait";
        let wait = "std::sys::sync::condvar::futex::Condvar::wait_optional_timeout";
        let lock = "std::sys::sync::mutex::futex::Mutex::lock_contended";
        let loom = "tokio::loom::std::parking_lot::Condvar::wait";
        let parker = "<tokio::runtime::scheduler::multi_thread::park::Inner>::park_condvar";
        let run = "tokio::runtime::scheduler::multi_thread::worker::run";
        let pool = "tokio::runtime::blocking::pool::Inner::run";
        let main = "std::rt::lang_start_internal";
        check_wait(&[futex, wait, loom, parker, run], WaitKind::Condvar, 1, Some("tokio worker"));
        check_wait(&[futex, wait, pool], WaitKind::Condvar, 1, Some("tokio blocking pool"));
        let parks = "tokio::runtime::park::Inner::park_timeout";
        let timer = "tokio::runtime::time::Driver::park_internal";
        check_wait(&[futex, wait, parks, timer, run], WaitKind::Condvar, 1, Some("tokio worker"));
        check_wait(&[futex, wait, parks, "shop::sell", run], WaitKind::Condvar, 1, None);
        check_wait(&[futex, lock, "shop::sell", pool], WaitKind::Mutex, 1, None);
        let rayon = "rayon_core::sleep::Sleep::sleep";
        check_wait(&[futex, wait, rayon, "x::y"], WaitKind::Condvar, 1, Some("rayon worker"));
        let block_on = "tokio::runtime::park::CachedParkThread::block_on";
        check_wait(&[futex, wait, block_on, main], WaitKind::Condvar, 1, Some("tokio main thread"));
        check_wait(&[futex, wait, block_on, "shop::sell"], WaitKind::Condvar, 1, None);
        let libc = "__futex_abstimed_wait_common64";
        check_wait(&[libc, "__pthread_clockjoin_ex", "shop"], WaitKind::Other, 0, Some("libc"));
        check_wait(&[libc, "pthread_rwlock_wrlock", "shop"], WaitKind::RwLock, 1, None);
    }

    #[test]
    fn only_locks_are_released() {
        let wake = "std::sys::pal::unix::futex::futex_wake";
        let cases: [(&[&str], Option<usize>); 6] = [
            (&[wake, "<std::sys::sync::mutex::futex::Mutex>::wake", "shop::sell"], Some(1)),
            (&["std::sys::sync::rwlock::futex::RwLock::wake_writer_or_readers"], Some(0)),
            (&["x", "parking_lot::raw_mutex::RawMutex::unlock_slow", "shop::sell"], Some(1)),
            (&["x", "parking_lot::raw_rwlock::RawRwLock<R>::unlock_shared_slow"], Some(1)),
            (&[wake, "std::sync::Condvar::notify_one", "shop::sell"], None),
            (&[wake, "std::thread::Thread::unpark", "shop::sell"], None),
        ];
        for (names, index) in cases {
            assert_eq!(find_release(names.iter().copied()), index, "{names:?}");
        }
    }
}
