//! A thousand forks while two threads allocate and sample: children that don't end.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use profile_core::alloc;

use super::{Mode, jemalloc};
use crate::run::{Figures, figures};

/// Children that hung or failed.
pub(super) fn measure(_mode: Mode, args: &[u32]) -> Figures {
    let &[on_jemalloc] = args else { panic!("whether it is jemalloc") };
    profile_core::heap::install().expect("there is a feeder");
    if on_jemalloc == 1 {
        jemalloc::set_active(true);
    } else {
        // A sample at every second block or so.
        alloc::set_rate(1000);
    }
    let stop = AtomicBool::new(false);
    let mut lost = 0;
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut kept = Vec::new();
                while !stop.load(Relaxed) {
                    kept.push(black_box(vec![1u8; 700 + kept.len()]));
                    if kept.len() == 300 {
                        kept.clear();
                    }
                }
            });
        }
        for _ in 0..1000 {
            // SAFETY: fork(2). The child allocates, which both allocators allow there, and leaves by
            // _exit(2).
            match unsafe { libc::fork() } {
                -1 => panic!("fork: {}", std::io::Error::last_os_error()),
                0 => {
                    let kept: Vec<Vec<u8>> = (0..200).map(|_| black_box(vec![1; 1000])).collect();
                    drop(kept);
                    // SAFETY: as above.
                    unsafe { libc::_exit(0) }
                }
                child => lost += u32::from(!ends(child)),
            }
        }
        stop.store(true, Relaxed);
    });
    figures([("lost", f64::from(lost))])
}

/// Whether a child ends well, and within ten seconds.
fn ends(child: libc::pid_t) -> bool {
    let begun = Instant::now();
    let mut status = 0;
    // SAFETY: waitpid(2) of our own child, which writes the status.
    while unsafe { libc::waitpid(child, &raw mut status, libc::WNOHANG) } == 0 {
        if begun.elapsed() > Duration::from_secs(10) {
            // SAFETY: kill(2) and waitpid(2) of our own child.
            unsafe {
                libc::kill(child, libc::SIGKILL);
                libc::waitpid(child, &raw mut status, 0);
            }
            return false;
        }
        thread::sleep(Duration::from_micros(200));
    }
    status == 0
}
