//! How much memory the process has, as its user sees it.

use std::fs;

/// Resident memory in megabytes. From `smaps_rollup`, which counts pages; the counters in `status`
/// are off by as much as a few hundred kilobytes for each processor.
pub fn resident_megabytes() -> f64 {
    let text = fs::read_to_string("/proc/self/smaps_rollup").unwrap_or_default();
    let kilobytes = text.lines().find_map(|line| {
        line.strip_prefix("Rss:")?.trim().strip_suffix(" kB")?.parse::<f64>().ok()
    });
    kilobytes.expect("smaps_rollup has a line for resident memory") / 1024.0
}
