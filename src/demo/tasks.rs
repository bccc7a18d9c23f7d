//! The demo's tasks, with known sites: one is stuck on a lock, one blocks its worker, one has slow polls.
//!
//! They use almost no CPU, so that they don't change the known shares: what is slow here sleeps.

use std::io;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use profilez::task::{self, Instrument as _, Registration};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Mutex;

/// Tasks that are running. Dropping this ends them.
pub(super) struct DemoTasks {
    // Taken out of the list before the runtime ends.
    _counted: Registration,
    runtime: Option<Runtime>,
}

/// Time that `reindex` blocks its worker at a time. Short, so that the demo can end.
const BLOCKING: Duration = Duration::from_millis(400);
/// Time that a poll of `resize_image` takes.
const SLOW: Duration = Duration::from_millis(20);
/// Time between two of these polls.
const SLOW_EVERY: Duration = Duration::from_millis(200);

impl DemoTasks {
    /// Starts a runtime, and the tasks.
    pub(super) fn start() -> io::Result<DemoTasks> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("demo-worker")
            // With the I/O driver too: a worker without one waits for work as others wait for locks.
            .enable_all()
            .build()?;
        let counted = task::watch(runtime.handle());
        let inventory = Arc::new(Mutex::new(()));
        let held = Arc::clone(&inventory);
        task::named("inventory_sync").background().spawn_on(hold(held), runtime.handle());
        let (waits, is_waiting) = mpsc::channel();
        task::named("wait_for_stock")
            .per_request()
            .spawn_on(reserve(inventory, waits), runtime.handle());
        task::named("reindex").background().spawn_on(reindex(), runtime.handle());
        task::named("resize_image").per_request().spawn_on(resize_images(), runtime.handle());
        // So that it waits for the whole of a window. An error is as good: then it has ended.
        let _ = is_waiting.recv();
        Ok(DemoTasks { _counted: counted, runtime: Some(runtime) })
    }
}

impl Drop for DemoTasks {
    fn drop(&mut self) {
        // A blocked worker is not waited for.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Holds the lock for good.
async fn hold(inventory: Arc<Mutex<()>>) {
    let _held = inventory.lock().await;
    std::future::pending::<()>().await_point().await;
}

/// Waits for the lock for good.
async fn reserve(inventory: Arc<Mutex<()>>, waits: mpsc::Sender<()>) {
    // The other task is there first.
    while inventory.try_lock().is_ok() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let _ = waits.send(());
    let _reserved = inventory.lock().await_point().await;
}

/// Sleeps as a thread does, where a task should not.
async fn reindex() {
    loop {
        rebuild_index();
        tokio::task::yield_now().await;
    }
}

#[inline(never)]
fn rebuild_index() {
    thread::sleep(BLOCKING);
}

/// Takes too long now and then.
async fn resize_images() {
    loop {
        tokio::time::sleep(SLOW_EVERY).await_point().await;
        thread::sleep(SLOW);
    }
}
