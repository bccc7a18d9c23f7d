//! The JSON of `/debug/goroutines` and of `groups --json`: the one place that knows its shape.

use serde::ser::SerializeSeq as _;
use serde::{Serialize, Serializer};

use super::render::format_frame;
use super::{Groups, Row, Stuck, Summary};
use crate::dump::Frame;

/// A dump in groups, as JSON. [`goroutines_json`] makes it.
#[derive(Serialize)]
pub struct GoroutinesJson<'a> {
    timestamp: Option<&'a str>,
    total_goroutines: u64,
    #[serde(serialize_with = "serialize_rows")]
    groups: &'a [Row<'a>],
    summary: Summary,
    format: &'static str,
    truncated: bool,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    unwrapped: &'a [String],
    warnings: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    raw_profile: Option<&'a str>,
}

/// Returns groups in the shape of `/debug/goroutines`: `timestamp`, `total_goroutines`, `groups`,
/// `summary`, and `raw_profile` where there is one. The timestamp is the time at which the dump was
/// taken, as RFC 3339; where that is not known it is `null`. A wait that the dump does not know is
/// `null` too.
pub fn goroutines_json<'a>(
    groups: &'a Groups<'a>,
    timestamp: Option<&'a str>,
    raw_profile: Option<&'a str>,
) -> GoroutinesJson<'a> {
    GoroutinesJson {
        timestamp,
        total_goroutines: groups.total,
        groups: &groups.rows,
        summary: groups.summary,
        format: groups.dump.format().name(),
        truncated: groups.dump.truncated(),
        unwrapped: groups.dump.unwrapped(),
        warnings: groups.dump.warning_texts(),
        raw_profile,
    }
}

#[derive(Serialize)]
struct GroupJson<'a> {
    count: u64,
    state: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    other_states: &'a [std::borrow::Cow<'a, str>],
    wait_reason: Option<&'a str>,
    /// The longest wait of a member; `None` where none is known.
    wait_minutes: Option<u64>,
    wait: WaitJson,
    top_func: &'a str,
    file: &'a str,
    line: u64,
    /// The first function past the standard library.
    user_func: String,
    stack: StackJson<'a>,
    created_by: Option<String>,
    category: &'static str,
    rule: Option<&'a str>,
    stuck: Option<&'a Stuck>,
    ids: &'a [u64],
    labels: Vec<LabelJson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<&'a str>,
    locked_to_thread: u64,
    leaked: u64,
    partial_stacks: u64,
}

#[derive(Serialize)]
struct WaitJson {
    known: u64,
    min: Option<u64>,
    median: Option<u64>,
    max: Option<u64>,
}

#[derive(Serialize)]
struct LabelJson<'a> {
    key: &'a str,
    value: &'a str,
    count: u64,
}

/// Writes row by row, so that the stacks of only one are there at a time.
fn serialize_rows<S: Serializer>(rows: &[Row<'_>], serializer: S) -> Result<S::Ok, S::Error> {
    const LABELS: usize = 20;
    let mut list = serializer.serialize_seq(Some(rows.len()))?;
    for row in rows {
        let frames = row.frames();
        let top = frames.first();
        let labels = row.labels.iter().take(LABELS);
        list.serialize_element(&GroupJson {
            count: row.count,
            state: &row.state,
            other_states: &row.other_states,
            wait_reason: row.wait_reason(),
            wait_minutes: row.waits.max(),
            wait: WaitJson {
                known: row.waits.known(),
                min: row.waits.min(),
                median: row.waits.median(),
                max: row.waits.max(),
            },
            top_func: top.map_or("", |frame| &frame.function),
            file: top.map_or("", |frame| &frame.file),
            line: top.map_or(0, |frame| frame.line),
            user_func: row.user_frame().map_or_else(String::new, |f| f.function.into_owned()),
            stack: StackJson(&frames),
            created_by: row.created_by().as_ref().map(format_frame),
            category: row.category.name(),
            rule: row.rule,
            stuck: row.stuck.as_ref(),
            ids: &row.ids,
            labels: labels
                .map(|(key, value, count)| LabelJson { key, value, count: *count })
                .collect(),
            label: row.label.as_deref(),
            locked_to_thread: row.locked,
            leaked: row.leaked,
            partial_stacks: row.partial,
        })?;
    }
    list.end()
}

/// Frames as text, one at a time: a name may be as long as a line.
struct StackJson<'a>(&'a [Frame<'a>]);

impl Serialize for StackJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(format_frame))
    }
}
