//! A gzip'd profile of 17 MB: read and ranked against being decompressed and nothing else, by the
//! same decompressor. Wall time, because two threads share the work.

use std::fs;
use std::hint::black_box;
use std::io::Read as _;
use std::time::Instant;

use flate2::bufread::MultiGzDecoder;
use profile_analysis::top::{By, TopOptions, top};
use profilez_bench::engine::Engine;
use profilez_bench::run::{Figures, Line, Runner, figures};
use profilez_bench::spread::Spread;
use profilez_bench::table::{Bar, Row};

use crate::profile::{SMALL, packed};

/// The line.
pub(crate) const LINE: Line = Line { name: "packed", rows, child };

/// How often a child does it; the median counts.
const TIMES: usize = 5;

fn rows(runner: &mut Runner) -> Vec<Row> {
    packed(SMALL);
    // Nothing but decompression is the yardstick.
    let [ours, plain] = runner.pairs([Engine::Ours, Engine::None], &[]);
    vec![
        Row::new("gzip'd profile of 17 MB: parse and top by stack", "MB/s of wall time")
            .ours(ours.spread("speed"))
            .peer(plain.spread("speed")),
        Row::new("of the speed of decompression alone", "")
            .ours(ours.spread_with(&plain, |ours, plain| ours["speed"] / plain["speed"]))
            .bar(Bar::AtLeast(0.9)),
    ]
}

fn child(engine: Engine, _: &[u32]) -> Figures {
    let bytes = fs::read(packed(SMALL)).expect("the profile was written just now");
    let mut raw = Vec::new();
    MultiGzDecoder::new(&bytes[..]).read_to_end(&mut raw).expect("it is gzip");
    let mut speeds = Vec::new();
    for _ in 0..TIMES {
        let begun = Instant::now();
        if engine == Engine::Ours {
            let read = profile_analysis::read(&bytes).expect("it is a profile");
            let options = TopOptions { by: By::Site, limit: Some(50), ..TopOptions::default() };
            let top = black_box(top(&read.stacks, &options).expect("it has a sample type"));
            assert_eq!(top.rows.len(), 50);
        } else {
            let mut plain = Vec::with_capacity(raw.len());
            MultiGzDecoder::new(&bytes[..]).read_to_end(&mut plain).expect("it is gzip");
            assert_eq!(black_box(plain).len(), raw.len());
        }
        speeds.push(raw.len() as f64 / 1e6 / begun.elapsed().as_secs_f64());
    }
    figures([("speed", Spread::of(speeds).map_or(0.0, |speeds| speeds.median))])
}
