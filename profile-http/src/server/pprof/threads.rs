//! The threads that answer: how many there are, what they wait for, and when they are to end.
//!
//! Windows may overlap. Finishing profiles, which takes memory for a moment, is one at a time for
//! each kind, and for all kinds as far as that takes no second: a collector that hangs holds up
//! nobody but its own kind.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use profile_core::{Kind, OwnWork};
use tokio::sync::oneshot;

use super::super::reply::{self, HttpRefusal};
use super::ServiceState;

/// The most threads that answer: more than a debug endpoint has any use for.
const MOST: usize = 64;

/// The threads that are at work.
#[derive(Default)]
pub(in super::super) struct TakingThreads {
    threads: AtomicUsize,
    kinds: [Mutex<()>; Kind::ALL.len()],
    naming: Mutex<()>,
    /// Number of threads that are finishing something, of any kind.
    finishing: Mutex<usize>,
    finished: Condvar,
}

/// The longest time that one waits for others than its own kind.
const CONSIDERATE: Duration = Duration::from_secs(1);

/// A turn to finish a profile. While one of these lives no other of its kind does, and no other of
/// all if that can be helped.
pub(super) struct FinishingTurn<'a> {
    taking: &'a TakingThreads,
    _own: MutexGuard<'a, ()>,
}

impl TakingThreads {
    /// Waits for a turn to finish a profile of a kind.
    pub(super) fn wait_to_finish(&self, kind: Kind) -> FinishingTurn<'_> {
        self.wait_for_turn(&self.kinds[kind as usize])
    }

    /// Waits for a turn to look up the names of addresses.
    pub(super) fn wait_to_name(&self) -> FinishingTurn<'_> {
        self.wait_for_turn(&self.naming)
    }

    fn wait_for_turn<'a>(&'a self, own: &'a Mutex<()>) -> FinishingTurn<'a> {
        let own = own.lock().unwrap_or_else(PoisonError::into_inner);
        let finishing = self.finishing.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut finishing, _in_time) = self
            .finished
            .wait_timeout_while(finishing, CONSIDERATE, |finishing| *finishing > 0)
            .unwrap_or_else(PoisonError::into_inner);
        *finishing += 1;
        FinishingTurn { taking: self, _own: own }
    }
}

impl Drop for FinishingTurn<'_> {
    fn drop(&mut self) {
        *self.taking.finishing.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.taking.finished.notify_one();
    }
}

/// A thread's place among the [`MOST`].
struct ThreadPlace(Arc<ServiceState>);

impl ThreadPlace {
    fn new(shared: &Arc<ServiceState>) -> Result<ThreadPlace, HttpRefusal> {
        let place = ThreadPlace(Arc::clone(shared));
        if shared.taking.threads.fetch_add(1, Ordering::Relaxed) < MOST {
            Ok(place)
        } else {
            Err(reply::too_many_profiles(MOST))
        }
    }
}

impl Drop for ThreadPlace {
    fn drop(&mut self) {
        self.0.taking.threads.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A look at whether the client is still there: nothing is ever sent, and the other end goes with
/// it.
pub(super) struct WaitingClient(mpsc::Receiver<Infallible>);

impl WaitingClient {
    /// Waits for a window, or fails as soon as the client leaves.
    pub(super) fn wait(&self, window: Duration) -> Result<(), HttpRefusal> {
        match self.0.recv_timeout(window) {
            Err(RecvTimeoutError::Timeout) => Ok(()),
            // Nobody is there to read it.
            Err(RecvTimeoutError::Disconnected) => Err(reply::client_left()),
            Ok(never) => match never {},
        }
    }
}

/// The sender of the one answer to a request.
pub(super) struct AnswerSlot<T>(oneshot::Sender<Result<T, HttpRefusal>>);

impl<T> AnswerSlot<T> {
    /// Gives the answer. Returns whether anybody was there to get it.
    pub(super) fn give(self, answer: Result<T, HttpRefusal>) -> bool {
        self.0.send(answer).is_ok()
    }
}

/// Runs work on a thread of its own, until it has an answer and beyond. Dropping the future before
/// that tells the work that the client left.
pub(super) async fn on_a_thread<T: Send + 'static>(
    shared: &Arc<ServiceState>,
    work: impl FnOnce(&ServiceState, &WaitingClient, AnswerSlot<T>) + Send + 'static,
) -> Result<T, HttpRefusal> {
    let place = ThreadPlace::new(shared)?;
    let (_client, left) = mpsc::channel();
    let (sender, answer) = oneshot::channel();
    // Whoever listens for events on this thread is to get these too.
    let dispatch = tracing::dispatcher::get_default(Clone::clone);
    let thread = thread::Builder::new()
        .name("profilez-pprof".to_owned())
        .spawn(move || {
            let _own = OwnWork::of_thread();
            tracing::dispatcher::with_default(&dispatch, || {
                work(&place.0, &WaitingClient(left), AnswerSlot(sender));
            });
        })
        .map_err(|error| reply::profile_failed(&format!("no thread for it: {error}")))?;
    shared.keep_thread(thread);
    answer.await.map_err(|_| reply::profile_failed("its thread panicked"))?
}
