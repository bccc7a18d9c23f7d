//! Places that wait, each for a thread that holds what they wait for, and time it themselves.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, RwLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// A wait that a site's own clock timed, in nanoseconds.
pub(crate) type Waits = Vec<u64>;

/// The functions that wait.
pub(crate) const SITES: [&str; 6] = [
    "site_std_mutex",
    "site_std_read",
    "site_std_write",
    "site_std_condvar",
    "site_mpsc_recv",
    "site_parking_lot",
];

macro_rules! site {
    ($name:ident) => {
        #[inline(never)]
        fn $name(wait: &dyn Fn()) -> u64 {
            let began = Instant::now();
            wait();
            black_box(began.elapsed().as_nanos() as u64)
        }
    };
}

site!(site_std_mutex);
site!(site_std_read);
site!(site_std_write);
site!(site_std_condvar);
site!(site_mpsc_recv);
site!(site_parking_lot);

/// Runs all sites at once for a time, each held for `hold` at a time by a thread that sleeps. The
/// waits of each, in the order of [`SITES`].
pub(crate) fn run(time: Duration, hold: Duration) -> Vec<Waits> {
    let stop = AtomicBool::new(false);
    let stop = &stop;
    thread::scope(|scope| {
        let sites: [thread::ScopedJoinHandle<'_, Waits>; 6] = [
            scope.spawn(move || {
                let lock = Mutex::new(());
                let holds = |held: &dyn Fn()| {
                    let guard = lock.lock();
                    held();
                    drop(guard);
                };
                pair(stop, hold, holds, || site_std_mutex(&|| drop(lock.lock())))
            }),
            scope.spawn(move || {
                let lock = RwLock::new(());
                let writes = |held: &dyn Fn()| {
                    let guard = lock.write();
                    held();
                    drop(guard);
                };
                pair(stop, hold, writes, || site_std_read(&|| drop(lock.read())))
            }),
            scope.spawn(move || {
                let lock = RwLock::new(());
                let reads = |held: &dyn Fn()| {
                    let guard = lock.read();
                    held();
                    drop(guard);
                };
                pair(stop, hold, reads, || site_std_write(&|| drop(lock.write())))
            }),
            scope.spawn(move || {
                let (flag, condition) = (Mutex::new(false), Condvar::new());
                let tells = |held: &dyn Fn()| {
                    held();
                    *flag.lock().expect("nobody panics") = true;
                    condition.notify_one();
                };
                pair(stop, hold, tells, || {
                    site_std_condvar(&|| {
                        let told = flag.lock().expect("nobody panics");
                        let told = condition.wait_while(told, |told| !*told);
                        *told.expect("nobody panics") = false;
                    })
                })
            }),
            scope.spawn(move || {
                let (sender, receiver) = mpsc::channel();
                let sends = move |held: &dyn Fn()| {
                    held();
                    sender.send(()).expect("the other end is there");
                };
                pair(stop, hold, sends, || {
                    site_mpsc_recv(&|| receiver.recv().expect("the other end is there"))
                })
            }),
            scope.spawn(move || {
                let lock = parking_lot::Mutex::new(());
                let holds = |held: &dyn Fn()| {
                    let guard = lock.lock();
                    held();
                    drop(guard);
                };
                pair(stop, hold, holds, || site_parking_lot(&|| drop(lock.lock())))
            }),
        ];
        thread::sleep(time);
        stop.store(true, Ordering::Relaxed);
        sites.map(|site| site.join().expect("it does not panic")).into()
    })
}

/// One thread holds, this one waits for it, over and over. How long each wait was.
pub(crate) fn pair(
    stop: &AtomicBool,
    hold: Duration,
    mut holds: impl FnMut(&dyn Fn()) + Send,
    mut wait: impl FnMut() -> u64,
) -> Waits {
    let (go, going) = mpsc::channel();
    let (held, is_held) = mpsc::channel();
    let mut waits = Vec::new();
    thread::scope(|scope| {
        scope.spawn(move || {
            while going.recv().is_ok() {
                holds(&|| {
                    held.send(()).expect("the other thread waits for this");
                    thread::sleep(hold);
                });
            }
        });
        while !stop.load(Ordering::Relaxed) {
            go.send(()).expect("the holder waits for this");
            is_held.recv().expect("the holder sends this");
            waits.push(wait());
        }
        drop(go);
    });
    waits
}
