//! jemalloc's sampling hooks.
//!
//! [`backtrace`], [`sampled`] and [`freed`] run inside jemalloc: they do not allocate, lock, wait,
//! panic on purpose, call into libc or touch a thread-local that is initialised lazily.

use std::ffi::{c_uint, c_void};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tikv_jemalloc_ctl::raw;

use crate::heap::live::{BlockFinder, BlockKey};
use crate::heap::recorder::{self, DEPTH};
use crate::stacks::gap;
use crate::stacks::raw::{capture, scratch};

type BacktraceHook = unsafe extern "C" fn(*mut *mut c_void, *mut c_uint, c_uint);
type SampleHook = unsafe extern "C" fn(*const c_void, usize, *mut *mut c_void, c_uint, usize);
type FreeHook = unsafe extern "C" fn(*const c_void, usize);

/// Bytes between two samples, as jemalloc was started.
static RATE: AtomicU64 = AtomicU64::new(1);

/// Puts the hooks in. `false` where this jemalloc doesn't have all of them: none is put in then.
pub(crate) fn install(rate: u64) -> bool {
    capture::refresh();
    RATE.store(rate, Relaxed);
    // SAFETY: these names hold pointers to functions of these types (jemalloc 5.3,
    // include/jemalloc/internal/prof_hook.h), and null where there is none. Where jemalloc has no such
    // name nothing is written. The functions are there as long as the process.
    unsafe {
        let free: Option<FreeHook> = Some(freed);
        if raw::write(b"experimental.hooks.prof_sample_free\0", free).is_err() {
            return false;
        }
        let backtrace_hook: BacktraceHook = backtrace;
        let sample: Option<SampleHook> = Some(sampled);
        if raw::write(b"experimental.hooks.prof_backtrace\0", backtrace_hook).is_err()
            || raw::write(b"experimental.hooks.prof_sample\0", sample).is_err()
        {
            let none: Option<FreeHook> = None;
            let _ = raw::write(b"experimental.hooks.prof_sample_free\0", none);
            return false;
        }
    }
    true
}

/// Writes the stack as jemalloc's own unwinder does: return addresses, the leaf first.
///
/// # Safety
///
/// `out` has room for `room` addresses, and `len` for the number of them.
unsafe extern "C" fn backtrace(out: *mut *mut c_void, len: *mut c_uint, room: c_uint) {
    let written = capture::capture(DEPTH.min(room as usize), |captured| {
        for (at, address) in captured.addresses.iter().enumerate() {
            // What was captured lies inside each call.
            let return_address = (address + 1) as usize as *mut c_void;
            // SAFETY: the caller's promise.
            unsafe { out.add(at).write(return_address) };
        }
        captured.addresses.len()
    });
    // SAFETY: as above.
    unsafe { len.write(written.unwrap_or(0) as c_uint) };
}

/// # Safety
///
/// `stack` holds `len` addresses.
unsafe extern "C" fn sampled(
    block: *const c_void,
    _size: usize,
    stack: *mut *mut c_void,
    len: c_uint,
    usable: usize,
) {
    // Where there is no stack of ours to be had the block is not recorded.
    scratch::run(|_| {
        let mut addresses = [0; DEPTH];
        let len = (len as usize).min(DEPTH);
        for (at, address) in addresses[..len].iter_mut().enumerate() {
            // SAFETY: the caller's promise.
            let return_address = unsafe { stack.add(at).read() };
            *address = (return_address.addr() as u64).wrapping_sub(1);
        }
        let key = BlockKey::new(block.addr(), BlockFinder::Jemalloc);
        let stack = &addresses[..len];
        let truncated = len == DEPTH && !stack.iter().any(|&address| gap::is_mark(address));
        // jemalloc counts usable bytes, too. Where there is no room the block is not recorded.
        recorder::record_allocation(key, usable as u64, RATE.load(Relaxed), stack, truncated)
    });
}

unsafe extern "C" fn freed(block: *const c_void, _usable: usize) {
    // A block from before the hooks is not known.
    recorder::record_free(BlockKey::new(block.addr(), BlockFinder::Jemalloc));
}
