//! What a sample costs the program, delivery included, at 58 frames.
//!
//! At a rate below the kernel's tick, so that each sample is one signal. A difference of CPU times
//! with and without an engine would drown: a thousand samples are 7 ms of 5 s, and the processors'
//! speed changes by more than that. Instead a thread does short pieces of work and reads its own CPU
//! clock after each; the time by which pieces are longer than those around them is what interrupted
//! them. The kernel's ticks are in there too, so that a run without an engine is subtracted. The
//! engine's own thread is what the process used beside its threads' clocks.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use profilez_bench::clock;
use profilez_bench::engine::Engine;
use profilez_bench::run::{Figures, Line, Runner, figures};
use profilez_bench::table::{Bar, Row};
use profilez_bench::workload::{deep, turns};

/// The line.
pub(crate) const LINE: Line = Line { name: "cost", rows, child };

/// Below any kernel's tick but that of CONFIG_HZ=100.
const HZ: u32 = 200;
/// Calls that make stacks of 58 frames with those of the thread's start and of this file.
const CALLS: u32 = 48;

fn rows(runner: &mut Runner) -> Vec<Row> {
    let millis = if runner.quick { 3000 } else { 5000 };
    let [none, ours, peer] =
        runner.pairs([Engine::None, Engine::Ours, Engine::Pprof], &[millis]);
    let per_sample = |runs: &profilez_bench::run::Runs, own_thread: bool| {
        runs.spread_with(&none, |with, without| {
            let interrupted = with["interrupted"] - without["interrupted"];
            let engine = if own_thread { with["engine"] - without["engine"] } else { 0.0 };
            (interrupted + engine) * 1e6 / with["samples"]
        })
    };
    let info = |what: &str, unit, figure| {
        Row::new(what, unit).ours(ours.spread(figure)).peer(peer.spread(figure))
    };
    vec![
        Row::new("CPU per sample, delivery included, in the sampled thread", "µs")
            .ours(per_sample(&ours, false))
            .peer(per_sample(&peer, false))
            .bar(Bar::AtMost(7.0))
            .bar(Bar::OfPeer(0.25)),
        Row::new("CPU per sample with the engine's own thread, one thread at 200 Hz", "µs")
            .ours(per_sample(&ours, true))
            .peer(per_sample(&peer, true)),
        Row::new("CPU of the engine's own thread, one thread at 200 Hz", "ms/s")
            .ours(ours.spread_of(|figures| figures["engine"] * 1e3))
            .peer(peer.spread_of(|figures| figures["engine"] * 1e3)),
        info("frames of a stack", "", "frames"),
        info("samples per CPU second, of 200", "", "samples"),
    ]
}

/// Everything per CPU second of the worker: seconds lost to interruptions, seconds of CPU beside
/// the worker's, samples.
fn child(engine: Engine, args: &[u32]) -> Figures {
    let &[millis] = args else { panic!("milliseconds") };
    let seconds = f64::from(millis) / 1e3;
    let (go, gone) = mpsc::sync_channel::<()>(0);
    let (ready, is_ready) = mpsc::sync_channel::<()>(0);
    let worker = thread::spawn(move || {
        let mut worked = None;
        deep(CALLS, &mut || {
            ready.send(()).expect("the main thread waits for this");
            gone.recv().expect("the main thread sends this");
            worked = Some(work(seconds));
        });
        worked.expect("it was called")
    });
    is_ready.recv().expect("the worker sends this");
    let sampling = engine.start(HZ);
    // What starting set in motion is over by then.
    thread::sleep(Duration::from_millis(300));

    let (process, own) = (clock::process_cpu(), clock::thread_cpu());
    go.send(()).expect("the worker waits for this");
    let worked = worker.join().expect("arithmetic does not panic");
    let beside = clock::process_cpu() - process - (clock::thread_cpu() - own) - worked.cpu;

    let samples = sampling.finish();
    let in_work: Vec<_> = samples
        .iter()
        .filter(|sample| sample.functions.iter().any(|name| name.contains("deep")))
        .collect();
    let count: f64 = in_work.iter().map(|sample| sample.count).sum();
    let commonest = in_work.iter().max_by(|a, b| a.count.total_cmp(&b.count));
    figures([
        ("interrupted", worked.interrupted / worked.cpu),
        ("engine", beside / worked.cpu),
        ("samples", count / worked.cpu),
        ("frames", commonest.map_or(0.0, |sample| sample.functions.len() as f64)),
    ])
}

struct Worked {
    cpu: f64,
    interrupted: f64,
}

#[inline(never)]
fn work(seconds: f64) -> Worked {
    /// About 15 microseconds.
    const PIECE: u64 = 10_000;
    /// Pieces among which the speed of the processor is the same.
    const NEIGHBOURS: usize = 500;
    /// Shorter than any interruption.
    const LEAST: u64 = 500;
    /// Longer than any sample: the machine itself was away.
    const MOST: u64 = 1_000_000;

    let begun = clock::thread_cpu_nanos();
    let end = begun + (seconds * 1e9) as u64;
    let mut pieces: Vec<u64> = vec![0; (seconds * 2e5) as usize];
    let mut len = 0;
    let mut last = begun;
    while last < end && len < pieces.len() {
        turns(PIECE);
        let now = clock::thread_cpu_nanos();
        pieces[len] = now - last;
        last = now;
        len += 1;
    }
    let cpu = (last - begun) as f64 / 1e9;

    if std::env::var_os("HIST").is_some() {
        let mut h = [0u64; 24]; let mut sm=[0u64;24];
        for pieces in pieces[..len].chunks(NEIGHBOURS) {
            let mut v = pieces.to_vec(); v.sort_unstable(); let u = v[v.len()/2];
            for p in &v { let e = p.saturating_sub(u); let b = (64 - e.leading_zeros()) as usize; h[b.min(23)]+=1; sm[b.min(23)]+=e; }
        }
        for b in 0..24 { eprintln!("<{:>8} ns: {:>8}/s  {:>8.1} us/s", 1u64<<b, (h[b] as f64/cpu) as u64, sm[b] as f64/cpu/1e3); }
    }
    let mut interrupted = 0;
    for pieces in pieces[..len].chunks_mut(NEIGHBOURS) {
        pieces.sort_unstable();
        let usual = pieces[pieces.len() / 2];
        let excess = pieces.iter().map(|piece| piece.saturating_sub(usual));
        interrupted += excess.filter(|excess| (LEAST..MOST).contains(excess)).sum::<u64>();
    }
    Worked { cpu, interrupted: interrupted as f64 / 1e9 }
}
