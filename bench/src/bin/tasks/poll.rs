//! What a poll of a named task costs more than a plain one's, without and with an open window.

use std::future::Future;
use std::hint::black_box;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use profile_core::task::{self, Instrument as _};
use profile_core::{Collectors, Kind};
use profilez_bench::clock::thread_cpu;
use profilez_bench::engine::Engine;
use profilez_bench::run::{Figures, Line, Runner, figures};
use profilez_bench::spread::Spread;
use profilez_bench::table::{Bar, Row};

/// The line.
pub(crate) const LINE: Line = Line { name: "poll", rows, child };

fn rows(runner: &mut Runner) -> Vec<Row> {
    let runs = if runner.quick { 100 } else { 300 };
    let [ours, plain] = runner.pairs([Engine::Ours, Engine::None], &[runs]);
    let more = |figure: &'static str| {
        ours.spread_with(&plain, move |ours, plain| ours[figure] - plain["closed"])
    };
    vec![
        Row::new("added to a poll, no window", "ns").ours(more("closed")).bar(Bar::AtMost(10.0)),
        Row::new("added to a poll, window open", "ns").ours(more("open")).bar(Bar::AtMost(80.0)),
        Row::new("a poll of a named and of a plain future", "ns")
            .ours(ours.spread("closed"))
            .peer(plain.spread("closed")),
    ]
}

/// Never ready.
struct Counts(u64);

impl Future for Counts {
    type Output = ();

    #[inline(never)]
    fn poll(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<()> {
        self.0 = black_box(self.0 + 1);
        Poll::Pending
    }
}

fn child(engine: Engine, args: &[u32]) -> Figures {
    let &[runs] = args else { panic!("how many runs") };
    match engine {
        Engine::Ours => both(pin!(Counts(0).instrument(task::named("counts"))), runs),
        _ => both(pin!(Counts(0)), runs),
    }
}

fn both<F: Future>(mut future: Pin<&mut F>, runs: u32) -> Figures {
    let closed = measure(future.as_mut(), runs);
    let window = Collectors::new().collector(Kind::Trace).start().expect("a trace starts");
    let open = measure(future.as_mut(), runs);
    drop(window);
    figures([("closed", closed), ("open", open)])
}

/// CPU nanoseconds of a poll, of the median run.
fn measure<F: Future>(mut future: Pin<&mut F>, runs: u32) -> f64 {
    const POLLS: u32 = 20_000;
    let mut cx = Context::from_waker(Waker::noop());
    let mut run = || {
        let before = thread_cpu();
        for _ in 0..POLLS {
            assert!(future.as_mut().poll(&mut cx).is_pending());
        }
        (thread_cpu() - before) * 1e9 / f64::from(POLLS)
    };
    Spread::of((0..runs).map(|_| run())).map_or(0.0, |spread| spread.median)
}
