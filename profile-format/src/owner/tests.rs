use super::*;

const RUSTC: &str = "/rustc/59807616e1fa2540724bfbac14d7976d7e4a3860/library";
const REGISTRY: &str = "/root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f";

#[track_caller]
fn check(function: &str, file: &str, owner: FrameOwner) {
    assert_eq!(FrameOwner::of(function, file), owner, "{function} {file}");
}

#[test]
fn knows_the_standard_library() {
    let standard = FrameOwner::Standard;
    check("alloc::vec::Vec<T>::push", "", standard);
    check("push<u64>", &format!("{RUSTC}/alloc/src/vec/mod.rs"), standard);
    check("<T as shop::Trait>::f", &format!("{RUSTC}/core/src/iter.rs"), standard);
    check("<alloc::string::String as core::clone::Clone>::clone", "", standard);
    check("f", "/rust/deps/hashbrown-0.15.2/src/raw/mod.rs", standard);
    check("find", &format!("{REGISTRY}/hashbrown-0.15.2/src/raw/mod.rs"), standard);
    check("syscall", "", standard);
    check("std::thread::park", "?", standard);
    check(&gap_name(173), "", standard);
    check("nanosleep", "./time/nanosleep.c", standard);
    check("runtime.mallocgc", "/usr/local/go/src/runtime/malloc.go", standard);
    check("net/http.(*conn).serve", "net/http/server.go", standard);
}

#[test]
fn knows_allocators_with_every_debug_setting() {
    let allocator = FrameOwner::Allocator;
    let built = "/app/target/release/build/tikv-jemalloc-sys-d1f583d6c3715701/out/build";
    for (function, file) in [
        ("prof_alloc_prep", format!("{built}/include/jemalloc/internal/prof_inlines.h")),
        ("imalloc_body", format!("{built}/src/jemalloc.c")),
        ("alloc", format!("{REGISTRY}/tikv-jemallocator-0.7.0/src/lib.rs")),
        ("malloc_large", "/usr/src/jemalloc-5.3.0/src/large.c".to_owned()),
        ("mi_malloc", String::new()),
        (
            "mi_theap_malloc",
            format!("{REGISTRY}/libmimalloc-sys-0.1.44/c_src/mimalloc/src/alloc.c"),
        ),
        ("alloc", format!("{REGISTRY}/snmalloc-rs-0.3.8/src/lib.rs")),
        ("tc_malloc", "/build/gperftools-2.10/src/tcmalloc.cc".to_owned()),
        ("malloc", String::new()),
        ("_int_malloc", "./malloc/malloc.c".to_owned()),
        ("__rustc::__rust_alloc", String::new()),
        ("__rust_realloc", String::new()),
        ("tikv_jemalloc_sys::malloc", "/src/alloc.rs".to_owned()),
        ("<tikv_jemallocator::Jemalloc as core::alloc::GlobalAlloc>::alloc", String::new()),
    ] {
        check(function, &file, allocator);
    }
    check("malloc_stats_of_mine", "src/main.rs", FrameOwner::Program);
}

#[test]
fn knows_runtimes_and_locks() {
    for (function, file) in [
        ("run_worker", "tokio-1.48.0/src/runtime/scheduler/multi_thread/worker.rs"),
        ("sleep", "rayon-core-1.13.0/src/sleep/mod.rs"),
        ("main_loop", "async-io-2.6.0/src/driver.rs"),
        ("{closure#0}<actix_rt::arbiter::{closure_env#1}, ()>", "actix-rt-2.11.0/src/arbiter.rs"),
    ] {
        check(function, &format!("{REGISTRY}/{file}"), FrameOwner::Runtime);
    }
    check("tokio::runtime::park::Inner::park", "", FrameOwner::Runtime);
    check(
        "park",
        &format!("{REGISTRY}/parking_lot_core-0.9.12/src/parking_lot.rs"),
        FrameOwner::Locks,
    );
    check("<parking::Parker>::park", "", FrameOwner::Locks);
    check("tokio::loom::std::parking_lot::Condvar::wait", "", FrameOwner::Locks);
    check(
        "wait<()>",
        &format!("{REGISTRY}/tokio-1.48.0/src/loom/std/parking_lot.rs"),
        FrameOwner::Locks,
    );
}

#[test]
fn knows_the_profiler_by_folder_and_by_name() {
    let own = |frame| FrameOwner::Profiler(frame);
    for root in ["/home/u/profilez/", &format!("{REGISTRY}/"), "/app/vendor/"] {
        let version = if root == "/app/vendor/" { "" } else { "-0.1.0" };
        for (path, frame) in [
            ("core{}/src/heap/raw/hooks.rs", OwnFrame::Allocating),
            ("core{}/src/heap/profile/mod.rs", OwnFrame::Work),
            ("core{}/src/waits/raw/births.rs", OwnFrame::Around),
            ("core{}/src/waits/raw/syscall.rs", OwnFrame::Passing),
            ("core{}/src/task/future.rs", OwnFrame::Around),
            ("http{}/src/server/mod.rs", OwnFrame::Work),
            ("http{}/src/tasks.rs", OwnFrame::Around),
            ("format{}/src/kind.rs", OwnFrame::Work),
        ] {
            let file = format!("{root}profile-{}", path.replace("{}", version));
            check("begin", &file, own(frame));
        }
    }
    check("profile_core::waits::raw::births::begin", "", own(OwnFrame::Around));
    let wrapper = "<profile_core::heap::wrapper::Sampled<A> as core::alloc::GlobalAlloc>::alloc";
    check(wrapper, "", own(OwnFrame::Allocating));
    check("profile_core::session::start", "", own(OwnFrame::Work));
    check("profile_core::heap::tests::burn", "", FrameOwner::Program);
    check("profile_of_user::run", "", FrameOwner::Program);
    check(
        "profilez::demo::workload::burn",
        "/home/u/profilez/src/demo/workload.rs",
        FrameOwner::Program,
    );
}

/// The modules that the table names exist.
#[test]
fn own_modules_are_where_the_table_says() {
    let workspace = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for part in OWN_CRATES {
        let folder = workspace.join(format!("profile-{part}"));
        assert!(folder.join("src/lib.rs").exists(), "{folder:?}");
    }
    for (part, module, _) in OWN_MODULES {
        let path = workspace.join(format!("profile-{part}/src/{module}"));
        assert!(path.is_dir() || path.with_extension("rs").exists(), "{path:?}");
    }
}

#[test]
fn knows_libraries_and_the_program() {
    check("from_str", &format!("{REGISTRY}/serde_json-1.0.1/src/de.rs"), FrameOwner::Library);
    check("deflate", &format!("{REGISTRY}/libz-sys-1.1.2/src/zlib/deflate.c"), FrameOwner::Library);
    check("github.com/a/b.(*T).F", "/go/pkg/mod/github.com/a/b/c.go", FrameOwner::Library);
    for (function, file) in [
        ("shop::run", "src/main.rs"),
        ("shop::run", ""),
        ("{async_fn#0}", "/app/src/h2.rs"),
        ("<alloc::vec::Vec<T> as shop::Trait>::f", "src/main.rs"),
        ("core::f", "/src/core/lib.rs"),
        ("rustc_driver::main", "/rustc/1a2b/compiler/rustc_driver/src/lib.rs"),
        ("main.main", "/go/src/main.go"),
        ("internal/shop.Buy", "/src/shop/internal/shop.go"),
        ("run", "/builds/shop-1.2.3/src/cart.rs"),
        ("main", ""),
        ("[shop+0x1234]", ""),
    ] {
        check(function, file, FrameOwner::Program);
    }
}

#[test]
fn allocating_is_a_part_of_the_standard_library() {
    for (function, file, expected) in [
        ("alloc", format!("{RUSTC}/alloc/src/alloc.rs"), true),
        ("finish_grow", format!("{RUSTC}/alloc/src/raw_vec/mod.rs"), true),
        ("alloc::raw_vec::RawVecInner<A>::finish_grow", String::new(), true),
        ("push<u64>", format!("{RUSTC}/alloc/src/vec/mod.rs"), false),
        ("alloc", "src/pool.rs".to_owned(), false),
    ] {
        assert_eq!(is_allocating(function, &file), expected, "{function}");
    }
}

#[test]
fn bare_names_get_the_path_of_their_module() {
    for (function, file, expected) in [
        (
            "futex_wait",
            format!("{RUSTC}/std/src/sys/pal/unix/futex.rs"),
            "std::sys::pal::unix::futex::futex_wait",
        ),
        (
            "sleep",
            format!("{REGISTRY}/rayon-core-1.13.0/src/sleep/mod.rs"),
            "rayon_core::sleep::sleep",
        ),
        (
            "{closure#0}<app::run::{closure_env#1}, ()>",
            format!("{REGISTRY}/mio-1.0.3/src/lib.rs"),
            "mio::{closure#0}<app::run::{closure_env#1}, ()>",
        ),
        ("deflate", format!("{REGISTRY}/libz-sys-1.1.2/src/zlib/deflate.c"), "deflate"),
        ("run", "/builds/shop-1.2.3/src/cart.rs".to_owned(), "run"),
        ("[shop+0x1]", format!("{REGISTRY}/mio-1.0.3/src/lib.rs"), "[shop+0x1]"),
        ("", format!("{REGISTRY}/mio-1.0.3/src/lib.rs"), ""),
    ] {
        assert_eq!(qualified_name(function, &file), expected);
    }
}

#[track_caller]
fn check_wait(names: &[&str], wait: WaitKind, index: usize, idles: Option<&str>) {
    let frames: Vec<_> = names.iter().map(|name| FrameText::new(name, "")).collect();
    assert_eq!(find_wait(&frames), (wait, index));
    assert_eq!(find_idle_word(&frames), idles);
}

#[test]
fn tells_what_is_waited_for() {
    let futex = "std::sys::pal::unix::futex::futex_wait";
    let lock = "<std::sys::sync::mutex::futex::Mutex>::lock_contended";
    let once = "<std::sys::sync::once::futex::Once>::wait";
    check_wait(&[futex, once, "shop::sell"], WaitKind::Once, 1, None);
    check_wait(&["core::ops::function::FnOnce::call_once"], WaitKind::Other, 0, None);
    let park = "std::sys::sync::thread_parking::futex::Parker::park";
    let wait = "std::sys::sync::condvar::futex::Condvar::wait_optional_timeout";
    check_wait(&[futex, lock, "shop::sell"], WaitKind::Mutex, 1, None);
    check_wait(&[futex, lock, wait, "shop::sell"], WaitKind::Mutex, 1, None);
    let condvar = "std::sync::Condvar::wait";
    check_wait(&[futex, wait, condvar, "shop::sell"], WaitKind::Condvar, 1, None);
    check_wait(&[futex, park, "std::thread::park", "shop::sell"], WaitKind::Park, 1, None);
    let receive = "std::sync::mpmc::list::Channel<T>::recv";
    check_wait(&[futex, park, receive, "shop::sell"], WaitKind::Channel, 1, None);
    let slow = "parking_lot::raw_mutex::RawMutex::lock_slow";
    let parker = "parking_lot_core::thread_parker::imp::ThreadParker::park";
    check_wait(&["syscall", parker, slow, "shop::sell"], WaitKind::Mutex, 2, None);
    check_wait(&["shop::own_futex", "shop::sell"], WaitKind::Other, 0, None);
    check_wait(&["shop::Mutex::lock_contended", "shop::sell"], WaitKind::Other, 0, None);
    check_wait(&[], WaitKind::Other, 0, None);
}

#[test]
fn tells_idle_workers_from_those_that_wait_in_their_work() {
    let futex = "std::sys::pal::unix::futex::futex_wait";
    let wait = "std::sys::sync::condvar::futex::Condvar::wait_optional_timeout";
    let lock = "std::sys::sync::mutex::futex::Mutex::lock_contended";
    let loom = "tokio::loom::std::parking_lot::Condvar::wait";
    let parker = "<tokio::runtime::scheduler::multi_thread::park::Inner>::park_condvar";
    let run = "tokio::runtime::scheduler::multi_thread::worker::run";
    let pool = "tokio::runtime::blocking::pool::Inner::run";
    let main = "std::rt::lang_start_internal";
    check_wait(&[futex, wait, loom, parker, run], WaitKind::Condvar, 1, Some("tokio worker"));
    check_wait(&[futex, wait, pool], WaitKind::Condvar, 1, Some("tokio blocking pool"));
    let parks = "tokio::runtime::park::Inner::park_timeout";
    let timer = "tokio::runtime::time::Driver::park_internal";
    check_wait(&[futex, wait, parks, timer, run], WaitKind::Condvar, 1, Some("tokio worker"));
    check_wait(&[futex, wait, parks, "shop::sell", run], WaitKind::Condvar, 1, None);
    check_wait(&[futex, lock, "shop::sell", pool], WaitKind::Mutex, 1, None);
    let rayon = "rayon_core::sleep::Sleep::sleep";
    check_wait(&[futex, wait, rayon, "x::y"], WaitKind::Condvar, 1, Some("rayon worker"));
    let block_on = "tokio::runtime::park::CachedParkThread::block_on";
    check_wait(&[futex, wait, block_on, main], WaitKind::Condvar, 1, Some("tokio main thread"));
    check_wait(&[futex, wait, block_on, "shop::sell"], WaitKind::Condvar, 1, None);
    let libc = "__futex_abstimed_wait_common64";
    check_wait(&[libc, "__pthread_clockjoin_ex", "shop"], WaitKind::Other, 0, Some("libc"));
    check_wait(&[libc, "pthread_rwlock_wrlock", "shop"], WaitKind::RwLock, 1, None);
    let driver = "<async_io::driver::unparker as core::ops::Deref>::deref";
    check_wait(
        &[futex, "parking::Parker::park", driver],
        WaitKind::Park,
        1,
        Some("async-io driver"),
    );
}

#[test]
fn the_main_thread_waits_for_the_programs_end() {
    let park =
        ["syscall", "std::sys::sync::thread_parking::futex::Parker::park", "std::thread::park"];
    let root = ["std::rt::lang_start_internal", "main", "__libc_start_main_impl", "_start"];
    let stack = |program: &[&'static str]| [&park[..], program, &root[..]].concat();
    check_wait(&stack(&["shop::main"]), WaitKind::Park, 1, Some("main thread"));
    check_wait(&stack(&["shop::wait_for_rows", "shop::main"]), WaitKind::Park, 1, None);
    check_wait(&[&park[..], &["shop::main"]].concat(), WaitKind::Park, 1, None);
}

/// With line tables alone the files decide, as inlined functions have bare names.
#[test]
fn idle_workers_are_told_by_their_files() {
    let tokio = format!("{REGISTRY}/tokio-1.48.0/src");
    let frames = [
        ("futex_wait", format!("{RUSTC}/std/src/sys/pal/unix/futex.rs")),
        ("std::sys::sync::condvar::futex::Condvar::wait_optional_timeout", String::new()),
        ("wait_timeout<()>", format!("{tokio}/loom/std/mutex.rs")),
        ("park_condvar", format!("{tokio}/runtime/scheduler/multi_thread/park.rs")),
        ("run_worker", format!("{tokio}/runtime/scheduler/multi_thread/worker.rs")),
    ];
    let frames: Vec<_> = frames.iter().map(|(name, file)| FrameText::new(name, file)).collect();
    assert_eq!(find_wait(&frames), (WaitKind::Condvar, 1));
    assert_eq!(find_idle_word(&frames), Some("tokio worker"));
    let slow = format!("{REGISTRY}/parking_lot-0.12.5/src/raw_mutex.rs");
    let frames = [FrameText::new("syscall", ""), FrameText::new("lock_slow", &slow)];
    assert_eq!(find_wait(&frames), (WaitKind::Mutex, 1));
}

#[test]
fn only_locks_are_released() {
    let wake = "std::sys::pal::unix::futex::futex_wake";
    let cases: [(&[&str], Option<usize>); 6] = [
        (&[wake, "<std::sys::sync::mutex::futex::Mutex>::wake", "shop::sell"], Some(1)),
        (&["std::sys::sync::rwlock::futex::RwLock::wake_writer_or_readers"], Some(0)),
        (&["x", "parking_lot::raw_mutex::RawMutex::unlock_slow", "shop::sell"], Some(1)),
        (&["x", "parking_lot::raw_rwlock::RawRwLock<R>::unlock_shared_slow"], Some(1)),
        (&[wake, "std::sync::Condvar::notify_one", "shop::sell"], None),
        (&[wake, "std::thread::Thread::unpark", "shop::sell"], None),
    ];
    for (names, index) in cases {
        let frames: Vec<_> = names.iter().map(|name| FrameText::new(name, "")).collect();
        assert_eq!(find_release(&frames), index, "{names:?}");
    }
}

proptest::proptest! {
    #[test]
    fn no_text_is_too_much(function in ".*", file in "(/|registry|src|-1\\.0|git|checkouts|vendor|build|<|::| as |é|\\.rs)*") {
        FrameOwner::of(&function, &file);
        FrameOwner::of(&file, &function);
        is_allocating(&file, &file);
        let frames = [FrameText::new(&file, &file), FrameText::new(&function, &file)];
        find_wait(&frames);
        find_release(&frames);
        find_idle_word(&frames);
    }
}
