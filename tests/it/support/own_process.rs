//! Tests of what belongs to the whole process run in one of their own.

use std::process::Command;

/// Set in the process that a test starts for itself.
const CHILD: &str = "PROFILEZ_TEST_CHILD";

/// Says if this is the test's own process. Elsewhere it starts one that runs the test of this name
/// alone, and fails with it.
#[track_caller]
pub(crate) fn is_own_process(test: &str) -> bool {
    if std::env::var_os(CHILD).is_some() {
        return true;
    }
    let child = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let output = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success(), "{output}{}", String::from_utf8_lossy(&child.stderr));
    assert!(output.contains("1 passed"), "{output}");
    false
}
