//! Putting the events of a trace together.

use std::borrow::Cow;
use std::collections::HashMap;

use profile_format::gunzip::{Gunzip, GunzipError, GunzipLimits, is_gzip};
use serde::Serialize;

use super::read::{self, ChromeEvent, EventSink, ObjectFields};
use crate::{Error, Format, Result, sniff};

/// Polls that take longer are slow: other tasks of the worker wait meanwhile.
const SLOW_MICROS: f64 = 10_000.0;
/// Polls that take longer block their worker.
const BLOCKING_MICROS: f64 = 100_000.0;
/// A task that was woken and waited longer for its poll found no worker.
const LATE_MICROS: f64 = 100_000.0;
/// Number of bytes of a name that are kept.
const NAME: usize = 256;

/// Bounds of what is kept of a trace.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct TraceLimits {
    /// Most bytes of a gzip'd trace once it is decompressed.
    pub bytes: u64,
    /// Most events that are read.
    pub events: u64,
    /// Most pairs of a name and a place that are told apart, and as many threads; further ones are
    /// counted as one.
    pub names: usize,
    /// Most blocking polls, and groups of idle tasks, that are listed, the longest first.
    pub listed: usize,
}

impl Default for TraceLimits {
    fn default() -> TraceLimits {
        TraceLimits { bytes: 2 << 30, events: 100_000_000, names: 20_000, listed: 1000 }
    }
}

/// The summary of a trace. Serializes to what `trace --json` prints.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct TraceSummary {
    /// The program that wrote the trace; empty where the trace doesn't say.
    pub producer: String,
    /// Length of the window, in microseconds.
    pub window_micros: f64,
    /// Number of events.
    pub events: u64,
    /// Number of events that were lost, where the trace says so.
    pub lost_events: u64,
    /// Number of threads that have events.
    pub threads: usize,
    /// Tasks by the time their polls took, the busiest first.
    pub busiest: Vec<TaskTime>,
    /// Polls that took longer than 10 ms, by task.
    pub slow_polls: Vec<SlowPolls>,
    /// Polls that took longer than 100 ms, the longest first.
    pub blocked_workers: Vec<Blocked>,
    /// Polls that began later than 100 ms after what woke their task, by task.
    pub late_polls: Vec<SlowPolls>,
    /// Tasks that were not polled in the whole window.
    pub never_polled: Vec<IdleTasks>,
    /// Queue of tasks that were ready and had no worker; `None` where the trace doesn't count them.
    pub queue: Option<Queue>,
    /// Number of waits of threads.
    pub waits: u64,
    /// Number of those waits whose wake-up is known.
    pub wake_ups: u64,
    /// Number of spans that were entered and left.
    pub spans: u64,
    /// Oddities of the trace.
    pub warnings: Vec<String>,
}

/// The polls of tasks with one name, started at one place.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TaskTime {
    /// The task's name.
    pub name: String,
    /// Place where the task was started, as `file:line`.
    pub site: String,
    /// Number of polls.
    pub polls: u64,
    /// Time that the polls took together.
    pub busy_micros: f64,
    /// Time that the longest poll took.
    pub longest_micros: f64,
}

/// Polls of tasks with one name, started at one place, that took too long, or took too long to
/// begin.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SlowPolls {
    /// The task's name.
    pub name: String,
    /// Place where the task was started, as `file:line`.
    pub site: String,
    /// Number of such polls.
    pub count: u64,
    /// Time that the longest of these polls took, or had to wait.
    pub longest_micros: f64,
}

/// A poll that kept a worker from everything else.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Blocked {
    /// The task's name.
    pub name: String,
    /// Place where the task was started, as `file:line`.
    pub site: String,
    /// The thread's id.
    pub thread: u64,
    /// The thread's name.
    pub thread_name: String,
    /// Time that the poll took within the window.
    pub micros: f64,
    /// True where the poll was still running when the window closed.
    pub unfinished: bool,
}

/// Tasks that nobody polls.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct IdleTasks {
    /// The tasks' name.
    pub name: String,
    /// Place where they were started, as `file:line`.
    pub site: String,
    /// Place where they say that they wait; empty where they don't.
    pub await_point: String,
    /// `background`, `per-request` or `unknown`.
    pub category: String,
    /// `idle` where nobody woke them, as far as that is known; `woken` or `new` where they are
    /// ready and have no worker.
    pub state: String,
    /// Number of tasks.
    pub count: u64,
    /// Time since the first of them was polled, or started.
    pub longest_micros: f64,
}

/// Length of the queue of tasks that waited for a worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Queue {
    /// Mean over all readings.
    pub mean: f64,
    /// Largest reading.
    pub most: f64,
}

/// Reads a trace, within limits. One that breaks off is read up to there, with a warning.
///
/// # Errors
///
/// Where the bytes are no Chrome trace events; of an execution trace of Go's the error says which
/// tool reads it.
pub fn summarize(bytes: &[u8], limits: &TraceLimits) -> Result<TraceSummary> {
    match sniff(bytes) {
        Format::Trace => {}
        format => return Err(Error::NotATrace(format)),
    }
    let mut building = SummaryBuilder { limits: *limits, ..SummaryBuilder::default() };
    let (unpacked, broken) = unpack(bytes, limits.bytes);
    let end = read::read(&unpacked, &mut building);
    let mut summary = building.finish();
    summary.warnings.extend(broken);
    if let Err(error) = end {
        summary.warnings.push(format!("the trace can't be read further: {error}"));
    }
    Ok(summary)
}

/// Returns the decompressed bytes of a trace that may be gzip'd, and a warning where they are not
/// whole.
fn unpack(bytes: &[u8], limit: u64) -> (Cow<'_, [u8]>, Option<String>) {
    if !is_gzip(bytes) {
        return (Cow::Borrowed(bytes), None);
    }
    let mut unpacked = Vec::new();
    let broken = match Gunzip::new(bytes, GunzipLimits::bytes(limit)).read_to_end(&mut unpacked) {
        Err(error @ GunzipError::TooLarge { .. }) => Some(format!("the trace has {error}")),
        Err(error) => Some(format!("the trace can't be unpacked further: {error}")),
        Ok(()) => None,
    };
    (Cow::Owned(unpacked), broken)
}

#[derive(Default)]
struct SummaryBuilder {
    limits: TraceLimits,
    summary: TraceSummary,
    tasks: HashMap<(String, String), (TaskTime, SlowPolls)>,
    late: HashMap<(String, String), SlowPolls>,
    threads: HashMap<u64, String>,
    queue: (f64, u64, f64),
    /// Beginning and length, in microseconds, of the last poll of each thread that blocked it.
    blocking: HashMap<u64, (f64, f64)>,
    /// Latest time of any event.
    end: f64,
    too_many: bool,
}

impl EventSink for SummaryBuilder {
    fn take_event(&mut self, event: &ChromeEvent<'_>) -> Result<(), String> {
        if self.summary.events >= self.limits.events {
            return Err(format!("more than {} events", self.limits.events));
        }
        self.summary.events += 1;
        match &*event.phase {
            "M" => {
                if event.name == "thread_name" {
                    let name = cut_name(event.arguments.text("name"));
                    self.thread_name(event.thread).clone_from(&name);
                }
                return Ok(());
            }
            "C" => self.add_counter(event),
            "X" => {
                self.thread_name(event.thread);
                match &*event.category {
                    "task" => self.add_poll(event),
                    "wait" => self.summary.waits += 1,
                    "span" => self.summary.spans += 1,
                    _ => {}
                }
            }
            "f" if event.category == "wake" => self.summary.wake_ups += 1,
            "f" if event.category == "woken" => self.add_late_poll(event),
            _ => {}
        }
        self.end = self.end.max(event.at + event.duration.max(0.0));
        Ok(())
    }

    fn take_facts(&mut self, facts: &ObjectFields<'_>) {
        self.summary.producer = cut_name(facts.text("producer"));
        self.summary.window_micros = facts.number("window_micros").unwrap_or(0.0);
        self.summary.lost_events = facts.number("lost_events").unwrap_or(0.0) as u64;
    }

    fn take_group(&mut self, group: &ObjectFields<'_>) {
        let count = group.number("unpolled").unwrap_or(0.0) as u64;
        if count > 0 {
            self.summary.never_polled.push(IdleTasks {
                name: cut_name(group.text("name")),
                site: cut_name(group.text("site")),
                await_point: cut_name(group.text("await")),
                category: cut_name(group.text("category")),
                state: cut_name(group.text("state")),
                count,
                longest_micros: group.number("longest_micros").unwrap_or(0.0),
            });
            let idle = &mut self.summary.never_polled;
            shorten_list(idle, self.limits.listed, |idle| idle.longest_micros);
        }
    }
}

impl SummaryBuilder {
    fn add_poll(&mut self, event: &ChromeEvent<'_>) {
        let key = (cut_name(&event.name), cut_name(event.arguments.text("site")));
        let other = || ("(other names)".to_owned(), String::new());
        let room = self.tasks.len() < self.limits.names || self.tasks.contains_key(&key);
        self.too_many |= !room;
        let key = if room { key } else { other() };
        let took = event.duration.max(0.0);
        let (time, slow) = self.tasks.entry(key).or_default();
        time.polls += 1;
        time.busy_micros += took;
        time.longest_micros = time.longest_micros.max(took);
        if took > SLOW_MICROS {
            slow.count += 1;
            slow.longest_micros = slow.longest_micros.max(took);
        }
        if took > BLOCKING_MICROS && !self.blocks_inside(event.thread, event.at, took) {
            let blocked = &mut self.summary.blocked_workers;
            blocked.push(Blocked {
                name: cut_name(&event.name),
                site: cut_name(event.arguments.text("site")),
                thread: event.thread,
                thread_name: String::new(),
                micros: took,
                unfinished: event.arguments.flag("unfinished"),
            });
            shorten_list(blocked, self.limits.listed, |blocked| blocked.micros);
        }
    }

    /// Notes a poll that blocks a thread. Returns whether most of it was another one inside it,
    /// which is written before it: then the inner one is listed, and this one is not.
    fn blocks_inside(&mut self, thread: u64, began: f64, took: f64) -> bool {
        if self.blocking.len() >= self.limits.names && !self.blocking.contains_key(&thread) {
            return false;
        }
        let last = self.blocking.insert(thread, (began, took));
        last.is_some_and(|(inner, inner_took)| {
            let is_inside = inner >= began && inner + inner_took <= began + took;
            is_inside && 2.0 * inner_took > took
        })
    }

    /// Counts a poll that began because its task was woken, if it began late.
    fn add_late_poll(&mut self, event: &ChromeEvent<'_>) {
        let waited = event.arguments.number("waited_micros").unwrap_or(0.0);
        if waited <= LATE_MICROS {
            return;
        }
        let key = (cut_name(event.arguments.text("name")), cut_name(event.arguments.text("site")));
        let room = self.late.len() < self.limits.names || self.late.contains_key(&key);
        self.too_many |= !room;
        if room {
            let late = self.late.entry(key).or_default();
            late.count += 1;
            late.longest_micros = late.longest_micros.max(waited);
        }
    }

    fn add_counter(&mut self, event: &ChromeEvent<'_>) {
        if event.name == "queue"
            && let Some(ready) = event.arguments.numbers().next()
        {
            let (sum, readings, most) = &mut self.queue;
            *sum += ready;
            *readings += 1;
            *most = most.max(ready);
        }
    }

    fn thread_name(&mut self, thread: u64) -> &mut String {
        let room = self.threads.len() < self.limits.names || self.threads.contains_key(&thread);
        self.too_many |= !room;
        self.threads.entry(if room { thread } else { u64::MAX }).or_default()
    }

    fn finish(self) -> TraceSummary {
        let SummaryBuilder { mut summary, tasks, late, threads, queue, .. } = self;
        let (sum, readings, most) = queue;
        let late = late.into_iter().map(|((name, site), late)| SlowPolls { name, site, ..late });
        summary.late_polls.extend(late);
        for ((name, site), (time, slow)) in tasks {
            if slow.count > 0 {
                summary.slow_polls.push(SlowPolls {
                    name: name.clone(),
                    site: site.clone(),
                    ..slow
                });
            }
            summary.busiest.push(TaskTime { name, site, ..time });
        }
        summary.busiest.sort_by(|a, b| {
            b.busy_micros.total_cmp(&a.busy_micros).then_with(|| a.name.cmp(&b.name))
        });
        for polls in [&mut summary.slow_polls, &mut summary.late_polls] {
            polls.sort_by(|a, b| {
                b.longest_micros.total_cmp(&a.longest_micros).then_with(|| a.name.cmp(&b.name))
            });
        }
        let listed = self.limits.listed;
        keep_longest(&mut summary.never_polled, listed, |idle| idle.longest_micros);
        keep_longest(&mut summary.blocked_workers, listed, |blocked| blocked.micros);
        for blocked in &mut summary.blocked_workers {
            blocked.thread_name = threads.get(&blocked.thread).cloned().unwrap_or_default();
        }
        summary.threads = threads.len();
        if readings > 0 {
            summary.queue = Some(Queue { mean: sum / readings as f64, most });
        }
        if summary.window_micros <= 0.0 {
            summary.window_micros = self.end;
        }
        if self.too_many {
            let limit = self.limits.names;
            summary.warnings.push(format!("more than {limit} names or threads: the rest is one"));
        }
        summary
    }
}

/// Cuts a list once it has twice as many entries as are to be kept.
fn shorten_list<T>(list: &mut Vec<T>, keep: usize, length: impl Fn(&T) -> f64) {
    if list.len() >= 2 * keep {
        keep_longest(list, keep, length);
    }
}

/// Sorts a list, the longest first, and cuts it.
fn keep_longest<T>(list: &mut Vec<T>, keep: usize, length: impl Fn(&T) -> f64) {
    list.sort_by(|a, b| length(b).total_cmp(&length(a)));
    list.truncate(keep);
}

/// Returns a text of any origin, cut to a bounded length.
fn cut_name(text: &str) -> String {
    let mut end = text.len().min(NAME);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}
