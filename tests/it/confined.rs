//! Profiles of a process that is not allowed much: no tracing of itself, or no reading of memory by
//! system calls.

use std::thread;

use profilez::analysis::top::{TopOptions, top};
use profilez::core::{Collectors, Kind};

use crate::support::own_process::is_own_process;

#[inline(never)]
fn burns_for_the_test(until: &std::sync::atomic::AtomicBool) {
    while !until.load(std::sync::atomic::Ordering::Relaxed) {
        // Without a call: a debug build calls what looks like none, and samples would be those functions'.
        let mut turns = 0;
        while turns < 100_000 {
            turns += 1;
        }
    }
}

#[inline(never)]
fn waits_for_the_test() {
    thread::park();
    std::hint::black_box(());
}

/// A thread that runs and one that waits are seen with their stacks, up to their roots.
fn sees_everything() {
    let done = std::sync::atomic::AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| burns_for_the_test(&done));
        let waiter = scope.spawn(waits_for_the_test);
        let collectors = Collectors::new();
        let cpu = collectors.collector(Kind::Cpu).start().unwrap();
        thread::sleep(std::time::Duration::from_millis(500));
        let cpu = cpu.close()().unwrap().remove(0).bytes;
        let threads = collectors.collector(Kind::Goroutine).snapshot().unwrap();
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        waiter.thread().unpark();

        let read = profilez::analysis::read(&cpu).unwrap();
        let rows = top(&read.stacks, &TopOptions::default()).unwrap().rows;
        assert!(rows[0].name.ends_with("burns_for_the_test"), "{rows:?}");
        let text = threads.into_iter().find(|file| file.name == "goroutine.txt").unwrap();
        let text = String::from_utf8(text.bytes.into_vec()).unwrap();
        for name in ["burns_for_the_test", "waits_for_the_test"] {
            let block = text.split("\n\n").find(|block| block.contains(name));
            let block = block.unwrap_or_else(|| panic!("no {name} in\n{text}"));
            assert!(block.contains("thread_start"), "not up to the root:\n{block}");
        }
    });
}

#[test]
fn a_process_that_may_not_be_traced() {
    if !is_own_process("confined::a_process_that_may_not_be_traced") {
        return;
    }
    const NOBODY: u32 = 65534;
    // SAFETY: setresgid(2), setresuid(2) and prctl(2) with plain numbers. They fail for who is not
    // root, which is the user that is wanted anyway.
    unsafe {
        if libc::geteuid() == 0 {
            assert_eq!(libc::setresgid(NOBODY, NOBODY, NOBODY), 0);
            assert_eq!(libc::setresuid(NOBODY, NOBODY, NOBODY), 0);
        }
        assert_eq!(libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0), 0);
    }
    assert!(std::fs::read("/proc/self/syscall").is_err(), "/proc tells nothing of this process");
    sees_everything();
}

#[test]
fn a_process_whose_filter_forbids_reading_memory() {
    if !is_own_process("confined::a_process_whose_filter_forbids_reading_memory") {
        return;
    }
    forbid(libc::SYS_process_vm_readv);
    sees_everything();
}

/// Makes a system call fail with `EPERM`, in every thread from now on.
fn forbid(call: libc::c_long) {
    const LOAD_WORD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const JUMP_IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    // The call's number is the first word of `seccomp_data` (seccomp(2)).
    let mut filter = [
        step(LOAD_WORD, 0, 0, 0),
        step(JUMP_IF_EQUAL, 0, 1, call as u32),
        step(RETURN, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
        step(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: prctl(2) and seccomp(2) with a filter that lives during the call.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        let mode = libc::SECCOMP_SET_MODE_FILTER;
        let flags = libc::SECCOMP_FILTER_FLAG_TSYNC;
        assert_eq!(libc::syscall(libc::SYS_seccomp, mode, flags, &raw const program), 0);
    }
}
