//! What streaming costs: one artifact in memory and little else.

use std::io::Read as _;

use profilez::core::Kind;

use crate::support::fakes::{Fake, service};
use crate::support::http::send;
use crate::support::own_process::is_own_process;

/// A value of `/proc/self/status` in bytes.
fn status(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
fn a_large_artifact_is_streamed() {
    if !is_own_process("memory::a_large_artifact_is_streamed") {
        return;
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
