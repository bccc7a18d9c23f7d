//! Every task of a tokio runtime, those of libraries too: by the runtime's hooks, which it has
//! where the program is built with `--cfg tokio_unstable`.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::runtime::{Builder, TaskMeta};
use tokio::task::Id;

use crate::task::future::{LiveTask, named};
use crate::task::registry::{self, OpenPoll};

impl LiveTask {
    /// Begins a poll that others do.
    fn enter(&self) -> OpenPoll {
        registry::enter(self.slot)
    }
}

/// Tasks that the hooks brought in, in shards.
static TASKS: [Mutex<Option<HashMap<Id, LiveTask>>>; SHARDS] = [const { Mutex::new(None) }; SHARDS];
const SHARDS: usize = 32;

thread_local! {
    /// True while this thread is spawning a task that is known by its name already.
    static NAMED: Cell<bool> = const { Cell::new(false) };
    /// The polls that this thread is in.
    static POLLING: RefCell<Vec<(Id, OpenPoll)>> = const { RefCell::new(Vec::new()) };
    /// A task that ended before it was told of: a runtime that is shut down ends what is spawned on
    /// it at once, and only then says that it was spawned.
    static STILLBORN: Cell<Option<Id>> = const { Cell::new(None) };
}

/// Makes every task of the runtime known, by the place where it was spawned. A task that has a name
/// keeps it. Costs a lock, of one shard of many, at the beginning and the end of each poll. It
/// takes the builder's four hooks for tasks.
pub fn see_every_task(builder: &mut Builder) -> &mut Builder {
    builder
        .on_task_spawn(spawned)
        .on_before_task_poll(|task| before_poll(task.id()))
        .on_after_task_poll(|task| after_poll(task.id()))
        .on_task_terminate(|task| terminated(task.id()))
}

/// Runs what spawns a task that has a name.
pub(super) fn spawn_named<R>(spawn: impl FnOnce() -> R) -> R {
    struct RestoreNamed(bool);
    impl Drop for RestoreNamed {
        fn drop(&mut self) {
            NAMED.set(self.0);
        }
    }
    let _restore = RestoreNamed(NAMED.replace(true));
    spawn()
}

fn spawned(task: &TaskMeta<'_>) {
    let is_over = STILLBORN.try_with(Cell::take).ok().flatten() == Some(task.id());
    if !NAMED.get() && !is_over {
        let live = LiveTask::begin(&named("task").started_at(task.spawned_at()));
        shard(task.id()).get_or_insert_with(HashMap::new).insert(task.id(), live);
    }
}

fn before_poll(id: Id) {
    let polling = shard(id).as_ref().and_then(|shard| Some(shard.get(&id)?.enter()));
    if let Some(polling) = polling {
        let _ = POLLING.try_with(|stack| stack.borrow_mut().push((id, polling)));
    }
}

fn after_poll(id: Id) {
    let ended = POLLING.try_with(|stack| {
        let mut stack = stack.borrow_mut();
        stack.pop_if(|(polled, _)| *polled == id)
    });
    if let Ok(Some((_, polling))) = ended {
        polling.end();
    }
}

/// Ends a task, most often in its last poll, which ends with it.
fn terminated(id: Id) {
    after_poll(id);
    let live = shard(id).as_mut().and_then(|shard| shard.remove(&id));
    if live.is_none() {
        let _ = STILLBORN.try_with(|stillborn| stillborn.set(Some(id)));
    }
}

fn shard(id: Id) -> MutexGuard<'static, Option<HashMap<Id, LiveTask>>> {
    use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
    let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(id);
    TASKS[hash as usize % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::{self, State, Status};

    fn started_here() -> Vec<Status> {
        let mut seen = Vec::new();
        task::all(&mut |status| {
            if status.kind.file() == file!() {
                seen.push(status.clone());
            }
        });
        seen
    }

    #[test]
    fn what_is_spawned_on_a_runtime_that_is_gone_is_no_task() {
        for mut builder in [Builder::new_current_thread(), Builder::new_multi_thread()] {
            let runtime = see_every_task(&mut builder).build().unwrap();
            let handle = runtime.handle().clone();
            drop(runtime);
            for _ in 0..3 {
                drop(handle.spawn(std::future::pending::<()>()));
            }
            let line = line!() - 2;
            assert!(!started_here().iter().any(|status| status.kind.line() == line));
        }
    }

    #[test]
    fn the_last_poll_is_the_tasks_too() {
        let mut builder = Builder::new_current_thread();
        let runtime = see_every_task(&mut builder).build().unwrap();
        let _turn = crate::events::ring::turn();
        let window = crate::events::ring::open(0).unwrap();
        let (id, current) = runtime.block_on(async {
            let task = tokio::spawn(async {
                let id = task::current();
                tokio::task::yield_now().await;
                (id, task::current())
            });
            task.await.unwrap()
        });
        assert!(id.is_some());
        assert_eq!(id, current);
        let closed = window.close();
        let polls = closed.chunks().flat_map(|chunk| chunk.events().collect::<Vec<_>>());
        let polls = polls.filter(|event| {
            matches!(event, crate::events::ring::TraceEvent::Poll { task, .. } if Some(*task) == id.map(|id| id.0))
        });
        assert_eq!(polls.count(), 2);
    }

    #[test]
    fn every_task_is_known_once_until_it_ends() {
        let mut builder = Builder::new_current_thread();
        let runtime = see_every_task(&mut builder).build().unwrap();
        runtime.block_on(async {
            let idle = tokio::spawn(std::future::pending::<()>());
            let line = line!() - 1;
            let named = task::spawn("named", std::future::pending::<()>());
            // The runtime polls every task before it comes back to this one.
            tokio::task::yield_now().await;
            let seen = started_here();
            assert!(seen.iter().all(|status| status.state == State::Idle), "{seen:?}");
            let mut known: Vec<(&str, u32)> =
                seen.iter().map(|status| (status.kind.name(), status.kind.line())).collect();
            known.sort_unstable();
            assert_eq!(known, [("named", line + 2), ("task", line)]);
            idle.abort();
            named.abort();
            tokio::task::yield_now().await;
            assert!(started_here().is_empty());
        });
    }
}
