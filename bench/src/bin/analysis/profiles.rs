//! Profiles of heap samples whose stacks all differ, 17 MB and 162 MB raw: checked parse and top by
//! full stack, and the memory that takes. Beside it the `pprof` crate, which only decodes.
//!
//! Go's own parser, of the package that `go tool pprof` is made of, can't be called from here. It was
//! measured on such a profile at 26 MB/s in a program of its own, and that figure is the bar's.

use std::fs;
use std::hint::black_box;

use pprof::protos::Message as _;
use profile_analysis::top::{By, TopOptions, top};
use profilez_bench::clock::process_cpu;
use profilez_bench::engine::Engine;
use profilez_bench::memory::resident_megabytes;
use profilez_bench::run::{Figures, Line, Runner, figures};
use profilez_bench::spread::Spread;
use profilez_bench::table::{Bar, Row};

use crate::dumps::peak_megabytes;
use crate::profile::{LARGE, SMALL, raw};

/// The line.
pub(crate) const LINE: Line = Line { name: "profiles", rows, child };

/// What Go's parser reads in a second of CPU time, in MB.
const GO: f64 = 26.0;

fn rows(runner: &mut Runner) -> Vec<Row> {
    // Made here, so that it is not part of what a child needs.
    raw(SMALL);
    raw(LARGE);
    let [ours, peer] = runner.pairs([Engine::Ours, Engine::Pprof], &[SMALL, 5]);
    let [large, large_peer] = runner.pairs([Engine::Ours, Engine::Pprof], &[LARGE, 1]);
    vec![
        Row::new("profile of 17 MB: parse and top by stack", "MB/s of CPU")
            .ours(ours.spread("speed"))
            .peer(peer.spread("speed"))
            .bar(Bar::AtLeast(200.0))
            .bar(Bar::AtLeast(7.0 * GO)),
        Row::new("memory, as a multiple of it, itself included", "")
            .ours(ours.spread("multiple"))
            .peer(peer.spread("multiple"))
            .bar(Bar::AtMost(2.5)),
        Row::new("profile of 162 MB: parse and top by stack", "MB/s of CPU")
            .ours(large.spread("speed"))
            .peer(large_peer.spread("speed"))
            .bar(Bar::AtLeast(150.0)),
        Row::new("memory, itself included", "MB")
            .ours(large.spread("memory"))
            .peer(large_peer.spread("memory"))
            .bar(Bar::AtMost(500.0)),
    ]
}

fn child(engine: Engine, args: &[u32]) -> Figures {
    let &[samples, times] = args else { panic!("how many samples, how often") };
    let path = raw(samples);
    let before = resident_megabytes();
    let bytes = fs::read(path).expect("the profile was written just now");
    let mut speeds = Vec::new();
    for _ in 0..times {
        let begun = process_cpu();
        if engine == Engine::Ours {
            let read = profile_analysis::read(&bytes).expect("it is a profile");
            assert_eq!(read.stacks.len(), samples as usize, "all stacks differ");
            let options = TopOptions { by: By::Site, limit: Some(50), ..TopOptions::default() };
            let top = black_box(top(&read.stacks, &options).expect("it has a sample type"));
            assert_eq!((top.rows.len(), top.total > 0), (50, true));
        } else {
            let profile = pprof::protos::Profile::decode(&bytes[..]).expect("it is a profile");
            assert_eq!(black_box(profile).sample.len(), samples as usize);
        }
        speeds.push(bytes.len() as f64 / 1e6 / (process_cpu() - begun));
    }
    let size = bytes.len() as f64 / f64::from(1 << 20);
    let memory = peak_megabytes() - before;
    let speed = Spread::of(speeds).map_or(0.0, |speeds| speeds.median);
    figures([("speed", speed), ("memory", memory), ("multiple", memory / size)])
}
