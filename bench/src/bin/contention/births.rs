//! Whether every thread is seen where it was created, and what that costs it.

use std::hint::black_box;
use std::thread;

use profile_core::{Collectors, Kind};
use profilez_bench::engine::Engine;
use profilez_bench::run::{Figures, Line, Runner, figures};
use profilez_bench::table::{Bar, Row};

use crate::bare;
use crate::profile::{decode, sum};
use crate::throughput::without;

/// The line.
pub(crate) const LINE: Line = Line { name: "births", rows, child };

const THREADS: u32 = 5000;

fn rows(runner: &mut Runner) -> Vec<Row> {
    let [ours, peer] = runner.pairs([Engine::Ours, Engine::None], &[]);
    let added = ours.spread_with(&peer, |ours, peer| ours["spawn"] - peer["spawn"]);
    let threads = f64::from(THREADS);
    vec![
        Row::new("threads seen at the stack that created them, of 5000", "")
            .ours(ours.spread("seen"))
            .bar(Bar::Within(threads, threads)),
        Row::new("added to a thread's birth and death", "µs").ours(added).bar(Bar::AtMost(10.0)),
        Row::new("a thread's birth and death", "µs")
            .ours(ours.spread("spawn"))
            .peer(peer.spread("spawn")),
    ]
}

fn child(engine: Engine, _: &[u32]) -> Figures {
    if engine == Engine::None {
        return figures([("spawn", without("spawn")), ("seen", 0.0)]);
    }
    let spawn = bare::measure("spawn");
    creates_short_lived();
    let files = Collectors::new().collector(Kind::Threadcreate).snapshot().expect("it is there");
    let seen = sum(&decode(&files[0].bytes), 0, "creates_short_lived");
    figures([("spawn", spawn), ("seen", seen)])
}

#[inline(never)]
fn creates_short_lived() {
    for n in 0..THREADS {
        thread::spawn(move || black_box(n)).join().expect("it does not panic");
    }
    black_box(());
}
