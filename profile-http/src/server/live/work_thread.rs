//! A thread that runs one job after the other, and ends when there was none for a while.
//!
//! One thread, and not one for each job: an allocator keeps memory for each thread that ever was at
//! work, so that many would hold many times what one answer takes.

use std::io;
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use profile_core::OwnWork;

/// Time without a job after which the thread ends.
const IDLE: Duration = Duration::from_secs(10);
/// The most jobs that wait.
const MOST_WAITING: usize = 64;

type Job = Box<dyn FnOnce() + Send>;

/// Runs jobs in their order.
#[derive(Default)]
pub(super) struct WorkThread {
    running: Arc<Mutex<Option<RunningThread>>>,
}

struct RunningThread {
    jobs: SyncSender<Job>,
    /// The process that it runs in: a fork leaves it behind.
    process: u32,
}

/// The reason why a job was not taken.
#[derive(Debug)]
pub(super) enum NotTaken {
    /// As many wait as there may.
    Full,
    /// There is no thread to be had.
    NoThread(io::Error),
}

impl WorkThread {
    /// Runs a job after those that wait.
    pub(super) fn run(&self, job: impl FnOnce() + Send + 'static) -> Result<(), NotTaken> {
        let mut running = lock(&self.running);
        let process = std::process::id();
        let mut job: Job = Box::new(job);
        if let Some(thread) = running.as_ref().filter(|thread| thread.process == process) {
            match thread.jobs.try_send(job) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Full(_)) => return Err(NotTaken::Full),
                // A job has panicked.
                Err(TrySendError::Disconnected(back)) => job = back,
            }
        }
        let (jobs, waiting) = mpsc::sync_channel(MOST_WAITING);
        let slot = Arc::clone(&self.running);
        thread::Builder::new()
            .name("profilez-live".to_owned())
            .spawn(move || {
                let _own = OwnWork::of_thread();
                work(job, &waiting, &slot);
            })
            .map_err(NotTaken::NoThread)?;
        *running = Some(RunningThread { jobs, process });
        Ok(())
    }
}

fn work(first: Job, waiting: &mpsc::Receiver<Job>, slot: &Mutex<Option<RunningThread>>) {
    first();
    loop {
        match waiting.recv_timeout(IDLE) {
            Ok(job) => job(),
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {
                // Jobs are sent under this lock: none can come between the look and the end.
                let mut running = lock(slot);
                match waiting.try_recv() {
                    Ok(job) => {
                        drop(running);
                        job();
                    }
                    Err(_) => {
                        *running = None;
                        return;
                    }
                }
            }
        }
    }
}

fn lock(slot: &Mutex<Option<RunningThread>>) -> MutexGuard<'_, Option<RunningThread>> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_run_in_order_on_one_thread_and_outlive_a_panic() {
        let worker = WorkThread::default();
        let (done, order) = mpsc::channel();
        let job = |number: u32| {
            let done = done.clone();
            move || done.send((number, thread::current().id())).unwrap()
        };
        (0..10).for_each(|number| worker.run(job(number)).unwrap());
        let ran: Vec<_> = order.iter().take(10).collect();
        assert!(ran.iter().enumerate().all(|(at, job)| *job == (at as u32, ran[0].1)), "{ran:?}");
        worker.run(|| panic!("told to")).unwrap();
        // What was sent before the thread was seen to be gone is lost with it.
        let again = || worker.run(job(11)).is_ok() && order.recv_timeout(IDLE / 100).is_ok();
        assert!((0..100).any(|_| again()));
    }

    #[test]
    fn no_more_wait_than_may() {
        let worker = WorkThread::default();
        let (go, wait) = mpsc::channel::<()>();
        let told_to_end = move || assert!(wait.recv().is_err());
        worker.run(told_to_end).unwrap();
        let taken = (0..2 * MOST_WAITING).take_while(|_| worker.run(|| ()).is_ok()).count();
        assert_eq!(taken, MOST_WAITING);
        drop(go);
    }
}
