//! Which frames count: the runtime's are dropped, and the user's are told from the library's.

use crate::dump::{Dump, Frame};
use crate::rules::{Bits, RuleSet};
use crate::site::is_plumbing;

/// What is known of each distinct frame of a dump.
pub(super) struct FrameKind {
    /// Go shows it in crashes only.
    pub(super) runtime: bool,
    /// Past the standard library, and what locks and parks.
    pub(super) user: bool,
    /// A number for the function, the same for all its lines.
    pub(super) function: u32,
}

/// What is known of all frames of a dump, and which patterns match each function.
pub(super) struct FrameKinds {
    pub(super) kinds: Vec<FrameKind>,
    /// By the number of the function.
    pub(super) bits: Vec<Bits>,
    /// The place of each frame among all, by function and line.
    pub(super) rank: Vec<u32>,
}

impl FrameKinds {
    pub(super) fn new(dump: &Dump, rules: &RuleSet) -> FrameKinds {
        let mut functions = std::collections::HashMap::new();
        let mut bits = Vec::new();
        let kinds = (0..dump.frame_count() as u32).map(|number| {
            let frame = dump.frame(number);
            let function = match functions.get(frame.function.as_ref()) {
                Some(&function) => function,
                None => {
                    let function = bits.len() as u32;
                    bits.push(rules.bits(&frame.function));
                    functions.insert(frame.function.to_string(), function);
                    function
                }
            };
            FrameKind { runtime: is_runtime(&frame.function), user: is_user(&frame), function }
        });
        let kinds = kinds.collect();
        let mut order: Vec<u32> = (0..dump.frame_count() as u32).collect();
        order.sort_unstable_by(|&a, &b| dump.frame_text(a).cmp(&dump.frame_text(b)));
        let mut rank = vec![0; order.len()];
        for (place, frame) in order.into_iter().enumerate() {
            rank[frame as usize] = place as u32;
        }
        FrameKinds { kinds, bits, rank }
    }

    /// The frames that count of a stack: without the runtime's, unless nothing would be left.
    pub(super) fn shown(&self, frames: &mut Vec<u32>) {
        if frames.iter().any(|&frame| !self.kinds[frame as usize].runtime) {
            frames.retain(|&frame| !self.kinds[frame as usize].runtime);
        }
    }
}

/// Whether Go leaves a function out of the stacks that it does not print in full: those of package
/// `runtime` that are not exported, but for a few. `traceback.go` has the rule.
pub(super) fn is_runtime(function: &str) -> bool {
    if function.starts_with("internal/runtime/") {
        return true;
    }
    let Some(name) = function.strip_prefix("runtime.") else { return false };
    if ["gopanic", "runFinalizers", "runCleanups", "runfinq"].contains(&name) {
        return false;
    }
    let (receiver, name) = match name.rsplit_once('.') {
        Some((receiver, name)) => (receiver.trim_matches(['(', '*', ')']), name),
        None => ("", name),
    };
    let exported = |name: &str| name.starts_with(|first: char| first.is_ascii_uppercase());
    !(exported(name) && (receiver.is_empty() || exported(receiver)))
}

/// The first parts of the paths of Go's standard library.
const GO_STANDARD: [&str; 47] = [
    "archive",
    "bufio",
    "bytes",
    "cmp",
    "compress",
    "container",
    "context",
    "crypto",
    "database",
    "debug",
    "embed",
    "encoding",
    "errors",
    "expvar",
    "flag",
    "fmt",
    "go",
    "hash",
    "html",
    "image",
    "index",
    "internal",
    "io",
    "iter",
    "log",
    "maps",
    "math",
    "mime",
    "net",
    "os",
    "panic",
    "path",
    "plugin",
    "reflect",
    "regexp",
    "runtime",
    "slices",
    "sort",
    "strconv",
    "strings",
    "sync",
    "syscall",
    "testing",
    "text",
    "time",
    "unicode",
    "vendor",
];

/// Beginnings of names of Rust crates that only lock, park and poll for others.
const WAITING: [&str; 8] = [
    "parking_lot::",
    "<parking_lot::",
    "parking_lot_core::",
    "crossbeam_",
    "<crossbeam_",
    "lock_api::",
    "<lock_api::",
    "futures_",
];

fn is_user(frame: &Frame<'_>) -> bool {
    let (function, file) = (frame.function.as_ref(), frame.file.as_ref());
    if function.contains("::") {
        return !is_plumbing(function, file)
            && !WAITING.iter().any(|start| function.starts_with(start));
    }
    match function.split_once('.') {
        // A function of C, an address, or nothing.
        None => false,
        Some(_) => !is_go_standard(function, file),
    }
}

/// Whether a function is of Go's standard library, by its package and where its source is: below
/// `src`, or with `-trimpath` at the beginning.
fn is_go_standard(function: &str, file: &str) -> bool {
    let first = function.split(['/', '.']).next().unwrap_or_default();
    if !GO_STANDARD.contains(&first) {
        return false;
    }
    let after_slash = function.rfind('/').map_or(0, |slash| slash + 1);
    let package = match function[after_slash..].find('.') {
        Some(dot) => &function[..after_slash + dot],
        None => function,
    };
    // The runtime implements functions of other packages.
    file.is_empty()
        || file.contains("/src/runtime/")
        || file.starts_with("runtime/")
        || file.strip_prefix(package).is_some_and(|rest| rest.starts_with('/'))
        || file
            .rsplit_once(package)
            .is_some_and(|(before, rest)| before.ends_with("/src/") && rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runtime_frames_are_those_that_go_hides() {
        for hidden in [
            "runtime.gopark",
            "runtime.chanrecv1",
            "runtime.(*scavengerState).park",
            "runtime.goexit",
            "runtime.main",
            "internal/runtime/syscall.Syscall6",
            "runtime.(*mheap).Alloc",
        ] {
            assert!(is_runtime(hidden), "{hidden}");
        }
        for shown in [
            "runtime.GC",
            "runtime.(*Func).Entry",
            "runtime/pprof.StartCPUProfile",
            "main.main",
            "runtime.gopanic",
            "panic",
            "runtime.runFinalizers",
            "time.Sleep",
        ] {
            assert!(!is_runtime(shown), "{shown}");
        }
    }

    #[test]
    fn users_are_told_from_the_library() {
        let go = "/usr/local/go/src";
        for (function, file, user) in [
            ("sync.(*Mutex).Lock", format!("{go}/sync/mutex.go"), false),
            ("sync.runtime_SemacquireMutex", format!("{go}/runtime/sema.go"), false),
            ("net/http.(*conn).serve", format!("{go}/net/http/server.go"), false),
            ("net/http.(*conn).serve", "net/http/server.go".to_owned(), false),
            ("internal/poll.(*FD).Read", format!("{go}/internal/poll/fd_unix.go"), false),
            ("internal/shop.Buy", "/src/shop/internal/shop.go".to_owned(), true),
            ("main.main", "/src/app/main.go".to_owned(), true),
            ("github.com/a/b.(*T).F", "/go/pkg/mod/github.com/a/b/c.go".to_owned(), true),
            ("service::run", "src/main.rs".to_owned(), true),
            ("std::thread::sleep", "/rustc/1/library/std/src/thread.rs".to_owned(), false),
            ("parking_lot::raw_mutex::RawMutex::lock_slow", "/x.rs".to_owned(), false),
            ("epoll_wait", "?".to_owned(), false),
        ] {
            let frame =
                Frame { function: function.into(), file: file.into(), line: 1, inlined: false };
            assert_eq!(is_user(&frame), user, "{function}");
        }
    }
}
