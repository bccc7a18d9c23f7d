//! `/metrics`: the figures in Prometheus' text format, version 0.0.4.
//!
//! The names of the process's own figures are those of Prometheus' client libraries; the rest begins
//! with `profilez_`. A figure that is not known has no line.

use std::fmt::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use profile_core::Kind;
use profile_core::stats::Point;

use super::super::ServiceState;

/// The text of the metrics, as it is written.
#[derive(Default)]
struct MetricsText(String);

impl MetricsText {
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
    let name = "profilez_serving_since_seconds";
    text.head(name, "gauge", "When the debug endpoints began to serve, in seconds since 1970.");
    text.line(name, &[], started.as_secs_f64());
    if let Some(stats) = &shared.live.collector {
        figures(&mut text, &stats.now());
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

/// A figure: its name, its help, and where it comes from. What is named `_total` is a counter.
type Figure = (&'static str, &'static str, fn(&Point) -> Option<f64>);

fn count(count: Option<u64>) -> Option<f64> {
    count.map(|count| count as f64)
}

fn seconds(time: Option<Duration>) -> Option<f64> {
    time.map(|time| time.as_secs_f64())
}

/// The figures, in the order of the answer. The process's own stand first.
const FIGURES: &[Figure] = &[
    ("process_cpu_seconds_total", "CPU time, user and system.", |point| {
        seconds(point.cpu.user.zip(point.cpu.system).map(|(user, system)| user + system))
    }),
    ("process_resident_memory_bytes", "Resident memory.", |point| count(point.memory.resident)),
    ("process_virtual_memory_bytes", "Mapped memory.", |point| count(point.memory.mapped)),
    ("process_open_fds", "Open file descriptors.", |point| count(point.descriptors)),
    ("process_max_fds", "How many file descriptors may be open.", |point| {
        count(point.descriptor_limit)
    }),
    ("process_threads", "Threads of the process, without the profiler's own.", |point| {
        count(point.threads)
    }),
    ("profilez_cpu_user_seconds_total", "CPU time in user mode.", |point| seconds(point.cpu.user)),
    ("profilez_cpu_system_seconds_total", "CPU time in the kernel.", |point| {
        seconds(point.cpu.system)
    }),
    ("profilez_cpu_limit_cores", "How many cores' time the control group may use.", |point| {
        point.cpu.limit_cores
    }),
    (
        "profilez_cpu_throttled_seconds_total",
        "How long the control group was held back.",
        |point| seconds(point.cpu.throttled),
    ),
    ("profilez_heap_allocated_bytes", "Blocks in use.", |point| count(point.allocator.alloc)),
    ("profilez_heap_in_use_bytes", "Pages that hold blocks in use.", |point| {
        count(point.allocator.heap_inuse)
    }),
    ("profilez_heap_objects", "Count of blocks in use.", |point| {
        count(point.allocator.heap_objects)
    }),
    ("profilez_heap_allocated_bytes_total", "Bytes ever allocated.", |point| {
        count(point.allocator.total_alloc)
    }),
    ("profilez_memory_limit_bytes", "What the control group may use.", |point| {
        count(point.memory.limit)
    }),
    (
        "profilez_memory_group_bytes",
        "What the control group with that limit uses, its page cache included.",
        |point| count(point.memory.group_used),
    ),
    (
        "profilez_memory_pressure_percent",
        "Share of the last ten seconds in which some task waited for memory.",
        |point| point.memory.pressure_percent,
    ),
    ("profilez_page_faults_minor_total", "Page faults that needed no reading.", |point| {
        count(point.memory.minor_faults)
    }),
    ("profilez_page_faults_major_total", "Page faults that needed reading.", |point| {
        count(point.memory.major_faults)
    }),
    ("profilez_runtime_workers", "The runtime's workers.", |point| count(point.runtime.workers)),
    ("profilez_runtime_tasks", "Tasks that have not ended.", |point| count(point.runtime.tasks)),
    ("profilez_runtime_queued_tasks", "Tasks in the queue that workers share.", |point| {
        count(point.runtime.queued)
    }),
    ("profilez_runtime_busy_seconds_total", "How long workers were busy, all together.", |point| {
        seconds(point.runtime.busy)
    }),
    ("profilez_runtime_parks_total", "How often workers went to sleep, all together.", |point| {
        count(point.runtime.parks)
    }),
];

fn figures(text: &mut MetricsText, point: &Point) {
    for (name, help, read) in FIGURES {
        if let Some(value) = read(point) {
            text.head(name, if name.ends_with("_total") { "counter" } else { "gauge" }, help);
            text.line(name, &[], value);
        }
    }
    if let Some(switches) = point.switches {
        let name = "profilez_context_switches_total";
        text.head(name, "counter", "Context switches.");
        text.line(name, &[("kind", "voluntary")], switches.voluntary as f64);
        text.line(name, &[("kind", "involuntary")], switches.involuntary as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        let mut text = MetricsText::default();
        text.head("c", "gauge", "A c.");
        text.line("c", &[("x", "a\"b\\c\nd"), ("y", "")], 1.0);
        assert_eq!(text.0, "# HELP c A c.\n# TYPE c gauge\nc{x=\"a\\\"b\\\\c\\nd\",y=\"\"} 1\n");
    }

    #[test]
    fn each_figure_has_a_name_of_its_own_and_a_sentence() {
        let names: std::collections::BTreeSet<_> = FIGURES.iter().map(|(name, ..)| name).collect();
        assert_eq!(names.len(), FIGURES.len());
        for (name, help, _) in FIGURES {
            assert!(name.starts_with("process_") || name.starts_with("profilez_"), "{name}");
            assert!(help.ends_with('.') && !help.contains('\n'), "{help}");
        }
    }
}
