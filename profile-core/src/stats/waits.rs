//! Since when each thread has not run, as far as the collector's looks tell.
//!
//! The scheduler counts how often and how long a thread has run. Where neither has changed between
//! two looks, the thread has been waiting all the while; no thread is disturbed to find that out.

use std::fs::File;
use std::io::{Cursor, Write as _};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::stats::text::FileText;
use crate::sys::raw::directory::NumberedDirectory;

/// Time for which a thread has run, in nanoseconds, and the number of times that it was run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SchedStat {
    nanos: u64,
    times: u64,
}

impl SchedStat {
    /// Reads `schedstat`: nanoseconds run, nanoseconds waited for a core, times run.
    pub(crate) fn parse(schedstat: &str) -> Option<SchedStat> {
        let mut words = schedstat.split_ascii_whitespace();
        let nanos = words.next()?.parse().ok()?;
        let times = words.nth(1)?.parse().ok()?;
        Some(SchedStat { nanos, times })
    }
}

#[derive(Clone, Copy, Debug)]
struct SeenThread {
    tid: u32,
    ran: SchedStat,
    /// The first look that found it to have run so much.
    since: Instant,
}

/// Findings of the looks of all collectors, by thread id.
#[derive(Debug)]
struct SeenThreads {
    seen: Vec<SeenThread>,
    /// The table of the look before, whose memory is used again.
    spare: Vec<SeenThread>,
}

static TABLE: Mutex<SeenThreads> = Mutex::new(SeenThreads { seen: Vec::new(), spare: Vec::new() });

/// Asking a thread takes about 3 µs. Of more threads than that the rest isn't asked.
const MOST_THREADS: usize = 2048;

/// Number of threads that there is room for from the first look on.
const FIRST_THREADS: usize = 128;

/// Looks how much each thread has run.
pub(super) fn note(tasks: &NumberedDirectory) {
    let mut table = TABLE.lock().unwrap_or_else(PoisonError::into_inner);
    let SeenThreads { seen, spare } = &mut *table;
    spare.clear();
    // At once what most processes need: while a table grows it leaves smaller ones behind.
    spare.reserve(FIRST_THREADS);
    let now = Instant::now();
    // A list that is cut short leaves threads out until the next look.
    let _ = tasks.numbers(|tid| {
        if spare.len() == MOST_THREADS {
            return;
        }
        let Some(ran) = ran(tid) else { return };
        let before = find(seen, tid).filter(|before| before.ran == ran);
        spare.push(SeenThread { tid, ran, since: before.map_or(now, |before| before.since) });
    });
    spare.sort_unstable_by_key(|seen| seen.tid);
    std::mem::swap(seen, spare);
}

/// Returns the time for which a thread that has run so much has been waiting, at least. `None`
/// where no look found it like that.
pub(crate) fn waited(tid: u32, ran: SchedStat) -> Option<Duration> {
    let table = TABLE.lock().unwrap_or_else(PoisonError::into_inner);
    Some(find(&table.seen, tid).filter(|seen| seen.ran == ran)?.since.elapsed())
}

/// Returns whether any collector has looked.
pub(crate) fn is_watched() -> bool {
    !TABLE.lock().unwrap_or_else(PoisonError::into_inner).seen.is_empty()
}

fn find(seen: &[SeenThread], tid: u32) -> Option<&SeenThread> {
    seen.binary_search_by_key(&tid, |seen| seen.tid).ok().map(|at| &seen[at])
}

fn ran(tid: u32) -> Option<SchedStat> {
    let mut path = Cursor::new([0u8; 48]);
    write!(path, "/proc/self/task/{tid}/schedstat").ok()?;
    let len = path.position() as usize;
    let path = std::str::from_utf8(&path.get_ref()[..len]).ok()?;
    let file = File::open(Path::new(path)).ok()?;
    SchedStat::parse(FileText::<96>::read(Some(&file)).as_str())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    #[test]
    fn reads_what_the_scheduler_writes() {
        assert_eq!(SchedStat::parse("120 7 3\n"), Some(SchedStat { nanos: 120, times: 3 }));
        for bad in ["", "1 2", "a b c", "-1 2 3"] {
            assert_eq!(SchedStat::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_thread_that_waits_is_told_from_one_that_ran() {
        let (go, wait) = mpsc::channel::<()>();
        let (tell, told) = mpsc::channel();
        let thread = thread::spawn(move || {
            let link = std::fs::read_link("/proc/thread-self").unwrap();
            let tid: u32 = link.file_name().unwrap().to_str().unwrap().parse().unwrap();
            for () in wait {
                tell.send(tid).unwrap();
            }
        });
        go.send(()).unwrap();
        let tid = told.recv().unwrap();
        let tasks = NumberedDirectory::open("/proc/self/task").unwrap();
        // It takes a moment to go to sleep.
        let waited_at_least = |least| {
            note(&tasks);
            waited(tid, ran(tid).unwrap()).is_some_and(|waited| waited >= least)
        };
        while !waited_at_least(Duration::from_millis(30)) {
            thread::yield_now();
        }
        let before = ran(tid).unwrap();
        let woken = Instant::now();
        go.send(()).unwrap();
        told.recv().unwrap();
        while ran(tid).unwrap() == before {
            thread::yield_now();
        }
        // Another test's collector may have looked since.
        let waited = waited(tid, ran(tid).unwrap());
        assert!(waited.is_none_or(|waited| waited <= woken.elapsed()), "{waited:?}");
        drop(go);
        thread.join().unwrap();
    }
}
