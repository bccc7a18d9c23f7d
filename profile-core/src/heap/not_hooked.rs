//! jemalloc's hooks where the feature is off.

use crate::BoxError;

pub(super) fn install() -> bool {
    false
}

pub(super) fn is_installed() -> bool {
    false
}

pub(super) fn rate() -> u64 {
    0
}

pub(super) fn rate_when_on() -> u64 {
    0
}

pub(crate) fn sampling() -> Result<Box<dyn Send>, BoxError> {
    Err("jemalloc's hooks are not compiled in".into())
}
