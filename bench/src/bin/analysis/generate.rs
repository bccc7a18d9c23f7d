//! Inputs that are made, not kept.

use std::fmt::Write as _;

use profilez_bench::random::Random;

/// How many groups there are in [`goroutines`].
pub(crate) const GROUPS: usize = 40;

/// State, frames from the leaf on, the one that repeats, and the creator.
type Site = (&'static str, &'static [(&'static str, &'static str)], (&'static str, &'static str));

const HANDLER: (&str, &str) = ("main.(*server).handle", "/src/shop/internal/server/server.go");
const WALK: (&str, &str) = ("main.(*tree).walk", "/src/shop/internal/tree/walk.go");

const SITES: [Site; 9] = [
    (
        "IO wait",
        &[
            ("internal/poll.runtime_pollWait", "/usr/local/go/src/runtime/netpoll.go"),
            (
                "internal/poll.(*pollDesc).wait",
                "/usr/local/go/src/internal/poll/fd_poll_runtime.go",
            ),
            ("internal/poll.(*FD).Read", "/usr/local/go/src/internal/poll/fd_unix.go"),
            ("net.(*netFD).Read", "/usr/local/go/src/net/fd_posix.go"),
            ("net.(*conn).Read", "/usr/local/go/src/net/net.go"),
            ("bufio.(*Reader).Read", "/usr/local/go/src/bufio/bufio.go"),
        ],
        HANDLER,
    ),
    ("chan receive", &[("main.(*queue).next", "/src/shop/internal/queue/queue.go")], WALK),
    ("chan send", &[("main.(*queue).put", "/src/shop/internal/queue/queue.go")], WALK),
    ("select", &[("main.(*pool).run", "/src/shop/internal/pool/pool.go")], HANDLER),
    (
        "sync.Mutex.Lock",
        &[
            ("internal/sync.runtime_SemacquireMutex", "/usr/local/go/src/runtime/sema.go"),
            ("internal/sync.(*Mutex).lockSlow", "/usr/local/go/src/internal/sync/mutex.go"),
            ("sync.(*Mutex).Lock", "/usr/local/go/src/sync/mutex.go"),
        ],
        HANDLER,
    ),
    ("sleep", &[("time.Sleep", "/usr/local/go/src/runtime/time.go")], WALK),
    (
        "sync.WaitGroup.Wait",
        &[("sync.(*WaitGroup).Wait", "/usr/local/go/src/sync/waitgroup.go")],
        HANDLER,
    ),
    ("sync.Cond.Wait", &[("sync.(*Cond).Wait", "/usr/local/go/src/sync/cond.go")], WALK),
    ("runnable", &[("main.compute", "/src/shop/internal/compute/compute.go")], WALK),
];

/// A `debug=2` dump as of Go 1.27: stacks of 9 sites with 0 to 11 frames more, arguments without a
/// pattern, and a wait for a third of the goroutines. The same for the same arguments.
pub(crate) fn goroutines(count: u64) -> Vec<u8> {
    let mut random = Random::new(7);
    // Site and depth of each group.
    let groups: Vec<(usize, usize)> =
        (0..GROUPS).map(|group| (group % SITES.len(), group * 11 / (GROUPS - 1))).collect();
    let mut text = String::with_capacity(count as usize * 1300);
    for id in 1..=count {
        let (site, depth) = groups[random.between(0, GROUPS as u64) as usize];
        let (state, leaf, repeated) = SITES[site];
        let wait = match random.between(0, 3) {
            0 => format!(", {} minutes", random.between(1, 200)),
            _ => String::new(),
        };
        // Writing to a string can't fail.
        let _ = writeln!(text, "goroutine {id} [{state}{wait}]:");
        let mut frame = |(name, file): (&str, &str), line: u64| {
            let mut pointer = || 0x1000_0000_0000 + random.between(0, 1 << 40);
            let (one, other) = (pointer(), pointer());
            let _ = writeln!(text, "{name}({one:#x}, {{{other:#x}, 0x8, 0x10?}}, 0x{line:x})");
            let _ = writeln!(text, "\t{file}:{line} +{:#x}", line * 7 + 5);
        };
        for (line, &at) in leaf.iter().enumerate() {
            frame(at, 100 + line as u64);
        }
        for _ in 0..depth {
            frame(repeated, 57);
        }
        frame(("main.(*service).serve", "/src/shop/internal/service/service.go"), 211);
        frame(("main.(*service).Start.func1", "/src/shop/internal/service/service.go"), 93);
        text.push_str("created by main.(*service).Start in goroutine 1\n");
        text.push_str("\t/src/shop/internal/service/service.go:88 +0x1a5\n\n");
    }
    text.into_bytes()
}
