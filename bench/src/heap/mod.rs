//! What the children of area `heap` measure, each in a program with the allocator it is about.

mod churn;
mod convert;
mod forks;
mod memory;
mod pair;
mod sites;
mod stall;
mod threads;
mod top;

use std::process::ExitCode;

use crate::run::Figures;

/// How a child is set up, as its first number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// As it is, not sampled.
    Bare = 0,
    /// Recorded by us.
    Ours = 1,
    /// The peer: jemalloc's own profiling, or what else the line compares with.
    Peer = 2,
}

/// A line's name, and what a child of it does.
type Child = (&'static str, fn(Mode, &[u32]) -> Figures);

/// What is measured.
const LINES: &[Child] = &[
    ("sites", sites::measure),
    ("pair", pair::measure),
    ("churn", churn::measure),
    ("stall", stall::measure),
    ("threads", threads::measure),
    ("convert", convert::measure),
    ("memory", memory::measure),
    ("forks", forks::measure),
    ("top", top::measure),
];

/// The program of a child: a line, a mode and numbers.
pub fn child() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let numbers: Option<Vec<u32>> = args.iter().skip(1).map(|arg| arg.parse().ok()).collect();
    let line = LINES.iter().find(|(name, _)| args.first().is_some_and(|arg| arg == name));
    let (Some((_, measure)), Some([mode, numbers @ ..])) = (line, numbers.as_deref()) else {
        eprintln!("error: a child of `heap`, which is started by it");
        return ExitCode::from(2);
    };
    let mode = match mode {
        0 => Mode::Bare,
        1 => Mode::Ours,
        _ => Mode::Peer,
    };
    let figures = measure(mode, numbers);
    println!("{}", serde_json::to_string(&figures).expect("numbers by name are JSON"));
    ExitCode::SUCCESS
}

/// jemalloc's sampling, which the children with jemalloc switch.
pub mod jemalloc {
    use tikv_jemalloc_ctl::raw;

    /// Switches sampling.
    pub fn set_active(active: bool) {
        // SAFETY: `prof.active` is a C `bool` (jemalloc(3)).
        unsafe { raw::write(b"prof.active\0", active) }.expect("jemalloc has profiling");
    }

    /// Writes a dump of jemalloc's own.
    pub fn dump(path: &std::ffi::CStr) {
        // SAFETY: `prof.dump` takes a `const char *` that is read during the call (jemalloc(3)).
        unsafe { raw::write(b"prof.dump\0", path.as_ptr()) }.expect("a dump can be written");
    }
}
