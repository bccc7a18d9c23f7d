//! The name of this host.

/// Reads the host's name, empty where the system doesn't tell.
pub(crate) fn host_name() -> String {
    std::env::var("COMPUTERNAME").unwrap_or_default()
}
