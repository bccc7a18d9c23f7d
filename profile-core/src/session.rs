//! One collection from start to end, as types: [`Recording`] → [`Recorded`] → [`Artifact`]s.
//!
//! Whichever way a session ends, dropping its state undoes everything it switched on and then opens
//! the gate, in the order of the fields.

use std::time::{Duration, Instant, SystemTime};

use profile_format::{Content, Kind};

use crate::collect::Collectors;
use crate::collector::File;
use crate::error::Error;
use crate::gate::Permit;
use crate::plan::Plan;
use crate::single::{self, Single, Unfinished};

/// A session whose window is open.
#[must_use = "dropping a recording ends its window and throws away what it recorded"]
pub struct Recording {
    open: Vec<KindState<Single>>,
    started: SystemTime,
    opened: Instant,
    window: Duration,
    permit: Permit,
}

/// A session whose window is closed: an iterator that finishes one profile at a time.
///
/// What the window needed is switched off already. The gate stays closed until this is dropped, so
/// that a second session can't begin while the first is still being written.
pub struct Recorded {
    closed: std::vec::IntoIter<KindState<Unfinished>>,
    recorded_for: Duration,
    files: Option<FinishedFiles>,
    _permit: Permit,
}

/// The state that a kind has reached, or the error that stopped it.
struct KindState<T> {
    kind: Kind,
    reached: Result<T, Error>,
}

/// The files of the kind that was finished last, and the time that it took.
struct FinishedFiles {
    kind: Kind,
    took: Duration,
    files: std::vec::IntoIter<File>,
}

/// One finished profile: its name, its bytes and how long it took, or why it failed.
#[derive(Debug)]
pub struct Artifact {
    /// The kind it belongs to.
    pub kind: Kind,
    /// Its file name in a bundle.
    pub name: &'static str,
    /// Time that it took, the window included where the kind records one.
    pub took: Duration,
    /// The finished file.
    pub data: Result<Content, Error>,
}

/// Opens the window: every kind of the plan is started.
///
/// # Errors
///
/// A timed kind that was named and can't start ends the session; what was started before it is undone. One
/// that is only among the default kinds, or is only a snapshot, becomes an artifact with that error.
pub fn start(plan: &Plan, collectors: &Collectors, permit: Permit) -> Result<Recording, Error> {
    let started = SystemTime::now();
    let opened = Instant::now();
    let in_detail = plan.tasks().map(|detail| collectors.with_tasks(detail)).transpose()?;
    let collectors = in_detail.as_ref().unwrap_or(collectors);
    let in_rate = plan.hz().map(|rate| collectors.with_hz(rate)).transpose()?;
    let collectors = in_rate.as_ref().unwrap_or(collectors);
    let mut open = Vec::with_capacity(plan.kinds().len());
    for &kind in plan.kinds() {
        let window = single::open(collectors, kind);
        match window {
            Err(error) if kind.is_timed() && plan.names_kinds() => return Err(error),
            reached => open.push(KindState { kind, reached }),
        }
    }
    Ok(Recording { open, started, opened, window: plan.window(), permit })
}

impl Recording {
    /// Returns the time that the caller is to wait before [`Recording::stop`].
    pub fn window(&self) -> Duration {
        self.window
    }

    /// Returns the time at which the window was opened.
    pub fn started(&self) -> SystemTime {
        self.started
    }

    /// Closes the window. Everything that was switched on is switched back before this returns, and what there
    /// is at that moment was taken; the profiles are named and finished one by one as the result is iterated.
    pub fn stop(self) -> Recorded {
        let recorded_for = self.opened.elapsed();
        let mut open: Vec<_> = self.open.into_iter().enumerate().collect();
        // What records ends at once, before anything takes its time to look at what there is now.
        open.sort_by_key(|(_, state)| !state.kind.is_windowed());
        let close = |(place, KindState { kind, reached }): (usize, KindState<Single>)| {
            (place, KindState { kind, reached: reached.and_then(Single::close) })
        };
        let mut closed: Vec<_> = open.into_iter().map(close).collect();
        closed.sort_by_key(|&(place, _)| place);
        let closed: Vec<_> = closed.into_iter().map(|(_, state)| state).collect();
        Recorded { closed: closed.into_iter(), recorded_for, files: None, _permit: self.permit }
    }
}

impl Iterator for Recorded {
    type Item = Artifact;

    fn next(&mut self) -> Option<Artifact> {
        loop {
            if let Some(FinishedFiles { kind, took, files }) = &mut self.files
                && let Some(File { name, bytes }) = files.next()
            {
                return Some(Artifact { kind: *kind, name, took: *took, data: Ok(bytes) });
            }
            let KindState { kind, reached } = self.closed.next()?;
            let began = Instant::now();
            let files = reached.and_then(Unfinished::finish);
            let window = if kind.is_timed() { self.recorded_for } else { Duration::ZERO };
            let took = window + began.elapsed();
            match files {
                Ok(files) => {
                    self.files = Some(FinishedFiles { kind, took, files: files.into_iter() });
                }
                Err(error) => {
                    return Some(Artifact { kind, name: kind.file_name(), took, data: Err(error) });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use profile_format::Unavailable;

    use super::*;
    use crate::collector::{Collector, Pending, Window};
    use crate::gate::Gate;

    /// Counts what is switched on; behaves as told.
    struct FakeCollector {
        kind: Kind,
        on: Arc<AtomicUsize>,
        fault: FakeFault,
    }

    #[derive(Clone, Copy, PartialEq)]
    enum FakeFault {
        None,
        Start,
        StartPanic,
        Finish,
        FinishPanic,
    }

    struct OnCounter(Arc<AtomicUsize>);

    impl Drop for OnCounter {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }

    struct FakeWindow {
        _on: OnCounter,
        fault: FakeFault,
        kind: Kind,
    }

    impl Collector for FakeCollector {
        fn kind(&self) -> Kind {
            self.kind
        }
        fn check(&self) -> Result<(), Unavailable> {
            Ok(())
        }
        fn start(&self) -> Result<Box<dyn Window>, Error> {
            self.on.fetch_add(1, Ordering::SeqCst);
            let on = OnCounter(Arc::clone(&self.on));
            match self.fault {
                FakeFault::Start => Err(Error::Collect { kind: self.kind, source: "no".into() }),
                FakeFault::StartPanic => panic!("expected by the test"),
                fault => Ok(Box::new(FakeWindow { _on: on, fault, kind: self.kind })),
            }
        }
    }

    impl Window for FakeWindow {
        fn close(self: Box<Self>) -> Pending {
            let (fault, kind) = (self.fault, self.kind);
            Box::new(move || match fault {
                FakeFault::Finish => Err(Error::Collect { kind, source: "lost".into() }),
                FakeFault::FinishPanic => panic!("expected by the test"),
                _ => Ok(vec![File { name: kind.file_name(), bytes: vec![1, 2, 3].into() }]),
            })
        }
    }

    fn fakes(faults: &[(Kind, FakeFault)]) -> (Collectors, Arc<AtomicUsize>) {
        let on = Arc::new(AtomicUsize::new(0));
        let mut collectors = Collectors::new();
        for &(kind, fault) in faults {
            collectors = collectors.with(FakeCollector { kind, on: Arc::clone(&on), fault });
        }
        (collectors, on)
    }

    fn plan(query: &str, collectors: &Collectors) -> Plan {
        Plan::parse(query, &collectors.available()).unwrap()
    }

    #[test]
    fn gives_every_profile_in_order_and_opens_the_gate() {
        let (collectors, on) =
            fakes(&[(Kind::Heap, FakeFault::None), (Kind::Cpu, FakeFault::None)]);
        let gate = Gate::new();
        let plan = plan("profiles=heap,cpu", &collectors);
        let permit = gate.try_enter(plan.window()).unwrap();
        let recording = start(&plan, &collectors, permit).unwrap();
        assert_eq!(on.load(Ordering::SeqCst), 2);
        let recorded = recording.stop();
        assert_eq!(on.load(Ordering::SeqCst), 0, "the window is closed before anything is written");
        assert!(gate.try_enter(Duration::ZERO).is_err(), "held until the last profile is taken");
        let names: Vec<_> = recorded.map(|artifact| artifact.name).collect();
        assert_eq!(names, ["heap.prof", "cpu.prof"]);
        assert!(gate.try_enter(Duration::ZERO).is_ok());
    }

    #[test]
    fn dropping_a_recording_undoes_everything() {
        let (collectors, on) =
            fakes(&[(Kind::Heap, FakeFault::None), (Kind::Cpu, FakeFault::None)]);
        let gate = Gate::new();
        let plan = plan("profiles=heap,cpu", &collectors);
        let recording = start(&plan, &collectors, gate.try_enter(plan.window()).unwrap()).unwrap();
        drop(recording);
        assert_eq!(on.load(Ordering::SeqCst), 0);
        assert!(gate.try_enter(Duration::ZERO).is_ok());
    }

    #[test]
    fn a_timed_kind_that_cannot_start_ends_the_session() {
        for fault in [FakeFault::Start, FakeFault::StartPanic] {
            let (collectors, on) = fakes(&[(Kind::Heap, FakeFault::None), (Kind::Cpu, fault)]);
            let gate = Gate::new();
            let plan = plan("profiles=heap,cpu", &collectors);
            let permit = gate.try_enter(plan.window()).unwrap();
            assert!(start(&plan, &collectors, permit).is_err());
            assert_eq!(on.load(Ordering::SeqCst), 0);
            assert!(gate.try_enter(Duration::ZERO).is_ok());
        }
    }

    #[test]
    fn a_default_kind_that_cannot_start_leaves_the_others() {
        let (collectors, _) =
            fakes(&[(Kind::Cpu, FakeFault::Start), (Kind::Heap, FakeFault::None)]);
        let plan = plan("duration=10ms", &collectors);
        let permit = Gate::new().try_enter(plan.window()).unwrap();
        let mut artifacts = start(&plan, &collectors, permit).unwrap().stop();
        let cpu = artifacts.find(|artifact| artifact.kind == Kind::Cpu).unwrap();
        assert_eq!(cpu.data.unwrap_err().chain(), "cpu could not be collected: no");
        assert!(artifacts.find(|artifact| artifact.kind == Kind::Heap).unwrap().data.is_ok());
    }

    #[test]
    fn one_that_fails_leaves_the_others() {
        let faults = [
            (Kind::Heap, FakeFault::Start),
            (Kind::Allocs, FakeFault::FinishPanic),
            (Kind::Mutex, FakeFault::Finish),
            (Kind::Block, FakeFault::StartPanic),
            (Kind::Cpu, FakeFault::None),
        ];
        let (collectors, on) = fakes(&faults);
        let plan = plan("profiles=heap,allocs,mutex,block,cpu", &collectors);
        let permit = Gate::new().try_enter(plan.window()).unwrap();
        let artifacts: Vec<_> = start(&plan, &collectors, permit).unwrap().stop().collect();
        let failed: Vec<_> = artifacts.iter().map(|artifact| artifact.data.is_err()).collect();
        assert_eq!(failed, [true, true, true, true, false]);
        assert_eq!(on.load(Ordering::SeqCst), 0);
    }
}
