//! The thread that looks once every period, and the ring of what it saw.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::stats::point::{Point, Runtime, RuntimeSource};
use crate::stats::source::FigureSource;
use crate::sys::own_work::OwnWork;
use crate::task;

/// Settings that say how often to look, and how long to remember.
#[derive(Clone)]
pub struct Settings {
    /// The time between two looks; at least 10 ms.
    pub period: Duration,
    /// Length of the history.
    pub keep: Duration,
    /// The source of the async runtime's figures.
    pub runtime: Option<Arc<dyn RuntimeSource>>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { period: Duration::from_secs(10), keep: Duration::from_secs(300), runtime: None }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("period", &self.period)
            .field("keep", &self.keep)
            .field("runtime", &self.runtime.is_some())
            .finish()
    }
}

/// A running collector. Dropping it ends its thread.
#[derive(Debug)]
pub struct Stats {
    shared: Arc<SharedStats>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct SharedStats {
    settings: Settings,
    state: Mutex<StatsState>,
    wake: Condvar,
}

#[derive(Debug)]
struct StatsState {
    source: FigureSource,
    history: VecDeque<Point>,
    /// Time at which the last point of the history was taken.
    last: Option<Instant>,
    stopped: bool,
}

/// The shortest period: with a shorter one the collector would measure itself.
const SHORTEST_PERIOD: Duration = Duration::from_millis(10);
/// However long the history is asked to be.
const MOST_POINTS: usize = 100_000;
/// The second look comes early, so that there is a CPU figure soon after the start.
const SECOND_LOOK: Duration = Duration::from_secs(1);
/// The shortest interval: over less time CPU time comes in steps and percent mean little.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(500);

impl Stats {
    /// Starts a collector with a thread of its own. Any number may run at a time.
    ///
    /// # Errors
    ///
    /// There is no thread to be had.
    pub fn start(settings: Settings) -> io::Result<Stats> {
        let _own = OwnWork::begin();
        let period = settings.period.max(SHORTEST_PERIOD);
        let points = settings.keep.as_nanos() / period.as_nanos() + 1;
        let points = usize::try_from(points).unwrap_or(MOST_POINTS).min(MOST_POINTS);
        let state = StatsState {
            source: FigureSource::open(),
            history: VecDeque::with_capacity(points),
            last: None,
            stopped: false,
        };
        let shared = Arc::new(SharedStats {
            settings: Settings { period, ..settings },
            state: Mutex::new(state),
            wake: Condvar::new(),
        });
        let thread = {
            let shared = Arc::clone(&shared);
            thread::Builder::new().name("profilez-stats".to_owned()).spawn(move || {
                let _own = OwnWork::of_thread();
                shared.run(points);
            })?
        };
        Ok(Stats { shared, thread: Some(thread) })
    }

    /// Returns the settings in force.
    pub fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    /// Returns the points that are remembered, oldest first.
    pub fn history(&self) -> Vec<Point> {
        self.shared.lock().history.iter().copied().collect()
    }

    /// Looks now, without keeping the point. Changes in it are those since the last point of the
    /// history; where that was only just taken, those since the one before.
    pub fn now(&self) -> Point {
        let runtime = self.shared.runtime();
        let mut state = self.shared.lock();
        let point = state.source.read(runtime);
        match (state.last, state.history.back(), state.history.iter().nth_back(1)) {
            (Some(last), Some(before), _) if last.elapsed() >= SHORTEST_INTERVAL => {
                point.since(before, last.elapsed())
            }
            (Some(last), Some(before), Some(earlier)) => {
                let elapsed = last.elapsed() + before.interval.unwrap_or_default();
                point.since(earlier, elapsed)
            }
            (Some(last), Some(before), None) => point.since(before, last.elapsed()),
            _ => point,
        }
    }
}

impl Drop for Stats {
    fn drop(&mut self) {
        self.shared.lock().stopped = true;
        self.shared.wake.notify_all();
        if let Some(thread) = self.thread.take()
            // The runtime's source may hold the last handle of its own collector.
            && thread.thread().id() != thread::current().id()
        {
            let _ = thread.join();
        }
    }
}

impl SharedStats {
    fn lock(&self) -> MutexGuard<'_, StatsState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the user's sources outside the lock; a panic in one costs its figures only. Where no
    /// runtime says how many tasks there are, those count that are known otherwise, if there are
    /// any.
    fn runtime(&self) -> Runtime {
        let source = self.settings.runtime.as_ref();
        let mut runtime = source
            .and_then(|source| catch_unwind(AssertUnwindSafe(|| source.read())).ok())
            .unwrap_or_default();
        if runtime.tasks.is_none() && task::is_used() {
            let alive = catch_unwind(task::alive).unwrap_or_default();
            let known = (alive.known + alive.unknown) as u64;
            runtime.tasks = (known > 0).then_some(known);
        }
        runtime
    }

    fn run(&self, points: usize) {
        let period = self.settings.period;
        let mut due = Instant::now();
        let mut pause = period.min(SECOND_LOOK);
        loop {
            let runtime = self.runtime();
            let mut state = self.lock();
            if state.stopped {
                return;
            }
            state.look(runtime, points);
            // After a pause of the whole machine there is one look, not all that were missed.
            due = (due + pause).max(Instant::now());
            pause = period;
            while !state.stopped {
                let now = Instant::now();
                if now >= due {
                    break;
                }
                let (woken, _) = self
                    .wake
                    .wait_timeout(state, due - now)
                    .unwrap_or_else(PoisonError::into_inner);
                state = woken;
            }
        }
    }
}

impl StatsState {
    fn look(&mut self, runtime: Runtime, points: usize) {
        let now = Instant::now();
        self.source.note_waits();
        let mut point = self.source.read(runtime);
        if let (Some(last), Some(before)) = (self.last, self.history.back()) {
            point = point.since(before, now - last);
        }
        if self.history.len() == points {
            self.history.pop_front();
        }
        self.history.push_back(point);
        self.last = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::Instrument as _;

    fn quick(keep: u32) -> Settings {
        Settings {
            period: Duration::from_millis(10),
            keep: Duration::from_millis(10) * keep,
            ..Settings::default()
        }
    }

    fn wait_for(stats: &Stats, done: impl Fn(&[Point]) -> bool) -> Vec<Point> {
        loop {
            let history = stats.history();
            if done(&history) {
                return history;
            }
            thread::yield_now();
        }
    }

    #[test]
    fn the_history_is_as_long_as_it_was_asked_to_be() {
        let stats = Stats::start(quick(3)).unwrap();
        let first = wait_for(&stats, |history| !history.is_empty())[0].taken;
        let history = wait_for(&stats, |history| history[0].taken != first);
        assert_eq!(history.len(), 4);
        assert!(history.is_sorted_by_key(|point| point.taken));
        let intervals = history.iter().skip(1).map(|point| point.interval.unwrap());
        // One that is late, on a busy machine, makes the next one short.
        assert!(intervals.into_iter().all(|interval| !interval.is_zero()));
    }

    #[test]
    fn it_starts_and_stops_any_number_of_times() {
        for _ in 0..50 {
            let stats = Stats::start(Settings::default()).unwrap();
            wait_for(&stats, |history| history.len() == 1);
            // Long before its next look.
            drop(stats);
        }
        drop(Stats::start(Settings::default()).unwrap());
    }

    #[test]
    fn the_runtime_is_asked_and_may_panic() {
        let runtime = || Runtime { tasks: Some(7), ..Runtime::default() };
        let settings = Settings { runtime: Some(Arc::new(runtime)), ..quick(3) };
        let stats = Stats::start(settings).unwrap();
        assert_eq!(stats.now().runtime.tasks, Some(7));
        let settings =
            Settings { runtime: Some(Arc::new(|| -> Runtime { panic!("told to") })), ..quick(3) };
        let stats = Stats::start(settings).unwrap();
        let history = wait_for(&stats, |history| history.len() > 1);
        // Other tests have tasks.
        assert_eq!(Runtime { tasks: None, ..history[0].runtime }, Runtime::default());
    }

    #[test]
    fn named_tasks_count_where_no_runtime_does() {
        let _task = async {}.instrument(task::named("counted"));
        let stats = Stats::start(quick(3)).unwrap();
        assert!(stats.now().runtime.tasks.is_some_and(|tasks| tasks >= 1));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_figures_follow_what_the_process_does() {
        let stats = Stats::start(quick(1000)).unwrap();
        let before = wait_for(&stats, |history| !history.is_empty())[0];
        let kept: Vec<std::fs::File> =
            (0..64).map(|_| std::fs::File::open("/dev/null").unwrap()).collect();
        // Much more than the tests beside this one may give back meanwhile.
        let memory = std::hint::black_box(vec![1u8; 512 << 20]);
        let burnt = Instant::now();
        let cpu = || crate::sys::raw::usage::usage().unwrap().user;
        let start = cpu();
        while cpu() - start < Duration::from_millis(60) {
            std::hint::black_box(burnt.elapsed());
        }
        let now = stats.now();
        assert!(now.memory.resident.unwrap() >= before.memory.resident.unwrap() + (256 << 20));
        assert!(now.memory.mapped.unwrap() >= now.memory.resident.unwrap());
        assert!(now.descriptors.unwrap() >= before.descriptors.unwrap() + 32);
        assert!(now.descriptors.unwrap() <= now.descriptor_limit.unwrap_or(u64::MAX));
        assert!(now.threads.unwrap() >= 2);
        let spent = now.cpu.user.unwrap() - before.cpu.user.unwrap();
        assert!(spent >= Duration::from_millis(50), "{spent:?}");
        assert!(now.memory.minor_faults.unwrap() > before.memory.minor_faults.unwrap());
        drop((kept, memory));
    }
}
