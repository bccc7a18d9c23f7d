//! Workers of async runtimes that are blocked inside a task's poll: a thread that sleeps, waits for a
//! lock or reads a file there keeps every task that it would run from getting on, whether somebody gave
//! the task a name or not.
//!
//! Told from the stack: a worker calls a task through a table of functions, so that the function which
//! polls it is a frame of its own however the program is built; what runs on the pool that is meant for
//! blocking, or in `block_in_place`, may block. Told from time: blocked for [`BLOCKED`] by the kernel's
//! word, or where it says less, still in the same place that much later. A worker that is running, between
//! two blocking calls maybe, is looked at a second time too.

use std::time::Duration;

use profile_format::owner::FrameText;

use crate::threads::raw::{ThreadStack, ThreadState, read_blocked_again};

/// Time from which on a worker counts as blocked. Tokio's own advice is to yield ten times as often.
const BLOCKED: Duration = Duration::from_millis(100);
/// Time that a second look comes later than it would have to: one that blocks right after the first has
/// done so for long enough by then.
const MARGIN: Duration = Duration::from_millis(10);

/// Polls a task of any kind.
const POLL: [&str; 2] = ["tokio::runtime::task::raw::poll", "async_task::raw::"];

/// Runs what may block.
const MAY_BLOCK: [&str; 2] = ["tokio::runtime::blocking::pool::", "blocking::"];

/// Where a worker lets the program block, as a part of a name.
const IN_PLACE: &str = "::block_in_place";

/// Runs tasks that may not.
const WORKERS: [&str; 5] = [
    "tokio::runtime::scheduler::",
    "tokio::runtime::local_runtime::",
    "tokio::task::local::",
    "async_executor::",
    "async_global_executor::",
];

fn is_any(places: &[&str], frame: &FrameText<'_>) -> bool {
    let name = frame.name.trim_start_matches(['<', '&']);
    places.iter().any(|place| name.starts_with(place))
}

fn may_block(frame: &FrameText<'_>) -> bool {
    is_any(&MAY_BLOCK, frame) || frame.name.contains(IN_PLACE)
}

/// Returns whether a stack, the leaf first, is in the poll of a task that a worker runs.
pub(crate) fn polls_task(stack: &[FrameText<'_>]) -> bool {
    let mut frames = stack.iter();
    for frame in frames.by_ref() {
        if may_block(frame) {
            return false;
        }
        if is_any(&POLL, frame) {
            break;
        }
    }
    // Who has called the poll decides: workers themselves run on the pool.
    let decides = |frame: &FrameText<'_>| {
        if is_any(&WORKERS, frame) { Some(true) } else { may_block(frame).then_some(false) }
    };
    frames.find_map(decides).unwrap_or(false)
}

/// Returns whether a stack is a worker's.
pub(crate) fn is_worker(stack: &[FrameText<'_>]) -> bool {
    stack.iter().any(|frame| is_any(&WORKERS, frame))
}

/// Returns whether it is known that a thread has been blocked for long.
pub(crate) fn is_long_blocked(thread: &ThreadStack) -> bool {
    is_blocked(thread) && thread.waited.is_some_and(|waited| waited >= BLOCKED)
}

fn is_blocked(thread: &ThreadStack) -> bool {
    matches!(thread.state, ThreadState::Blocked { .. } | ThreadState::Faulting)
}

/// Looks again at workers that were running, or were blocked for less than [`BLOCKED`] so far, until it is
/// known of each whether it is blocked: three times at most. Returns those that are, as they are then.
pub(crate) fn look_again(tids: &[u32]) -> Vec<ThreadStack> {
    let mut unsure: Vec<_> = tids.iter().map(|&tid| (tid, read_blocked_again(tid))).collect();
    let mut found = Vec::new();
    for look in 0..3 {
        let (long, short): (Vec<_>, _) = unsure
            .into_iter()
            .partition(|(_, thread)| thread.as_ref().is_some_and(is_long_blocked));
        found.extend(long.into_iter().filter_map(|(_, thread)| thread));
        unsure = short;
        // Who runs may block at once. Who is at it still the second time has work to do.
        if look > 0 {
            unsure.retain(|(_, thread)| thread.is_some());
        }
        if unsure.is_empty() || look == 2 {
            break;
        }
        std::thread::sleep(BLOCKED + MARGIN);
        for (tid, thread) in &mut unsure {
            *thread = look_once_more(*tid, thread.take());
        }
    }
    found
}

/// Reads a worker once more, a while after it was read.
fn look_once_more(tid: u32, first: Option<ThreadStack>) -> Option<ThreadStack> {
    let second = read_blocked_again(tid)?;
    if second.waited.is_some() {
        return Some(second);
    }
    // Nobody tells how long: what is in the same place counts as not having moved.
    let stays = first.is_some_and(|first| first.sp == second.sp && first.state == second.state);
    Some(ThreadStack { waited: stays.then_some(BLOCKED), ..second })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKIO: &str = "/home/u/.cargo/registry/src/index/tokio-1.54.1/src";

    fn is_blocked_worker(frames: &[(&str, &str)]) -> bool {
        let frames =
            frames.iter().map(|(name, file)| FrameText::new(name, &file.replace("$T", TOKIO)));
        polls_task(&frames.collect::<Vec<_>>())
    }

    #[test]
    fn a_worker_in_a_poll_is_told_with_and_without_debug_information() {
        let leaf = ("clock_nanosleep", "");
        let poll = ("tokio::runtime::task::raw::poll", "");
        let worker = ("tokio::runtime::scheduler::multi_thread::worker::Context::run_task", "");
        let pool = ("tokio::runtime::blocking::pool::Inner::run", "");
        assert!(is_blocked_worker(&[leaf, ("app::work", ""), poll, worker, poll, pool]));
        // On the pool that is for it, and where the program says that it will.
        assert!(!is_blocked_worker(&[leaf, ("app::work", ""), poll, pool]));
        let in_place =
            ("tokio::runtime::scheduler::multi_thread::worker::block_in_place::<F, R>", "");
        assert!(!is_blocked_worker(&[leaf, in_place, ("app::work", ""), poll, worker, poll, pool]));
        // A worker that waits for something to do, and a thread that knows no runtime.
        assert!(!is_blocked_worker(&[
            ("syscall", ""),
            ("tokio::runtime::scheduler::multi_thread::park::Parker::park", ""),
            worker,
            poll,
            pool,
        ]));
        assert!(!is_blocked_worker(&[leaf, ("app::work", ""), ("main", "")]));
        // Inlined functions have bare names with line tables.
        assert!(is_blocked_worker(&[
            ("sleep", "/rustc/1/library/std/src/thread/functions.rs"),
            ("{async_block#0}", "src/main.rs"),
            ("poll<core::pin::Pin<T>>", "$T/runtime/task/raw.rs"),
            ("run_task", "$T/runtime/scheduler/multi_thread/worker.rs"),
        ]));
        assert!(!is_blocked_worker(&[
            ("sleep", "/rustc/1/library/std/src/thread/functions.rs"),
            ("poll<T>", "$T/runtime/task/raw.rs"),
            ("run", "$T/runtime/blocking/pool.rs"),
        ]));
        // A task of a `LocalSet`.
        assert!(is_blocked_worker(&[leaf, poll, ("tokio::task::local::LocalSet::tick", "")]));
    }
}
