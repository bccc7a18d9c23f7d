//! What is counted while a trace is taken, by a thread of its own: memory, CPU time, tasks.

use std::fs;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::sys::clock;
use crate::sys::own_work::OwnWork;
use crate::sys::raw::region;
use crate::task;

/// Time between two readings of the counters.
const PERIOD: Duration = Duration::from_millis(200);
/// Number of readings that are kept: those of a quarter of an hour.
const MOST: usize = 4500;

/// The counters at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CounterReading {
    pub(crate) at: u64,
    /// Resident memory in bytes, where the system tells.
    pub(crate) resident: Option<u64>,
    /// CPU time of the process so far, where the system tells.
    pub(crate) cpu: Option<Duration>,
    pub(crate) tasks: task::Alive,
}

/// A thread that reads the counters. Dropping it ends the thread.
pub(crate) struct CounterThread {
    shared: Arc<SharedCounters>,
    thread: Option<JoinHandle<()>>,
}

/// The part of the counters that both threads use.
#[derive(Default)]
struct SharedCounters {
    state: Mutex<CounterState>,
    ended: Condvar,
}

/// The readings so far, and whether the thread is to end.
#[derive(Default)]
struct CounterState {
    ended: bool,
    readings: Vec<CounterReading>,
}

impl CounterThread {
    /// Starts the thread that reads.
    pub(crate) fn start() -> std::io::Result<CounterThread> {
        let shared = Arc::new(SharedCounters::default());
        let theirs = Arc::clone(&shared);
        let thread =
            thread::Builder::new().name("profilez-trace".to_owned()).spawn(move || theirs.run())?;
        Ok(CounterThread { shared, thread: Some(thread) })
    }

    /// Ends the thread, with a last reading, and returns all readings.
    pub(crate) fn stop(mut self) -> Vec<CounterReading> {
        self.end();
        std::mem::take(&mut self.shared.lock().readings)
    }

    fn end(&mut self) {
        self.shared.lock().ended = true;
        self.shared.ended.notify_all();
        if let Some(thread) = self.thread.take() {
            // A panic of a user's source of tasks was reported where it happened.
            let _ = thread.join();
        }
    }
}

impl Drop for CounterThread {
    fn drop(&mut self) {
        self.end();
    }
}

impl SharedCounters {
    fn lock(&self) -> std::sync::MutexGuard<'_, CounterState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        let _own = OwnWork::of_thread();
        loop {
            let reading = read_counters();
            let mut state = self.lock();
            if state.readings.len() < MOST {
                state.readings.push(reading);
            }
            if state.ended {
                break;
            }
            let waited = self.ended.wait_timeout_while(state, PERIOD, |state| !state.ended);
            drop(waited);
        }
    }
}

fn read_counters() -> CounterReading {
    CounterReading {
        at: clock::precise(),
        resident: resident_bytes(),
        cpu: clock::process_cpu(),
        tasks: task::alive(),
    }
}

/// Reads the resident memory, in bytes: the second number of `/proc/self/statm`, which is in pages.
fn resident_bytes() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(pages * region::page_size())
}
