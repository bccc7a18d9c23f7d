//! The JSON of `/stats`. Its names are a contract: a golden file in the tests pins them.
//!
//! What is not known is `null` where the contract names it, and left out elsewhere; it is never 0.

use std::sync::PoisonError;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use profile_archive::rfc3339;
use profile_core::memory::Source;
use profile_core::stats::{Point, Stats};
use profile_core::{Kind, Unavailable};
use serde::Serialize;

use super::super::ServiceState;
use super::super::packed;
use super::super::reply::HttpRefusal;
use super::allocations::{self, AllocationRow, TotalsShown};
use super::frame_table::FrameTable;
use super::leaks::SiteLeak;
use super::query::StatsQuery;

/// The most leaks that are listed.
const LEAKS: usize = 50;

#[derive(Serialize)]
struct StatsAnswer<'a> {
    timestamp: String,
    memory: MemoryFigures,
    cpu: CpuFigures,
    runtime: RuntimeFigures,
    top_allocations: Vec<AllocationRow<'a>>,
    inuse_allocations: Vec<AllocationRow<'a>>,
    history: Vec<HistoryPoint>,
    potential_leaks: Vec<SiteLeak<'a>>,
    /// The frames that stacks name by their numbers, where a table is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    frames: Option<&'a FrameTable<'a>>,
    process: ProcessFigures<'a>,
    limits: LimitFigures,
    /// The time between two points of the history.
    #[serde(skip_serializing_if = "Option::is_none")]
    interval_seconds: Option<f64>,
    kinds: Vec<KindAnswer>,
    errors: Vec<String>,
}

/// Bytes, and counts of what they hold.
#[derive(Serialize)]
struct MemoryFigures {
    /// Bytes that the program has allocated and not freed.
    alloc: Option<u64>,
    /// Bytes that it ever allocated.
    total_alloc: Option<u64>,
    /// Bytes that the allocator holds in pages that are in use.
    heap_inuse: Option<u64>,
    heap_objects: Option<u64>,
    /// Bytes that the process has of the system's memory: its resident set.
    sys: Option<u64>,
    #[serde(flatten)]
    more: MoreMemory,
}

#[derive(Serialize)]
struct MoreMemory {
    #[serde(skip_serializing_if = "Option::is_none")]
    mallocs: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    frees: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    heap_idle: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    heap_released: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    heap_sys: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peak_sys: Option<u64>,
    /// The source of the heap's figures.
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resident: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resident_private: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mapped: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cgroup_used: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pressure_percent: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    minor_faults: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    major_faults: Option<u64>,
}

/// The CPU use in percent of one core, and in seconds of the last interval.
#[derive(Serialize)]
struct CpuFigures {
    usage_percent: Option<f64>,
    user_time: Option<f64>,
    system_time: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interval_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total_user_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total_system_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    throttled_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    throttled_periods: Option<u64>,
}

#[derive(Serialize)]
struct RuntimeFigures {
    /// Number of threads and tasks together.
    num_goroutine: Option<u64>,
    num_threads: Option<u64>,
    num_tasks: Option<u64>,
    num_cpu: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    workers: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    queued_tasks: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    workers_busy_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    worker_parks: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    descriptors: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    voluntary_switches: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    involuntary_switches: Option<u64>,
}

#[derive(Serialize)]
struct HistoryPoint {
    timestamp: String,
    alloc: Option<u64>,
    heap_inuse: Option<u64>,
    goroutines: Option<u64>,
    cpu_percent: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resident: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    threads: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tasks: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    descriptors: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pressure_percent: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    throttled_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interval_seconds: Option<f64>,
}

#[derive(Serialize)]
struct ProcessFigures<'a> {
    service: &'a str,
    version: &'a str,
    program: &'a str,
    build_id: &'a str,
    host: &'a str,
    pid: u32,
    /// Time at which the service was made, which is soon after the start of most programs.
    serving_since: String,
    serving_seconds: f64,
}

#[derive(Serialize)]
struct LimitFigures {
    #[serde(skip_serializing_if = "Option::is_none")]
    memory: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_cores: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    descriptors: Option<u64>,
    max_window_seconds: f64,
}

/// The answer for one kind: whether it can be given, and what to switch on where not.
#[derive(Serialize)]
struct KindAnswer {
    kind: &'static str,
    available: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

/// Writes the whole answer, compressed.
pub(super) fn json(shared: &ServiceState, asked: &StatsQuery) -> Result<Bytes, HttpRefusal> {
    let live = &shared.live;
    let mut errors = Vec::new();
    let point = live.collector.as_ref().map(Stats::now);
    let mut sites = allocations::read_sites(&shared.collectors).unwrap_or_else(|error| {
        errors.push(error);
        Vec::new()
    });
    if asked.full_names {
        allocations::name_in_full(&mut sites);
    }
    let mut watch = live.watch.lock().unwrap_or_else(PoisonError::into_inner);
    let suspects = watch.judge(&sites, Instant::now(), LEAKS);
    drop(watch);
    if live.collector.is_none() {
        errors.push("the statistics collector is off".to_owned());
    }
    let by_alloc = allocations::largest_sites(&sites, TotalsShown::Allocated, asked.limit);
    let by_live = allocations::largest_sites(&sites, TotalsShown::Live, asked.limit);
    let mut table = asked.table.then(FrameTable::default);
    if let Some(table) = &mut table {
        let suspects = suspects.iter().map(|suspect| suspect.site);
        let listed = by_alloc.iter().chain(&by_live).copied().chain(suspects);
        listed.for_each(|site| table.add(&site.frames));
    }
    let table = table.as_ref();
    packed::pack_json(&StatsAnswer {
        timestamp: rfc3339(point.map_or_else(SystemTime::now, |point| point.taken)),
        memory: memory(point.as_ref()),
        cpu: cpu(point.as_ref()),
        runtime: runtime(point.as_ref()),
        top_allocations: by_alloc
            .iter()
            .map(|site| site.row(TotalsShown::Allocated, table))
            .collect(),
        inuse_allocations: by_live.iter().map(|site| site.row(TotalsShown::Live, table)).collect(),
        history: live.collector.iter().flat_map(Stats::history).map(history).collect(),
        potential_leaks: suspects.into_iter().map(|suspect| suspect.leak(table)).collect(),
        frames: table,
        process: process(shared),
        limits: limits(shared, point.as_ref()),
        interval_seconds: live
            .collector
            .as_ref()
            .map(|stats| stats.settings().period.as_secs_f64()),
        kinds: Kind::ALL.map(|kind| kind_answer(shared, kind)).into(),
        errors,
    })
}

fn memory(point: Option<&Point>) -> MemoryFigures {
    let memory = point.map(|point| point.memory);
    let allocator = point.map(|point| point.allocator).unwrap_or_default();
    let figure = |figure: fn(&profile_core::stats::Memory) -> Option<u64>| figure(&memory?);
    MemoryFigures {
        alloc: allocator.alloc,
        total_alloc: allocator.total_alloc,
        heap_inuse: allocator.heap_inuse,
        heap_objects: allocator.heap_objects,
        sys: figure(|memory| memory.resident).or(allocator.sys),
        more: MoreMemory {
            mallocs: allocator.mallocs,
            frees: allocator.frees,
            heap_idle: allocator.heap_idle,
            heap_released: allocator.heap_released,
            heap_sys: allocator.heap_sys,
            peak_sys: allocator.peak_sys,
            source: allocator.source.and_then(source),
            resident: figure(|memory| memory.resident),
            resident_private: figure(|memory| memory.resident_private),
            mapped: figure(|memory| memory.mapped),
            cgroup_used: figure(|memory| memory.group_used),
            pressure_percent: memory.and_then(|memory| memory.pressure_percent),
            minor_faults: figure(|memory| memory.minor_faults),
            major_faults: figure(|memory| memory.major_faults),
        },
    }
}

fn source(source: Source) -> Option<&'static str> {
    match source {
        Source::Jemalloc => Some("jemalloc"),
        Source::Sampled => Some("estimates from samples"),
        Source::Glibc => Some("glibc"),
        _ => None,
    }
}

fn cpu(point: Option<&Point>) -> CpuFigures {
    let cpu = point.map(|point| point.cpu).unwrap_or_default();
    CpuFigures {
        usage_percent: cpu.percent.map(round_percent),
        user_time: seconds(cpu.interval_user),
        system_time: seconds(cpu.interval_system),
        interval_seconds: point.and_then(|point| seconds(point.interval)),
        total_user_seconds: seconds(cpu.user),
        total_system_seconds: seconds(cpu.system),
        throttled_seconds: seconds(cpu.throttled),
        throttled_periods: cpu.throttled_periods,
    }
}

fn runtime(point: Option<&Point>) -> RuntimeFigures {
    let runtime = point.map(|point| point.runtime).unwrap_or_default();
    let switches = point.and_then(|point| point.switches);
    RuntimeFigures {
        num_goroutine: point.and_then(threads_and_tasks),
        num_threads: point.and_then(|point| point.threads),
        num_tasks: runtime.tasks,
        num_cpu: std::thread::available_parallelism().ok().map(|count| count.get() as u64),
        workers: runtime.workers,
        queued_tasks: runtime.queued,
        workers_busy_seconds: seconds(runtime.busy),
        worker_parks: runtime.parks,
        descriptors: point.and_then(|point| point.descriptors),
        voluntary_switches: switches.map(|switches| switches.voluntary),
        involuntary_switches: switches.map(|switches| switches.involuntary),
    }
}

fn history(point: Point) -> HistoryPoint {
    HistoryPoint {
        timestamp: rfc3339(point.taken),
        alloc: point.allocator.alloc,
        heap_inuse: point.allocator.heap_inuse,
        goroutines: threads_and_tasks(&point),
        cpu_percent: point.cpu.percent.map(round_percent),
        resident: point.memory.resident,
        threads: point.threads,
        tasks: point.runtime.tasks,
        descriptors: point.descriptors,
        pressure_percent: point.memory.pressure_percent,
        throttled_seconds: seconds(point.cpu.interval_throttled),
        interval_seconds: seconds(point.interval),
    }
}

fn process(shared: &ServiceState) -> ProcessFigures<'_> {
    ProcessFigures {
        service: &shared.service,
        version: &shared.version,
        program: &shared.process.program,
        build_id: &shared.process.build_id,
        host: &shared.process.host,
        pid: shared.process.pid,
        serving_since: rfc3339(shared.live.started),
        serving_seconds: shared.live.started.elapsed().unwrap_or_default().as_secs_f64(),
    }
}

fn limits(shared: &ServiceState, point: Option<&Point>) -> LimitFigures {
    LimitFigures {
        memory: point.and_then(|point| point.memory.limit),
        cpu_cores: point.and_then(|point| point.cpu.limit_cores),
        descriptors: point.and_then(|point| point.descriptor_limit),
        max_window_seconds: shared.max_window.as_secs_f64(),
    }
}

fn kind_answer(shared: &ServiceState, kind: Kind) -> KindAnswer {
    let why = shared.collectors.collector(kind).check().err();
    let told = |text: fn(Unavailable) -> String| why.clone().map(text).filter(|t| !t.is_empty());
    KindAnswer {
        kind: kind.name(),
        available: why.is_none(),
        reason: told(|why| why.reason),
        hint: told(|why| why.hint),
    }
}

/// Counts threads and tasks together; threads alone where nobody counts tasks.
pub(super) fn threads_and_tasks(point: &Point) -> Option<u64> {
    Some(point.threads? + point.runtime.tasks.unwrap_or(0))
}

fn seconds(time: Option<Duration>) -> Option<f64> {
    time.map(|time| time.as_secs_f64())
}

/// Rounds percent to two digits: more would be noise.
fn round_percent(percent: f64) -> f64 {
    (percent * 100.0).round() / 100.0
}
