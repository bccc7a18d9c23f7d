//! One computation for all who ask for the same at the same time, and one after the other for those
//! who ask for something else.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::watch;

use super::super::reply::{self, HttpRefusal};
use super::work_thread::{NotTaken, WorkThread};

/// The age up to which an answer is given again: two readers rarely ask in the very same moment.
const FRESH: Duration = Duration::from_millis(100);

/// The answer, once it is there.
type SharedAnswer = Option<Result<Bytes, HttpRefusal>>;

/// Computations that are under way or have just ended, by what was asked for.
pub(super) struct SingleFlights<K> {
    flights: Arc<Mutex<Vec<SingleFlight<K>>>>,
    thread: WorkThread,
}

struct SingleFlight<K> {
    key: K,
    answer: watch::Receiver<SharedAnswer>,
    landed: Option<Instant>,
}

impl<K> Default for SingleFlights<K> {
    fn default() -> SingleFlights<K> {
        SingleFlights { flights: Arc::default(), thread: WorkThread::default() }
    }
}

impl<K: PartialEq + Send + Clone + 'static> SingleFlights<K> {
    /// Returns the answer to `key`: of a computation that is under way, or of a new one, on the thread
    /// that is theirs. It goes on when its reader leaves, for those who have joined.
    pub(super) async fn share(
        &self,
        key: K,
        compute: impl FnOnce() -> Result<Bytes, HttpRefusal> + Send + 'static,
    ) -> Result<Bytes, HttpRefusal> {
        let mut answer = self.join(key, compute)?;
        let answer = answer.wait_for(Option::is_some).await.map(|answer| answer.clone());
        match answer {
            Ok(Some(answer)) => answer,
            // The thread panicked.
            _ => Err(reply::failed("the computation broke off")),
        }
    }

    fn join(
        &self,
        key: K,
        compute: impl FnOnce() -> Result<Bytes, HttpRefusal> + Send + 'static,
    ) -> Result<watch::Receiver<SharedAnswer>, HttpRefusal> {
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        flights.retain(|flight| match flight.landed {
            Some(landed) => landed.elapsed() < FRESH,
            // Without a sender and an answer its thread has panicked.
            None => flight.answer.has_changed().is_ok(),
        });
        if let Some(flight) = flights.iter().find(|flight| flight.key == key) {
            return Ok(flight.answer.clone());
        }
        let (sender, answer) = watch::channel(None);
        let all = Arc::clone(&self.flights);
        let own = key.clone();
        let work = move || {
            let computed = compute();
            let mut flights = all.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(flight) = flights.iter_mut().find(|flight| flight.key == own) {
                flight.landed = Some(Instant::now());
            }
            drop(flights);
            sender.send_replace(Some(computed));
        };
        self.thread.run(work).map_err(|why| match why {
            NotTaken::Full => reply::too_many_waiting(),
            NotTaken::NoThread(error) => {
                reply::not_started(&format!("no thread to compute on: {error}"))
            }
        })?;
        flights.push(SingleFlight { key, answer: answer.clone(), landed: None });
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    #[test]
    fn those_who_ask_at_the_same_time_share_one_answer() {
        let flights = SingleFlights::default();
        let computed = Arc::new(AtomicUsize::new(0));
        let (go, wait) = mpsc::channel::<()>();
        let slow = {
            let computed = Arc::clone(&computed);
            move || {
                let _ = wait.recv();
                computed.fetch_add(1, Ordering::Relaxed);
                Ok(Bytes::from_static(b"slow"))
            }
        };
        let first = flights.join(1, slow).unwrap();
        let second = flights.join(1, || panic!("there is one under way")).unwrap();
        let other = flights.join(2, || Ok(Bytes::from_static(b"other"))).unwrap();
        drop(go);
        for (mut reader, told) in [(first, "slow"), (second, "slow"), (other, "other")] {
            let answer =
                run(async move { reader.wait_for(Option::is_some).await.unwrap().clone() });
            assert_eq!(answer.unwrap().unwrap(), told);
        }
        assert_eq!(computed.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_computation_that_panics_is_a_failure_once() {
        let flights = SingleFlights::default();
        assert!(run(flights.share(1, || panic!("told to"))).is_err());
        assert!(run(flights.share(1, || Err(reply::failed("no")))).is_err());
        // What failed may be given again for a moment, and then is computed anew.
        let again = || run(flights.share(1, || Ok(Bytes::from_static(b"well"))));
        let began = Instant::now();
        while again().is_err() {
            assert!(began.elapsed() < Duration::from_secs(60));
            thread::yield_now();
        }
    }
}
