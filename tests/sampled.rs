//! The sampling allocator around the system's, in a program that has it as its own.

#[path = "it/support/go.rs"]
mod go;
#[path = "it/support/own_process.rs"]
mod own_process;
#[path = "heap/sites.rs"]
mod sites;

use std::alloc::System;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use own_process::is_own_process;
use profilez::alloc::{self, Sampled};
use profilez::core::heap::{self, Amounts, Feeder};
use profilez::core::profile::{DecodeLimits, Profile};
use profilez::core::{Collectors, Kind};

#[global_allocator]
static ALLOCATOR: Sampled<System> = Sampled::new(System);

#[test]
fn four_sites_are_estimated_as_theory_says() {
    if !is_own_process("four_sites_are_estimated_as_theory_says") {
        return;
    }
    const RATE: u64 = 64 << 10;
    alloc::set_rate(RATE);
    // This thread may have drawn its way to the next sample at the rate before.
    let kept = thread::spawn(sites::run).join().unwrap();
    let top = heap::top(10_000).unwrap();
    assert_eq!((top.feeder, top.rate, top.dropped), (Feeder::Sampled, RATE, 0));
    sites::check(&top, RATE, true);
    // Where threads' births are recorded they begin in a function of ours.
    let is_born = |function: &str| function.ends_with("births::begin");
    let frames = top.by_alloc.iter().flat_map(|site| site.stack.iter());
    for frame in frames.filter(|frame| !is_born(&frame.function)) {
        assert!(!frame.function.contains("Sampled"), "{frame:?}");
        assert!(!frame.function.contains("profile_core::"), "{frame:?}");
        assert!(!frame.function.contains("raw_vec"), "{frame:?}");
    }

    let collectors = Collectors::new();
    let directory = tempfile::tempdir().unwrap();
    let files = collectors.collector(Kind::Allocs).snapshot().unwrap();
    assert_eq!(files[0].name, "allocs.prof");
    let path = directory.path().join(files[0].name);
    std::fs::write(&path, &files[0].bytes).unwrap();
    go::check_totals(&path, &files[0].bytes);

    drop(kept);
    sites::check(&heap::top(10_000).unwrap(), RATE, false);
}

#[test]
fn every_block_is_what_was_asked_for() {
    if !is_own_process("every_block_is_what_was_asked_for") {
        return;
    }
    alloc::set_rate(1);
    let work = || {
        let mut rings: Vec<Vec<u8>> = vec![Vec::new(); 64];
        for turn in 0..40_000usize {
            // Now with every block sampled, now with none, so that blocks change what they are.
            if turn % 1000 == 0 {
                alloc::set_rate(u64::from(turn % 2000 == 0));
            }
            let ring = &mut rings[turn % 64];
            assert!(ring.iter().enumerate().all(|(at, byte)| *byte == at as u8));
            let len = turn.wrapping_mul(2_654_435_761) % 5000;
            ring.truncate(len);
            ring.shrink_to_fit();
            ring.extend((ring.len()..len).map(|at| at as u8));
            #[repr(align(8192))]
            struct Aligned(u8);
            let aligned = black_box(Box::new(Aligned(7)));
            assert!((&raw const *aligned).addr().is_multiple_of(8192) && aligned.0 == 7);
            assert!(black_box(vec![0u32; len]).iter().all(|word| *word == 0));
        }
    };
    for worker in [thread::spawn(work), thread::spawn(work)] {
        worker.join().unwrap();
    }
    alloc::set_rate(0);
}

#[test]
fn nothing_is_in_use_when_all_is_freed() {
    if !is_own_process("nothing_is_in_use_when_all_is_freed") {
        return;
    }
    #[inline(never)]
    fn keep(size: usize) -> Vec<u8> {
        black_box(vec![1; size])
    }
    alloc::set_rate(1);
    let kept = thread::spawn(|| (1..3000).map(keep).collect::<Vec<_>>()).join().unwrap();
    let found = || {
        let top = heap::top(10_000).unwrap();
        sites::found(&top, "nothing_is_in_use_when_all_is_freed::keep")
    };
    let bytes = (1..3000).sum::<u64>();
    let alloc = Amounts { alloc_objects: 2999, alloc_bytes: bytes, ..Amounts::default() };
    assert_eq!(found(), Amounts { inuse_objects: 2999, inuse_bytes: bytes, ..alloc });
    // Freed by another thread than the one that allocated, and while nothing is sampled.
    alloc::set_rate(0);
    drop(kept);
    assert_eq!(found(), alloc);
}

#[test]
fn a_window_samples_where_sampling_is_off() {
    if !is_own_process("a_window_samples_where_sampling_is_off") {
        return;
    }
    alloc::set_rate(0);
    let collectors = Collectors::new();
    let window = collectors.collector(Kind::Heap).start().unwrap();
    assert_eq!(alloc::rate(), 512 << 10);
    let kept = thread::spawn(|| black_box(vec![1u8; 64 << 20])).join().unwrap();
    let files = window.close()().unwrap();
    assert_eq!(alloc::rate(), 0);
    let profile = Profile::decode(&files[0].bytes, &DecodeLimits::default()).unwrap();
    let inuse: i64 = profile.samples.iter().map(|sample| sample.values[3]).sum();
    assert!(inuse >= 64 << 20, "{inuse}");
    drop(kept);
    // The profiler's own allocations are not seen, of which a profile takes many.
    assert!(inuse < 66 << 20, "{inuse}");
}

#[test]
fn forked_children_allocate_while_others_sampled() {
    if !is_own_process("forked_children_allocate_while_others_sampled") {
        return;
    }
    alloc::set_rate(256);
    heap::install();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut kept = Vec::new();
                let mut turn = 1usize;
                while !stop.load(Ordering::Relaxed) {
                    turn = turn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    kept.push(vec![1u8; (turn >> 33) % 2000]);
                    if kept.len() > 500 {
                        kept.clear();
                    }
                }
            });
        }
        for _ in 0..1000 {
            // SAFETY: fork(2). The child allocates, which glibc allows there, and leaves by _exit(2).
            match unsafe { libc::fork() } {
                -1 => panic!("fork: {}", std::io::Error::last_os_error()),
                0 => {
                    let kept: Vec<Vec<u8>> = (0..200).map(|size| vec![1; size * 10]).collect();
                    let whole = kept.iter().all(|block| block.iter().all(|byte| *byte == 1));
                    drop(kept);
                    // SAFETY: as above.
                    unsafe { libc::_exit(i32::from(!whole)) }
                }
                child => assert_eq!(wait(child), 0),
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
}

/// The status of a child, which must end.
fn wait(child: libc::pid_t) -> i32 {
    let begun = Instant::now();
    let mut status = 0;
    // SAFETY: waitpid(2) of our own child, which writes the status.
    while unsafe { libc::waitpid(child, &raw mut status, libc::WNOHANG) } == 0 {
        if begun.elapsed() > Duration::from_secs(30) {
            // SAFETY: kill(2) of our own child.
            unsafe { libc::kill(child, libc::SIGKILL) };
            panic!("a forked child hangs");
        }
        thread::sleep(Duration::from_micros(200));
    }
    status
}
