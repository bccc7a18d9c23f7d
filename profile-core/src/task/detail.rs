//! What tasks wait in, in detail: for requests that ask for it by name, since telling costs the
//! program more than a dump does.
//!
//! Whoever tells does so on a thread of its own, for [`DETAIL_TIMEOUT`] at most: then the dump goes
//! on without, and says so. A source that has not come back from one request is not asked by the
//! next. What is told is foreign text, and is bounded here.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use profile_format::Unavailable;

use crate::sys::own_work::OwnWork;
use crate::task::awaits::{Awaited, Awaits, DETAIL_TIMEOUT, Detail, MOST_PLACES};
use crate::task::source::sources;
use crate::task::status::TaskId;

impl Detail {
    /// Checks that the detail can be had in this process now.
    ///
    /// # Errors
    ///
    /// Why not, and what to do about it.
    pub fn check(self) -> Result<(), Unavailable> {
        let (built_in, [how_to_build, nobody, how_to_offer]) = match self {
            Detail::AwaitTree => (
                cfg!(feature = "await-tree"),
                [
                    "build with the feature `await-tree`",
                    "no registry of await-tree was handed over",
                    "call `task::show_trees(&registry)`",
                ],
            ),
        };
        let mut refused = None;
        for (_, source) in sources() {
            match source.offers(self) {
                Some(Ok(())) => return Ok(()),
                Some(Err(why)) => refused = refused.or(Some(why)),
                None => {}
            }
        }
        Err(refused.unwrap_or_else(|| {
            if built_in {
                self.unavailable(nobody, how_to_offer)
            } else {
                self.unavailable(&format!("this build has no {self}"), how_to_build)
            }
        }))
    }
}

/// Places of all tasks of a source together: some 50 MB at the worst.
const MOST: usize = 1 << 18;
/// Bytes of a name or a path.
const NAME: usize = 256;

/// Details that sources gave, with notes on them.
#[derive(Debug, Default)]
pub(crate) struct TaskDetails {
    known: HashMap<TaskId, Awaits>,
    /// Awaits of tasks that profilez does not know.
    pub(crate) others: Vec<Awaits>,
    /// Notes on what could not be told, and why.
    pub(crate) notes: Vec<String>,
}

/// The awaits that one source gives, up to its limits.
struct BoundedAwaits {
    deadline: Instant,
    awaits: Vec<Awaits>,
    places: usize,
    left_out: u64,
}

impl BoundedAwaits {
    fn take(&mut self, mut awaits: Awaits) -> ControlFlow<()> {
        if Instant::now() >= self.deadline {
            return ControlFlow::Break(());
        }
        awaits.places.truncate(MOST_PLACES);
        if self.places + awaits.places.len() > MOST {
            self.left_out += 1;
            return ControlFlow::Continue(());
        }
        self.places += awaits.places.len();
        cut(&mut awaits.name);
        cut(&mut awaits.key);
        for place in &mut awaits.places {
            cut(&mut place.name);
            cut(&mut place.file);
        }
        self.awaits.push(awaits);
        ControlFlow::Continue(())
    }
}

fn cut(text: &mut String) {
    if text.len() > NAME {
        let end = (0..=NAME).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
        text.truncate(end);
        // What was cut off is not to be kept.
        text.shrink_to_fit();
    }
}

/// Sources that have not come back yet, by their number.
static ASKED: Mutex<Option<HashSet<u64>>> = Mutex::new(None);

/// The turn of whoever asks a source.
struct SourceTurn(u64);

impl SourceTurn {
    fn take(source: u64) -> Option<SourceTurn> {
        let mut asked = ASKED.lock().unwrap_or_else(PoisonError::into_inner);
        asked.get_or_insert_with(HashSet::new).insert(source).then(|| SourceTurn(source))
    }
}

impl Drop for SourceTurn {
    fn drop(&mut self) {
        let mut asked = ASKED.lock().unwrap_or_else(PoisonError::into_inner);
        asked.get_or_insert_with(HashSet::new).remove(&self.0);
    }
}

/// Asks every source that has something to do with it.
pub(crate) fn collect(detail: Detail) -> TaskDetails {
    let deadline = Instant::now() + DETAIL_TIMEOUT;
    let mut details = TaskDetails::default();
    let (sender, told) = mpsc::channel();
    let mut awaited = 0;
    for (number, source) in sources() {
        match source.offers(detail) {
            None => continue,
            Some(Err(why)) => {
                details.notes.push(why.reason);
                continue;
            }
            Some(Ok(())) => {}
        }
        let Some(turn) = SourceTurn::take(number) else {
            details.note(detail, "an earlier request of this kind is still under way");
            continue;
        };
        let sender = sender.clone();
        let ask = move || {
            let _own = OwnWork::of_thread();
            let mut told = BoundedAwaits { deadline, awaits: Vec::new(), places: 0, left_out: 0 };
            let result = source.awaits(detail, &mut |awaits| told.take(awaits));
            drop(turn);
            // Nobody is there any more where it took too long.
            let _ = sender.send((told, result));
        };
        match thread::Builder::new().name("profilez-tasks".to_owned()).spawn(ask) {
            Ok(_) => awaited += 1,
            Err(error) => details.note(detail, &format!("no thread for it: {error}")),
        }
    }
    drop(sender);
    while awaited > 0 {
        let left = deadline.saturating_duration_since(Instant::now());
        match told.recv_timeout(left) {
            Ok((told, result)) => {
                awaited -= 1;
                details.add(detail, told, result);
            }
            Err(RecvTimeoutError::Timeout) => {
                details.note(detail, &format!("timed out after {DETAIL_TIMEOUT:?}"));
                break;
            }
            Err(RecvTimeoutError::Disconnected) => {
                details.note(detail, "it panicked");
                break;
            }
        }
    }
    details
}

impl TaskDetails {
    /// Takes the places that the task of this id waits in; each is given once.
    pub(crate) fn take(&mut self, task: u64) -> Option<Awaits> {
        self.known.remove(&TaskId(task))
    }

    fn note(&mut self, detail: Detail, what: &str) {
        self.notes.push(format!("tasks={detail}: {what}"));
    }

    fn add(&mut self, detail: Detail, told: BoundedAwaits, result: Result<(), Unavailable>) {
        if let Err(why) = result {
            self.notes.push(why.reason);
        }
        if told.left_out > 0 {
            let left_out = told.left_out;
            self.note(detail, &format!("{left_out} tasks beyond the limit of {MOST} places"));
        }
        for awaits in told.awaits {
            match awaits.task {
                // Of two for one task the first counts.
                Some(task) => drop(self.known.entry(task).or_insert(awaits)),
                None => self.others.push(awaits),
            }
        }
    }
}

impl Awaits {
    /// Returns the number of places right inside the one with this number.
    pub(crate) fn branches(&self, at: usize) -> usize {
        let depth = self.places[at].depth;
        let inside = self.places[at + 1..].iter().take_while(|place| place.depth > depth);
        inside.filter(|place| place.depth == depth + 1).count()
    }

    /// Returns the places down to the first one that nothing is inside of, from the outside to the
    /// inside.
    pub(crate) fn path(&self) -> impl DoubleEndedIterator<Item = &Awaited> {
        let depth = |(at, place): &(usize, &Awaited)| place.depth as usize == *at;
        let end = self.places.iter().enumerate().take_while(depth).count();
        self.places[..end].iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::awaits::UnknownDetail;
    use crate::task::{TaskSource, register};

    /// Tells what it is told to, once it is let.
    struct SlowSource {
        places: usize,
        wait: Mutex<mpsc::Receiver<()>>,
    }

    impl TaskSource for SlowSource {
        fn offers(&self, detail: Detail) -> Option<Result<(), Unavailable>> {
            (detail == Detail::AwaitTree).then_some(Ok(()))
        }

        fn awaits(
            &self,
            _: Detail,
            tell: &mut dyn FnMut(Awaits) -> ControlFlow<()>,
        ) -> Result<(), Unavailable> {
            let _ = self.wait.lock().unwrap().recv();
            for key in 0..4 {
                let place = Awaited { name: "x".repeat(1000), ..Awaited::default() };
                let _ = tell(Awaits {
                    task: None,
                    name: "from the test".to_owned(),
                    key: key.to_string(),
                    running: false,
                    places: vec![place; self.places],
                });
            }
            Ok(())
        }
    }

    fn ours(details: &TaskDetails) -> Vec<&Awaits> {
        details.others.iter().filter(|awaits| awaits.name == "from the test").collect()
    }

    /// One after the other, as they ask the same sources.
    #[test]
    fn what_is_told_is_bounded_in_time_and_size() {
        if !cfg!(feature = "await-tree") {
            let why = Detail::AwaitTree.check().unwrap_err();
            assert_eq!(why.reason, "tasks=await-tree: this build has no await-tree");
        }
        let (let_it, wait) = mpsc::channel();
        let registered = register(SlowSource { places: 1000, wait: Mutex::new(wait) });
        assert_eq!(Detail::AwaitTree.check(), Ok(()));

        let began = Instant::now();
        let details = collect(Detail::AwaitTree);
        assert!(began.elapsed() >= DETAIL_TIMEOUT);
        assert_eq!(ours(&details).len(), 0);
        assert_eq!(details.notes, ["tasks=await-tree: timed out after 2s"]);

        let details = collect(Detail::AwaitTree);
        let still = "tasks=await-tree: an earlier request of this kind is still under way";
        assert_eq!(details.notes, [still]);

        drop(let_it);
        let told = loop {
            let details = collect(Detail::AwaitTree);
            if details.notes.is_empty() {
                break details;
            }
            assert_eq!(details.notes, [still]);
        };
        let told = ours(&told);
        assert_eq!(told.len(), 4);
        for awaits in told {
            assert_eq!(awaits.places.len(), MOST_PLACES);
            assert!(awaits.places.iter().all(|place| place.name.len() == NAME));
        }
        drop(registered);
    }

    #[test]
    fn places_are_a_tree() {
        let places = [0, 1, 2, 1, 2, 2, 0].map(|depth| Awaited { depth, ..Awaited::default() });
        let (name, key) = (String::new(), String::new());
        let awaits = Awaits { task: None, name, key, running: false, places: places.to_vec() };
        let branches: Vec<_> = (0..7).map(|at| awaits.branches(at)).collect();
        assert_eq!(branches, [2, 1, 0, 2, 0, 0, 0]);
        assert_eq!(awaits.path().count(), 3);
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for detail in Detail::ALL {
            assert_eq!(detail.name().parse(), Ok(detail));
        }
        assert_eq!("".parse::<Detail>(), Err(UnknownDetail));
        assert_eq!("Await-tree".parse::<Detail>(), Err(UnknownDetail));
    }
}
