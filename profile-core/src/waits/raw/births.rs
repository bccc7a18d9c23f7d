//! `pthread_create` as the program calls it: each new thread is counted at the stack that created
//! it.
//!
//! [`pthread_create`] runs in place of libc's function, in any thread, and [`begin`] and [`end`]
//! are the first and the last code of each new thread, when libc's own state for it is half made or
//! half gone. None of it may allocate, lock, panic, format, or touch a thread-local that is
//! initialised lazily. The one exception is `dlsym`, which the first call asks where libc's
//! function is.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use libc::{c_int, c_void, pthread_attr_t, pthread_key_t, pthread_t};

use crate::stacks::own_frames;
use crate::stacks::raw::capture;
use crate::sys::own_work::{self, OwnWork};
use crate::waits::{DEPTH, WaitEntry, births};

/// The function that a thread runs.
type ThreadStart = unsafe extern "C-unwind" fn(*mut c_void) -> *mut c_void;
/// The function's type, libc's and ours.
type CreateThread =
    unsafe extern "C" fn(*mut pthread_t, *const pthread_attr_t, ThreadStart, *mut c_void) -> c_int;

/// Threads that are being started: what they are to run, until they run it.
static STARTING: [StartingThread; 512] = [const { StartingThread::new() }; 512];

struct StartingThread {
    taken: AtomicU32,
    start: AtomicUsize,
    argument: AtomicUsize,
    entry: AtomicUsize,
}

impl StartingThread {
    const fn new() -> StartingThread {
        StartingThread {
            taken: AtomicU32::new(0),
            start: AtomicUsize::new(0),
            argument: AtomicUsize::new(0),
            entry: AtomicUsize::new(0),
        }
    }

    /// Takes a free place for what a thread is to run. `None` where as many threads are being
    /// started.
    fn take(
        start: ThreadStart,
        argument: *mut c_void,
        entry: Option<WaitEntry>,
    ) -> Option<&'static StartingThread> {
        let place = STARTING.iter().find(|place| {
            place.taken.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).is_ok()
        })?;
        place.start.store(start as usize, Ordering::Relaxed);
        place.argument.store(argument.expose_provenance(), Ordering::Relaxed);
        place.entry.store(entry.map_or(0, WaitEntry::number), Ordering::Relaxed);
        Some(place)
    }

    fn free(&self) {
        self.taken.store(0, Ordering::Release);
    }
}

/// For each thread the entry it was counted at, which is also what tells when the thread ends. 0 is
/// none: a key is kept as one more.
static ENTRY_KEY: AtomicU32 = AtomicU32::new(0);

/// Runs before `main`: so that the first thread that the program creates is seen with its stack.
#[used]
#[unsafe(link_section = ".init_array")]
static PREPARE: extern "C" fn() = prepare;

extern "C" fn prepare() {
    let _own = OwnWork::begin();
    births::prepare();
    own_frames::set_thread_root(begin as *const () as u64);
    capture::refresh();
    // Looked for while no lock of the dynamic linker's can matter.
    let _ = libcs::create();
    let mut key: pthread_key_t = 0;
    // SAFETY: pthread_key_create(3) with a destructor that does not unwind. Where there is no key
    // left, which threads still live is not known.
    if unsafe { libc::pthread_key_create(&raw mut key, Some(end)) } == 0 {
        ENTRY_KEY.store(key + 1, Ordering::Relaxed);
    }
}

/// Does the same as libc's function of the same name, and counts the thread.
#[unsafe(no_mangle)]
#[inline(never)]
unsafe extern "C" fn pthread_create(
    thread: *mut pthread_t,
    attributes: *const pthread_attr_t,
    start: ThreadStart,
    argument: *mut c_void,
) -> c_int {
    let Some(create) = libcs::create() else { return libc::EAGAIN };
    if own_work::is_under_way() {
        // SAFETY: what the caller asked for, handed on as it is.
        return unsafe { create(thread, attributes, start, argument) };
    }
    let entry = count();
    let Some(place) = StartingThread::take(start, argument, entry) else {
        // SAFETY: as above.
        return unsafe { create(thread, attributes, start, argument) };
    };
    let place_as_argument = std::ptr::from_ref(place).cast_mut().cast();
    // SAFETY: `begin` gets the place that it expects, which is static, and runs what was asked for.
    let failed = unsafe { create(thread, attributes, begin, place_as_argument) };
    if failed != 0 {
        place.free();
        if let Some(entry) = entry {
            births::undo_birth(entry);
        }
    }
    failed
}

/// Our frames in what [`count`] captures: its own and [`pthread_create`]'s.
const OURS: usize = 2;

/// Counts a thread at the stack that creates it.
#[inline(never)]
fn count() -> Option<WaitEntry> {
    let counted = capture::capture(DEPTH + OURS, |captured| {
        let program = captured.without(OURS);
        births::count_birth(program.addresses, program.truncated)
    });
    counted.unwrap_or_else(|| births::count_birth(&[], true))
}

/// Runs as the first code of a thread. It lets a forced unwinding pass, as of `pthread_exit`.
unsafe extern "C-unwind" fn begin(place: *mut c_void) -> *mut c_void {
    // SAFETY: `pthread_create` passed a pointer to a static place.
    let place = unsafe { &*place.cast_const().cast::<StartingThread>() };
    let start = place.start.load(Ordering::Relaxed);
    let argument = std::ptr::with_exposed_provenance_mut(place.argument.load(Ordering::Relaxed));
    let entry = place.entry.load(Ordering::Relaxed);
    place.free();
    let key = ENTRY_KEY.load(Ordering::Relaxed);
    if key != 0 && entry != 0 {
        // SAFETY: the key exists; the value is a number, which nobody takes for a pointer. The first
        // keys of a program need no memory of their own (pthread_setspecific(3)).
        unsafe { libc::pthread_setspecific(key - 1, std::ptr::without_provenance(entry)) };
    }
    // SAFETY: `pthread_create` stored a function of this type there.
    let start = unsafe { std::mem::transmute::<usize, ThreadStart>(start) };
    // SAFETY: what the caller of `pthread_create` asked for.
    unsafe { start(argument) }
}

/// Runs as the last code of a thread, however it ends.
unsafe extern "C" fn end(entry: *mut c_void) {
    if let Some(entry) = WaitEntry::of_number(entry.addr()) {
        births::count_end(entry);
    }
}

/// The function that ours stands in for.
#[cfg(not(target_feature = "crt-static"))]
mod libcs {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::CreateThread;

    static FOUND: AtomicUsize = AtomicUsize::new(0);

    pub(crate) fn create() -> Option<CreateThread> {
        let mut found = FOUND.load(Ordering::Relaxed);
        if found == 0 {
            // SAFETY: dlsym(3) for the next object's definition, with a NUL-terminated name.
            found = unsafe { libc::dlsym(libc::RTLD_NEXT, c"pthread_create".as_ptr()) }.addr();
            FOUND.store(found, Ordering::Relaxed);
        }
        // SAFETY: libc's function has this type; null is `None`.
        unsafe { std::mem::transmute::<usize, Option<CreateThread>>(found) }
    }
}

/// The function that ours stands in for: a statically linked libc has it under a name of its own as
/// well.
#[cfg(target_feature = "crt-static")]
mod libcs {
    use super::CreateThread;

    unsafe extern "C" {
        #[cfg_attr(target_env = "musl", link_name = "__pthread_create")]
        #[cfg_attr(not(target_env = "musl"), link_name = "__pthread_create_2_1")]
        safe static LIBCS: core::ffi::c_void;
    }

    pub(crate) fn create() -> Option<CreateThread> {
        let address = &raw const LIBCS;
        // SAFETY: libc's function has this type, and is there as the program was linked with it.
        unsafe { std::mem::transmute::<*const core::ffi::c_void, Option<CreateThread>>(address) }
    }
}

/// Does nothing but make the linker take this file along, with the symbols that it defines.
pub(crate) fn present() -> bool {
    ENTRY_KEY.load(Ordering::Relaxed) != 0
}
