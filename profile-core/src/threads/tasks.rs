//! The tasks of a dump: beside the threads, in the same grammar.
//!
//! A task's frames are the place where it says that it waits, and the place where it was started.
//! One that has been running for [`BLOCKING`] keeps its worker from everything else, and shows that
//! thread's stack above them. Where a request asks for it, what a task waits in stands above its
//! own frames.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use profile_format::profile::{Builder, Function, Line};

use crate::task::{self, Awaited, Awaits, Detail, State, Status, TaskKind};
use crate::threads::text::{format_label, format_wait};

/// Time that a task may run until it is said to block its worker.
const BLOCKING: Duration = Duration::from_millis(100);
/// The number of the line for tasks that nobody named: beyond threads, before tasks.
const UNNAMED: u64 = 9_999_999;

/// The tasks that are alive, but for those that run as a group of their kind, and as text.
#[derive(Default)]
pub(crate) struct ListedTasks {
    groups: Vec<TaskGroup>,
    running: Vec<(Status, Option<Awaits>)>,
    text: String,
    /// Tasks of which only what they wait in is known, and the id of the first.
    others: Vec<Awaits>,
    first_other: u64,
    unknown: usize,
    notes: Vec<String>,
}

/// Tasks that have the same name, state and places.
struct TaskGroup {
    kind: Arc<TaskKind>,
    state: State,
    awaits: Option<(&'static str, u32)>,
    /// The places they wait in, where that was asked for: from the outside to the inside.
    path: AwaitPath,
    count: i64,
    /// The part of the text that is the same for each of them, behind its header.
    text: String,
}

/// Functions or spans, each with its place.
type AwaitPath = Vec<(String, String, u32)>;

/// The properties by which groups are told apart.
type TaskGroupKey = (usize, State, Option<(&'static str, u32)>, AwaitPath);

/// A thread's stack: locations, and text.
pub(crate) type ThreadText<'a> = (&'a [u32], &'a str);

impl ListedTasks {
    /// Returns the tasks as they are now.
    pub(crate) fn now() -> ListedTasks {
        let mut tasks = ListedTasks { unknown: task::alive().unknown, ..ListedTasks::default() };
        let mut known: HashMap<TaskGroupKey, usize> = HashMap::new();
        task::all(&mut |status| tasks.add(status, None, &mut known));
        tasks
    }

    /// Returns the tasks as they are now, with what they wait in as this detail tells it.
    pub(crate) fn in_detail(detail: Detail) -> ListedTasks {
        let mut tasks = ListedTasks { unknown: task::alive().unknown, ..ListedTasks::default() };
        let mut statuses = Vec::new();
        task::all(&mut |status| statuses.push(status.clone()));
        let mut details = task::details(detail);
        let mut known: HashMap<TaskGroupKey, usize> = HashMap::new();
        for status in &statuses {
            tasks.add(status, details.take(status.id), &mut known);
        }
        tasks.others = details.others;
        tasks.first_other = task::fresh_ids(tasks.others.len() as u64);
        tasks.notes = details.notes;
        tasks
    }

    fn add(
        &mut self,
        status: &Status,
        awaits: Option<Awaits>,
        known: &mut HashMap<TaskGroupKey, usize>,
    ) {
        if let State::Running { .. } = status.state {
            self.running.push((status.clone(), awaits));
            return;
        }
        let path = awaits.as_ref().map(copy_path).unwrap_or_default();
        let key = (Arc::as_ptr(&status.kind) as usize, status.state, status.awaits, path);
        let index = match known.get(&key) {
            Some(&index) => index,
            None => {
                let index = self.groups.len();
                self.groups.push(TaskGroup::new(status, key.3.clone()));
                known.insert(key, index);
                index
            }
        };
        let group = &mut self.groups[index];
        group.count += 1;
        write_header(&mut self.text, status.id, state_word(status), status.since);
        match &awaits {
            None => self.text.push_str(&group.text),
            Some(awaits) => {
                // Writing to a string can't fail, here and below.
                let _ = writeln!(self.text, "{{{}}}:", format_labels(&status.kind));
                write_frames(&mut self.text, awaits);
                self.text.push_str(&format_own_frames(&status.kind, status.awaits));
            }
        }
    }

    /// Returns whether a thread polls a task that has a name.
    pub(crate) fn is_polled_by(&self, tid: u32) -> bool {
        self.running.iter().any(|(status, _)| status.state == State::Running { thread: tid })
    }

    /// Returns whether a thread is blocked by a task that has a name.
    pub(crate) fn is_blocked_by_named(&self, tid: u32) -> bool {
        let blocks = |status: &Status| {
            status.since >= BLOCKING && status.state == State::Running { thread: tid }
        };
        self.running.iter().any(|(status, _)| blocks(status))
    }

    /// Adds the tasks to a profile. `stack_of` gives the stack of a thread.
    pub(crate) fn add_to<'a>(
        &self,
        builder: &mut Builder,
        stack_of: impl Fn(u32) -> Option<ThreadText<'a>>,
    ) {
        let mut places = HashMap::new();
        for TaskGroup { kind, state, awaits, path, count, .. } in &self.groups {
            let mut stack = add_locations(builder, &mut places, path);
            let waits = format!("{}::await", kind.name());
            stack.extend(awaits.map(|place| add_location(builder, &mut places, &waits, place)));
            stack.push(add_location(builder, &mut places, kind.name(), (kind.file(), kind.line())));
            let state = match state {
                State::New => "task new",
                State::Woken => "task woken",
                _ => "task idle",
            };
            add_sample(builder, &stack, *count, kind, state);
        }
        for (status, awaits) in &self.running {
            let mut stack = Vec::new();
            if let Some((thread, _)) = blocking_stack(status, &stack_of) {
                stack.extend_from_slice(thread);
            }
            if let Some(awaits) = awaits {
                stack.extend(add_locations(builder, &mut places, &copy_path(awaits)));
            }
            let kind = &status.kind;
            stack.push(add_location(builder, &mut places, kind.name(), (kind.file(), kind.line())));
            add_sample(builder, &stack, 1, kind, state_word(status));
            if status.since >= BLOCKING {
                builder.comment(&format!(
                    "task {:?} ({}:{}) has been blocking its worker for {:.1?}",
                    kind.name(),
                    kind.file(),
                    kind.line(),
                    status.since
                ));
            }
        }
        self.add_unlisted(builder, &mut places);
        for note in &self.notes {
            builder.comment(note);
        }
    }

    /// Adds the tasks that nobody lists one by one.
    fn add_unlisted(
        &self,
        builder: &mut Builder,
        places: &mut HashMap<(String, String, u32), u32>,
    ) {
        for awaits in &self.others {
            let mut stack = add_locations(builder, places, &copy_path(awaits));
            if stack.is_empty() {
                stack.push(add_location(builder, places, &awaits.name, ("", 0)));
            }
            let labels = [
                builder.text_label("task", &awaits.name),
                builder.text_label("state", other_word(awaits)),
                builder.text_label("category", "unknown"),
            ];
            builder.sample(&stack, &[1], &labels);
        }
        if self.unknown > 0 {
            let place = add_location(builder, places, "unnamed_tasks", ("", 0));
            let labels = [
                builder.text_label("task", "(unnamed)"),
                builder.text_label("state", "task unknown"),
                builder.text_label("category", "unknown"),
            ];
            builder.sample(&[place], &[self.unknown as i64], &labels);
        }
    }

    /// Writes the tasks as text, each with an empty line before it, and what could not be told at
    /// the end.
    pub(crate) fn text<'a>(self, stack_of: impl Fn(u32) -> Option<ThreadText<'a>>) -> String {
        let ListedTasks { running, mut text, others, first_other, unknown, notes, .. } = self;
        for (status, awaits) in &running {
            write_header(&mut text, status.id, state_word(status), status.since);
            let mut labels = format_labels(&status.kind);
            if let State::Running { thread } = status.state {
                let _ = write!(labels, ", worker: {thread}");
            }
            let above = blocking_stack(status, &stack_of).map_or("", |(_, text)| text);
            let _ = write!(text, "{{{labels}}}:\n{above}");
            awaits.iter().for_each(|awaits| write_frames(&mut text, awaits));
            text.push_str(&format_own_frames(&status.kind, None));
        }
        for (id, awaits) in (first_other..).zip(&others) {
            let innermost = awaits.path().next_back().and_then(|place| place.since);
            write_header(&mut text, id, other_word(awaits), innermost.unwrap_or_default());
            let (name, key) = (format_label(&awaits.name), format_label(&awaits.key));
            let _ = writeln!(text, "{{task: {name}, key: {key}, category: unknown}}:");
            write_frames(&mut text, awaits);
            if awaits.places.is_empty() {
                let _ = write!(text, "{}()\n\t?:0\n", format_function(&awaits.name));
            }
        }
        if unknown > 0 {
            write_header(&mut text, UNNAMED, "task unknown", Duration::ZERO);
            let _ = write!(text, "{{tasks: {unknown}}}:\nunnamed_tasks()\n\t?:0\n");
        }
        for note in &notes {
            let _ = write!(text, "\n# {}\n", one_line(note));
        }
        text
    }
}

impl TaskGroup {
    fn new(status: &Status, path: AwaitPath) -> TaskGroup {
        let Status { kind, state, awaits, .. } = status;
        let text = format!("{{{}}}:\n{}", format_labels(kind), format_own_frames(kind, *awaits));
        TaskGroup { kind: Arc::clone(kind), state: *state, awaits: *awaits, path, count: 0, text }
    }
}

fn copy_path(awaits: &Awaits) -> AwaitPath {
    awaits.path().map(|place| (place.name.clone(), place.file.clone(), place.line)).collect()
}

/// Writes the places that a task waits in as frames, the innermost first. Where it waits for
/// several things at once, those of the last come first, and the frame that all are in says how
/// many they are. What stands in the place of arguments does not make frames different.
fn write_frames(text: &mut String, awaits: &Awaits) {
    for (at, Awaited { name, file, line, since, .. }) in awaits.places.iter().enumerate().rev() {
        let mut said = Vec::new();
        let branches = awaits.branches(at);
        said.extend((branches > 1).then(|| format!("{branches} at once")));
        said.extend(since.map(|since| format!("{:.1}s", since.as_secs_f64())));
        let (name, said) = (format_function(name), said.join(", "));
        let file = if file.is_empty() { Cow::Borrowed("?") } else { one_line(file) };
        let _ = writeln!(text, "{name}({said})\n\t{file}:{line}");
    }
}

fn other_word(awaits: &Awaits) -> &'static str {
    if awaits.running { "task running" } else { "task idle" }
}

/// Writes a name that comes from anywhere as that of a function: one line that can't be taken for
/// another kind of line.
fn format_function(name: &str) -> Cow<'_, str> {
    // How the lines of a dump begin that are no function's.
    const OTHERS: [&str; 7] =
        ["goroutine ", "created by ", "runtime: ", "stack: frame={", "non-Go function", "...", "["];
    let name = one_line(name);
    let is_plain = name.starts_with(|c: char| !c.is_whitespace())
        && !OTHERS.iter().any(|other| name.starts_with(other));
    if is_plain { name } else { format!("\"{name}\"").into() }
}

/// Writes a text as one line, whoever reads it.
fn one_line(text: &str) -> Cow<'_, str> {
    let ends = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    if text.contains(ends) { text.replace(ends, " ").into() } else { text.into() }
}

/// Returns the stack of the thread that a task blocks.
fn blocking_stack<'a>(
    status: &Status,
    stack_of: impl Fn(u32) -> Option<ThreadText<'a>>,
) -> Option<ThreadText<'a>> {
    match status.state {
        State::Running { thread } if status.since >= BLOCKING => stack_of(thread),
        _ => None,
    }
}

fn state_word(status: &Status) -> &'static str {
    match status.state {
        State::New => "task new",
        State::Woken => "task woken",
        State::Idle => "task idle",
        State::Running { .. } if status.since >= BLOCKING => "task blocking",
        State::Running { .. } => "task running",
    }
}

/// Writes an empty line, and `goroutine ID [state, N minutes] `.
fn write_header(text: &mut String, id: u64, state: &str, since: Duration) {
    let _ = write!(text, "\ngoroutine {id} [{state}");
    text.push_str(&format_wait(Some(since)));
    text.push_str("] ");
}

fn format_labels(kind: &TaskKind) -> String {
    format!(
        "task: {}, category: {}",
        format_label(kind.name()),
        format_label(&kind.category().to_string())
    )
}

/// Writes the frames of the place where a task waits, of the place where it was started, and the
/// same as its creator.
fn format_own_frames(kind: &TaskKind, awaits: Option<(&str, u32)>) -> String {
    let mut text = String::new();
    let (name, line) = (format_function(kind.name()), kind.line());
    if let Some((file, line)) = awaits {
        let _ = writeln!(text, "{name}::await()\n\t{file}:{line}");
    }
    let file = if kind.file().is_empty() { "?" } else { kind.file() };
    let _ = write!(text, "{name}()\n\t{file}:{line}\ncreated by task spawn\n\t{file}:{line}\n");
    text
}

/// Returns the locations of a path, the innermost first, added where they are new.
fn add_locations(
    builder: &mut Builder,
    known: &mut HashMap<(String, String, u32), u32>,
    path: &AwaitPath,
) -> Vec<u32> {
    let places = path.iter().rev();
    places.map(|(name, file, line)| add_location(builder, known, name, (file, *line))).collect()
}

/// Returns the location of a place in the source that has no address, added where it is new.
fn add_location(
    builder: &mut Builder,
    known: &mut HashMap<(String, String, u32), u32>,
    name: &str,
    (file, line): (&str, u32),
) -> u32 {
    *known.entry((name.to_owned(), file.to_owned(), line)).or_insert_with(|| {
        let name = builder.str(name);
        let filename = builder.str(file);
        let function =
            builder.function(Function { name, system_name: name, filename, start_line: 0 });
        builder.location(None, 0, &[Line { function, line: line.into(), column: 0 }])
    })
}

fn add_sample(builder: &mut Builder, stack: &[u32], count: i64, kind: &TaskKind, state: &str) {
    let labels = [
        builder.text_label("task", kind.name()),
        builder.text_label("state", state),
        builder.text_label("category", &kind.category().to_string()),
    ];
    builder.sample(stack, &[count], &labels);
}
