//! Entries of signal handlers that take nothing of the interrupted stack.

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "aarch64")]
pub(crate) use aarch64::signal_entry;
#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64::signal_entry;
