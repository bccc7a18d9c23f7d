//! Async tasks: which there are, what each is doing, and for how long.
//!
//! What you do: give tasks a name, with [`spawn`] or [`Instrument::instrument`], and say where they
//! wait, with [`Instrument::await_point`]. What it does for you: each such task stands in thread
//! dumps with its spawn site, its state and how long it has been in it, and each poll stands in a
//! trace. Nothing here needs an async runtime; the feature `tokio` adds what starts tasks on one.
//!
//! A poll costs two looks at a coarse clock, and a live task 64 bytes, or twice that once it waits.
//! Names are kept once each, and a process can have some thousands: what is different in each task
//! does not belong into its name.
//!
//! It is *not* a supervisor: nothing is cancelled, woken or polled from here.
//!
//! ```
//! use profile_core::task::{self, Instrument as _};
//!
//! let work = async { 6 * 7 }.instrument(task::named("answer").background());
//! # let work = std::pin::pin!(work);
//! # let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
//! let mut seen = Vec::new();
//! task::all(&mut |task| seen.push(task.kind.name().to_owned()));
//! assert_eq!(seen, ["answer"]);
//! # assert!(std::future::Future::poll(work, &mut cx).is_ready());
//! ```

mod awaits;
#[cfg_attr(not(all(feature = "sampler", stacks)), allow(dead_code))]
mod detail;
mod future;
#[cfg(all(feature = "tokio", tokio_unstable))]
mod hooks;
mod kinds;
#[allow(unsafe_code)]
pub(crate) mod raw;
#[cfg_attr(not(all(feature = "sampler", stacks)), allow(dead_code))]
mod registry;
mod source;
mod status;
#[cfg(feature = "tokio")]
mod tokio;
#[cfg(feature = "await-tree")]
mod trees;

pub use crate::task::awaits::{
    Awaited, Awaits, DETAIL_TIMEOUT, Detail, MOST_PLACES, UnknownDetail,
};
#[cfg(all(feature = "sampler", stacks))]
pub(crate) use crate::task::detail::collect as details;
pub use crate::task::future::{AwaitPoint, Instrument, Instrumented, Task, named};
#[cfg(all(feature = "tokio", tokio_unstable))]
pub use crate::task::hooks::see_every_task;
pub(crate) use crate::task::kinds::find as kind;
#[cfg(any(feature = "tracing", test))]
pub(crate) use crate::task::kinds::intern;
pub use crate::task::kinds::{Category, TaskKind};
#[cfg(all(feature = "sampler", stacks))]
pub(crate) use crate::task::registry::fresh_ids;
pub(crate) use crate::task::registry::is_polling;
pub(crate) use crate::task::source::all_at;
pub(crate) use crate::task::source::is_used;
pub use crate::task::source::{Alive, Registration, TaskSource, alive, all, current, register};
pub use crate::task::status::{State, Status, TaskId};
#[cfg(feature = "tokio")]
pub use crate::task::tokio::{RuntimeTasks, spawn, watch};
#[cfg(feature = "await-tree")]
pub use crate::task::trees::show_trees;
