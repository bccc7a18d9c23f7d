//! A wrapper around any global allocator, for heap profiles.
//!
//! ```
//! use profile_core::alloc::Sampled;
//!
//! #[global_allocator]
//! static ALLOCATOR: Sampled<std::alloc::System> = Sampled::new(std::alloc::System);
//!
//! fn main() {
//!     let kept = vec![0u8; 16 << 20];
//! #   #[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
//!     assert!(profile_core::heap::top(10).unwrap().total.inuse_bytes >= 16 << 20);
//!     drop(kept);
//! }
//! ```

use crate::heap::recorded;

/// A global allocator that samples what it is asked for, so that `heap` and `allocs` can be had.
///
/// Any byte has the same chance to make the block that it is in a sample: one of 524288 unless
/// [`set_rate`] says otherwise. Sampled blocks are aligned to 1024 bytes, so that a free tells the
/// others by their address; they and their stacks are kept in memory of the recorder's own. Sampling
/// is on from the first allocation.
///
/// It sees what Rust code allocates through it, and neither C code nor memory maps. Where stacks can't
/// be read (not Linux on x86_64 or aarch64) it hands everything on and records nothing.
///
/// A sampled block that is resized is allocated anew and copied, because its alignment changes: a
/// block of several megabytes is nearly always sampled, and never grows in place.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sampled<A>(pub(crate) A);

impl<A> Sampled<A> {
    /// The allocator with sampling around it.
    pub const fn new(allocator: A) -> Sampled<A> {
        Sampled(allocator)
    }
}

/// The mean of bytes allocated between two samples of [`Sampled`]; 0 where nothing is sampled.
pub fn rate() -> u64 {
    recorded::rate()
}

/// Sets the mean of bytes allocated between two samples of [`Sampled`], and gives what it was before:
/// 512 KiB at start. 0 switches sampling off, 1 samples every block, as Go's `MemProfileRate` does.
///
/// It may be changed at any time: each sample is weighed by the rate that led to it. A thread takes
/// the new rate over at its next sample, or where sampling was off after another 256 KiB at most.
///
/// ```
/// # #[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))] {
/// let before = profile_core::alloc::set_rate(64 << 10);
/// assert_eq!(before, 512 << 10);
/// assert_eq!(profile_core::alloc::set_rate(before), 64 << 10);
/// # }
/// ```
pub fn set_rate(rate: u64) -> u64 {
    recorded::set_rate(rate)
}
