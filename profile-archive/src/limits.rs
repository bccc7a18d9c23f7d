//! How much a reader takes before it stops.

/// Bounds on what is read from a bundle.
///
/// A bound that is hit is reported as a [`Warning`](crate::Warning) which names it, and the bundle
/// counts as truncated; what was read before is kept. The memory that [`Bundle::read`] needs is
/// bounded by `max_total_bytes`, that of a [`BundleReader`] by about 256 KiB and a dozen times
/// `max_manifest_bytes`.
///
/// [`Bundle::read`]: crate::Bundle::read
/// [`BundleReader`]: crate::BundleReader
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most headers, those of skipped entries included: 1000. A bundle of ours has about ten.
    pub max_entries: u64,
    /// The most bytes of one entry: 512 MiB. An entry that says it is larger is skipped.
    pub max_entry_bytes: u64,
    /// The most bytes of the whole bundle, counted before as well as after decompression: 2 GiB.
    /// The first count stops an endless input that decompresses to nothing.
    pub max_total_bytes: u64,
    /// The most decompressed bytes for each compressed byte, once there is more than 1 MiB of them:
    /// 200. Deflate gets to 1032 on zeros, and to 148, as measured, on the most repetitive thing an
    /// honest bundle holds: a dump of many goroutines that all have the same stack.
    pub max_ratio: u64,
    /// The most bytes of the manifest: 4 MiB.
    pub max_manifest_bytes: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            max_entries: 1000,
            max_entry_bytes: 512 << 20,
            max_total_bytes: 2 << 30,
            max_ratio: 200,
            max_manifest_bytes: 4 << 20,
        }
    }
}
