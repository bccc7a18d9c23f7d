//! Futures that are known: as tasks, and by where they wait.

use std::borrow::Cow;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use crate::task::kinds::{self, Category};
use crate::task::raw::{self, FutureWakers};
use crate::task::registry::{self, EndOnUnwind, TaskSlot};

/// Description of a task: its name, the place where it is started, and whether it belongs to the
/// program or to a request. Made by [`named`].
#[derive(Clone, Debug)]
#[must_use = "a description starts nothing; instrument or spawn a future with it"]
pub struct Task {
    name: Cow<'static, str>,
    place: &'static Location<'static>,
    category: Category,
    follow: bool,
}

/// Describes a task that is started where this is called.
///
/// Names are for groups of tasks. Of one that is made up as the program runs, a number at its end
/// is cut off, and of all names of a process the first 8192 are kept.
#[inline]
#[track_caller]
pub fn named(name: impl Into<Cow<'static, str>>) -> Task {
    Task {
        name: name.into(),
        place: Location::caller(),
        category: Category::Unknown,
        follow: false,
    }
}

impl Task {
    /// Returns the same task as a part of the program: to wait for long is what it is for.
    pub fn background(self) -> Task {
        Task { category: Category::Background, ..self }
    }

    /// Returns the same task as the work for one request: to wait for long is a finding.
    pub fn per_request(self) -> Task {
        Task { category: Category::PerRequest, ..self }
    }

    /// Returns the same task, telling also whether it was woken and waits for a worker. Tasks that
    /// are spawned by [`Task::spawn`] and its like do so anyway.
    ///
    /// The future is polled with a waker around its executor's, which is kept as long as the
    /// future. On tokio that changes nothing; an executor that ends a task once nobody can wake it
    /// does not notice any more that nobody can.
    pub fn following_wakes(self) -> Task {
        Task { follow: true, ..self }
    }

    /// Returns the same task, started at another place.
    pub fn started_at(self, place: &'static Location<'static>) -> Task {
        Task { place, ..self }
    }
}

/// Keeps a task among those that are known. Dropping it ends the task.
#[derive(Debug)]
pub(super) struct LiveTask {
    pub(super) slot: &'static TaskSlot,
    wakes: FutureWakers,
}

impl LiveTask {
    #[inline]
    pub(super) fn begin(task: &Task) -> LiveTask {
        let Task { name, place, category, follow } = task;
        let slot = registry::begin(match name {
            Cow::Borrowed(name) => kinds::intern_at(name, place, *category),
            Cow::Owned(name) => kinds::intern_made_up(name, place, *category),
        });
        let wakes = if *follow { FutureWakers::new() } else { FutureWakers::ignored() };
        LiveTask { slot, wakes }
    }
}

impl Drop for LiveTask {
    #[inline]
    fn drop(&mut self) {
        registry::end(self.slot);
    }
}

pin_project! {
    /// A future that is known as a task for as long as it lives.
    #[derive(Debug)]
    pub struct Instrumented<F> {
        // Dropped before `live`, so that the task is known until its future is gone.
        #[pin]
        future: F,
        live: LiveTask,
    }
}

impl<F: Future> Future for Instrumented<F> {
    type Output = F::Output;

    #[inline(always)]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let live = this.live;
        let polling = registry::enter(live.slot);
        let unwinding = EndOnUnwind(polling);
        let poll = raw::poll(
            &mut live.wakes,
            cx,
            || registry::mark(live.slot),
            polling.began_if_due(),
            |woken| polling.trace_wake_up(woken),
            |cx| this.future.poll(cx),
        );
        std::mem::forget(unwinding);
        if poll.is_ready() {
            polling.finish();
        } else {
            polling.end();
        }
        poll
    }
}

pin_project! {
    /// A future that says where it is awaited.
    #[derive(Debug)]
    pub struct AwaitPoint<F> {
        #[pin]
        future: F,
        place: &'static Location<'static>,
    }
}

impl<F: Future> Future for AwaitPoint<F> {
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let poll = this.future.poll(cx);
        if poll.is_pending() {
            registry::awaits(this.place);
        }
        poll
    }
}

/// Makes futures known.
pub trait Instrument: Future + Sized {
    /// Makes the future a task, from now until it is dropped. What else is polled inside it is part
    /// of it, unless it is instrumented itself.
    #[inline]
    fn instrument(self, task: Task) -> Instrumented<Self> {
        Instrumented { future: self, live: LiveTask::begin(&task) }
    }

    /// Makes the future say where it is awaited: a task that waits in it shows this place in dumps.
    /// Where several wait in one task, the innermost of the first is shown.
    ///
    /// ```
    /// # use profile_core::task::Instrument as _;
    /// # async fn guard() {}
    /// # async fn waits() {
    /// guard().await_point().await;
    /// # }
    /// ```
    #[track_caller]
    fn await_point(self) -> AwaitPoint<Self> {
        AwaitPoint { future: self, place: Location::caller() }
    }
}

impl<F: Future> Instrument for F {}
