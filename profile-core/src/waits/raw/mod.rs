//! Symbols that stand in for functions of libc in the whole program: `syscall`, through which std
//! and `parking_lot` wait for locks and wake, `sched_yield`, which `parking_lot` tries first,
//! `pthread_create`, and `sigaction` beside the sampler, whose signals some handlers have no room
//! for.
//!
//! The linker takes the first definition of a symbol it finds, and this crate's comes before
//! libc's. What the program calls is then ours, which passes everything on.

pub(crate) mod births;
mod entry;
mod kernel;
#[cfg(feature = "sampler")]
mod signals;
pub(crate) mod syscall;
pub(crate) mod words;
mod yields;
