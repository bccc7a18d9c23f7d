//! Area `heap`: the recorder, its feeders and the converter against their bars, with jemalloc's own
//! profiling, `pprof_util` and an allocator that counts beside them.
//!
//! The lines' children are programs of their own, `heap_on_*`, because a program has one global
//! allocator. A line is a function of `lines`; to add one, name it here.

mod lines;

use std::process::ExitCode;

use profilez_bench::engine::Engine;
use profilez_bench::run::{self, Figures, Line};

const LINES: &[Line] = &[
    Line { name: "sites", rows: lines::sites, child },
    Line { name: "pair", rows: lines::pair, child },
    Line { name: "churn", rows: lines::churn, child },
    Line { name: "stall", rows: lines::stall, child },
    Line { name: "threads", rows: lines::threads, child },
    Line { name: "convert", rows: lines::convert, child },
    Line { name: "memory", rows: lines::memory, child },
    Line { name: "forks", rows: lines::forks, child },
    Line { name: "top", rows: lines::top, child },
];

fn main() -> ExitCode {
    run::area(LINES)
}

/// This program measures nothing itself.
fn child(_engine: Engine, _args: &[u32]) -> Figures {
    Figures::new()
}
