//! What somebody should look at.

use serde::Serialize;

use super::{Blocked, SlowPolls, TraceSummary};
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
    let mut findings = Vec::new();
    let mut found = |what: &'static str, text: String| findings.push(Finding { what, text });
    let mut blocking: Vec<(&Blocked, u64)> = Vec::new();
    for blocked in &summary.blocked_workers {
        let same = |known: &&mut (&Blocked, u64)| {
            known.0.name == blocked.name && known.0.site == blocked.site
        };
        match blocking.iter_mut().find(same) {
            Some((_, count)) => *count += 1,
            None => blocking.push((blocked, 1)),
        }
    }
    for (blocked, count) in &blocking {
        let still = if blocked.unfinished { ", and still does" } else { "" };
        let more =
            if *count > 1 { format!(", the longest of {count} times") } else { String::new() };
        found(
            "blocked worker",
            format!(
                "{} has kept thread {} ({}) from all other tasks for {}{more}{still}",
                name_task(&blocked.name, &blocked.site),
                blocked.thread_name,
                blocked.thread,
                format_micros(blocked.micros)
            ),
        );
    }
    for idle in &summary.never_polled {
        let many = if idle.count > 1 { format!("{} of them, ", idle.count) } else { String::new() };
        // Whether it is ready is no question of what it is for.
        if let Some(was) = readiness_word(&idle.state) {
            let (task, longest) =
                (name_task(&idle.name, &idle.site), format_micros(idle.longest_micros));
            found("starved", format!("{task}: {many}{was}, but not polled for {longest}"));
            continue;
        }
        if idle.category == "background" {
            continue;
        }
        let place = match idle.await_point.as_str() {
            "" => String::new(),
            place => format!(", waits at {place}"),
        };
        found(
            "never polled again",
            format!(
                "{}: {many}idle for {}{place}",
                name_task(&idle.name, &idle.site),
                format_micros(idle.longest_micros)
            ),
        );
    }
    for late in &summary.late_polls {
        let (task, longest) =
            (name_task(&late.name, &late.site), format_micros(late.longest_micros));
        let more = match late.count {
            1 => String::new(),
            count => format!(", the longest of {count} times"),
        };
        found("starved", format!("{task}: woken, but not polled for {longest}{more}"));
    }
    let said = |slow: &&SlowPolls| {
        blocking.iter().any(|(blocked, count)| {
            blocked.name == slow.name && blocked.site == slow.site && *count == slow.count
        })
    };
    for slow in summary.slow_polls.iter().filter(|slow| !said(slow)) {
        found(
            "slow polls",
            format!(
                "{}: {} over 10 ms, the longest {}",
                name_task(&slow.name, &slow.site),
                plural(slow.count, "poll"),
                format_micros(slow.longest_micros)
            ),
        );
    }
    if let Some(queue) = summary.queue.filter(|queue| queue.mean >= LONG_QUEUE) {
        found(
            "queue",
            format!(
                "{:.1} tasks on average were ready and had no worker, at most {}",
                queue.mean, queue.most
            ),
        );
    }
    if summary.lost_events > 0 {
        found("lost events", format!("{} of the oldest found no room", summary.lost_events));
    }
    findings
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
