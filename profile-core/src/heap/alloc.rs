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

use crate::heap::feeds;
pub use crate::heap::wrapper::Sampled;

/// Returns the mean of bytes allocated between two samples of [`Sampled`]; 0 where nothing is
/// sampled.
pub fn rate() -> u64 {
    feeds::RECORD.first().map_or(0, |record| (record.rate)())
}

/// Sets the mean of bytes allocated between two samples of [`Sampled`], and returns the previous
/// one: 512 KiB at start. 0 switches sampling off, 1 samples every block, as Go's `MemProfileRate`
/// does.
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
    feeds::RECORD.first().map_or(0, |record| (record.set_rate)(rate))
}
