//! Whole bundles: written and read back, broken, and made to do harm.

mod archives;
mod broken;
mod hostile;
mod round_trip;
