//! What a poll of a named task costs more than a plain one's, without and with an open window.

use std::cell::Cell;
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
        Row::new("added to a wake-up and the poll after it, no window", "ns")
            .ours(ours.spread_with(&plain, |ours, plain| ours["woken"] - plain["woken"])),
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
        // As `task::spawn` does.
        Engine::Ours => {
            let task = || task::named("counts").following_wakes();
            let kept = Kept::default();
            let keeps = pin!(Keeps(&kept).instrument(task()));
            both(pin!(Counts(0).instrument(task())), keeps, &kept, runs)
        }
        _ => {
            let kept = Kept::default();
            both(pin!(Counts(0)), pin!(Keeps(&kept)), &kept, runs)
        }
    }
}

/// A waker as futures keep it: cloned where it is another than before.
type Kept = Cell<Option<Waker>>;

/// Never ready, and can be woken.
struct Keeps<'a>(&'a Kept);

impl Future for Keeps<'_> {
    type Output = ();

    #[inline(never)]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut kept = self.0.take();
        match &mut kept {
            Some(kept) => kept.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        self.0.set(kept);
        Poll::Pending
    }
}

fn both<F: Future, K: Future>(
    mut future: Pin<&mut F>,
    keeps: Pin<&mut K>,
    kept: &Kept,
    runs: u32,
) -> Figures {
    let closed = measure(future.as_mut(), runs, || {});
    let woken = measure(keeps, runs, || {
        let waker = kept.take();
        if let Some(waker) = &waker {
            waker.wake_by_ref();
        }
        kept.set(waker);
    });
    let window = Collectors::new().collector(Kind::Trace).start().expect("a trace starts");
    let open = measure(future.as_mut(), runs, || {});
    drop(window);
    figures([("closed", closed), ("woken", woken), ("open", open)])
}

/// CPU nanoseconds of a poll, of the median run.
fn measure<F: Future>(mut future: Pin<&mut F>, runs: u32, before_poll: impl Fn()) -> f64 {
    const POLLS: u32 = 20_000;
    let mut cx = Context::from_waker(Waker::noop());
    let mut run = || {
        let before = thread_cpu();
        for _ in 0..POLLS {
            before_poll();
            assert!(future.as_mut().poll(&mut cx).is_pending());
        }
        (thread_cpu() - before) * 1e9 / f64::from(POLLS)
    };
    Spread::of((0..runs).map(|_| run())).map_or(0.0, |spread| spread.median)
}
