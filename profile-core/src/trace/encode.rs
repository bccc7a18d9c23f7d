//! A trace as Chrome trace events, in the form of an object: facts of the whole first, then the events,
//! then the frames of stacks. It is written piece by piece from what threads recorded, and is the same
//! each time.
//!
//! Times are microseconds since the window opened, and `otherData` says when that was. Each thread's
//! slices lie within each other; what began before the window begins with it, and what ended after it ends
//! with it.

use std::collections::HashMap;
use std::io::{self, Write};
use std::rc::Rc;
use std::time::SystemTime;

use profile_format::Content;

use crate::events::KindId;
use crate::events::ring::TraceEvent;
use crate::task::{TaskKind, kind};
use crate::trace::json::{micros, number, text};
use crate::trace::outline::{TraceOutline, UnfinishedPoll};
use crate::trace::tree::{ResolveSamples, TreeSample};
use crate::trace::window::RecordedTrace;

/// Encodes a trace as JSON.
pub(crate) fn encode((trace, samples): (RecordedTrace, ResolveSamples)) -> io::Result<Content> {
    let whole = TraceOutline::new(trace, samples);
    Content::written(move |to| whole.write(to))
}

/// The writer of a trace's JSON, and what it has written so far.
struct TraceWriter<'a> {
    whole: &'a TraceOutline,
    trace: &'a RecordedTrace,
    to: &'a mut dyn Write,
    /// The bytes that wait to be written, and the error of what was written before.
    out: Vec<u8>,
    written: io::Result<()>,
    pid: u64,
    first: bool,
    kinds: HashMap<u32, Rc<KindTexts>>,
    flows: u64,
}

/// Bytes that are written at a time.
const PIECE: usize = 32 * 1024;

/// A kind as JSON.
struct KindTexts {
    name: Vec<u8>,
    site: Vec<u8>,
}

/// Something that a thread did for a while.
#[derive(Clone, Copy)]
struct ThreadSlice<'a> {
    category: &'a str,
    /// The name, as JSON.
    name: &'a [u8],
    thread: u32,
    began: u64,
    ended: u64,
}

impl TraceOutline {
    fn write(&self, to: &mut dyn Write) -> io::Result<()> {
        let mut writer = TraceWriter {
            whole: self,
            trace: &self.trace,
            to,
            out: Vec::with_capacity(2 * PIECE),
            written: Ok(()),
            pid: std::process::id().into(),
            first: true,
            kinds: HashMap::new(),
            flows: 0,
        };
        writer.write_facts();
        writer.out.extend_from_slice(b",\"traceEvents\":[");
        writer.write_events();
        writer.write_unfinished_polls();
        writer.write_samples();
        writer.write_counters();
        writer.write_names();
        writer.out.extend_from_slice(b"\n]");
        writer.write_frames();
        writer.out.extend_from_slice(b"}\n");
        writer.flush_out();
        writer.written
    }
}

impl TraceWriter<'_> {
    /// Writes the bytes that wait. After an error nothing is written.
    fn flush_out(&mut self) {
        if self.written.is_ok() {
            self.written = self.to.write_all(&self.out);
        }
        self.out.clear();
    }

    /// Writes the facts that hold for the whole.
    fn write_facts(&mut self) {
        let trace = self.trace;
        let out = &mut self.out;
        out.extend_from_slice(
            b"{\"displayTimeUnit\":\"ms\",\"otherData\":{\"producer\":\"profilez\"",
        );
        // Writing to a vector can't fail, here and below.
        let unix = trace.wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let _ = write!(
            out,
            ",\"clock\":\"monotonic\",\"started_unix_nanos\":{},\"started_monotonic_nanos\":{},\
             \"window_micros\":{},\"lost_events\":{},\"lost_cpu_samples\":{},\"cpu_samples\":",
            unix.as_nanos(),
            trace.began,
            (trace.ended - trace.began) / 1000,
            trace.events.lost,
            self.whole.tree.lost,
        );
        text(out, &self.whole.tree.source);
        out.extend_from_slice(b",\"tasks\":[");
        for (index, group) in trace.alive.iter().enumerate() {
            out.extend_from_slice(if index > 0 { &b",\n{\"name\":"[..] } else { b"\n{\"name\":" });
            text(out, group.kind.name());
            out.extend_from_slice(b",\"site\":");
            text(out, &format_place(group.kind.file(), group.kind.line()));
            let _ = write!(
                out,
                ",\"category\":\"{}\",\"state\":\"{}\",\"count\":{},\"unpolled\":{},\
                 \"longest_micros\":{}",
                group.kind.category(),
                group.state,
                group.count,
                group.unpolled,
                group.longest.as_micros()
            );
            if let Some((file, line)) = group.awaits {
                out.extend_from_slice(b",\"await\":");
                text(out, &format_place(file, line));
            }
            out.push(b'}');
        }
        out.extend_from_slice(b"]}");
    }

    /// Writes what threads recorded.
    fn write_events(&mut self) {
        let trace = self.trace;
        for chunk in trace.events.chunks() {
            if self.written.is_err() {
                return;
            }
            let thread = chunk.thread;
            let mut events = chunk.events().peekable();
            while let Some(event) = events.next() {
                match event {
                    TraceEvent::Poll { kind, began, ended, task } => {
                        self.write_kind_slice(kind, "task", thread, (began, ended), task);
                    }
                    TraceEvent::Woken { kind, by, at, began, task } => {
                        self.write_woken(kind, task, (by, at), (thread, began));
                    }
                    TraceEvent::Span { kind, began, ended, span } => {
                        self.write_kind_slice(kind, "span", thread, (began, ended), span);
                    }
                    TraceEvent::Wait { began, ended, address } => {
                        self.write_wait(thread, began, ended, address);
                    }
                    TraceEvent::Instant { kind, at } => {
                        let mut bytes = Vec::new();
                        while let Some(TraceEvent::Text(part)) =
                            events.next_if(|next| matches!(next, TraceEvent::Text(_)))
                        {
                            bytes.extend(part.iter().flat_map(|word| word.to_le_bytes()));
                        }
                        self.write_instant(kind, thread, at, &bytes);
                    }
                    // A wake-up shows as the arrow to who it woke; a text belongs to an event that
                    // is lost.
                    TraceEvent::Wake { .. } | TraceEvent::Text(_) => {}
                }
            }
        }
    }

    /// Writes a slice of a kind: a poll of a task, or the time in a span.
    fn write_kind_slice(
        &mut self,
        kind: KindId,
        category: &str,
        thread: u32,
        (began, ended): (u64, u64),
        id: u64,
    ) {
        let texts = self.kind_texts(kind);
        let slice = ThreadSlice { category, name: &texts.name, thread, began, ended };
        self.write_slice(slice, |out| {
            // What has the number is the category: a task, or a span.
            let _ = write!(out, "{{\"{category}\":{id},\"site\":");
            out.extend_from_slice(&texts.site);
            out.push(b'}');
        });
    }

    /// Writes a wait, and the arrow from whoever ended it.
    fn write_wait(&mut self, thread: u32, began: u64, ended: u64, address: u64) {
        if ended > self.trace.ended {
            return;
        }
        let slice = ThreadSlice { category: "wait", name: b"\"wait\"", thread, began, ended };
        if !self.write_slice(slice, |out| {
            let _ = write!(out, "{{\"address\":\"{address:#x}\"}}");
        }) {
            return;
        }
        let Some((at, waker)) = self.whole.waker_of(thread, began, ended, address) else { return };
        self.write_arrow("wake", (waker, at), (thread, ended));
        self.out.push(b'}');
    }

    /// Writes the arrow from who woke a task to its poll. One that was woken before the window
    /// opened has none.
    fn write_woken(&mut self, kind: KindId, task: u64, from: (u32, u64), to: (u32, u64)) {
        if from.1 < self.trace.began || to.1 >= self.trace.ended {
            return;
        }
        let texts = self.kind_texts(kind);
        self.write_arrow("woken", from, to);
        let _ = write!(self.out, ",\"args\":{{\"task\":{task},\"name\":");
        self.out.extend_from_slice(&texts.name);
        self.out.extend_from_slice(b",\"site\":");
        self.out.extend_from_slice(&texts.site);
        self.out.extend_from_slice(b",\"waited_micros\":");
        micros(&mut self.out, to.1.saturating_sub(from.1));
        self.out.extend_from_slice(b"}}");
    }

    /// Writes an arrow from a moment of a thread to one of another, without the end of its second
    /// event.
    fn write_arrow(&mut self, category: &str, from: (u32, u64), to: (u32, u64)) {
        let id = self.flows;
        self.flows += 1;
        self.begin_event(category, b"\"wake\"", "s", from.0, self.nanos_in_window(from.1));
        let _ = write!(self.out, ",\"id\":{id}}}");
        self.begin_event(category, b"\"wake\"", "f", to.0, self.nanos_in_window(to.1));
        let _ = write!(self.out, ",\"id\":{id},\"bp\":\"e\"");
    }

    fn write_instant(&mut self, kind: KindId, thread: u32, at: u64, message: &[u8]) {
        let texts = self.kind_texts(kind);
        let at = self.nanos_in_window(at);
        self.begin_event("event", &texts.name, "i", thread, at);
        self.out.extend_from_slice(b",\"s\":\"t\",\"args\":{\"site\":");
        self.out.extend_from_slice(&texts.site);
        let message = &message[..message.iter().position(|&b| b == 0).unwrap_or(message.len())];
        if !message.is_empty() {
            self.out.extend_from_slice(b",\"message\":");
            text(&mut self.out, &String::from_utf8_lossy(message));
        }
        self.out.extend_from_slice(b"}}");
    }

    /// Writes the polls that have not ended yet.
    fn write_unfinished_polls(&mut self) {
        let whole = self.whole;
        for UnfinishedPoll { thread, began, ended, status } in whole.unfinished_polls() {
            let texts = KindTexts::new(&status.kind);
            let slice = ThreadSlice { category: "task", name: &texts.name, thread, began, ended };
            self.write_slice(slice, |out| {
                let _ = write!(out, "{{\"task\":{},\"unfinished\":true,\"site\":", status.id);
                out.extend_from_slice(&texts.site);
                out.push(b'}');
            });
        }
    }

    /// Writes the samples: where threads were at work.
    fn write_samples(&mut self) {
        let tree = &self.whole.tree;
        let mut name = Vec::new();
        for &TreeSample { at, thread, frame } in &tree.samples {
            // One that was taken before the window opened may come out of the engine's queue after it.
            if at < self.trace.began {
                continue;
            }
            name.clear();
            text(&mut name, tree.stack(frame).next().unwrap_or_default());
            self.begin_event("cpu", &name, "i", thread, self.nanos_in_window(at));
            let _ = write!(self.out, ",\"s\":\"t\",\"sf\":{frame},\"args\":{{\"stack\":");
            let stack: Vec<&str> = tree.stack(frame).take(STACK).collect();
            text(&mut self.out, &stack.join(" < "));
            self.out.extend_from_slice(b"}}");
        }
    }

    /// Writes the frames that samples refer to, each with its caller's number.
    fn write_frames(&mut self) {
        self.out.extend_from_slice(b",\"stackFrames\":{");
        for (number, (caller, name)) in self.whole.tree.frames().enumerate() {
            let comma = if number > 0 { "," } else { "" };
            let _ = write!(self.out, "{comma}\n\"{number}\":{{\"category\":\"cpu\",\"name\":");
            text(&mut self.out, name);
            if let Some(caller) = caller {
                let _ = write!(self.out, ",\"parent\":{caller}");
            }
            self.out.push(b'}');
            if self.out.len() >= PIECE {
                self.flush_out();
            }
        }
        self.out.push(b'}');
    }

    /// Writes memory, CPU, tasks and queue, as they were read.
    fn write_counters(&mut self) {
        let trace = self.trace;
        let mut before: Option<(u64, u128)> = None;
        for reading in &trace.readings {
            let at = self.nanos_in_window(reading.at);
            if let Some(resident) = reading.resident {
                self.write_counter("memory", at, &[("resident_bytes", resident)]);
            }
            if let Some(cpu) = reading.cpu.map(|cpu| cpu.as_nanos()) {
                if let Some((then, used)) = before
                    && reading.at > then
                {
                    let percent = (cpu - used) * 100 / u128::from(reading.at - then);
                    self.write_counter("cpu", at, &[("percent_of_a_core", percent as u64)]);
                }
                before = Some((reading.at, cpu));
            }
            let tasks = reading.tasks;
            let counts = [("known", tasks.known as u64), ("unknown", tasks.unknown as u64)];
            self.write_counter("tasks", at, &counts);
            if let Some(queued) = tasks.queued {
                self.write_counter("queue", at, &[("ready_tasks", queued as u64)]);
            }
        }
    }

    fn write_counter(&mut self, name: &str, at: u64, values: &[(&str, u64)]) {
        self.begin_event("counter", format!("\"{name}\"").as_bytes(), "C", 0, at);
        self.out.extend_from_slice(b",\"args\":{");
        for (index, (name, value)) in values.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            let _ = write!(self.out, "{comma}\"{name}\":{value}");
        }
        self.out.extend_from_slice(b"}}");
    }

    /// Writes the names of the process and its threads.
    fn write_names(&mut self) {
        self.write_name("process_name", 0, &self.whole.program);
        for (&thread, name) in &self.whole.threads {
            self.write_name("thread_name", thread, name);
        }
    }

    fn write_name(&mut self, what: &str, thread: u32, name: &str) {
        self.begin_event("__metadata", format!("\"{what}\"").as_bytes(), "M", thread, 0);
        self.out.extend_from_slice(b",\"args\":{\"name\":");
        text(&mut self.out, name);
        self.out.extend_from_slice(b"}}");
    }

    /// Writes a slice, cut to the window. Returns whether anything of it is left.
    fn write_slice(
        &mut self,
        slice: ThreadSlice<'_>,
        arguments: impl FnOnce(&mut Vec<u8>),
    ) -> bool {
        if slice.ended < self.trace.began || slice.began >= self.trace.ended {
            return false;
        }
        let (began, ended) = (self.nanos_in_window(slice.began), self.nanos_in_window(slice.ended));
        self.begin_event(slice.category, slice.name, "X", slice.thread, began);
        self.out.extend_from_slice(b",\"dur\":");
        micros(&mut self.out, ended.saturating_sub(began));
        self.out.extend_from_slice(b",\"args\":");
        arguments(&mut self.out);
        self.out.push(b'}');
        true
    }

    /// Begins an event: writes everything that all of them have.
    fn begin_event(&mut self, category: &str, name: &[u8], phase: &str, thread: u32, at: u64) {
        if self.out.len() >= PIECE {
            self.flush_out();
        }
        let out = &mut self.out;
        out.extend_from_slice(if std::mem::take(&mut self.first) { &b"\n"[..] } else { b",\n" });
        let _ = write!(out, "{{\"ph\":\"{phase}\",\"cat\":\"{category}\",\"name\":");
        out.extend_from_slice(name);
        out.extend_from_slice(b",\"pid\":");
        number(out, self.pid);
        out.extend_from_slice(b",\"tid\":");
        number(out, thread.into());
        out.extend_from_slice(b",\"ts\":");
        micros(out, at);
    }

    /// Returns the nanoseconds since the window opened, as far as that is in it.
    fn nanos_in_window(&self, at: u64) -> u64 {
        at.min(self.trace.ended).saturating_sub(self.trace.began)
    }

    fn kind_texts(&mut self, id: KindId) -> Rc<KindTexts> {
        let texts = self.kinds.entry(id.0).or_insert_with(|| Rc::new(KindTexts::new(&kind(id))));
        Rc::clone(texts)
    }
}

impl KindTexts {
    fn new(kind: &TaskKind) -> KindTexts {
        let mut texts = KindTexts { name: Vec::new(), site: Vec::new() };
        text(&mut texts.name, kind.name());
        text(&mut texts.site, &format_place(kind.file(), kind.line()));
        texts
    }
}

/// Functions of a sample's stack that stand in its arguments, for readers that don't know `stackFrames`.
const STACK: usize = 8;

/// Formats `file:line`; empty where unknown.
fn format_place(file: &str, line: u32) -> String {
    if file.is_empty() { String::new() } else { format!("{file}:{line}") }
}

#[cfg(test)]
mod tests {
    use std::future::Future as _;

    use super::*;
    use crate::events::ring::{record, turn};
    use crate::sys::clock;
    use crate::task::{self, Category, Instrument as _, intern};
    use crate::trace::TraceRecording;

    /// Returns the events of a trace of `work`, a line each.
    fn traced(work: impl FnOnce()) -> Vec<String> {
        let _turn = turn();
        let Ok(recording) = TraceRecording::start(1 << 20) else { panic!("a trace starts") };
        work();
        let text = String::from_utf8(encode(recording.stop()).unwrap().into_vec()).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    fn field<'a>(line: &'a str, name: &str) -> &'a str {
        let start = line.find(&format!("\"{name}\":")).unwrap() + name.len() + 3;
        line[start..].split([',', '}']).next().unwrap()
    }

    fn number(line: &str, name: &str) -> f64 {
        field(line, name).parse().unwrap()
    }

    #[test]
    fn a_wait_has_an_arrow_from_what_ended_it() {
        const ADDRESS: u64 = 0x5eed_0001;
        let lines = traced(|| {
            let began = clock::precise();
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    // One that is too early, and one of another address.
                    record(TraceEvent::Wake { at: began - 1, address: ADDRESS });
                    record(TraceEvent::Wake { at: began + 2000, address: ADDRESS });
                    record(TraceEvent::Wake { at: began + 3000, address: ADDRESS + 1 });
                });
            });
            record(TraceEvent::Wait { began, ended: began + 5000, address: ADDRESS });
            record(TraceEvent::Wait { began: began + 6000, ended: began + 7000, address: ADDRESS });
        });
        let of = |text: &str| lines.iter().filter(|line| line.contains(text)).collect::<Vec<_>>();
        let waits = of(&format!("{ADDRESS:#x}\""));
        assert_eq!(waits.len(), 2, "{lines:#?}");
        // The threads of this test wait for each other too, where waits are recorded.
        let end_of = |wait: &str| number(wait, "ts") + number(wait, "dur");
        let arrows_to = |wait: &str| {
            let at_its_end = |line: &&&String| (number(line, "ts") - end_of(wait)).abs() < 0.01;
            of("\"ph\":\"f\"").iter().filter(at_its_end).copied().collect::<Vec<_>>()
        };
        let ends = arrows_to(waits[0]);
        assert_eq!((ends.len(), arrows_to(waits[1]).len()), (1, 0), "{lines:#?}");
        let mut starts = of("\"ph\":\"s\"");
        starts.retain(|line| field(line, "id") == field(ends[0], "id"));
        assert_eq!(starts.len(), 1, "{lines:#?}");
        assert_ne!(field(starts[0], "tid"), field(ends[0], "tid"));
        assert_eq!(field(waits[0], "tid"), field(ends[0], "tid"));
        assert!((number(starts[0], "ts") - number(waits[0], "ts") - 2.0).abs() < 0.01);
    }

    #[test]
    fn names_of_tasks_can_not_break_the_json() {
        let lines = traced(|| {
            let name = "a \"task\"\\ \u{2028}</script>";
            let future = std::pin::pin!(async {}.instrument(task::named(name)));
            let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
            assert!(future.poll(&mut cx).is_ready());
        });
        let expected = r#""name":"a \"task\"\\ \u2028</script>""#;
        assert!(lines.iter().any(|line| line.contains(expected)), "{lines:#?}");
    }

    #[test]
    fn what_has_not_ended_ends_with_the_window() {
        let (go_on, wait) = std::sync::mpsc::channel::<()>();
        let (here, is_here) = std::sync::mpsc::channel();
        // Two polls, one in the other, that are under way when the window closes.
        let work = move || {
            let inner = async move {
                here.send(()).unwrap();
                let _ = wait.recv();
            };
            let outer = async { inner.instrument(task::named("t_inner")).await };
            let outer = std::pin::pin!(outer.instrument(task::named("t_outer")));
            let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
            let before = clock::precise();
            assert!(outer.poll(&mut cx).is_ready());
            before
        };
        let mut polling = None;
        let lines = traced(|| {
            polling = Some(std::thread::spawn(work));
            is_here.recv().unwrap();
            let kind = intern(TaskKind::new("t_late", "", 0, Category::Unknown));
            let (now, later) = (clock::precise(), clock::precise() + 60_000_000_000);
            record(TraceEvent::Poll { kind, began: now, ended: later, task: 1 });
            record(TraceEvent::Poll { kind, began: later, ended: later + 1, task: 1 });
        });
        drop(go_on);
        let before = polling.unwrap().join().unwrap();
        let slice = |name: &str| {
            let poll = format!("{{\"ph\":\"X\",\"cat\":\"task\",\"name\":\"{name}\"");
            let polls: Vec<_> = lines.iter().filter(|line| line.starts_with(&poll)).collect();
            assert_eq!(polls.len(), 1, "{name}: {lines:#?}");
            (number(polls[0], "ts"), number(polls[0], "ts") + number(polls[0], "dur"))
        };
        let ((_, ended), outer, inner) = (slice("t_late"), slice("t_outer"), slice("t_inner"));
        assert!((outer.1 - ended).abs() < 0.0001);
        assert!((inner.1 - ended + 0.001).abs() < 0.0001, "by a nanosecond");
        let before = (before as f64 - number(&lines[0], "started_monotonic_nanos")) / 1e3;
        assert!(before <= outer.0 + 0.001 && outer.0 < inner.0, "{before} {outer:?} {inner:?}");
    }

    #[test]
    fn what_began_before_the_window_begins_with_it() {
        let lines = traced(|| {
            let now = clock::precise();
            record(TraceEvent::Wait { began: 1, ended: now, address: 0x5eed_0002 });
            record(TraceEvent::Wait { began: 1, ended: 2, address: 0x5eed_0003 });
        });
        let wait = lines.iter().find(|line| line.contains("0x5eed0002")).unwrap();
        assert_eq!(field(wait, "ts"), "0.000");
        assert!(number(wait, "dur") > 0.0);
        assert!(!lines.iter().any(|line| line.contains("0x5eed0003")), "it was over before");
    }
}
