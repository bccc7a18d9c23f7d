//! The lines: which children are run, and what is made of their figures.

use profilez_bench::heap::Mode;
use profilez_bench::run::{Figures, Runner, Runs};
use profilez_bench::spread::Spread;
use profilez_bench::table::{Bar, Row};

const SYSTEM: &str = "heap_on_system";
const SAMPLED: &str = "heap_on_sampled";
const JEMALLOC: &str = "heap_on_jemalloc";
const JEMALLOC_EVERY: &str = "heap_on_jemalloc_every";

const BARE: u32 = Mode::Bare as u32;
const OURS: u32 = Mode::Ours as u32;
const PEER: u32 = Mode::Peer as u32;

/// Estimates of ten runs, by both feeders.
pub(crate) fn sites(runner: &mut Runner) -> Vec<Row> {
    let [sampled, jemalloc] = runner.programs(10, [(SAMPLED, &[OURS, 0]), (JEMALLOC, &[OURS, 1])]);
    [("the wrapper", sampled), ("jemalloc", jemalloc)]
        .into_iter()
        .flat_map(|(feeder, runs)| {
            let names: Vec<String> = runs.all().next().map_or_else(Vec::new, |figures| {
                figures.keys().filter(|name| name.contains(' ')).cloned().collect()
            });
            let errors = |figures: &Figures| names.iter().map(|name| figures[name]).collect();
            let all: Vec<Vec<f64>> = runs.all().map(errors).collect();
            let worst = all.iter().flatten().map(|error| error.abs());
            // The mean of n errors has 1/√n of their deviation.
            let biases = (0..names.len()).map(|site| {
                let sum: f64 = all.iter().map(|errors| errors[site]).sum();
                (sum / all.len() as f64 * (all.len() as f64).sqrt()).abs()
            });
            let most = |values: Vec<f64>| Spread::of(values.into_iter().reduce(f64::max));
            vec![
                Row::new(format!("largest error of four sites in 10 runs, {feeder}"), "σ")
                    .ours(most(worst.collect()))
                    .bar(Bar::AtMost(4.0)),
                Row::new(format!("largest bias of a site over 10 runs, {feeder}"), "σ")
                    .ours(most(biases.collect()))
                    .bar(Bar::AtMost(4.0)),
                Row::new(format!("in use when all is freed, {feeder}"), "B")
                    .ours(runs.spread("left"))
                    .bar(Bar::AtMost(0.0)),
            ]
        })
        .collect()
}

/// What a wrapper adds to a block allocated and freed. The peer counts, and takes no stacks.
pub(crate) fn pair(runner: &mut Runner) -> Vec<Row> {
    let rounds = if runner.quick { 100 } else { 300 };
    [(1, 2.0), (2, 2.5)]
        .into_iter()
        .map(|(threads, bar)| {
            let [ours, peer] = runner.programs(
                5,
                [(SYSTEM, &[OURS, threads, rounds]), (SYSTEM, &[PEER, threads, rounds])],
            );
            Row::new(format!("added to malloc and free at 512 KiB, threads: {threads}"), "ns")
                .ours(ours.spread("added"))
                .peer(peer.spread("added"))
                .bar(Bar::AtMost(bar))
        })
        .collect()
}

/// jemalloc's sampling at work, with our hooks and as it comes.
pub(crate) fn churn(runner: &mut Runner) -> Vec<Row> {
    let rounds = if runner.quick { 40 } else { 100 };
    let [ours, peer] =
        runner.programs(5, [(JEMALLOC, &[OURS, rounds]), (JEMALLOC, &[PEER, rounds])]);
    vec![
        Row::new("16–512 B churn on jemalloc, active to inactive", "×")
            .ours(ours.spread("ratio"))
            .peer(peer.spread("ratio"))
            .bar(Bar::AtMost(1.15)),
        Row::new("the same inactive", "ns")
            .ours(ours.spread("inactive"))
            .peer(peer.spread("inactive")),
    ]
}

/// Allocations while a profile is taken; the peer is jemalloc's dump.
pub(crate) fn stall(runner: &mut Runner) -> Vec<Row> {
    let rounds = if runner.quick { 1 } else { 3 };
    let [ours, hooks, peer] = runner.programs(
        rounds,
        [
            (SAMPLED, &[OURS, 100_000]),
            (JEMALLOC_EVERY, &[OURS, 100_000]),
            (JEMALLOC_EVERY, &[PEER, 100_000]),
        ],
    );
    vec![
        Row::new("longest allocation while 100 k sites are read, the wrapper", "ms")
            .ours(ours.spread("stall"))
            .peer(peer.spread("stall"))
            .bar(Bar::AtMost(5.0)),
        Row::new("the same on jemalloc, every block sampled", "ms")
            .ours(hooks.spread("stall"))
            .peer(peer.spread("stall"))
            .bar(Bar::AtMost(5.0)),
        Row::new("the profile, from the call to its bytes", "s")
            .ours(ours.spread("took"))
            .peer(peer.spread("took")),
    ]
}

/// What 4000 threads leave; the peer is jemalloc with `prof_accum`.
pub(crate) fn threads(runner: &mut Runner) -> Vec<Row> {
    let [system, sampled, jemalloc, hooks, accum] = runner.programs(
        if runner.quick { 3 } else { 5 },
        [
            (SYSTEM, &[BARE, 0]),
            (SAMPLED, &[OURS, 0]),
            (JEMALLOC, &[BARE, 1]),
            (JEMALLOC, &[OURS, 1]),
            (JEMALLOC_EVERY, &[PEER, 1]),
        ],
    );
    vec![
        Row::new("growth by 4000 threads over the system allocator's", "MB")
            .ours(over(&sampled, &system, "growth"))
            .peer(over(&accum, &jemalloc, "growth"))
            .bar(Bar::AtMost(0.5)),
        Row::new("the same over jemalloc's", "MB")
            .ours(over(&hooks, &jemalloc, "growth"))
            .peer(over(&accum, &jemalloc, "growth"))
            .bar(Bar::AtMost(0.5)),
    ]
}

/// `heap_v2` to profile.proto; the peer is `pprof_util`, which `jemalloc_pprof` converts with.
pub(crate) fn convert(runner: &mut Runner) -> Vec<Row> {
    let rounds = if runner.quick { 3 } else { 5 };
    let [ours, peer] =
        runner.programs(rounds, [(SYSTEM, &[OURS, 200_000]), (SYSTEM, &[PEER, 200_000])]);
    let row = |what: &str, unit, figure| {
        Row::new(what, unit).ours(ours.spread(figure)).peer(peer.spread(figure))
    };
    vec![
        row("heap_v2 of 200 k stacks to gzip'd profile.proto", "s", "seconds")
            .bar(Bar::OfPeer(1.0 / 6.0)),
        row("memory for it, in parts of the input", "×", "memory").bar(Bar::AtMost(1.5)),
        row("the dump", "MB", "input"),
        row("the profile", "MB", "output"),
    ]
}

/// The recorder with a gigabyte in use; the peer is jemalloc's own profiling.
pub(crate) fn memory(runner: &mut Runner) -> Vec<Row> {
    let [system, sampled, jemalloc, hooks, peer] = runner.programs(
        3,
        [
            (SYSTEM, &[BARE, 0]),
            (SAMPLED, &[OURS, 0]),
            (JEMALLOC, &[BARE, 1]),
            (JEMALLOC, &[OURS, 1]),
            (JEMALLOC, &[PEER, 1]),
        ],
    );
    vec![
        Row::new("memory of the recorder at 1 GiB in small blocks, the wrapper", "MB")
            .ours(over(&sampled, &system, "resident"))
            .bar(Bar::AtMost(8.0)),
        Row::new("the same on jemalloc, over its own profiling", "MB")
            .ours(over(&hooks, &peer, "resident"))
            .bar(Bar::AtMost(8.0)),
        Row::new("profiling at 1 GiB in all, on jemalloc", "MB")
            .ours(over(&hooks, &jemalloc, "resident"))
            .peer(over(&peer, &jemalloc, "resident")),
    ]
}

/// Children of 1000 forks.
pub(crate) fn forks(runner: &mut Runner) -> Vec<Row> {
    let [sampled, jemalloc] = runner.programs(1, [(SAMPLED, &[OURS, 0]), (JEMALLOC, &[OURS, 1])]);
    vec![
        Row::new("children of 1000 forks that hang or fail, the wrapper", "")
            .ours(sampled.spread("lost"))
            .bar(Bar::AtMost(0.0)),
        Row::new("the same on jemalloc", "").ours(jemalloc.spread("lost")).bar(Bar::AtMost(0.0)),
    ]
}

/// The largest sites, as the stats endpoint wants them.
pub(crate) fn top(runner: &mut Runner) -> Vec<Row> {
    let [ours] = runner.programs(3, [(SAMPLED, &[OURS, 1000])]);
    vec![
        Row::new("the largest of 1000 sites, names known", "ms")
            .ours(ours.spread("next"))
            .bar(Bar::AtMost(5.0)),
        Row::new("the same for the first time", "ms").ours(ours.spread("first")),
    ]
}

/// What one has more than the other.
fn over(runs: &Runs, base: &Runs, figure: &str) -> Option<Spread> {
    runs.spread_with(base, |ours, theirs| ours[figure] - theirs[figure])
}
