//! A `heap_v2` dump of two hundred thousand stacks becomes a gzip'd profile.

use std::fmt::Write as _;
use std::fs;
use std::hint::black_box;

use super::Mode;
use crate::clock;
use crate::random::Random;
use crate::run::{Figures, figures};

const ADDRESSES: u64 = 6000;
/// Places that one place calls.
const CALLEES: u64 = 4;

/// CPU seconds, and the most memory in parts of the input.
pub(super) fn measure(mode: Mode, args: &[u32]) -> Figures {
    let &[stacks] = args else { panic!("stacks") };
    let dump = dump(stacks);
    // The peer panics where nothing is in use any more, so that every stack has something.
    let before = status("VmRSS:");
    fs::write("/proc/self/clear_refs", "5").expect("the peak can be forgotten");
    let begun = clock::process_cpu();
    let bytes = match mode {
        Mode::Ours => {
            profile_format::jemalloc::convert(&dump, &Default::default()).expect("it is a dump")
        }
        _ => {
            let profile = pprof_util::parse_jeheap(dump.as_slice(), None).expect("it is a dump");
            profile.to_pprof(("inuse_space", "bytes"), ("space", "bytes"), None)
        }
    };
    let seconds = clock::process_cpu() - begun;
    let peak = status("VmHWM:") - before + dump.len() as f64;
    figures([
        ("seconds", seconds),
        ("memory", peak / dump.len() as f64),
        ("input", dump.len() as f64 / 1e6),
        ("output", black_box(bytes).len() as f64 / 1e6),
    ])
}

fn status(name: &str) -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("the kernel says");
    1024.0 * line.trim().trim_end_matches("kB").trim().parse::<f64>().expect("a number")
}

/// Stacks as a program has them: they begin alike, and each place calls a few others only.
fn dump(stacks: u32) -> Vec<u8> {
    let mut random = Random::new(11);
    let mut addresses: Vec<u64> =
        (0..ADDRESSES).map(|_| 0x5555_5540_0000 + random.between(0, 8 << 20)).collect();
    addresses.sort_unstable();
    let mut text = String::with_capacity(stacks as usize * 480);
    text.push_str("heap_v2/524288\n  t*: 1: 1 [1: 1]\n  t0: 1: 1 [1: 1]\n");
    let mut stack: Vec<u64> = Vec::new();
    for _ in 0..stacks {
        let shared = random.between(8, 24) as usize;
        stack.truncate(shared);
        let depth = random.between(24, 36) as usize;
        while stack.len() < depth {
            let caller = stack.last().copied().unwrap_or(0);
            let callee =
                (caller ^ random.between(0, CALLEES) << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            stack.push(addresses[(callee >> 32) as usize % addresses.len()]);
        }
        text.push('@');
        for address in stack.iter().rev() {
            write!(text, " {address:#x}").expect("a string takes it");
        }
        let (live, ever) = (random.between(1, 50), random.between(50, 5000));
        let size = random.between(16, 4096);
        let counts = format!("{live}: {} [{ever}: {}]", live * size, ever * size);
        writeln!(text, "\n  t*: {counts}\n  t0: {counts}").expect("a string takes it");
    }
    text.push_str(
        "\nMAPPED_LIBRARIES:\n555555400000-555555d00000 r-xp 00001000 fe:00 7 /usr/bin/service\n",
    );
    text.into_bytes()
}
