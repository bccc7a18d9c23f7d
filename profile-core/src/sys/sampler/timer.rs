//! CPU-time timers of the kernel, made by system call: libc wraps their ids.

use std::io;
use std::time::Duration;

use crate::sys::arch;

/// A timer that counts CPU time and sends `SIGPROF`. Deleted when dropped.
#[derive(Debug)]
pub(super) struct Timer {
    id: i32,
}

/// Whose CPU time a timer counts, and who gets its signals.
#[derive(Clone, Copy, Debug)]
pub(super) enum Clock {
    /// One thread's, to that thread.
    Thread(u32),
    /// The whole process's, to the thread that is running when it expires.
    Process,
    /// The calling thread's.
    OwnThread,
}

impl Clock {
    fn id(self) -> libc::clockid_t {
        match self {
            // A thread's clock, by its id, and the kind of time that the scheduler keeps (Linux,
            // include/linux/posix-timers_types.h: CPUCLOCK_PERTHREAD_MASK | CPUCLOCK_SCHED).
            Clock::Thread(tid) => (!tid << 3) as i32 | 6,
            Clock::Process => libc::CLOCK_PROCESS_CPUTIME_ID,
            Clock::OwnThread => libc::CLOCK_THREAD_CPUTIME_ID,
        }
    }

    /// CPU time used so far; `None` where the thread is gone.
    pub(super) fn used(self) -> Option<Duration> {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        let arguments = [self.id() as usize, &raw mut time as usize, 0, 0, 0, 0];
        // SAFETY: clock_gettime(2) writes the time to a structure that lives during the call.
        check(unsafe { arch::syscall(libc::SYS_clock_gettime, arguments) }).ok()?;
        Some(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
    }
}

/// `sigevent` as the kernel has it (Linux, include/uapi/asm-generic/siginfo.h): 64 bytes.
#[repr(C)]
struct SigEvent {
    value: u64,
    signal: i32,
    notify: i32,
    thread: i32,
    _pad: [i32; 11],
}

impl Timer {
    /// A timer that is not running yet. Its signals carry `value`.
    ///
    /// # Errors
    ///
    /// `EAGAIN` at the limit of queued signals (`RLIMIT_SIGPENDING`), `EINVAL` where the thread is
    /// gone.
    pub(super) fn new(clock: Clock, value: u64) -> io::Result<Timer> {
        const SIGEV_SIGNAL: i32 = 0;
        const SIGEV_THREAD_ID: i32 = 4;
        let (notify, thread) = match clock {
            Clock::Thread(tid) => (SIGEV_THREAD_ID, tid as i32),
            Clock::Process | Clock::OwnThread => (SIGEV_SIGNAL, 0),
        };
        let event = SigEvent { value, signal: libc::SIGPROF, notify, thread, _pad: [0; 11] };
        let mut id = 0i32;
        let arguments =
            [clock.id() as usize, &raw const event as usize, &raw mut id as usize, 0, 0, 0];
        // SAFETY: timer_create(2) reads the event and writes the id; both live during the call.
        check(unsafe { arch::syscall(libc::SYS_timer_create, arguments) })?;
        Ok(Timer { id })
    }

    /// Lets it expire after `first` and then every `interval` of CPU time. A zero `first` stops it.
    pub(super) fn run(&self, first: Duration, interval: Duration) -> io::Result<()> {
        let time = |duration: Duration| libc::timespec {
            tv_sec: duration.as_secs() as libc::time_t,
            tv_nsec: duration.subsec_nanos().into(),
        };
        let times = libc::itimerspec { it_value: time(first), it_interval: time(interval) };
        let arguments = [self.id as usize, 0, &raw const times as usize, 0, 0, 0];
        // SAFETY: timer_settime(2) reads the times, which live during the call.
        check(unsafe { arch::syscall(libc::SYS_timer_settime, arguments) })
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        // SAFETY: timer_delete(2) of a timer that this value alone owns.
        unsafe { arch::syscall(libc::SYS_timer_delete, [self.id as usize, 0, 0, 0, 0, 0]) };
    }
}

fn check(result: isize) -> io::Result<()> {
    if result < 0 { Err(io::Error::from_raw_os_error(-result as i32)) } else { Ok(()) }
}
