//! The state of a goroutine told from its frames, for the forms that have no states.

/// Functions at the leaf of a stack, with the state that Go would have written: the first that is
/// found, from the leaf on, counts.
const BY_FUNCTION: &[(&str, &str)] = &[
    ("sync.(*WaitGroup).Wait", "sync.WaitGroup.Wait"),
    ("sync.runtime_SemacquireWaitGroup", "sync.WaitGroup.Wait"),
    ("sync.(*RWMutex).RLock", "sync.RWMutex.RLock"),
    ("sync.runtime_SemacquireRWMutexR", "sync.RWMutex.RLock"),
    ("sync.(*RWMutex).Lock", "sync.RWMutex.Lock"),
    ("sync.runtime_SemacquireRWMutex", "sync.RWMutex.Lock"),
    ("sync.(*Mutex).Lock", "sync.Mutex.Lock"),
    ("sync.(*Mutex).lockSlow", "sync.Mutex.Lock"),
    ("internal/sync.(*Mutex).Lock", "sync.Mutex.Lock"),
    ("internal/sync.(*Mutex).lockSlow", "sync.Mutex.Lock"),
    ("internal/sync.runtime_SemacquireMutex", "sync.Mutex.Lock"),
    ("sync.runtime_SemacquireMutex", "sync.Mutex.Lock"),
    ("sync.(*Cond).Wait", "sync.Cond.Wait"),
    ("sync.runtime_notifyListWait", "sync.Cond.Wait"),
    ("sync.runtime_Semacquire", "semacquire"),
    ("internal/poll.runtime_pollWait", "IO wait"),
    ("internal/poll.(*pollDesc).wait", "IO wait"),
    ("internal/poll.(*pollDesc).waitRead", "IO wait"),
    ("internal/poll.(*pollDesc).waitWrite", "IO wait"),
    ("runtime.netpollblock", "IO wait"),
    ("time.Sleep", "sleep"),
    ("runtime.chanrecv", "chan receive"),
    ("runtime.chanrecv1", "chan receive"),
    ("runtime.chanrecv2", "chan receive"),
    ("runtime.chansend", "chan send"),
    ("runtime.chansend1", "chan send"),
    ("runtime.selectgo", "select"),
    ("reflect.rselect", "select"),
    ("reflect.chanrecv", "chan receive"),
    ("reflect.chansend0", "chan send"),
    ("runtime.block", "select (no cases)"),
    ("runtime.bgsweep", "GC sweep wait"),
    ("runtime.bgscavenge", "GC scavenge wait"),
    ("runtime.gcBgMarkWorker", "GC worker (idle)"),
    ("runtime.forcegchelper", "force gc (idle)"),
    ("runtime.runfinq", "finalizer wait"),
    ("runtime.runFinalizers", "finalizer wait"),
    ("runtime.runCleanups", "cleanup wait"),
    ("runtime.updateMaxProcsGoroutine", "GOMAXPROCS updater (idle)"),
    ("runtime.coroswitch_m", "coroutine"),
    ("runtime.coroswitch", "coroutine"),
    ("runtime.goparkunlock", ""),
    ("runtime.gopark", ""),
    ("runtime.semacquire1", ""),
    ("runtime.notetsleepg", "syscall"),
    ("os/signal.signal_recv", "syscall"),
    ("runtime.cgocall", "syscall"),
    ("syscall.Syscall", "syscall"),
    ("syscall.Syscall6", "syscall"),
    ("syscall.syscall", "syscall"),
    ("internal/runtime/syscall.Syscall6", "syscall"),
    ("runtime/internal/syscall.Syscall6", "syscall"),
    ("runtime/pprof.runtime_goroutineProfileWithLabels", "running"),
    ("runtime/pprof.writeGoroutineStacks", "running"),
    ("runtime/pprof.writeRuntimeProfile", "running"),
    ("runtime.goroutineProfileWithLabels", "running"),
    ("runtime/debug.Stack", "running"),
];

/// Number of frames that are looked at.
const FRAMES: usize = 12;

/// Returns the state that functions tell, given from the leaf on. What waits may do so for another:
/// of functions that each know a state in turn the last one counts, as `sync.(*RWMutex).Lock` says
/// more than the semaphore that it waits for.
pub(super) fn derive<'a>(functions: impl Iterator<Item = &'a [u8]>) -> Option<&'static str> {
    let mut found = None;
    for function in functions.take(FRAMES) {
        let known = BY_FUNCTION.iter().find(|(name, _)| name.as_bytes() == function);
        match known {
            Some((_, "")) => {}
            // A wait group locks nothing, but a lock may be all that Go's own mutex says.
            Some((_, state)) => found = Some(refine(found, state)),
            None if is_plumbing(function) => {}
            None => break,
        }
    }
    found
}

/// Returns the more particular of two states, the second of which is of a caller.
fn refine(inner: Option<&'static str>, outer: &'static str) -> &'static str {
    match (inner, outer) {
        // A read-write lock first takes its own mutex.
        (Some("sync.Mutex.Lock"), "sync.RWMutex.Lock") => "sync.Mutex.Lock",
        (Some("semacquire" | "sync.Mutex.Lock"), outer) if outer.starts_with("sync.") => outer,
        (Some(inner), _) => inner,
        (None, outer) => outer,
    }
}

/// Returns whether a function says nothing of the state, and those behind it may.
fn is_plumbing(function: &[u8]) -> bool {
    function.starts_with(b"runtime.")
        || function.starts_with(b"internal/runtime/")
        || function.starts_with(b"internal/poll.")
        || function.starts_with(b"0x")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(functions: &[&str], state: Option<&str>) {
        assert_eq!(derive(functions.iter().map(|name| name.as_bytes())), state, "{functions:?}");
    }

    #[test]
    fn frames_tell_the_state() {
        let lock = [
            "runtime.gopark",
            "runtime.goparkunlock",
            "runtime.semacquire1",
            "internal/sync.runtime_SemacquireMutex",
            "internal/sync.(*Mutex).lockSlow",
            "internal/sync.(*Mutex).Lock",
            "sync.(*Mutex).Lock",
            "main.f",
        ];
        check(&lock, Some("sync.Mutex.Lock"));
        check(&lock[3..], Some("sync.Mutex.Lock"));
        check(
            &["runtime.gopark", "runtime.chanrecv", "runtime.chanrecv1", "main.f"],
            Some("chan receive"),
        );
        check(&["runtime.gopark", "runtime.chansend", "main.f"], Some("chan send"));
        check(&["runtime.gopark", "runtime.selectgo", "main.f"], Some("select"));
        check(&["runtime.gopark", "runtime.block", "main.f"], Some("select (no cases)"));
        check(
            &["sync.runtime_notifyListWait", "sync.(*Cond).Wait", "main.f"],
            Some("sync.Cond.Wait"),
        );
        check(
            &["sync.runtime_SemacquireRWMutexR", "sync.(*RWMutex).RLock"],
            Some("sync.RWMutex.RLock"),
        );
        check(
            &["sync.runtime_SemacquireMutex", "sync.(*RWMutex).RLock"],
            Some("sync.RWMutex.RLock"),
        );
        check(&["sync.runtime_Semacquire", "sync.(*WaitGroup).Wait"], Some("sync.WaitGroup.Wait"));
        let poll = [
            "internal/poll.runtime_pollWait",
            "internal/poll.(*pollDesc).wait",
            "net.(*conn).Read",
        ];
        check(&poll, Some("IO wait"));
        check(&["time.Sleep", "main.f"], Some("sleep"));
        check(&["syscall.Syscall", "main.f"], Some("syscall"));
        // A caller's call of these tells nothing of its callee.
        check(&["main.f", "sync.(*Mutex).Lock"], None);
        check(&["main.main.func2"], None);
        check(&[], None);
    }
}
