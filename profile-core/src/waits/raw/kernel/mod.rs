//! The kernel's `syscall`, without libc and without any looking.

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "aarch64")]
pub(crate) use aarch64::kernel;
#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64::kernel;
