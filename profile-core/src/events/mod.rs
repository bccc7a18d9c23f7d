//! What happens while a trace is taken, as those write it down who see it.

pub(crate) mod ring;

/// The number of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct KindId(pub(crate) u32);
