//! The honest answer for a kind that this process can't give.

use crate::Kind;

/// A kind this process can't give, why, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} is not available: {reason}")]
pub struct Unavailable {
    /// The kind that was asked for.
    pub kind: Kind,
    /// The reason why it can't be had, as one sentence without a full stop.
    pub reason: String,
    /// The thing to switch on or change to get it; empty where nothing helps.
    pub hint: String,
}

impl Unavailable {
    /// Makes the refusal of a kind that can't be had, with its reason and hint.
    pub fn new(kind: Kind, reason: impl Into<String>, hint: impl Into<String>) -> Unavailable {
        Unavailable { kind, reason: reason.into(), hint: hint.into() }
    }
}
