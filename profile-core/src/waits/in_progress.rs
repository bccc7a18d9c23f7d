//! What was waited up to now: waits that have ended, from the tables, and those that are still
//! under way, from the threads themselves. What a window holds is the difference of two of these.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use crate::stacks::blocked::{BlockedStack, BlockedThread, StackReader, ThreadState};
use crate::stacks::raw::capture;
use crate::stacks::raw::task::{ShortFile, TaskFolder};
use crate::stacks::unwind::{StackUnwinder, WalkEnd};
use crate::sys::own_work::is_own_thread;
use crate::sys::raw::monotonic::now;
use crate::waits::own_frames::trim_own_frames;
use crate::waits::record::{self, records};
use crate::waits::recorded::{RecordedWaits, WaitProfile, WaitStack, WaitWeight};
use crate::waits::waiters::OpenWait;
use crate::waits::{DEPTH, WaitEntry, WaitTable};

/// The sums that were recorded up to a moment.
#[derive(Default)]
pub(crate) struct WaitSums {
    at: Option<SystemTime>,
    ended: Vec<(WaitEntry, WaitWeight)>,
    /// Waits that are under way: how many at a stack, and for how long.
    open: HashMap<WaitStack, WaitWeight>,
    lost: WaitWeight,
    unlisted: u64,
}

/// The `schedstat` of each thread when recording was switched on: a thread that hasn't run since,
/// and waits, has waited all the time.
static THREADS: Mutex<Option<HashMap<u32, ShortFile>>> = Mutex::new(None);

/// Makes ready for recording, and returns the time. Not to be called from an interposed function.
pub(super) fn switch_on() -> u64 {
    record::prepare();
    note_threads();
    capture::refresh();
    now()
}

/// Notes what each thread has run so far.
fn note_threads() {
    let Ok(tasks) = TaskFolder::open() else { return };
    let ran = |tid| Some((tid, tasks.text(tid, "schedstat")?));
    let noted = TaskFolder::ids().unwrap_or_default().into_iter().filter_map(ran).collect();
    *THREADS.lock().unwrap_or_else(PoisonError::into_inner) = Some(noted);
}

impl WaitSums {
    /// Reads the sums that were recorded up to now.
    pub(crate) fn take(of: WaitProfile) -> WaitSums {
        let at = Some(SystemTime::now());
        let Some(records) = records() else { return WaitSums { at, ..WaitSums::default() } };
        // Nobody has released what is still waited for.
        let open = if of == WaitProfile::Block { list_open_waits() } else { HashMap::new() };
        let table = table(of);
        WaitSums {
            at,
            ended: table.map_or_else(Vec::new, |table| table.entries().collect()),
            open,
            lost: table.map(WaitTable::lost).unwrap_or_default(),
            unlisted: records.unlisted.load(std::sync::atomic::Ordering::Relaxed),
        }
    }

    /// Returns the difference: what was recorded since `before`.
    pub(crate) fn recorded_since(self, of: WaitProfile, before: &WaitSums) -> RecordedWaits {
        let mut stacks = HashMap::new();
        let ended: HashMap<WaitEntry, WaitWeight> = before.ended.iter().copied().collect();
        for (entry, now) in self.ended {
            let before = ended.get(&entry).copied().unwrap_or_default();
            let grown = now.saturating_sub(before);
            if grown != WaitWeight::default()
                && let Some(table) = table(of)
            {
                stacks.insert(table.stack(entry), grown);
            }
        }
        let open = self.open.values().map(|weighed| weighed.count()).sum();
        for (stack, weighed) in self.open {
            let sum: &mut WaitWeight = stacks.entry(stack).or_default();
            sum.add(weighed);
        }
        // What was under way when the window opened counts from then only.
        for (stack, early) in &before.open {
            if let Some(sum) = stacks.get_mut(stack) {
                sum.nanos = sum.nanos.saturating_sub(early.nanos);
            }
        }
        stacks.retain(|_, sum| sum.nanos != 0);
        RecordedWaits {
            from: before.at,
            to: self.at.unwrap_or_else(SystemTime::now),
            stacks,
            open,
            lost: self.lost.saturating_sub(before.lost),
            unlisted: self.unlisted.saturating_sub(before.unlisted),
        }
    }
}

fn table(of: WaitProfile) -> Option<&'static WaitTable> {
    records().map(|records| match of {
        WaitProfile::Block => &records.blocked,
        WaitProfile::Mutex => &records.released,
    })
}

/// Returns the waits that are under way, by their stacks.
fn list_open_waits() -> HashMap<WaitStack, WaitWeight> {
    let since_on = record::since();
    let mut open = HashMap::new();
    let (Some(records), true) = (records(), since_on != 0) else { return open };
    let unwinder = StackUnwinder::load();
    let mut reading = StackReader::default();
    let Ok(tasks) = TaskFolder::open() else { return open };
    let threads = THREADS.lock().unwrap_or_else(PoisonError::into_inner);
    let listed = records.waiters.all();
    for tid in TaskFolder::ids().unwrap_or_default() {
        let Some(mut task) = BlockedThread::open(&tasks, tid) else { continue };
        let Some(address) = futex(&task) else { continue };
        // Its own threads are the profiler's, not the program's.
        if is_own_thread(tid) {
            continue;
        }
        let Some(BlockedStack { at, addresses, end }) =
            task.stack(&tasks, &unwinder, &mut reading, DEPTH)
        else {
            continue;
        };
        let waiting = listed.iter().find(|waiting| waits_at(waiting, address, at.sp));
        let since = match waiting {
            // It may have ended, and then it is counted already.
            Some(waiting) if records.waiters.is_still_waiting(waiting) => waiting.since,
            Some(_) => continue,
            // Unlisted: it began before recording did, or libc waits for something of its own.
            None => {
                let noted = threads.as_ref().and_then(|threads| threads.get(&tid));
                if noted.is_none() || noted != task.ran(&tasks).as_ref() {
                    continue;
                }
                since_on
            }
        };
        let sum: &mut WaitWeight =
            open.entry((trim_own_frames(addresses), end != WalkEnd::Root)).or_default();
        sum.count += WaitWeight::ONE;
        sum.nanos += now().saturating_sub(since);
    }
    open
}

/// Returns the futex that a thread waits on.
fn futex(task: &BlockedThread) -> Option<u64> {
    match task.place()?.state {
        ThreadState::Blocked { call: libc::SYS_futex, arguments: [address, operation] } => {
            matches!(operation & 0x7f, 0 | 9).then_some(address)
        }
        _ => None,
    }
}

/// Returns whether a wait that is listed is that of a thread with this stack pointer.
fn waits_at(waiting: &OpenWait, address: u64, sp: u64) -> bool {
    // The frame of our `futex` is the next above the kernel's entry.
    const FRAME: u64 = 4096;
    waiting.address == address && (sp..sp.saturating_add(FRAME)).contains(&waiting.frame)
}
