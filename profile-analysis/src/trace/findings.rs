//! What somebody should look at.

use serde::Serialize;

use super::{Blocked, IdleTasks, SlowPolls, TraceSummary};
use crate::units::{format_value, plural};

/// Something in a trace that is rarely meant to be so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The kind: `blocked worker`, `starved`, `slow polls`, `never polled again`, `queue` or
    /// `lost events`.
    pub what: &'static str,
    /// The finding, as one line.
    pub text: String,
}

/// Mean length from which on a queue is a finding.
const LONG_QUEUE: f64 = 1.0;

/// Returns the findings of a trace's summary, the worst first. Background tasks may wait for as
/// long as they like.
pub fn findings(summary: &TraceSummary) -> Vec<Finding> {
    let blocking = count_by_task(&summary.blocked_workers);
    let mut findings: Vec<Finding> =
        blocking.iter().map(|(blocked, count)| find_blocked_worker(blocked, *count)).collect();
    findings.extend(summary.never_polled.iter().filter_map(find_idle_task));
    findings.extend(summary.late_polls.iter().map(find_late_poll));
    let is_said = |slow: &&SlowPolls| {
        blocking.iter().any(|(blocked, count)| {
            blocked.name == slow.name && blocked.site == slow.site && *count == slow.count
        })
    };
    findings.extend(summary.slow_polls.iter().filter(|slow| !is_said(slow)).map(find_slow_polls));
    if let Some(queue) = summary.queue.filter(|queue| queue.mean >= LONG_QUEUE) {
        let text = format!(
            "{:.1} tasks on average were ready and had no worker, at most {}",
            queue.mean, queue.most
        );
        findings.push(Finding { what: "queue", text });
    }
    if summary.lost_events > 0 {
        let text = format!("{} of the oldest found no room", summary.lost_events);
        findings.push(Finding { what: "lost events", text });
    }
    findings
}

/// Returns each task that blocked a worker, with its longest time and how often it did.
fn count_by_task(blocked: &[Blocked]) -> Vec<(&Blocked, u64)> {
    let mut counted: Vec<(&Blocked, u64)> = Vec::new();
    for blocked in blocked {
        let same = |(known, _): &&mut (&Blocked, u64)| {
            known.name == blocked.name && known.site == blocked.site
        };
        match counted.iter_mut().find(same) {
            Some((_, count)) => *count += 1,
            None => counted.push((blocked, 1)),
        }
    }
    counted
}

fn find_blocked_worker(blocked: &Blocked, count: u64) -> Finding {
    let still = if blocked.unfinished { ", and still does" } else { "" };
    let text = format!(
        "{} has kept thread {} ({}) from all other tasks for {}{}{still}",
        name_task(&blocked.name, &blocked.site),
        blocked.thread_name,
        blocked.thread,
        format_micros(blocked.micros),
        longest_of(count),
    );
    Finding { what: "blocked worker", text }
}

/// Returns what is to be said of tasks that were not polled; `None` of those that may wait.
fn find_idle_task(idle: &IdleTasks) -> Option<Finding> {
    let many = if idle.count > 1 { format!("{} of them, ", idle.count) } else { String::new() };
    let task = name_task(&idle.name, &idle.site);
    let longest = format_micros(idle.longest_micros);
    // Whether it is ready is no question of what it is for.
    if let Some(was) = readiness_word(&idle.state) {
        let text = format!("{task}: {many}{was}, but not polled for {longest}");
        return Some(Finding { what: "starved", text });
    }
    if idle.category == "background" {
        return None;
    }
    let place = match idle.await_point.as_str() {
        "" => String::new(),
        place => format!(", waits at {place}"),
    };
    let text = format!("{task}: {many}idle for {longest}{place}");
    Some(Finding { what: "never polled again", text })
}

fn find_late_poll(late: &SlowPolls) -> Finding {
    let text = format!(
        "{}: woken, but not polled for {}{}",
        name_task(&late.name, &late.site),
        format_micros(late.longest_micros),
        longest_of(late.count),
    );
    Finding { what: "starved", text }
}

fn find_slow_polls(slow: &SlowPolls) -> Finding {
    let text = format!(
        "{}: {} over 10 ms, the longest {}",
        name_task(&slow.name, &slow.site),
        plural(slow.count, "poll"),
        format_micros(slow.longest_micros)
    );
    Finding { what: "slow polls", text }
}

/// Returns what is said of a time that is the longest of several.
fn longest_of(count: u64) -> String {
    if count > 1 { format!(", the longest of {count} times") } else { String::new() }
}

/// Returns the word for how a task became ready, `None` for tasks in other states.
fn readiness_word(state: &str) -> Option<&'static str> {
    match state {
        "woken" => Some("woken"),
        "new" => Some("started"),
        _ => None,
    }
}

/// Returns `task NAME (SITE)`, without the place where it is not known.
fn name_task(name: &str, site: &str) -> String {
    if site.is_empty() { format!("task {name}") } else { format!("task {name} ({site})") }
}

pub(super) fn format_micros(micros: f64) -> String {
    format_value((micros * 1000.0) as i64, "nanoseconds")
}
