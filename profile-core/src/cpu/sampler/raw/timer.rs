//! CPU-time timers of the kernel, made by system call: libc wraps their ids.

use std::io;

use crate::stacks::raw::arch;

/// A timer that counts CPU time and sends `SIGPROF` once each time it is set. Deleted when dropped.
///
/// What it has sent and nobody has taken yet: Linux 6.13 and later drop it with the timer, earlier
/// ones leave it pending (kernel/time/posix-timers.c, `posixtimer_deliver_signal`).
#[derive(Debug)]
pub(crate) struct CpuTimer {
    id: i32,
}

/// The CPU time that a timer counts, and who gets its signals.
#[derive(Clone, Copy, Debug)]
pub(crate) enum CpuClock {
    /// One thread's, to that thread.
    Thread(u32),
    /// The whole process's, to the thread that is running when it expires.
    Process,
    /// The calling thread's.
    OwnThread,
}

impl CpuClock {
    fn id(self) -> libc::clockid_t {
        match self {
            // A thread's clock, by its id, and the kind of time that the scheduler keeps (Linux,
            // include/linux/posix-timers_types.h: CPUCLOCK_PERTHREAD_MASK | CPUCLOCK_SCHED).
            CpuClock::Thread(tid) => (!tid << 3) as i32 | 6,
            CpuClock::Process => libc::CLOCK_PROCESS_CPUTIME_ID,
            CpuClock::OwnThread => libc::CLOCK_THREAD_CPUTIME_ID,
        }
    }

    /// Reads the CPU time used so far, in nanoseconds; `None` where the thread is gone.
    pub(crate) fn now(self) -> Option<u64> {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        let arguments = [self.id() as usize, &raw mut time as usize, 0, 0, 0, 0];
        // SAFETY: clock_gettime(2) writes the time to a structure that lives during the call.
        check(unsafe { arch::syscall(libc::SYS_clock_gettime, arguments) }).ok()?;
        Some(time.tv_sec as u64 * SECOND + time.tv_nsec as u64)
    }
}

const SECOND: u64 = 1_000_000_000;

/// `sigevent` as the kernel has it (Linux, include/uapi/asm-generic/siginfo.h): 64 bytes.
#[repr(C)]
struct SigEvent {
    value: u64,
    signal: i32,
    notify: i32,
    thread: i32,
    _pad: [i32; 11],
}

impl CpuTimer {
    /// Makes a timer that is not running yet. Its signals carry `value`.
    ///
    /// # Errors
    ///
    /// `EAGAIN` at the limit of queued signals (`RLIMIT_SIGPENDING`), `EINVAL` where the thread is
    /// gone.
    pub(crate) fn new(clock: CpuClock, value: u64) -> io::Result<CpuTimer> {
        const SIGEV_SIGNAL: i32 = 0;
        const SIGEV_THREAD_ID: i32 = 4;
        let (notify, thread) = match clock {
            CpuClock::Thread(tid) => (SIGEV_THREAD_ID, tid as i32),
            CpuClock::Process | CpuClock::OwnThread => (SIGEV_SIGNAL, 0),
        };
        let event = SigEvent { value, signal: libc::SIGPROF, notify, thread, _pad: [0; 11] };
        let mut id = 0i32;
        let arguments =
            [clock.id() as usize, &raw const event as usize, &raw mut id as usize, 0, 0, 0];
        // SAFETY: timer_create(2) reads the event and writes the id; both live during the call.
        check(unsafe { arch::syscall(libc::SYS_timer_create, arguments) })?;
        Ok(CpuTimer { id })
    }

    /// Returns the kernel's id of it.
    pub(crate) fn id(&self) -> i32 {
        self.id
    }

    /// Lets it expire when its clock says `due`, in nanoseconds, and not again.
    pub(crate) fn set(&self, due: u64) -> io::Result<()> {
        check(set(self.id, due))
    }

    /// Returns whether it is yet to expire. Where it isn't, its signal was handled, waits, or is
    /// lost.
    pub(crate) fn is_running(&self) -> bool {
        let zero = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        let mut left = libc::itimerspec { it_value: zero, it_interval: zero };
        let arguments = [self.id as usize, &raw mut left as usize, 0, 0, 0, 0];
        // SAFETY: timer_gettime(2) writes to a structure that lives during the call.
        let known = check(unsafe { arch::syscall(libc::SYS_timer_gettime, arguments) }).is_ok();
        known && (left.it_value.tv_sec != 0 || left.it_value.tv_nsec != 0)
    }
}

/// Lets the timer of this id expire once, when its clock says `due`. A negative number is an error's.
/// Runs in signal handlers.
#[inline]
pub(crate) fn set(id: i32, due: u64) -> isize {
    const TIMER_ABSTIME: usize = 1;
    // A zero would stop it.
    let due = due.max(1);
    let (seconds, nanos) = (due / SECOND, due % SECOND);
    let times = libc::itimerspec {
        it_value: libc::timespec {
            tv_sec: seconds as libc::time_t,
            tv_nsec: nanos as libc::c_long,
        },
        it_interval: libc::timespec { tv_sec: 0, tv_nsec: 0 },
    };
    let arguments = [id as usize, TIMER_ABSTIME, &raw const times as usize, 0, 0, 0];
    // SAFETY: timer_settime(2) reads the times, which live during the call.
    unsafe { arch::syscall(libc::SYS_timer_settime, arguments) }
}

impl Drop for CpuTimer {
    fn drop(&mut self) {
        // SAFETY: timer_delete(2) of a timer that this value alone owns.
        unsafe { arch::syscall(libc::SYS_timer_delete, [self.id as usize, 0, 0, 0, 0, 0]) };
    }
}

fn check(result: isize) -> io::Result<()> {
    if result < 0 { Err(io::Error::from_raw_os_error(-result as i32)) } else { Ok(()) }
}
