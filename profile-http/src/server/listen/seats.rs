//! The connections of a listener: how many there may be, how long each may stay, and which one goes when
//! another comes.
//!
//! Nothing here knows of sockets or of HTTP: a connection tells its seat what happens on it, and asks
//! when it has to end. Who may not ask can open as many connections as anybody else, so that
//! everything here is for those who were let in.

use std::future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout_at};

/// The seats of a listener, for so many connections at a time.
#[derive(Clone)]
pub(super) struct SeatTable {
    shared: Arc<SeatShared>,
}

struct SeatShared {
    most: usize,
    /// Time that a connection may stay between two requests, and until a request is let in.
    stay: Duration,
    taken: Mutex<Vec<Arc<watch::Sender<SeatStanding>>>>,
    /// Notified when a seat is free, or could be. Only the task that seats newcomers listens.
    changed: Notify,
}

/// The state of a connection, which says what claim it has to its seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SeatStanding {
    /// The connection has begun, or a request on it, and was not let in yet or was refused.
    Unauthorized { since: Instant },
    /// A request that was let in is being answered.
    Answering,
    /// The answer is complete, and some of it may not be sent yet.
    Sending,
    /// All was sent, and no further request has begun.
    Idle { since: Instant },
    /// Its seat is another's.
    Evicted,
}

impl SeatStanding {
    /// Returns the time since when it has had no claim to its seat.
    fn idle_since(self) -> Option<Instant> {
        match self {
            SeatStanding::Unauthorized { since } | SeatStanding::Idle { since } => Some(since),
            SeatStanding::Answering | SeatStanding::Sending | SeatStanding::Evicted => None,
        }
    }

    /// Returns the place in the order in which connections go: who was let in before goes after all
    /// those who were not. `None` for one that may stay.
    fn eviction_order(self) -> Option<(bool, Instant)> {
        Some((matches!(self, SeatStanding::Idle { .. }), self.idle_since()?))
    }
}

impl SeatTable {
    /// Makes a table of `most` seats, on which nobody stays for longer than `stay` without having
    /// been let in.
    pub(super) fn new(most: usize, stay: Duration) -> SeatTable {
        let shared = SeatShared { most, stay, taken: Mutex::default(), changed: Notify::new() };
        SeatTable { shared: Arc::new(shared) }
    }

    /// Takes a seat for a newcomer: a free one, or that of whoever has to go. Waits while everybody is
    /// being answered.
    pub(super) async fn take(&self) -> Arc<ConnectionSeat> {
        while self.shared.lock().len() >= self.shared.most && !self.evict() {
            self.shared.changed.notified().await;
        }
        let standing = SeatStanding::Unauthorized { since: Instant::now() };
        let standing = Arc::new(watch::Sender::new(standing));
        self.shared.lock().push(Arc::clone(&standing));
        Arc::new(ConnectionSeat { shared: Arc::clone(&self.shared), standing })
    }

    /// Ends the connection that has waited longest without having been let in or, where there is
    /// none, the one that has been idle for longest. Returns false where there was neither.
    pub(super) fn evict(&self) -> bool {
        let mut taken = self.shared.lock();
        let turns = taken.iter().enumerate();
        let first =
            turns.filter_map(|(at, seat)| Some((seat.borrow().eviction_order()?, at))).min();
        let Some((_, at)) = first else { return false };
        taken.swap_remove(at).send_replace(SeatStanding::Evicted);
        true
    }
}

impl SeatShared {
    /// Locks the seats. Every change leaves them whole, so a panic elsewhere doesn't spoil them.
    fn lock(&self) -> MutexGuard<'_, Vec<Arc<watch::Sender<SeatStanding>>>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's seat, free again when the last of those who hold it is dropped.
pub(super) struct ConnectionSeat {
    shared: Arc<SeatShared>,
    standing: Arc<watch::Sender<SeatStanding>>,
}

impl ConnectionSeat {
    /// Notes that a request was let in.
    pub(super) fn admit(&self) {
        self.change(|_| Some(SeatStanding::Answering));
    }

    /// Notes that a request was refused. It began when it did: a refusal prolongs nothing.
    pub(super) fn refuse(&self) {
        self.change(|standing| match standing {
            SeatStanding::Unauthorized { .. } => None,
            _ => Some(SeatStanding::Unauthorized { since: Instant::now() }),
        });
    }

    /// Notes that the answer is complete.
    pub(super) fn note_complete(&self) {
        self.change(|standing| {
            (standing == SeatStanding::Answering).then_some(SeatStanding::Sending)
        });
    }

    /// Notes that everything was sent.
    pub(super) fn note_sent(&self) {
        let idle = SeatStanding::Idle { since: Instant::now() };
        self.change(|standing| (standing == SeatStanding::Sending).then_some(idle));
    }

    /// Notes that something came in. Whose it is will be known when it is a whole request.
    pub(super) fn note_input(&self) {
        let begun = SeatStanding::Unauthorized { since: Instant::now() };
        self.change(|standing| matches!(standing, SeatStanding::Idle { .. }).then_some(begun));
    }

    /// Waits until the connection has to end: its seat is another's, or it has had it for too long.
    pub(super) async fn wait_until_over(&self) {
        let mut standing = self.standing.subscribe();
        loop {
            let now = *standing.borrow_and_update();
            let changed = standing.changed();
            let known = match now.idle_since() {
                _ if now == SeatStanding::Evicted => return,
                Some(since) => timeout_at(since + self.shared.stay, changed).await,
                None => Ok(changed.await),
            };
            match known {
                Ok(Ok(())) => {}
                // This seat is what tells of changes, and is there.
                Ok(Err(_)) => future::pending().await,
                Err(_elapsed) => return,
            }
        }
    }

    fn change(&self, next: impl FnOnce(SeatStanding) -> Option<SeatStanding>) {
        let changed = self.standing.send_if_modified(|standing| match next(*standing) {
            // What was evicted stays it.
            Some(next) if *standing != SeatStanding::Evicted => {
                *standing = next;
                true
            }
            _ => false,
        });
        if changed {
            self.shared.changed.notify_one();
        }
    }
}

impl Drop for ConnectionSeat {
    fn drop(&mut self) {
        self.shared.lock().retain(|taken| !Arc::ptr_eq(taken, &self.standing));
        self.shared.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::pin::{Pin, pin};
    use std::task::{Context, Waker};

    use super::*;

    fn run<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(future)
    }

    fn is_ready<T>(future: Pin<&mut impl Future<Output = T>>) -> bool {
        future.poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    const LONG: Duration = Duration::from_secs(3600);

    fn is_evicted(seat: &ConnectionSeat) -> bool {
        *seat.standing.borrow() == SeatStanding::Evicted
    }

    #[test]
    fn the_oldest_that_was_not_let_in_goes_then_the_longest_idle_and_nobody_else() {
        run(async {
            let table = SeatTable::new(6, LONG);
            let mut seats = Vec::new();
            for _ in 0..6 {
                seats.push(table.take().await);
                // So that no two are of one age.
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            let finish = |seat: &ConnectionSeat| {
                seat.admit();
                seat.note_complete();
                seat.note_sent();
            };
            // 0 is being answered, and 1 is still being sent to; 3 has been idle for longer than 2.
            seats[0].admit();
            seats[1].admit();
            seats[1].note_complete();
            finish(&seats[3]);
            tokio::time::sleep(Duration::from_millis(2)).await;
            finish(&seats[2]);
            // 5 was refused, which makes it no younger, and no older.
            seats[5].refuse();
            for goes in [4, 5, 3, 2] {
                assert!(!is_evicted(&seats[goes]), "{goes}");
                assert!(table.evict());
                assert!(is_evicted(&seats[goes]), "{goes}");
                seats[goes].wait_until_over().await;
                // Whatever happens on it now, it is over.
                seats[goes].admit();
                assert!(is_evicted(&seats[goes]), "{goes}");
            }
            assert!(!table.evict());
            assert!(!is_evicted(&seats[0]) && !is_evicted(&seats[1]));
        });
    }

    #[test]
    fn a_newcomer_waits_only_for_those_who_are_being_answered() {
        run(async {
            let table = SeatTable::new(2, LONG);
            let first = table.take().await;
            let second = table.take().await;
            let third = table.take().await;
            assert!(is_evicted(&first) && !is_evicted(&second));
            drop(first);
            second.admit();
            third.admit();
            let mut fourth = pin!(table.take());
            assert!(!is_ready(fourth.as_mut()));
            third.note_complete();
            assert!(!is_ready(fourth.as_mut()), "some of the answer may not be sent yet");
            third.note_sent();
            let fourth = fourth.await;
            assert!(is_evicted(&third));
            fourth.admit();
            let mut fifth = pin!(table.take());
            assert!(!is_ready(fifth.as_mut()));
            drop(second);
            fifth.await;
            assert!(!is_evicted(&fourth));
            // A connection that ends leaves no seat behind, evicted or not.
            drop((third, fourth));
            assert_eq!(table.shared.lock().len(), 0);
        });
    }

    #[test]
    fn a_request_has_its_time_from_its_start_and_an_answer_has_any() {
        let stay = Duration::from_millis(50);
        run(async {
            let table = SeatTable::new(2, stay);
            let began = Instant::now();
            let seat = table.take().await;
            seat.note_input();
            seat.refuse();
            seat.wait_until_over().await;
            assert!(began.elapsed() >= stay);

            let seat = table.take().await;
            seat.admit();
            for over in [ConnectionSeat::note_complete, ConnectionSeat::note_sent] {
                assert!(tokio::time::timeout(2 * stay, seat.wait_until_over()).await.is_err());
                over(&seat);
            }
            let idle = Instant::now();
            seat.wait_until_over().await;
            assert!(idle.elapsed() >= stay);
            // What comes in then begins another request.
            let heard = Instant::now();
            seat.note_input();
            seat.note_input();
            seat.wait_until_over().await;
            assert!(heard.elapsed() >= stay);
        });
    }
}
