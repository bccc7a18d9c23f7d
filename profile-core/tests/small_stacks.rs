//! What ours takes of the program's stacks, painted and measured, and whether programs live that have
//! next to nothing of them. Of a program of its own, with the allocator and libc's functions stood in for.

#[path = "../../tests/it/support/own_process.rs"]
mod own_process;

use std::alloc::System;
use std::cell::Cell;
use std::hint::black_box;
use std::mem::zeroed;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use libc::{c_int, c_void, ucontext_t};
use own_process::is_own_process;
use profile_core::alloc::{self, Sampled};
use profile_core::collect::SampledCpu;
use profile_core::waits::{set_block_profile_rate, set_mutex_profile_fraction};
use profile_core::{Collectors, Kind, single};

#[global_allocator]
static ALLOCATOR: Sampled<System> = Sampled::new(System);

const PAINT: u8 = 0xa5;
/// Bytes at both sides of a stack that nobody may write to.
const GUARD: usize = 64 << 10;

/// Memory with a stack in its middle, all of it painted.
struct Painted {
    bytes: Vec<u8>,
    size: usize,
}

impl Painted {
    fn new(size: usize) -> Painted {
        Painted { bytes: vec![PAINT; size + 2 * GUARD], size }
    }

    fn start(&mut self) -> *mut c_void {
        self.bytes[GUARD..].as_mut_ptr().cast()
    }

    /// Bytes from the stack's upper end to the lowest that was written to.
    fn depth(&self) -> usize {
        let written = self.bytes.iter().position(|&byte| byte != PAINT);
        written.map_or(0, |at| (GUARD + self.size).saturating_sub(at))
    }

    #[track_caller]
    fn check(&self, what: &str) {
        let clean = |side: &[u8]| side.iter().all(|&byte| byte == PAINT);
        assert!(clean(&self.bytes[..GUARD]), "{what}: written to below the stack");
        assert!(clean(&self.bytes[GUARD + self.size..]), "{what}: written to above the stack");
    }
}

thread_local! {
    static HERE: Cell<*mut ucontext_t> = const { Cell::new(ptr::null_mut()) };
    static THERE: Cell<*mut ucontext_t> = const { Cell::new(ptr::null_mut()) };
    static BODY: Cell<Option<fn()>> = const { Cell::new(None) };
    /// Whether what runs may be left.
    static MAY_BE_LEFT: Cell<bool> = const { Cell::new(false) };
}

extern "C" fn begin() {
    MAY_BE_LEFT.set(true);
    BODY.get().unwrap()();
    MAY_BE_LEFT.set(false);
    // SAFETY: both are contexts of this thread that live until `on` returns.
    unsafe { libc::swapcontext(THERE.get(), HERE.get()) };
}

/// Runs `body` on a stack of so many bytes, and gives that back. It may be left by [`leave`].
fn on(size: usize, body: fn()) -> Painted {
    let mut stack = Painted::new(size);
    // SAFETY: plain C structures, which getcontext(3) fills in.
    let (mut here, mut there): (Box<ucontext_t>, Box<ucontext_t>) =
        unsafe { (Box::new(zeroed()), Box::new(zeroed())) };
    HERE.set(&raw mut *here);
    THERE.set(&raw mut *there);
    BODY.set(Some(body));
    // SAFETY: makecontext(3) on a context that was gotten and a stack that outlives it.
    unsafe {
        libc::getcontext(&raw mut *there);
        there.uc_stack.ss_sp = stack.start();
        there.uc_stack.ss_size = size;
        libc::makecontext(&raw mut *there, begin, 0);
        libc::swapcontext(&raw mut *here, &raw const *there);
    }
    stack
}

/// Leaves what [`on`] runs, from a signal handler, for good: as `siglongjmp` does.
extern "C" fn leave(_signal: c_int) {
    if MAY_BE_LEFT.replace(false) {
        // SAFETY: the context of this thread that waits in `on`.
        unsafe { libc::setcontext(HERE.get()) };
    }
}

/// Burns CPU time without a call that needs much of a stack.
fn burn(time: Duration) {
    let began = Instant::now();
    let mut x = 1u64;
    while began.elapsed() < time {
        for _ in 0..500 {
            x = black_box(x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
        }
    }
}

fn collectors() -> Collectors {
    Collectors::new().with(SampledCpu::new().hz(999))
}

/// CPU windows, dumps and waits, one after the other, while `work` goes on. It begins when the first
/// window is open, which takes longer than some of what is done here where processors are slow.
fn while_everything_is_on(work: impl FnOnce()) {
    let ended = AtomicBool::new(false);
    let (opened, is_open) = mpsc::channel();
    let before = (set_block_profile_rate(1), set_mutex_profile_fraction(1));
    thread::scope(|scope| {
        let ended = &ended;
        scope.spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                let window = single::open(&collectors(), Kind::Cpu).unwrap();
                let _ = opened.send(());
                thread::sleep(Duration::from_millis(50));
                single::snapshot(&collectors(), Kind::Goroutine).unwrap();
                window.close().unwrap().finish().unwrap();
            }
        });
        is_open.recv().expect("a window that opens");
        work();
        ended.store(true, Ordering::Relaxed);
    });
    set_block_profile_rate(before.0);
    set_mutex_profile_fraction(before.1);
}

/// Runs `work` on a thread without an alternate stack.
fn without_alternate_stack<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    let on_it = || {
        // SAFETY: sigaltstack(2) with nothing but the flag.
        unsafe {
            let mut none: libc::stack_t = zeroed();
            none.ss_flags = libc::SS_DISABLE;
            let mut before: libc::stack_t = zeroed();
            libc::sigaltstack(&raw const none, &raw mut before);
            let result = work();
            libc::sigaltstack(&raw const before, ptr::null_mut());
            result
        }
    };
    thread::scope(|scope| scope.spawn(on_it).join().unwrap())
}

fn install(signal: c_int, handler: extern "C" fn(c_int), flags: c_int) {
    // SAFETY: sigaction(2) with a handler of the type that these flags ask for.
    unsafe {
        let mut action: libc::sigaction = zeroed();
        action.sa_sigaction = handler as *const () as usize;
        action.sa_flags = flags;
        assert_eq!(libc::sigaction(signal, &raw const action, ptr::null_mut()), 0);
    }
}

/// Sends a signal to the calling thread and no other, again and again.
fn interrupt_this_thread(signal: c_int, every: Duration) -> libc::timer_t {
    // SAFETY: plain C structures, and timer_create(2) and timer_settime(2) with what they ask for.
    unsafe {
        let mut event: libc::sigevent = zeroed();
        event.sigev_notify = libc::SIGEV_THREAD_ID;
        event.sigev_signo = signal;
        event.sigev_notify_thread_id = libc::gettid();
        let mut timer = zeroed();
        let created = libc::timer_create(libc::CLOCK_MONOTONIC, &raw mut event, &raw mut timer);
        assert_eq!(created, 0);
        let every = libc::timespec { tv_sec: 0, tv_nsec: every.as_nanos().try_into().unwrap() };
        let times = libc::itimerspec { it_interval: every, it_value: every };
        assert_eq!(libc::timer_settime(timer, 0, &raw const times, ptr::null_mut()), 0);
        timer
    }
}

extern "C" fn nothing(_signal: c_int) {}

fn burns() {
    burn(Duration::from_millis(300));
}

/// The kernel's frame, and the least handler there is.
fn raises() {
    // SAFETY: pthread_kill(3) of this thread, which handles the signal.
    unsafe { libc::pthread_kill(libc::pthread_self(), libc::SIGUSR2) };
    burn(Duration::from_millis(10));
}

#[test]
fn handlers_take_nothing_beyond_the_kernels_frame() {
    if !is_own_process("handlers_take_nothing_beyond_the_kernels_frame") {
        return;
    }
    install(libc::SIGUSR2, nothing, 0);
    let (frame, ours) = without_alternate_stack(|| {
        let frame = on(256 << 10, raises).depth();
        let mut ours = 0;
        while_everything_is_on(|| {
            let began = Instant::now();
            while ours < frame / 2 && began.elapsed() < Duration::from_secs(60) {
                ours = on(256 << 10, burns).depth();
            }
        });
        (frame, ours)
    });
    println!("a signal's frame with the least handler {frame} bytes, with ours {ours}");
    assert!(frame > 500, "{frame}");
    assert!(ours > frame / 2, "no signal came in a minute");
    assert!(ours <= frame + 512, "{ours} bytes, {frame} of them the kernel's");

    // With an alternate stack a coroutine's is not touched at all.
    let quiet = on(256 << 10, burns).depth();
    let mut ours = 0;
    while_everything_is_on(|| ours = on(256 << 10, burns).depth());
    assert!(ours <= quiet + 64, "{ours} bytes, {quiet} without");
}

static WORD: AtomicU32 = AtomicU32::new(0);

fn waits() {
    let time = libc::timespec { tv_sec: 0, tv_nsec: 2_000_000 };
    for _ in 0..20 {
        let (wait, wake) = (libc::FUTEX_WAIT, libc::FUTEX_WAKE);
        // SAFETY: futex(2) on a word that lives on, with a time that lives during the call.
        unsafe {
            libc::syscall(libc::SYS_futex, WORD.as_ptr(), wait, 0, &raw const time, 0, 0);
            libc::syscall(libc::SYS_futex, WORD.as_ptr(), wake, 1, 0, 0, 0);
        }
    }
}

fn allocates() {
    for _ in 0..20 {
        black_box(vec![1u8; 100]);
    }
}

#[test]
fn waits_and_allocations_take_next_to_nothing() {
    if !is_own_process("waits_and_allocations_take_next_to_nothing") {
        return;
    }
    let before = on(256 << 10, waits).depth();
    set_block_profile_rate(1);
    set_mutex_profile_fraction(1);
    let recorded = on(256 << 10, waits).depth();
    println!("a futex wait: {before} bytes, recorded {recorded}");
    // Frames are three times as large where nothing is optimised.
    let most = if cfg!(debug_assertions) { 3 * 512 } else { 512 };
    assert!(recorded <= before + most);

    // Frees of blocks that were sampled before are looked at, too.
    alloc::set_rate(1 << 40);
    let unsampled = thread::spawn(|| on(256 << 10, allocates).depth()).join().unwrap();
    alloc::set_rate(1);
    let sampled = thread::spawn(|| on(256 << 10, allocates).depth()).join().unwrap();
    let allocator = on(256 << 10, || {
        for _ in 0..20 {
            // SAFETY: malloc(3) and free(3) of one block.
            unsafe { libc::free(black_box(libc::malloc(black_box(100)))) };
        }
    })
    .depth();
    println!(
        "an allocation: {allocator} bytes of libc's, {unsampled} unsampled, {sampled} sampled"
    );
    assert!(sampled <= unsampled + 2 * most);
}

#[test]
fn coroutines_and_threads_of_the_least_size_live() {
    if !is_own_process("coroutines_and_threads_of_the_least_size_live") {
        return;
    }
    alloc::set_rate(1 << 10);
    while_everything_is_on(|| {
        for _ in 0..10 {
            on(4096, || burn(Duration::from_millis(100))).check("a coroutine that burns");
            on(4096, waits).check("a coroutine that waits");
        }
    });
    while_everything_is_on(|| {
        for _ in 0..10 {
            // The kernel's frame is put on it, so that the thread itself has but a part.
            tiny_thread(on_tiny);
        }
    });

    extern "C" fn on_tiny(_: *mut c_void) -> *mut c_void {
        burn(Duration::from_millis(50));
        waits();
        allocates();
        ptr::null_mut()
    }

    fn tiny_thread(body: extern "C" fn(*mut c_void) -> *mut c_void) {
        // SAFETY: pthread_create(3) with the least stack, painted memory of our own around it.
        unsafe {
            let size = libc::sysconf(libc::_SC_THREAD_STACK_MIN).max(16384) as usize;
            let mut attributes: libc::pthread_attr_t = zeroed();
            libc::pthread_attr_init(&raw mut attributes);
            assert_eq!(libc::pthread_attr_setstacksize(&raw mut attributes, size), 0);
            let mut id = zeroed();
            let status =
                libc::pthread_create(&raw mut id, &raw const attributes, body, ptr::null_mut());
            assert_eq!(status, 0);
            libc::pthread_join(id, ptr::null_mut());
            libc::pthread_attr_destroy(&raw mut attributes);
        }
    }
}

static HITS: AtomicUsize = AtomicUsize::new(0);

extern "C" fn burns_on_alternate_stack(_signal: c_int) {
    HITS.fetch_add(1, Ordering::Relaxed);
    burn(Duration::from_millis(100));
}

#[test]
fn handlers_at_the_end_of_an_alternate_stack_live() {
    if !is_own_process("handlers_at_the_end_of_an_alternate_stack_live") {
        return;
    }
    install(libc::SIGUSR1, burns_on_alternate_stack, libc::SA_ONSTACK);
    // From here on the handler is known.
    let _ = collectors();
    // SAFETY: getauxval(3) only reads.
    let least = (unsafe { libc::getauxval(libc::AT_MINSIGSTKSZ) } as usize).max(2048);
    // What a handler itself needs, in a debug build too. The kernel's frame alone may take more than
    // the smaller of the usual sizes.
    for size in [least + 1024, least + 2048, 8192, 12288, 16384] {
        let size = size.max(least + 1024);
        let mut stack = Painted::new(size);
        while_everything_is_on(|| {
            // SAFETY: sigaltstack(2) with memory that outlives its use, and pthread_kill(3) of this
            // thread.
            unsafe {
                let mut before: libc::stack_t = zeroed();
                let ours = libc::stack_t { ss_sp: stack.start(), ss_flags: 0, ss_size: size };
                assert_eq!(libc::sigaltstack(&raw const ours, &raw mut before), 0);
                for _ in 0..3 {
                    libc::pthread_kill(libc::pthread_self(), libc::SIGUSR1);
                    burn(Duration::from_millis(20));
                }
                libc::sigaltstack(&raw const before, ptr::null_mut());
            }
        });
        stack.check(&format!("an alternate stack of {size} bytes"));
    }
    assert_eq!(HITS.load(Ordering::Relaxed), 15);
}

#[test]
fn handlers_that_do_not_come_back_hold_nobody_up() {
    if !is_own_process("handlers_that_do_not_come_back_hold_nobody_up") {
        return;
    }
    // Only burning: a lock of the allocator's must not be left behind by the program itself.
    install(libc::SIGALRM, leave, 0);
    let jumps = AtomicUsize::new(0);
    let (begun, has_begun) = mpsc::channel();
    let (end, has_ended) = mpsc::channel::<()>();
    let blocked = thread::spawn(move || {
        // Those that are started below as well: what they run is not to be left.
        // SAFETY: sigsetops(3) and pthread_sigmask(3) with a set that lives during the calls.
        unsafe {
            let mut alarm: libc::sigset_t = zeroed();
            libc::sigaddset(&raw mut alarm, libc::SIGALRM);
            libc::pthread_sigmask(libc::SIG_BLOCK, &raw const alarm, ptr::null_mut());
        }
        while_everything_is_on(|| {
            begun.send(()).unwrap();
            let _ = has_ended.recv();
        });
    });
    has_begun.recv().unwrap();
    let timer = interrupt_this_thread(libc::SIGALRM, Duration::from_micros(150));
    let began = Instant::now();
    // Two seconds, and where processors are slow as long as it takes.
    let enough = || began.elapsed() > Duration::from_secs(2) && jumps.load(Ordering::Relaxed) > 500;
    while !enough() && began.elapsed() < Duration::from_secs(180) {
        on(64 << 10, || {
            loop {
                black_box(waits_once());
            }
        });
        jumps.fetch_add(1, Ordering::Relaxed);
    }
    // SAFETY: timer_delete(2) of a timer of this thread's, which goes on with its handler in place.
    unsafe { libc::timer_delete(timer) };
    drop(end);
    blocked.join().unwrap();
    println!("left {} times", jumps.load(Ordering::Relaxed));
    assert!(jumps.load(Ordering::Relaxed) > 500);
    // The rest of its life is all right.
    let window = single::open(&collectors(), Kind::Cpu).unwrap();
    burn(Duration::from_millis(300));
    window.close().unwrap().finish().unwrap();
}

/// A wait that ends at once or is left, and a little work.
fn waits_once() -> u64 {
    let time = libc::timespec { tv_sec: 0, tv_nsec: 20_000 };
    // SAFETY: futex(2) on a word that lives on, with a time that lives during the call.
    unsafe {
        libc::syscall(libc::SYS_futex, WORD.as_ptr(), libc::FUTEX_WAIT, 0, &raw const time, 0, 0);
    }
    (0..2000).fold(1u64, |x, n| black_box(x.wrapping_mul(31).wrapping_add(n)))
}
