use profile_core::{Collectors, Kind};
use std::time::Instant;
fn cpu() -> f64 {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    unsafe {
        libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut t);
    }
    t.tv_sec as f64 + t.tv_nsec as f64 / 1e9
}
fn main() {
    let n: usize = std::env::args().nth(1).unwrap().parse().unwrap();
    let m = std::sync::Arc::new(std::sync::Mutex::new(()));
    let g = m.lock().unwrap();
    for i in 0..n {
        let m = m.clone();
        std::thread::Builder::new()
            .stack_size(64 << 10)
            .spawn(move || match i % 4 {
                0 => {
                    drop(m.lock());
                }
                1 => {
                    std::thread::sleep(std::time::Duration::from_secs(1000));
                }
                2 => {
                    std::thread::park();
                }
                _ => {
                    let (_a, b) = std::sync::mpsc::channel::<()>();
                    let _ = b.recv();
                    std::mem::forget(_a);
                }
            })
            .unwrap();
    }
    std::thread::sleep(std::time::Duration::from_millis(500));
    for _ in 0..4 {
        let c0 = cpu();
        let t0 = Instant::now();
        let w = Collectors::new().collector(Kind::Goroutine).start().unwrap();
        let f = w.close()().unwrap();
        println!(
            "{} threads: {:.1} ms cpu {:.1} ms wall, {} bytes txt",
            n,
            (cpu() - c0) * 1e3,
            t0.elapsed().as_secs_f64() * 1e3,
            f[1].bytes.len()
        );
        if std::env::args().nth(2).is_some() {
            println!("{}", String::from_utf8_lossy(&f[1].bytes));
        }
    }
    drop(g);
    std::process::exit(0);
}
