//! What the areas of `cargo xtask bench` and the stress test share: engines to measure, workloads
//! whose truth is known, pairs of runs in processes of their own, and the table they end in.
//!
//! An area is a program in `src/bin`; its lines are files of that program. A line has two halves:
//! what a child process measures, and what the parent makes of the figures of several such runs.

pub mod clock;
pub mod engine;
pub mod heap;
pub mod memory;
pub mod random;
pub mod replay;
pub mod workload;

pub mod run;
pub mod spread;
pub mod table;

pub mod control;
