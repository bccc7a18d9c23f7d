//! The process's resident set, by `/proc/self/status`.

/// Returns the resident set and the largest it ever was.
pub(crate) fn resident() -> (Option<u64>, Option<u64>) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let bytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kilobytes * 1024)
    };
    (bytes("VmRSS:"), bytes("VmHWM:"))
}
