//! Where tasks are known from: our own registry, and sources that a program adds.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use profile_format::Unavailable;

use crate::sys::clock;
use crate::task::awaits::{Awaits, Detail};
use crate::task::registry;
use crate::task::status::{Status, TaskId};

/// Knows tasks that nobody else knows: those of a runtime of one's own, or of another registry.
///
/// Each method but [`TaskSource::awaits`] is called from the thread that takes a dump or a trace,
/// and must not wait.
pub trait TaskSource: Send + Sync {
    /// Shows each task that is known one by one.
    fn each(&self, each: &mut dyn FnMut(&Status)) {
        let _ = each;
    }

    /// Returns the number of tasks that are alive in all, those included that are not known one by
    /// one. `None` where nobody counts.
    fn alive(&self) -> Option<usize> {
        None
    }

    /// Returns the number of tasks that are ready and wait for a worker. `None` where nobody
    /// counts.
    fn queued(&self) -> Option<usize> {
        None
    }

    /// Tells whether this source can give the detail of its tasks: `Ok` where it can, the reason
    /// where it can't now, `None` where it has nothing to do with that detail.
    fn offers(&self, detail: Detail) -> Option<Result<(), Unavailable>> {
        let _ = detail;
        None
    }

    /// Tells of each task what it waits in, until it is told to break off. It is called on a thread
    /// of its own and may wait, but nobody waits for it longer than
    /// [`DETAIL_TIMEOUT`](crate::task::DETAIL_TIMEOUT).
    ///
    /// # Errors
    ///
    /// Why it could not tell all.
    fn awaits(
        &self,
        detail: Detail,
        tell: &mut dyn FnMut(Awaits) -> ControlFlow<()>,
    ) -> Result<(), Unavailable> {
        let _ = (detail, tell);
        Ok(())
    }
}

/// Returns the task that this thread is polling, if it has a name; of one inside another, the
/// inner.
pub fn current() -> Option<TaskId> {
    registry::current().map(TaskId)
}

/// Numbers of tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Alive {
    /// Number of tasks that are known one by one.
    pub known: usize,
    /// Number of tasks that only a count of all tells of.
    pub unknown: usize,
    /// Number of tasks that are ready and wait for a worker; `None` where nobody counts.
    pub queued: Option<usize>,
}

type SourceList = Vec<(u64, Arc<dyn TaskSource>)>;

static SOURCES: Mutex<SourceList> = Mutex::new(Vec::new());
/// The number of the next one.
static NEXT: AtomicU64 = AtomicU64::new(0);

fn lock() -> MutexGuard<'static, SourceList> {
    SOURCES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps a source in the list. Dropping it takes the source out.
#[derive(Debug)]
#[must_use = "the source is asked for as long as this lives"]
pub struct Registration(u64);

impl Drop for Registration {
    fn drop(&mut self) {
        let mut sources = lock();
        let index = sources.iter().position(|&(number, _)| number == self.0);
        let source = index.map(|index| sources.remove(index));
        drop(sources);
        // Its end may ask for tasks itself.
        drop(source);
    }
}

/// Adds a source of tasks to dumps and traces.
pub fn register(source: impl TaskSource + 'static) -> Registration {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    lock().push((number, Arc::new(source)));
    Registration(number)
}

/// Returns the sources as they are now with their numbers, so that none is called with the list
/// locked.
pub(super) fn sources() -> SourceList {
    lock().clone()
}

/// Shows every task that is known to `each`, in no order.
pub fn all(each: &mut dyn FnMut(&Status)) {
    all_at(clock::precise(), each);
}

/// Shows the same, with times as they were at a moment shortly before, by the precise clock. Other
/// sources tell theirs as they are.
pub(crate) fn all_at(now: u64, each: &mut dyn FnMut(&Status)) {
    registry::each(now, each);
    for (_, source) in sources() {
        source.each(each);
    }
}

/// Returns whether there has ever been a task, or a source that knows of tasks. Costs much less
/// than counting them.
#[inline]
pub(crate) fn is_used() -> bool {
    registry::is_used() || NEXT.load(Ordering::Relaxed) != 0
}

/// Counts the tasks. Those that are polled as a part of another are not counted apart.
pub fn alive() -> Alive {
    let (all, nested) = registry::count();
    let mut known = all - nested;
    let (mut counted, mut queued) = (0, None);
    for (_, source) in sources() {
        source.each(&mut |status| known += usize::from(!status.nested));
        counted += source.alive().unwrap_or(0);
        queued = match (queued, source.queued()) {
            (None, queued) | (queued, None) => queued,
            (Some(sum), Some(more)) => Some(sum + more),
        };
    }
    Alive { known, unknown: counted.saturating_sub(known), queued }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Has sources of its own.
    struct SourceOwner(#[allow(dead_code)] Registration);

    impl TaskSource for SourceOwner {
        fn each(&self, _: &mut dyn FnMut(&Status)) {}
    }

    struct NoTasks;

    impl TaskSource for NoTasks {
        fn each(&self, _: &mut dyn FnMut(&Status)) {}
    }

    #[test]
    fn a_source_may_end_others() {
        let before = sources().len();
        let owner = register(SourceOwner(register(NoTasks)));
        drop(owner);
        assert!(sources().len() <= before);
    }
}
