//! A library that comes and goes, with its code and unwind tables.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::thread;

use profilez_bench::random::Random;

/// The library, which is built beside this program.
pub(crate) fn path() -> &'static CString {
    static PATH: LazyLock<CString> = LazyLock::new(|| {
        let program = std::env::current_exe().expect("a program knows its path");
        let path: PathBuf = program.with_file_name("libprofilez_bench_plugin.so");
        assert!(path.is_file(), "{} is built with the whole workspace", path.display());
        CString::new(path.as_os_str().as_bytes()).expect("a path has no NUL")
    });
    &PATH
}

/// Loads the library, runs it and unloads it. In a thread that ends: what a library keeps for each
/// thread holds it in memory as long as the thread.
pub(crate) fn load_and_unload(random: &mut Random) {
    let (depth, turns) = (random.between(1, 30) as u32, random.between(1000, 200_000) as u32);
    let thread = thread::spawn(move || {
        // SAFETY: dlopen(3), dlsym(3) and dlclose(3); the symbol is the function of that type in
        // our own library, and not used after the library is unloaded.
        unsafe {
            let library = libc::dlopen(path().as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL);
            assert!(!library.is_null(), "the library loads");
            let symbol = libc::dlsym(library, c"profilez_bench_plugin".as_ptr());
            assert!(!symbol.is_null(), "the library has its function");
            type Run = extern "C" fn(u32, u32) -> u32;
            let run = std::mem::transmute::<*mut libc::c_void, Run>(symbol);
            for _ in 0..20 {
                assert_eq!(run(depth, turns), 1, "it catches its own panic");
            }
            assert_eq!(libc::dlclose(library), 0, "the library unloads");
        }
    });
    thread.join().expect("the library's own panics don't get out");
}
