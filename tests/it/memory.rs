//! What streaming costs: one artifact in memory and little else.

use std::io::Read as _;
use std::process::Command;

use profilez::core::Kind;

use crate::fakes::{Fake, service};
use crate::http::send;

/// Set in the process that a test starts for itself.
const CHILD: &str = "PROFILEZ_TEST_CHILD";

/// Runs the test of this name in a process of its own.
fn in_own_process(test: &str) {
    let child = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let output = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success(), "{output}{}", String::from_utf8_lossy(&child.stderr));
    assert!(output.contains("1 passed"), "{output}");
}

/// A value of `/proc/self/status` in bytes.
fn status(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
fn a_large_artifact_is_streamed() {
    if std::env::var_os(CHILD).is_none() {
        return in_own_process("memory::a_large_artifact_is_streamed");
    }
    const ARTIFACT: u64 = 200 << 20;
    let server =
        service([Fake::new(Kind::Heap, ARTIFACT as usize)]).build().serve("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    let mut client = send(address, "GET", "/debug/profile?duration=10ms&profiles=heap", &[]);
    let before = status("VmRSS:");
    let mut buffer = vec![0; 64 * 1024];
    let mut received = 0;
    loop {
        match client.read(&mut buffer).unwrap() {
            0 => break,
            len => received += len as u64,
        }
    }
    assert!(received > ARTIFACT, "all of it came");
    let above = status("VmHWM:").saturating_sub(before + ARTIFACT);
    println!("peak above the artifact: {} KiB", above / 1024);
    assert!(above <= 32 << 20, "{above} bytes above the artifact");
    server.shut_down();
}
