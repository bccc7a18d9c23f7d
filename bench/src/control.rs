//! Whether the machine was quiet: the same arithmetic before every round of runs, on every
//! processor at once. Its CPU time says how even the processors' speed is, the wall time beside it
//! whether other processes wanted them.

use std::fmt;
use std::thread;
use std::time::Instant;

use crate::clock;
use crate::spread::Spread;
use crate::table::Row;
use crate::workload;

/// One run of the control.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// CPU milliseconds of a thread, on average.
    cpu: f64,
    /// Wall time of the slowest thread over its CPU time: 1 where it never waited.
    wait: f64,
}

/// Runs the control: about a tenth of a second.
pub fn read() -> Reading {
    const TURNS: u64 = 60_000_000;
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let runs: Vec<(f64, f64)> = thread::scope(|scope| {
        let run = || {
            let (wall, cpu) = (Instant::now(), clock::thread_cpu());
            workload::turns(TURNS);
            (clock::thread_cpu() - cpu, wall.elapsed().as_secs_f64())
        };
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        running
            .into_iter()
            .map(|thread| thread.join().expect("arithmetic does not panic"))
            .collect()
    });
    let cpu = runs.iter().map(|(cpu, _)| cpu).sum::<f64>() / threads as f64;
    Reading { cpu: cpu * 1e3, wait: runs.iter().map(|(cpu, wall)| wall / cpu).fold(1.0, f64::max) }
}

/// What the control says of a whole run.
pub struct Noise {
    cpu: Option<Spread>,
    wait: Option<Spread>,
}

/// More than this between the fastest and the slowest reading is noise.
const UNEVEN: f64 = 0.10;
/// More than this part of the time waiting for a processor is another process's load.
const LOADED: f64 = 1.05;

impl Noise {
    /// Judges the readings.
    pub fn of(readings: &[Reading]) -> Noise {
        Noise {
            cpu: Spread::of(readings.iter().map(|reading| reading.cpu)),
            wait: Spread::of(readings.iter().map(|reading| reading.wait)),
        }
    }

    fn uneven(&self) -> bool {
        self.cpu.is_some_and(|cpu| cpu.relative() > UNEVEN)
    }

    fn loaded(&self) -> bool {
        self.wait.is_some_and(|wait| wait.median > LOADED)
    }

    /// The readings as rows without a bar.
    pub fn rows(&self) -> Vec<Row> {
        vec![
            Row::new("control: CPU of the same work", "ms").ours(self.cpu),
            Row::new("control: wall over CPU, 1 on an idle machine", "").ours(self.wait),
        ]
    }
}

impl fmt::Display for Noise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.uneven(), self.loaded()) {
            (false, false) => return f.write_str("the machine was quiet"),
            (true, false) => f.write_str("NOISY: the processors' speed changed")?,
            (false, true) => f.write_str("NOISY: other processes wanted the processors")?,
            (true, true) => f.write_str(
                "NOISY: other processes wanted the processors, and these changed their speed",
            )?,
        }
        f.write_str("; run it again on a quiet machine before you trust a figure near its bar")
    }
}
