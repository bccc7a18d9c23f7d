//! Threads that wait for each other's locks: a finding of the thread dump.
//!
//! What a std lock is held by is written nowhere. A guard, or the `Arc` that it came through, is on
//! the stack of who holds it: so a thread that waits for one lock and has the address of another on
//! its stack, for which the owner of the first waits, is in a cycle. A stack may hold such an
//! address without a guard, which is why it is a question; it is asked only of threads that have
//! not run for a while. A thread that waits for a lock which it holds itself can't be told from one
//! that waits for another's: both have its address. glibc's mutexes name their owner.
//! `parking_lot`'s sleepers don't say for what they sleep, and are left out.

use std::collections::VecDeque;
use std::time::Duration;

use profile_format::owner::{FrameText, WaitKind, find_wait};

use crate::threads::raw::{ThreadStack, ThreadState, is_still_blocked, read_words};

/// A kind of lock whose holder can be looked for, as a stack that waits tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AwaitedLock {
    /// One of std's. The word that is waited on is so many bytes behind the lock's first.
    Std { behind: u64 },
    /// A mutex of glibc, which names its owner.
    Pthread,
}

/// A thread that waits for a lock.
struct LockWaiter<'a> {
    thread: &'a ThreadStack,
    lock: u64,
    /// The owner that the lock names.
    owner: Option<u32>,
}

/// Threads in a cycle, each waiting for the next; the last for the first.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct LockCycle {
    pub(crate) tids: Vec<u32>,
}

/// A thread that ran so recently is getting on.
const STUCK: Duration = Duration::from_millis(500);
/// Words of a stack that are looked at.
const WORDS: usize = 4096;
/// Threads that are looked at: each with each other.
const THREADS: usize = 512;
/// Offset at which the content of an `Arc` begins in its memory.
const IN_ARC: u64 = 16;

impl AwaitedLock {
    /// Tells the lock of a stack, by its functions.
    pub(crate) fn of(frames: &[FrameText<'_>]) -> Option<AwaitedLock> {
        let near = |part: &str| frames.iter().take(8).any(|frame| frame.name.contains(part));
        let (wait, _) = find_wait(frames);
        if !matches!(wait, WaitKind::Mutex | WaitKind::RwLock) || near("parking_lot") {
            None
        } else if near("pthread_mutex") || near("__lll_lock_wait") {
            Some(AwaitedLock::Pthread)
        } else {
            // Writers wait on the second word of a lock.
            Some(AwaitedLock::Std { behind: if near("write_contended") { 4 } else { 0 } })
        }
    }
}

/// Returns the cycles among threads, given with what their stacks wait in.
pub(crate) fn find<'a>(
    threads: impl Iterator<Item = (&'a ThreadStack, Option<AwaitedLock>)>,
) -> Vec<LockCycle> {
    let waiting = threads.filter_map(|(thread, lock)| waiter(thread, lock?));
    let waiters: Vec<LockWaiter<'_>> = waiting.take(THREADS).collect();
    let edges = build_wait_graph(&waiters, |waiter| read_words(waiter.thread.sp & !7, WORDS));
    let mut cycles: Vec<LockCycle> = Vec::new();
    // First by what guards hold; then by `Arc`s of locks too, which many have that hold no lock.
    for edges in [&edges.guards, &edges.all] {
        for start in 0..waiters.len() {
            let is_known = |&index: &usize| {
                let tid = waiters[index].thread.tid;
                cycles.iter().any(|cycle| cycle.tids.contains(&tid))
            };
            if is_known(&start) {
                continue;
            }
            let Some(path) = find_way_back(start, edges) else { continue };
            // A second look: all of them are still where they were.
            let is_still = |&index: &usize| is_still_blocked(waiters[index].thread);
            if !path.iter().any(is_known) && path.iter().all(is_still) {
                let tids = path.into_iter().map(|index| waiters[index].thread.tid).collect();
                cycles.push(LockCycle { tids });
            }
        }
    }
    cycles
}

fn waiter(thread: &ThreadStack, lock: AwaitedLock) -> Option<LockWaiter<'_>> {
    let ThreadState::Blocked { call: libc::SYS_futex, arguments: [address, _] } = thread.state
    else {
        return None;
    };
    if thread.waited.is_some_and(|waited| waited < STUCK) {
        return None;
    }
    let (lock, owner) = match lock {
        AwaitedLock::Std { behind } => (address.wrapping_sub(behind), None),
        // `lock`, `count` and `owner` are the first words of a mutex of glibc.
        AwaitedLock::Pthread => {
            let word = read_words(address.wrapping_add(8) & !7, 1).first().map(|&word| word as u32);
            (address, word)
        }
    };
    Some(LockWaiter { thread, lock, owner })
}

/// Edges from each waiter to those it waits for, as far as can be told.
struct WaitGraph {
    /// Edges by owners that locks name, and by addresses of locks, as guards have them.
    guards: Vec<Vec<usize>>,
    /// The same, and edges by addresses of `Arc`s of locks.
    all: Vec<Vec<usize>>,
}

/// Finds whom each waits for. `stack` reads a waiter's stack.
fn build_wait_graph(
    waiters: &[LockWaiter<'_>],
    stack: impl Fn(&LockWaiter<'_>) -> Vec<u64>,
) -> WaitGraph {
    let mut guards: Vec<Vec<usize>> = vec![Vec::new(); waiters.len()];
    let mut arcs = guards.clone();
    // Locks that don't name their owner, each with who waits for it, in the order of addresses.
    let mut waiting: Vec<(u64, usize)> = Vec::new();
    for (at, waiter) in waiters.iter().enumerate() {
        match waiter.owner {
            Some(owner) => {
                guards[at].extend(waiters.iter().position(|other| other.thread.tid == owner));
            }
            None => waiting.push((waiter.lock, at)),
        }
    }
    waiting.sort_unstable();
    for (holder, waiter) in waiters.iter().enumerate() {
        // Who waits for the same lock has its address for that.
        if waiting.iter().all(|&(lock, _)| lock == waiter.lock) {
            continue;
        }
        for word in stack(waiter) {
            for (edges, lock) in [(&mut guards, word), (&mut arcs, word.wrapping_add(IN_ARC))] {
                if lock == waiter.lock {
                    continue;
                }
                let first = waiting.partition_point(|&(other, _)| other < lock);
                for &(_, at) in waiting[first..].iter().take_while(|&&(other, _)| other == lock) {
                    if !edges[at].contains(&holder) {
                        edges[at].push(holder);
                    }
                }
            }
        }
    }
    let all = guards.iter().zip(arcs).map(|(guards, arcs)| {
        let more = arcs.into_iter().filter(|holder| !guards.contains(holder));
        guards.iter().copied().chain(more).collect()
    });
    WaitGraph { all: all.collect(), guards }
}

/// Returns the shortest way from a waiter back to itself.
fn find_way_back(start: usize, edges: &[Vec<usize>]) -> Option<Vec<usize>> {
    let mut from: Vec<Option<usize>> = vec![None; edges.len()];
    let mut reached = VecDeque::from([start]);
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
        assert_eq!(find_way_back(0, &edges), Some(vec![0, 1, 2]));
        assert_eq!(find_way_back(1, &edges), Some(vec![1, 3]));
        assert_eq!(find_way_back(4, &edges), None, "it waits for a cycle and is in none");
        assert_eq!(find_way_back(5, &edges), Some(vec![5]), "for itself");
    }

    /// Checks the cycles of threads, each with the lock that it waits for, the lock's owner, and
    /// its stack.
    #[track_caller]
    fn check_edges(threads: &[(u64, Option<u32>, &[u64])], expected: &[&[usize]]) {
        let call = ThreadState::Blocked { call: libc::SYS_futex, arguments: [0, 0] };
        let stacks: Vec<ThreadStack> =
            (0..threads.len() as u32).map(|tid| thread(tid, call)).collect();
        let waiter = |(thread, &(lock, owner, _))| LockWaiter { thread, lock, owner };
        let waiters: Vec<LockWaiter<'_>> = stacks.iter().zip(threads).map(waiter).collect();
        let found =
            build_wait_graph(&waiters, |waiter| threads[waiter.thread.tid as usize].2.to_vec());
        assert_eq!(found.all, expected);
    }

    #[test]
    fn who_holds_a_lock_has_its_address_or_is_its_owner() {
        // Each has both on its stack; of the first one's the other has an `Arc`.
        check_edges(
            &[(0x100, None, &[0x100, 1, 0x200]), (0x200, None, &[0xf0, 0x200, 0x100])],
            &[&[1], &[0]],
        );
        check_edges(&[(0x100, None, &[0x100]), (0x200, None, &[0x200, 0x101])], &[&[], &[]]);
        // Two wait for what a third is in the way of, which nobody keeps from going on.
        check_edges(
            &[
                (0x100, None, &[0x100]),
                (0x100, None, &[0x100]),
                (0x300, None, &[0x100, 0x300, 0x100]),
            ],
            &[&[2], &[2], &[]],
        );
        check_edges(
            &[(0x100, Some(1), &[0x200]), (0x200, Some(0), &[0x100]), (0x200, Some(9), &[])],
            &[&[1], &[0], &[]],
        );
        check_edges(&[(0x100, Some(0), &[])], &[&[0]]);
    }

    #[test]
    fn an_arc_of_a_lock_says_less_than_a_guard() {
        // Of the first and the third thread the others have only `Arc`s.
        let threads: [(u64, &[u64]); 3] =
            [(0x100, &[0x200]), (0x200, &[0xf0, 0x300]), (0x300, &[0x1f0])];
        let call = ThreadState::Blocked { call: libc::SYS_futex, arguments: [0, 0] };
        let stacks = threads.map(|(lock, _)| thread(lock as u32, call));
        let waiter = |thread| LockWaiter { thread, lock: u64::from(thread.tid), owner: None };
        let waiters: Vec<LockWaiter<'_>> = stacks.iter().map(waiter).collect();
        let found = build_wait_graph(&waiters, |waiter| {
            threads.iter().find(|(lock, _)| *lock == waiter.lock).unwrap().1.to_vec()
        });
        assert_eq!(found.guards, [vec![], vec![0], vec![1]]);
        assert_eq!(found.all, [vec![1], vec![0, 2], vec![1]]);
    }

    fn thread(tid: u32, state: ThreadState) -> ThreadStack {
        ThreadStack {
            tid,
            name: String::new(),
            state,
            waited: None,
            addresses: Vec::new(),
            truncated: false,
            sp: 0,
        }
    }

    #[test]
    fn locks_are_told_by_their_functions() {
        let check = |names: &[&str], lock| {
            let frames: Vec<_> = names.iter().map(|name| FrameText::new(name, "")).collect();
            assert_eq!(AwaitedLock::of(&frames), lock);
        };
        let futex = "std::sys::pal::unix::futex::futex_wait";
        check(
            &[futex, "std::sys::sync::mutex::futex::Mutex::lock_contended", "a"],
            Some(AwaitedLock::Std { behind: 0 }),
        );
        check(
            &[futex, "std::sys::sync::rwlock::futex::RwLock::write_contended", "a"],
            Some(AwaitedLock::Std { behind: 4 }),
        );
        check(&["__lll_lock_wait", "pthread_mutex_lock", "a"], Some(AwaitedLock::Pthread));
        check(&["syscall", "parking_lot::raw_mutex::RawMutex::lock_slow", "a"], None);
        check(&[futex, "std::sys::sync::condvar::futex::Condvar::wait", "a"], None);
    }
}
