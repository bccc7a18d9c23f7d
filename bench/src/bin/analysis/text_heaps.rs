//! A heap profile of Go's as text (`heap?debug=1`), 100 MB of it: reading and ranking.

use std::fmt::Write as _;
use std::hint::black_box;

use profile_analysis::top::{TopOptions, top};
use profilez_bench::clock::process_cpu;
use profilez_bench::engine::Engine;
use profilez_bench::random::Random;
use profilez_bench::run::{Figures, Line, Runner, figures};
use profilez_bench::spread::Spread;
use profilez_bench::table::{Bar, Row};

/// The line.
pub(crate) const LINE: Line = Line { name: "text-heaps", rows, child };

/// Stacks of the profile.
const STACKS: u64 = 100_000;

fn rows(runner: &mut Runner) -> Vec<Row> {
    let ours = runner.once(Engine::Ours, &[5]);
    vec![
        Row::new("heap profile as text: read and top", "MB/s of CPU")
            .ours(ours.spread("speed"))
            .bar(Bar::AtLeast(300.0)),
    ]
}

/// Writes a profile of stacks of 14 frames, of 5000 functions.
fn text_heap() -> String {
    let mut text = String::from("heap profile: 1: 1024 [2: 2048] @ heap/1048576\n");
    let mut random = Random::new(7);
    for stack in 0..STACKS {
        let places: Vec<u64> = (0..14).map(|_| 0x48_0000 + 16 * random.between(0, 5000)).collect();
        let _ = write!(text, "1: {} [{}: {}] @", 512 + stack, 2, 1024 + stack);
        places.iter().for_each(|place| _ = write!(text, " {:#x}", place + 1));
        text.push('\n');
        for place in places {
            let _ = writeln!(
                text,
                "#\t{place:#x}\tgithub.com/shop/cart.(*Service).function{place}+{:#x}\t\t\t/src/cart/service.go:{}",
                place % 512,
                place % 1000
            );
        }
        text.push('\n');
    }
    text
}

fn child(_: Engine, args: &[u32]) -> Figures {
    let text = text_heap();
    let mut speeds = Vec::new();
    for _ in 0..args[0] {
        let begun = process_cpu();
        let read = profile_analysis::read(text.as_bytes()).expect("it is a profile");
        assert_eq!(read.stacks.facts().samples, STACKS);
        let top = black_box(top(&read.stacks, &TopOptions::default()).expect("it has a type"));
        assert!(top.total > 0);
        speeds.push(text.len() as f64 / 1e6 / (process_cpu() - begun));
    }
    figures([("speed", Spread::of(speeds).map_or(0.0, |speeds| speeds.median))])
}
