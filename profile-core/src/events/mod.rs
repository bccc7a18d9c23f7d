//! What happens while a trace is taken, as those write it down who see it.

#[cfg_attr(not(all(feature = "tracing", intercepted)), allow(dead_code))]
pub(crate) mod ring;
#[cfg(intercepted)]
pub(crate) mod waits;

/// The number of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct KindId(pub(crate) u32);
