//! A trace of a program that does 200 000 polls a second and more: what it takes from the throughput,
//! and its memory.
//!
//! Named tasks on two workers yield after some five microseconds of work. [`Engine::None`] has the same
//! tasks, and no window.

use std::hint::black_box;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use profile_core::{Collectors, Kind, task};
use profilez_bench::clock::{process_cpu, thread_cpu};
use profilez_bench::engine::Engine;
use profilez_bench::memory::resident_megabytes;
use profilez_bench::run::{Figures, Line, Runner, figures};
use profilez_bench::table::{Bar, Row};
use tokio::runtime::Builder;

/// The line.
pub(crate) const LINE: Line = Line { name: "trace", rows, child };

fn rows(runner: &mut Runner) -> Vec<Row> {
    let seconds = if runner.quick { 3 } else { 10 };
    let [ours, none] = runner.pairs([Engine::Ours, Engine::None], &[seconds]);
    vec![
        Row::new("polls a second of CPU time, trace on / off", "")
            .ours(ours.spread_with(&none, |ours, none| ours["throughput"] / none["throughput"]))
            .bar(Bar::AtLeast(0.95)),
        Row::new("polls a second, trace on and off", "")
            .ours(ours.spread("rate"))
            .peer(none.spread("rate"))
            .bar(Bar::AtLeast(200_000.0)),
        // 16 MiB of buffer, 4 MB of the CPU engine.
        Row::new("memory added by the window", "MB")
            .ours(ours.spread("window"))
            .bar(Bar::AtMost(24.0)),
        Row::new("memory added at most while the file is written", "MB")
            .ours(ours.spread("peak"))
            .bar(Bar::AtMost(24.0)),
        Row::new("size of the file", "MB").ours(ours.spread("file")),
        Row::new("CPU time of making and writing it", "s").ours(ours.spread("writing")),
        Row::new("memory kept afterwards", "MB").ours(ours.spread("after")),
    ]
}

/// Reads a file and keeps nothing of it, and looks at the memory every few megabytes.
struct Reader {
    bytes: usize,
    looked: usize,
    most: f64,
}

impl Write for Reader {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes += bytes.len();
        if self.bytes - self.looked > 4 << 20 {
            self.looked = self.bytes;
            self.most = self.most.max(resident_megabytes());
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn child(engine: Engine, args: &[u32]) -> Figures {
    let &[seconds] = args else { panic!("how many seconds") };
    let runtime = Builder::new_multi_thread().worker_threads(2).build().expect("a runtime");
    let stop = Arc::new(AtomicBool::new(false));
    let counts: Vec<Arc<AtomicU64>> = (0..8).map(|_| Arc::default()).collect();
    for count in &counts {
        let (stop, count) = (Arc::clone(&stop), Arc::clone(count));
        let work = async move {
            while !stop.load(Ordering::Relaxed) {
                black_box((0..1_500_u64).fold(1, |a, b| black_box(a) ^ b));
                count.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
            }
        };
        drop(task::named("worker").spawn_on(work, runtime.handle()));
    }
    let polls = || counts.iter().map(|count| count.load(Ordering::Relaxed)).sum::<u64>() as f64;
    thread::sleep(Duration::from_millis(200));
    resident_megabytes();
    let memory = resident_megabytes();
    let window = (engine == Engine::Ours)
        .then(|| Collectors::new().collector(Kind::Trace).start().expect("a trace starts"));
    let (began, cpu, before) = (Instant::now(), process_cpu(), polls());
    thread::sleep(Duration::from_secs(seconds.into()));
    let (took, used, done) = (began.elapsed(), process_cpu() - cpu, polls() - before);
    let added = resident_megabytes() - memory;
    stop.store(true, Ordering::Relaxed);
    let cpu = thread_cpu();
    let mut reader = Reader { bytes: 0, looked: 0, most: 0.0 };
    if let Some(window) = window {
        let files = window.close()().expect("a trace");
        files[0].bytes.write_to(&mut reader).expect("a reader that takes all");
    }
    let writing = thread_cpu() - cpu;
    let after = resident_megabytes() - memory;
    figures([
        ("throughput", done / used),
        ("rate", done / took.as_secs_f64()),
        ("window", added),
        ("file", reader.bytes as f64 / (1 << 20) as f64),
        ("peak", reader.most - memory),
        ("writing", writing),
        ("after", after),
    ])
}
