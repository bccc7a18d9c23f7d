use profile_core::profile::{DecodeLimits, Profile};
use profile_core::{Collector, collect::SampledCpu};
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
fn cpu() -> f64 {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    unsafe {
        libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut t);
    }
    t.tv_sec as f64 + t.tv_nsec as f64 / 1e9
}
#[inline(never)]
fn deep(n: u32, stop: &AtomicBool) -> u64 {
    if n == 0 {
        let mut s = 1u64;
        while !stop.load(Ordering::Relaxed) {
            for _ in 0..10000 {
                s = (s * 1664525 + 1013904223) & 0xffffffff;
            }
            black_box(s);
        }
        return s;
    }
    black_box(deep(n - 1, stop)) + 1
}
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let threads: usize = args[1].parse().unwrap();
    let hz: u32 = args[2].parse().unwrap();
    let secs: f64 = args[3].parse().unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|s| {
        for _ in 0..threads {
            s.spawn(|| deep(50, &stop));
        }
        std::thread::sleep(Duration::from_millis(50));
        let w = SampledCpu::new().hz(hz).start().unwrap();
        let c0 = cpu();
        std::thread::sleep(Duration::from_secs_f64(secs));
        let c1 = cpu();
        let p = w.close();
        stop.store(true, Ordering::Relaxed);
        let f = p().unwrap();
        let prof = Profile::decode(&f[0].bytes, &DecodeLimits::default()).unwrap();
        let n: i64 = prof.samples.iter().map(|s| s.values[0]).sum();
        println!(
            "threads {threads} hz {hz}: {n} samples, ratio {:.4}, stacks {}",
            n as f64 / ((c1 - c0) * hz as f64),
            prof.samples.len()
        );
        for c in &prof.comments {
            println!("  {}", prof.str(*c));
        }
        if args.len() > 4 {
            std::fs::write(&args[4], &f[0].bytes).unwrap();
        }
    });
}
