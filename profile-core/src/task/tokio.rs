//! Tasks on a tokio runtime.

use std::borrow::Cow;
use std::future::Future;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;

#[cfg(tokio_unstable)]
use crate::task::hooks::spawn_named;
use crate::task::{Instrument as _, Registration, Task, TaskSource, named, register};

/// Spawns a task that is known by this name, on the runtime that is current: [`tokio::spawn`] with
/// a name.
///
/// # Panics
///
/// Outside a runtime, as [`tokio::spawn`] does.
#[inline]
#[track_caller]
pub fn spawn<F>(name: impl Into<Cow<'static, str>>, future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    named(name).spawn(future)
}

impl Task {
    /// Spawns the task on the runtime that is current.
    ///
    /// # Panics
    ///
    /// Outside a runtime, as [`tokio::spawn`] does.
    #[inline]
    #[track_caller]
    pub fn spawn<F>(self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        spawn_named(|| tokio::spawn(future.instrument(self.following_wakes())))
    }

    /// Spawns the task on this runtime.
    pub fn spawn_on<F>(self, future: F, runtime: &Handle) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        spawn_named(|| runtime.spawn(future.instrument(self.following_wakes())))
    }

    /// Spawns the task on the current [`LocalSet`](tokio::task::LocalSet) or local runtime.
    ///
    /// # Panics
    ///
    /// Outside one, as [`tokio::task::spawn_local`] does.
    #[track_caller]
    pub fn spawn_local<F>(self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        spawn_named(|| tokio::task::spawn_local(future.instrument(self.following_wakes())))
    }
}

/// Counts of a tokio runtime: the tasks that are alive, and those in its queue. With it, tasks that
/// nobody named are known to be there.
#[derive(Clone, Debug)]
pub struct RuntimeTasks(Handle);

impl TaskSource for RuntimeTasks {
    fn alive(&self) -> Option<usize> {
        Some(self.0.metrics().num_alive_tasks())
    }

    fn queued(&self) -> Option<usize> {
        Some(self.0.metrics().global_queue_depth())
    }
}

/// Counts the tasks of a runtime in dumps and traces, for as long as the result lives. Every
/// runtime whose tasks are named should be watched, or none.
pub fn watch(runtime: &Handle) -> Registration {
    register(RuntimeTasks(runtime.clone()))
}

/// Runs what spawns a task that has a name. Without hooks there is nobody to tell.
#[cfg(not(tokio_unstable))]
#[inline]
fn spawn_named<R>(spawn: impl FnOnce() -> R) -> R {
    spawn()
}
