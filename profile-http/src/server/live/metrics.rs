//! `/metrics`: the figures in Prometheus' text format, version 0.0.4.
//!
//! The names of the process's own figures are those of Prometheus' client libraries; the rest begins
//! with `profilez_`. A figure that is not known has no line.

use std::fmt::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use profile_core::Kind;
use profile_core::stats::Stats;

use super::super::ServiceState;

/// The text of the metrics, as it is written.
#[derive(Default)]
struct MetricsText(String);

impl MetricsText {
    fn gauge(&mut self, name: &str, help: &str, value: Option<f64>) {
        self.metric(name, "gauge", help, value);
    }

    fn counter(&mut self, name: &str, help: &str, value: Option<f64>) {
        self.metric(name, "counter", help, value);
    }

    fn metric(&mut self, name: &str, kind: &str, help: &str, value: Option<f64>) {
        if let Some(value) = value {
            self.head(name, kind, help);
            self.line(name, &[], value);
        }
    }

    // Writing to a string can't fail.
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn line(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.0.push_str(name);
        for (index, (label, value)) in labels.iter().enumerate() {
            let open = if index == 0 { '{' } else { ',' };
            let _ = write!(self.0, "{open}{label}=\"{}\"", escape_label(value));
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        let _ = writeln!(self.0, " {value}");
    }
}

/// Escapes backslash, quote and newline in a label's value.
fn escape_label(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Writes all metrics.
pub(super) fn render_metrics(shared: &ServiceState) -> String {
    let mut text = MetricsText::default();
    info(&mut text, shared);
    let started = shared.live.started.duration_since(UNIX_EPOCH).unwrap_or_default();
    text.gauge(
        "profilez_serving_since_seconds",
        "When the debug endpoints began to serve, in seconds since 1970.",
        Some(started.as_secs_f64()),
    );
    if let Some(stats) = &shared.live.collector {
        figures(&mut text, stats);
    }
    text.0
}

fn info(text: &mut MetricsText, shared: &ServiceState) {
    let name = "profilez_info";
    text.head(name, "gauge", "Which service this is; always 1.");
    let labels = [
        ("service", shared.service.as_str()),
        ("version", shared.version.as_str()),
        ("build_id", shared.process.build_id.as_str()),
    ];
    text.line(name, &labels, 1.0);
    let name = "profilez_kind_available";
    text.head(name, "gauge", "Whether a kind of profile can be collected.");
    for kind in Kind::ALL {
        let available = shared.collectors.collector(kind).check().is_ok();
        text.line(name, &[("kind", kind.name())], f64::from(u8::from(available)));
    }
}

fn figures(text: &mut MetricsText, stats: &Stats) {
    let point = stats.now();
    let count = |count: Option<u64>| count.map(|count| count as f64);
    let time = |time: Option<Duration>| time.map(|time| time.as_secs_f64());
    let (memory, cpu, runtime) = (point.memory, point.cpu, point.runtime);
    let spent = cpu.user.zip(cpu.system).map(|(user, system)| user + system);
    text.counter("process_cpu_seconds_total", "CPU time, user and system.", time(spent));
    text.gauge("process_resident_memory_bytes", "Resident memory.", count(memory.resident));
    text.gauge("process_virtual_memory_bytes", "Mapped memory.", count(memory.mapped));
    text.gauge("process_open_fds", "Open file descriptors.", count(point.descriptors));
    text.gauge(
        "process_max_fds",
        "How many file descriptors may be open.",
        count(point.descriptor_limit),
    );
    text.gauge("process_threads", "Threads of the process.", count(point.threads));
    text.counter("profilez_cpu_user_seconds_total", "CPU time in user mode.", time(cpu.user));
    text.counter("profilez_cpu_system_seconds_total", "CPU time in the kernel.", time(cpu.system));
    text.gauge(
        "profilez_cpu_limit_cores",
        "How many cores' time the control group may use.",
        cpu.limit_cores,
    );
    text.counter(
        "profilez_cpu_throttled_seconds_total",
        "How long the control group was held back.",
        time(cpu.throttled),
    );
    let heap = point.allocator;
    text.gauge("profilez_heap_allocated_bytes", "Blocks in use.", count(heap.alloc));
    text.gauge(
        "profilez_heap_in_use_bytes",
        "Pages that hold blocks in use.",
        count(heap.heap_inuse),
    );
    text.gauge("profilez_heap_objects", "Count of blocks in use.", count(heap.heap_objects));
    text.counter(
        "profilez_heap_allocated_bytes_total",
        "Bytes ever allocated.",
        count(heap.total_alloc),
    );
    text.gauge(
        "profilez_memory_limit_bytes",
        "What the control group may use.",
        count(memory.limit),
    );
    text.gauge(
        "profilez_memory_group_bytes",
        "What the control group with that limit uses, its page cache included.",
        count(memory.group_used),
    );
    text.gauge(
        "profilez_memory_pressure_percent",
        "Share of the last ten seconds in which some task waited for memory.",
        memory.pressure_percent,
    );
    text.counter(
        "profilez_page_faults_minor_total",
        "Page faults that needed no reading.",
        count(memory.minor_faults),
    );
    text.counter(
        "profilez_page_faults_major_total",
        "Page faults that needed reading.",
        count(memory.major_faults),
    );
    if let Some(switches) = point.switches {
        let name = "profilez_context_switches_total";
        text.head(name, "counter", "Context switches.");
        text.line(name, &[("kind", "voluntary")], switches.voluntary as f64);
        text.line(name, &[("kind", "involuntary")], switches.involuntary as f64);
    }
    text.gauge("profilez_runtime_workers", "The runtime's workers.", count(runtime.workers));
    text.gauge("profilez_runtime_tasks", "Tasks that have not ended.", count(runtime.tasks));
    text.gauge(
        "profilez_runtime_queued_tasks",
        "Tasks in the queue that workers share.",
        count(runtime.queued),
    );
    text.counter(
        "profilez_runtime_busy_seconds_total",
        "How long workers were busy, all together.",
        time(runtime.busy),
    );
    text.counter(
        "profilez_runtime_parks_total",
        "How often workers went to sleep, all together.",
        count(runtime.parks),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped_and_unknown_figures_left_out() {
        let mut text = MetricsText::default();
        text.gauge("a", "An a.", None);
        text.counter("b_total", "A b.", Some(1.5));
        text.head("c", "gauge", "A c.");
        text.line("c", &[("x", "a\"b\\c\nd"), ("y", "")], 1.0);
        assert_eq!(
            text.0,
            "# HELP b_total A b.\n# TYPE b_total counter\nb_total 1.5\n\
             # HELP c A c.\n# TYPE c gauge\nc{x=\"a\\\"b\\\\c\\nd\",y=\"\"} 1\n"
        );
    }
}
