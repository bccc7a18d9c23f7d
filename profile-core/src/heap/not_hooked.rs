//! jemalloc's hooks where the feature is off.

pub(super) fn install() -> bool {
    false
}

pub(super) fn is_installed() -> bool {
    false
}

pub(super) fn rate() -> u64 {
    0
}
