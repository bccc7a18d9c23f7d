//! The tasks of a dump: beside the threads, in the same grammar.
//!
//! A task's frames are the place where it says that it waits, and the place where it was started. One
//! that has been running for [`BLOCKING`] keeps its worker from everything else, and shows that thread's
//! stack above them.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use super::goroutine::{label, wait};
use crate::profile::{Builder, Function, Line};
use crate::task::{self, State, Status, TaskKind};

/// How long a task may run until it is said to block its worker.
const BLOCKING: Duration = Duration::from_millis(100);
/// The number of the line for tasks that nobody named: beyond threads, before tasks.
const UNNAMED: u64 = 9_999_999;

/// The tasks that are alive, but for those that run as a group of their kind, and as text.
pub(super) struct Tasks {
    groups: Vec<Group>,
    running: Vec<Status>,
    text: String,
    unknown: usize,
}

/// Tasks that have the same name, state and places.
struct Group {
    kind: Arc<TaskKind>,
    state: State,
    awaits: Option<(&'static str, u32)>,
    count: i64,
    /// What is the same in the text of each of them, behind its header.
    text: String,
}

/// A thread's stack: locations, and text.
pub(super) type Stack<'a> = (&'a [u32], &'a str);

impl Tasks {
    /// The tasks as they are now.
    pub(super) fn now() -> Tasks {
        let mut tasks = Tasks {
            groups: Vec::new(),
            running: Vec::new(),
            text: String::new(),
            unknown: task::alive().unknown,
        };
        type Key = (usize, State, Option<(&'static str, u32)>);
        let mut known: HashMap<Key, usize> = HashMap::new();
        task::all(&mut |status| {
            if let State::Running { .. } = status.state {
                tasks.running.push(status.clone());
                return;
            }
            let key = (Arc::as_ptr(&status.kind) as usize, status.state, status.awaits);
            let index = *known.entry(key).or_insert_with(|| {
                tasks.groups.push(Group::new(status));
                tasks.groups.len() - 1
            });
            let group = &mut tasks.groups[index];
            group.count += 1;
            header(&mut tasks.text, status.id, state_word(status), status.since);
            tasks.text.push_str(&group.text);
        });
        tasks
    }

    /// Adds the tasks to a profile. `stack_of` gives the stack of a thread.
    pub(super) fn add_to<'a>(
        &self,
        builder: &mut Builder,
        stack_of: impl Fn(u32) -> Option<Stack<'a>>,
    ) {
        let mut places = HashMap::new();
        for Group { kind, state, awaits, count, .. } in &self.groups {
            let mut stack = Vec::new();
            let waits = format!("{}::await", kind.name());
            stack.extend(awaits.map(|place| location(builder, &mut places, &waits, place)));
            stack.push(location(builder, &mut places, kind.name(), (kind.file(), kind.line())));
            let state = match state {
                State::New => "task new",
                State::Woken => "task woken",
                _ => "task idle",
            };
            sample(builder, &stack, *count, kind, state);
        }
        for status in &self.running {
            let mut stack = Vec::new();
            if let Some((thread, _)) = blocked(status, &stack_of) {
                stack.extend_from_slice(thread);
            }
            let kind = &status.kind;
            stack.push(location(builder, &mut places, kind.name(), (kind.file(), kind.line())));
            sample(builder, &stack, 1, kind, state_word(status));
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
        if self.unknown > 0 {
            let place = location(builder, &mut places, "unnamed_tasks", ("", 0));
            let labels = [
                builder.text_label("task", "(unnamed)"),
                builder.text_label("state", "task unknown"),
                builder.text_label("category", "unknown"),
            ];
            builder.sample(&[place], &[self.unknown as i64], &labels);
        }
    }

    /// The tasks as text, each with an empty line before it.
    pub(super) fn text<'a>(self, stack_of: impl Fn(u32) -> Option<Stack<'a>>) -> String {
        let Tasks { running, mut text, unknown, .. } = self;
        for status in &running {
            header(&mut text, status.id, state_word(status), status.since);
            let mut labels = labels(&status.kind);
            let mut frames = own_frames(&status.kind, None);
            if let (State::Running { thread }, Some((_, above))) =
                (status.state, blocked(status, &stack_of))
            {
                // Writing to a string can't fail, here and below.
                let _ = write!(labels, ", worker: {thread}");
                frames.insert_str(0, above);
            }
            let _ = write!(text, "{{{labels}}}:\n{frames}");
        }
        if unknown > 0 {
            header(&mut text, UNNAMED, "task unknown", Duration::ZERO);
            let _ = write!(text, "{{tasks: {unknown}}}:\nunnamed_tasks()\n\t?:0\n");
        }
        text
    }
}

impl Group {
    fn new(status: &Status) -> Group {
        let Status { kind, state, awaits, .. } = status;
        let text = format!("{{{}}}:\n{}", labels(kind), own_frames(kind, *awaits));
        Group { kind: Arc::clone(kind), state: *state, awaits: *awaits, count: 0, text }
    }
}

/// The stack of the thread that a task blocks.
fn blocked<'a>(status: &Status, stack_of: impl Fn(u32) -> Option<Stack<'a>>) -> Option<Stack<'a>> {
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

/// An empty line, and `goroutine ID [state, N minutes] `.
fn header(text: &mut String, id: u64, state: &str, since: Duration) {
    let _ = write!(text, "\ngoroutine {id} [{state}");
    text.push_str(&wait(Some(since)));
    text.push_str("] ");
}

fn labels(kind: &TaskKind) -> String {
    format!("task: {}, category: {}", label(kind.name()), label(&kind.category().to_string()))
}

/// Where a task waits, where it was started, and the same as its creator.
fn own_frames(kind: &TaskKind, awaits: Option<(&str, u32)>) -> String {
    let mut text = String::new();
    let (name, line) = (kind.name(), kind.line());
    if let Some((file, line)) = awaits {
        let _ = writeln!(text, "{name}::await()\n\t{file}:{line}");
    }
    let file = if kind.file().is_empty() { "?" } else { kind.file() };
    let _ = write!(text, "{name}()\n\t{file}:{line}\ncreated by task spawn\n\t{file}:{line}\n");
    text
}

/// The location of a place in the source that has no address.
fn location(
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

fn sample(builder: &mut Builder, stack: &[u32], count: i64, kind: &TaskKind, state: &str) {
    let labels = [
        builder.text_label("task", kind.name()),
        builder.text_label("state", state),
        builder.text_label("category", &kind.category().to_string()),
    ];
    builder.sample(stack, &[count], &labels);
}
