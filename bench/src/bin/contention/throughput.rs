//! What recording costs those who lock.

use std::process::Command;
use std::time::Duration;

use profile_core::Collector as _;
use profile_core::collect::{BlockProfile, MutexProfile};
use profilez_bench::engine::Engine;
use profilez_bench::run::{Figures, Line, Runner, figures};
use profilez_bench::table::{Bar, Row};

use crate::bare;
use crate::truth::fight;

/// An uncontended lock with our symbols in the program, beside one without.
pub(crate) const UNCONTENDED: Line =
    Line { name: "uncontended", rows: uncontended_rows, child: uncontended_child };
/// A lock that four threads fight for, recorded and not.
pub(crate) const CONTENDED: Line =
    Line { name: "contended", rows: contended_rows, child: contended_child };

/// One figure of [`bare::measure`], in a program without our symbols.
pub(crate) fn without(what: &str) -> f64 {
    let program = std::env::current_exe().expect("it runs").with_file_name("bare-locks");
    let output = Command::new(program).arg(what).output().expect("it is built beside this one");
    let text = String::from_utf8(output.stdout).expect("a number is text");
    text.trim().parse().expect("it prints a number")
}

fn uncontended_rows(runner: &mut Runner) -> Vec<Row> {
    let [ours, peer] = runner.pairs([Engine::Ours, Engine::None], &[]);
    let ratio = ours.spread_with(&peer, |ours, peer| peer["lock"] / ours["lock"]);
    vec![
        Row::new("throughput of an uncontended lock, feature on / off", "")
            .ours(ratio)
            .bar(Bar::Within(0.99, 1.01)),
        Row::new("a lock and unlock", "ns").ours(ours.spread("lock")).peer(peer.spread("lock")),
    ]
}

fn uncontended_child(engine: Engine, _: &[u32]) -> Figures {
    figures([(
        "lock",
        if engine == Engine::Ours { bare::measure("lock") } else { without("lock") },
    )])
}

fn contended_rows(runner: &mut Runner) -> Vec<Row> {
    let millis = if runner.quick { 2000 } else { 4000 };
    let [ours, off] = runner.pairs([Engine::Ours, Engine::None], &[millis]);
    let ratio = ours.spread_with(&off, |ours, off| ours["locks"] / off["locks"]);
    vec![
        Row::new("throughput of a 20 µs lock, 4 threads, recorded / not", "")
            .ours(ratio)
            .bar(Bar::AtLeast(0.97)),
        Row::new("locks a second", "").ours(ours.spread("locks")).peer(off.spread("locks")),
    ]
}

fn contended_child(engine: Engine, args: &[u32]) -> Figures {
    let &[millis] = args else { panic!("milliseconds of the run") };
    let windows = (engine == Engine::Ours).then(|| {
        let start = "the collector starts";
        (BlockProfile::new().start().expect(start), MutexProfile::new().start().expect(start))
    });
    let (locks, _) = fight(Duration::from_millis(millis.into()), 4);
    drop(windows);
    figures([("locks", locks as f64 * 1e3 / f64::from(millis))])
}
