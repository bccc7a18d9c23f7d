//! Memory of a live task that is named and waits, beyond a plain one's.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use profile_core::task;
use profilez_bench::engine::Engine;
use profilez_bench::memory::resident_megabytes;
use profilez_bench::run::{Figures, Line, Runner, figures};
use profilez_bench::table::{Bar, Row};
use tokio::runtime::Builder;

/// The line.
pub(crate) const LINE: Line = Line { name: "memory", rows, child };

const TASKS: u32 = 100_000;

fn rows(runner: &mut Runner) -> Vec<Row> {
    let [ours, plain] = runner.pairs([Engine::Ours, Engine::None], &[TASKS]);
    let more = ours.spread_with(&plain, |ours, plain| ours["each"] - plain["each"]);
    vec![
        Row::new("memory of a live task, beyond a plain one's", "bytes")
            .ours(more)
            .bar(Bar::AtMost(256.0)),
        Row::new("memory of a live task in all", "bytes")
            .ours(ours.spread("each"))
            .peer(plain.spread("each")),
    ]
}

/// Waits for ever, with the means to be woken that everything keeps that waits.
struct Waits(Option<Waker>);

impl Future for Waits {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0 = Some(cx.waker().clone());
        Poll::Pending
    }
}

fn child(engine: Engine, args: &[u32]) -> Figures {
    let &[tasks] = args else { panic!("how many tasks") };
    let runtime = Builder::new_current_thread().build().expect("a runtime");
    let each = runtime.block_on(async {
        // The first reading needs memory for itself.
        resident_megabytes();
        let before = resident_megabytes();
        for number in 0..tasks {
            let idle = Waits(None);
            match engine {
                // A name of its own for each, as a server gives them.
                Engine::Ours => drop(task::spawn(format!("connection-{number}"), idle)),
                _ => drop(tokio::spawn(idle)),
            }
        }
        tokio::task::yield_now().await;
        (resident_megabytes() - before) * (1 << 20) as f64 / f64::from(tasks)
    });
    runtime.shutdown_background();
    figures([("each", each)])
}
