//! An engine's own signals, looked at and sent again.
//!
//! A difference of CPU times with and without an engine says little of what a sample costs: at
//! CONFIG_HZ=250 a second of CPU has no more than 250 signals, 2 ms of work, and a processor's speed
//! changes by more. So a handler is put around the engine's: it times each call, and keeps what the
//! kernel said with it; sent again by the thousand, that is the same work without the waiting.

use std::collections::HashMap;
use std::io;
use std::mem::zeroed;
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicUsize, Ordering};
use std::time::Instant;

/// What the kernel says with a signal: `siginfo_t`, 128 bytes.
pub type Info = [i32; WORDS];

const WORDS: usize = 32;
/// The word with the timer's id, and that with its merged expirations.
const TIMER: usize = 4;
const OVERRUN: usize = 5;

/// Calls of which it is kept what they took, in nanoseconds, and with what they came.
const KEPT: usize = 4096;
static CALLS: AtomicUsize = AtomicUsize::new(0);
static TOOK: [AtomicU32; KEPT] = [const { AtomicU32::new(0) }; KEPT];
static CAME_WITH: [[AtomicI32; WORDS]; KEPT] =
    [const { [const { AtomicI32::new(0) }; WORDS] }; KEPT];

/// The handler in the middle: what was installed before, as an address.
static INNER: AtomicUsize = AtomicUsize::new(0);

/// Puts a handler around the one that `SIGPROF` has now, or one that does nothing where there is
/// none.
pub fn wrap_handler() -> io::Result<()> {
    // SAFETY: all-zero `sigaction`s are valid values of a plain C structure; sigaction(2) reads one
    // and writes the other.
    unsafe {
        let mut before: libc::sigaction = zeroed();
        if libc::sigaction(libc::SIGPROF, ptr::null(), &raw mut before) != 0 {
            return Err(io::Error::last_os_error());
        }
        if before.sa_sigaction == libc::SIG_DFL || before.sa_sigaction == libc::SIG_IGN {
            before.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
        } else {
            INNER.store(before.sa_sigaction, Ordering::SeqCst);
        }
        before.sa_sigaction = on_signal as *const () as usize;
        if libc::sigaction(libc::SIGPROF, &raw const before, ptr::null_mut()) != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Calls the handler in the middle, and notes what it took. Async-signal-safe: reads a clock and
/// writes atomics.
extern "C" fn on_signal(signal: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let begun = Instant::now();
    let inner = INNER.load(Ordering::Relaxed);
    if inner != 0 {
        type Handler = extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void);
        // SAFETY: it was installed as a handler with SA_SIGINFO, by either engine.
        let inner = unsafe { std::mem::transmute::<usize, Handler>(inner) };
        inner(signal, info, context);
    }
    let took = begun.elapsed();
    let call = CALLS.fetch_add(1, Ordering::Relaxed);
    if call < KEPT {
        TOOK[call].store(took.as_nanos() as u32, Ordering::Relaxed);
        // SAFETY: the kernel's structure has this many words and is aligned for them.
        let words = unsafe { *info.cast::<Info>() };
        for (kept, word) in CAME_WITH[call].iter().zip(words) {
            kept.store(word, Ordering::Relaxed);
        }
    }
}

/// What calls so far took inside the engine's handler, in nanoseconds; the first few thousand.
pub fn took() -> Vec<u32> {
    let calls = CALLS.load(Ordering::Relaxed).min(KEPT);
    TOOK[..calls].iter().map(|took| took.load(Ordering::Relaxed)).collect()
}

/// What most signals so far came with: the timer of the one busy thread, and not the one that an
/// engine may have for the whole process. As if of a single expiration.
pub fn commonest() -> Option<Info> {
    let calls = CALLS.load(Ordering::Relaxed).min(KEPT);
    let mut by_timer: HashMap<i32, (usize, Info)> = HashMap::new();
    for kept in &CAME_WITH[..calls] {
        let mut info = [0; WORDS];
        for (word, kept) in info.iter_mut().zip(kept) {
            *word = kept.load(Ordering::Relaxed);
        }
        by_timer.entry(info[TIMER]).or_insert((0, info)).0 += 1;
    }
    let (_, mut info) = by_timer.into_values().max_by_key(|(count, _)| *count)?;
    info[OVERRUN] = 0;
    Some(info)
}

/// A signal that nothing expects.
pub fn unexpected() -> Info {
    let mut info = [0; WORDS];
    info[0] = libc::SIGPROF;
    info[2] = libc::SI_QUEUE;
    info
}

/// The thread that sends signals to itself. Its ids are asked for once: that is no part of a signal.
pub struct ToSelf {
    pid: libc::pid_t,
    tid: libc::pid_t,
}

impl ToSelf {
    /// For the calling thread.
    pub fn new() -> ToSelf {
        // SAFETY: getpid(2) and gettid(2) have no arguments and no effect.
        unsafe { ToSelf { pid: libc::getpid(), tid: libc::gettid() } }
    }

    /// Sends a signal, which has been handled when this returns.
    pub fn send(&self, info: &Info) -> io::Result<()> {
        let (call, signal) = (libc::SYS_rt_tgsigqueueinfo, libc::SIGPROF);
        // SAFETY: rt_tgsigqueueinfo(2), which reads a `siginfo_t`.
        let status = unsafe { libc::syscall(call, self.pid, self.tid, signal, info.as_ptr()) };
        if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

impl Default for ToSelf {
    fn default() -> ToSelf {
        ToSelf::new()
    }
}
