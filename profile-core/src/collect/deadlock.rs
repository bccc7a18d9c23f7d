//! Threads that wait for each other's locks: a finding of the thread dump.
//!
//! What a std lock is held by is written nowhere. A guard, or the `Arc` that it came through, is on the
//! stack of who holds it: so a thread that waits for one lock and has the address of another on its
//! stack, for which the owner of the first waits, is in a cycle. A stack may hold such an address
//! without a guard, which is why it is a question; it is asked only of threads that have not run for
//! a while. glibc's mutexes name their owner. `parking_lot`'s sleepers don't say for what they sleep,
//! and are left out.

use std::time::Duration;

use super::wait_site::{Wait, waits_for};
use crate::sys::dump::{ThreadStack, ThreadState, is_still, memory};

/// A thread that waits for a lock.
struct Waiter<'a> {
    thread: &'a ThreadStack,
    lock: u64,
    /// The owner that the lock names.
    owner: Option<u32>,
    stack: Vec<u64>,
}

/// Threads in a cycle, each waiting for the next; the last for the first.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Cycle {
    pub(super) tids: Vec<u32>,
}

/// A thread that ran so recently is getting on.
const STUCK: Duration = Duration::from_millis(500);
/// Words of a stack that are looked at.
const WORDS: usize = 4096;
/// Threads that are looked at: each with each other.
const THREADS: usize = 512;
/// How far behind the beginning of an `Arc`'s memory its content begins.
const IN_ARC: u64 = 16;

/// The cycles among threads, given with the names of their functions.
pub(super) fn find<'a, N>(threads: impl Iterator<Item = (&'a ThreadStack, N)>) -> Vec<Cycle>
where
    N: Iterator<Item = &'a str> + Clone,
{
    let waiters: Vec<Waiter<'_>> =
        threads.filter_map(|(thread, names)| waiter(thread, &names)).take(THREADS).collect();
    let edges = edges(&waiters);
    let mut cycles: Vec<Cycle> = Vec::new();
    for start in 0..waiters.len() {
        let known = |tid| cycles.iter().any(|cycle| cycle.tids.contains(&tid));
        if known(waiters[start].thread.tid) {
            continue;
        }
        if let Some(path) = back_to(start, &edges) {
            // A second look: all of them are still where they were.
            if path.iter().all(|&index| is_still(waiters[index].thread)) {
                let tids = path.into_iter().map(|index| waiters[index].thread.tid).collect();
                cycles.push(Cycle { tids });
            }
        }
    }
    cycles
}

fn waiter<'a>(
    thread: &'a ThreadStack,
    names: &(impl Iterator<Item = &'a str> + Clone),
) -> Option<Waiter<'a>> {
    let ThreadState::Blocked { call: libc::SYS_futex, arguments: [address, _] } = thread.state
    else {
        return None;
    };
    if thread.waited.is_some_and(|waited| waited < STUCK) {
        return None;
    }
    let (wait, _) = waits_for(names.clone());
    let near = |part: &str| names.clone().take(8).any(|name| name.contains(part));
    if !matches!(wait, Wait::Mutex | Wait::RwLock) || near("parking_lot") {
        return None;
    }
    // Writers wait on the second word of a lock.
    let lock = if near("write_contended") { address.wrapping_sub(4) } else { address };
    // `lock`, `count` and `owner` are the first words of a mutex of glibc.
    let owner = if near("pthread_mutex") || near("__lll_lock_wait") {
        memory(lock.wrapping_add(8) & !7, 1).first().map(|&word| word as u32)
    } else {
        None
    };
    Some(Waiter { thread, lock, owner, stack: memory(thread.sp & !7, WORDS) })
}

/// Whom each waits for, as far as can be told.
fn edges(waiters: &[Waiter<'_>]) -> Vec<Vec<usize>> {
    let holds = |holder: &Waiter<'_>, waiter: &Waiter<'_>| match waiter.owner {
        Some(owner) => holder.thread.tid == owner,
        None => {
            let is_lock =
                |&word: &u64| word == waiter.lock || word.wrapping_add(IN_ARC) == waiter.lock;
            // Who waits for the same lock has its address for that.
            holder.lock != waiter.lock && holder.stack.iter().any(is_lock)
        }
    };
    waiters
        .iter()
        .map(|waiter| (0..waiters.len()).filter(|&at| holds(&waiters[at], waiter)).collect())
        .collect()
}

/// The shortest way from a waiter back to itself.
fn back_to(start: usize, edges: &[Vec<usize>]) -> Option<Vec<usize>> {
    let mut from: Vec<Option<usize>> = vec![None; edges.len()];
    let mut reached = std::collections::VecDeque::from([start]);
    while let Some(at) = reached.pop_front() {
        for &next in &edges[at] {
            if next == start {
                let mut path = vec![at];
                while let Some(before) = from[*path.last()?].filter(|_| path.last() != Some(&start))
                {
                    path.push(before);
                }
                path.reverse();
                return Some(path);
            }
            if from[next].is_none() {
                from[next] = Some(at);
                reached.push_back(next);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_way_back_is_found() {
        let edges = vec![vec![1], vec![2, 3], vec![0], vec![1], vec![0], vec![5]];
        assert_eq!(back_to(0, &edges), Some(vec![0, 1, 2]));
        assert_eq!(back_to(1, &edges), Some(vec![1, 3]));
        assert_eq!(back_to(4, &edges), None, "it waits for a cycle and is in none");
        assert_eq!(back_to(5, &edges), Some(vec![5]), "for itself");
    }
}
