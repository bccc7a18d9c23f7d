//! Groups of dumps whose content is known, and what the system that this replaces got wrong.

use serde_json::json;

use super::*;
use crate::dump::{self, Options};
use crate::rules::RuleSet;

macro_rules! sample {
    ($name:literal) => {
        include_bytes!(concat!("../../tests/data/dumps/", $name, ".txt"))
    };
}

fn read(bytes: &[u8]) -> Dump {
    dump::parse(bytes)
}

fn counts(bytes: &[u8], by: By) -> Vec<u64> {
    let dump = read(bytes);
    let options = GroupOptions { by, ..GroupOptions::default() };
    let groups = group(&dump, RuleSet::shipped(), &options);
    assert_eq!(groups.rows.iter().map(|row| row.count).sum::<u64>(), groups.total);
    let Summary { background, per_request, unknown, .. } = groups.summary;
    assert_eq!(background + per_request + unknown, groups.total);
    groups.rows.iter().map(|row| row.count).collect()
}

#[test]
fn samples_have_their_groups() {
    for (bytes, rows) in [
        (&sample!("basic")[..], 10),
        (sample!("labels"), 3),
        (sample!("inject"), 3),
        (sample!("leak"), 2),
        (sample!("ancestors"), 10),
        (sample!("sigquit-all"), 9),
        (sample!("states.goroutineleak.debug1"), 10),
    ] {
        assert_eq!(counts(bytes, By::Exact).len(), rows);
    }
}

#[test]
fn other_keys_make_other_rows() {
    // Two lines of `worker` that two functions created.
    let one = |id: u32, line: u32, creator: &str| {
        format!(
            "goroutine {id} [chan receive]:\nmain.worker(0x0)\n\t/a.go:{line} +0x1\n\
             created by main.{creator} in goroutine 1\n\t/a.go:9 +0x1\n\n"
        )
    };
    let text = one(1, 5, "a") + &one(2, 6, "a") + &one(3, 6, "b") + &one(4, 6, "b");
    assert_eq!(counts(text.as_bytes(), By::Exact), [2, 1, 1]);
    assert_eq!(counts(text.as_bytes(), By::Function), [2, 2]);
    assert_eq!(counts(text.as_bytes(), By::Top(1)), [3, 1]);
    assert_eq!(counts(text.as_bytes(), By::Creator), [2, 2]);

    let options = Options { by_label: Some("coder_service".to_owned()), ..Options::default() };
    let dump = dump::parse_with(sample!("labels"), &options);
    let by = GroupOptions { by: By::Label, ..GroupOptions::default() };
    let groups = group(&dump, RuleSet::shipped(), &by);
    let rows: Vec<_> = groups.rows.iter().map(|row| (row.count, row.label.as_deref())).collect();
    assert_eq!(rows, [(21, None), (20, Some("http-api"))]);
}

/// What no rule knows may still be a worker with nothing to do, of whatever runtime.
#[test]
fn idle_workers_are_background() {
    let registry = "/root/.cargo/registry/src/index";
    let one = |id: u32, waits: &str| {
        format!(
            "goroutine {id} [futex wait] {{thread: \"t{id}\"}}:\n\
             std::sys::pal::unix::futex::futex_wait(...)\n\t?:0\n\
             {waits}\nstart_thread()\n\t./nptl/pthread_create.c:442\n\n"
        )
    };
    let ctrlc = format!("wait()\n\t{registry}/ctrlc-3.5.1/src/platform/unix/mod.rs:29");
    let text = one(7, &ctrlc) + &one(8, "shop::wait_for_rows()\n\t/app/src/rows.rs:5");
    let dump = read(text.as_bytes());
    let groups = group(&dump, RuleSet::shipped(), &GroupOptions::default());
    let row = |id| groups.rows.iter().find(|row| row.ids == [id]).unwrap();
    assert_eq!((row(7).category, row(7).rule), (Category::Background, Some("idle-worker")));
    assert_eq!((row(8).category, row(8).rule), (Category::Unknown, None));
}

#[test]
fn a_crash_gives_the_groups_of_a_dump() {
    let dump = read(sample!("sigquit-all"));
    let groups = group(&dump, RuleSet::shipped(), &GroupOptions::default());
    let row = groups.rows.iter().find(|row| row.count == 5).unwrap();
    let names: Vec<_> = row.frames().into_iter().map(|f| f.function.into_owned()).collect();
    assert_eq!(names, ["main.PreLLMHook"]);
    // What has nothing but the runtime keeps it.
    let idle = groups.rows.iter().find(|row| row.state == "force gc (idle)").unwrap();
    assert_eq!(idle.frames()[0].function, "runtime.gopark");
    assert_eq!(idle.rule, Some("go-runtime"));
}

#[track_caller]
fn check(text: &str, rules: &RuleSet, expected: &[(u64, Category, Option<Evidence>)]) {
    let dump = read(text.as_bytes());
    let groups = group(&dump, rules, &GroupOptions::default());
    let found: Vec<_> = groups
        .rows
        .iter()
        .map(|row| (row.count, row.category, row.stuck.as_ref().map(|stuck| stuck.evidence)))
        .collect();
    assert_eq!(found, expected, "{text}");
}

fn goroutines(count: u32, header: &str, frames: &str) -> String {
    (1..=count).map(|id| format!("goroutine {} [{header}]:\n{frames}\n", id + 1)).collect()
}

const POLL: &str = "internal/poll.runtime_pollWait(0x1, 0x72)\n\t/usr/local/go/src/runtime/netpoll.go:351 +0x85\n\
                    internal/poll.(*FD).Read(0x1)\n\t/usr/local/go/src/internal/poll/fd_unix.go:165 +0x1\n";
const SLEEP: &str = "time.Sleep(0x1)\n\t/usr/local/go/src/runtime/time.go:368 +0x165\n";

#[test]
fn a_request_is_one_whatever_it_waits_for() {
    let stuck = (40, Category::PerRequest, Some(Evidence::WaitingTooLong));
    let frames = format!("{POLL}main.handleProviderRequest(0x1)\n\t/src/a.go:5 +0x1\n");
    let text = goroutines(40, "IO wait, 3 minutes", &frames);
    check(&text, RuleSet::shipped(), &[stuck]);
    check(&text, RuleSet::original(), &[stuck]);
    let frames = format!("{SLEEP}main.retryOnNotFound(0x1)\n\t/src/a.go:5 +0x1\n");
    let text = goroutines(20, "sleep", &frames);
    check(&text, RuleSet::original(), &[(20, Category::PerRequest, None)]);
    let frames = "main.faultInjector(0x1)\n\t/src/a.go:5 +0x1\n";
    check(&goroutines(1, "select", frames), RuleSet::original(), &[(1, Category::Unknown, None)]);
    let frames = "main.(*T).Inject(0x1)\n\t/src/Inject/a.go:5 +0x1\n";
    check(
        &goroutines(1, "select", frames),
        RuleSet::original(),
        &[(1, Category::PerRequest, None)],
    );
}

/// Tasks as our own dumps show them: one that blocks its worker, and those that no worker takes,
/// are stuck whatever they are for.
#[test]
fn tasks_without_a_worker_and_those_that_take_it_are_stuck() {
    let task = |header: &str, category: &str| {
        let labels = format!("{{task: reindex, category: {category}}}");
        format!("goroutine 10000001 [{header}] {labels}:\nreindex()\n\t/src/main.rs:17\n\n")
    };
    for (header, evidence) in [
        ("task blocking", Some(Evidence::BlocksWorker)),
        ("task blocking, 3 minutes", Some(Evidence::BlocksWorker)),
        ("task woken, 2 minutes", Some(Evidence::Starved)),
        ("task new, 1 minutes", Some(Evidence::Starved)),
        ("task woken", None),
        ("task new", None),
        ("task running", None),
        ("task idle, 9 minutes", None),
    ] {
        let expected = [(1, Category::Background, evidence)];
        check(&task(header, "background"), RuleSet::shipped(), &expected);
    }
    let dump = read(task("task woken, 2 minutes", "unknown").as_bytes());
    let groups = group(&dump, RuleSet::shipped(), &GroupOptions::default());
    let why = &groups.rows[0].stuck.as_ref().unwrap().why;
    assert_eq!(why, "1 woken, but not polled, the longest for 2 min");
}

/// Threads that a task without a name blocks, as our own dumps mark them: no idle workers, whatever they
/// wait for.
#[test]
fn a_worker_that_is_blocked_in_a_poll_is_stuck() {
    let thread = |id: u32, labels: &str| {
        format!(
            "goroutine {id} [sleep] {{thread: \"tokio-rt-worker\"{labels}}}:\nclock_nanosleep()\n\t?:0\n\
             std::thread::sleep()\n\t/rustc/1/library/std/src/thread/mod.rs:9\n\
             app::refresh::{{closure#0}}()\n\t/src/main.rs:7\n\n"
        )
    };
    let text = thread(1, ", blocks: worker") + &thread(2, "") + &thread(3, ", blocks: worker");
    let dump = read(text.as_bytes());
    let groups = group(&dump, RuleSet::shipped(), &GroupOptions::default());
    assert_eq!((groups.rows.len(), groups.summary.potentially_stuck), (1, 2));
    let (row, stuck) = (&groups.rows[0], groups.rows[0].stuck.as_ref().unwrap());
    assert_eq!((row.category, row.rule), (Category::Unknown, Some("blocked-worker")));
    assert_eq!((stuck.evidence, stuck.count), (Evidence::BlocksWorker, 2));
    assert_eq!(stuck.why, "`sleep` in a task's poll, so that the worker does nothing else");
    assert_eq!(stuck.severity.as_deref(), Some("high"));
}

/// Tasks that nobody named are one record of our dumps, and as many as it says in every count.
#[test]
fn tasks_without_a_name_are_all_counted() {
    let text = "goroutine 7 [sleep] {thread: shop}:\nmain()\n\t/src/main.rs:7\n\n\
                goroutine 9999999 [task unknown] {tasks: 29}:\nunnamed_tasks()\n\t?:0\n";
    let dump = read(text.as_bytes());
    let groups = group(&dump, RuleSet::shipped(), &GroupOptions::default());
    assert_eq!((dump.goroutines(), groups.total, groups.summary.unknown), (30, 30, 29));
    assert_eq!(groups.rows.iter().map(|row| row.count).max(), Some(29));
}

#[test]
fn the_longest_wait_of_a_group_counts() {
    let frames = "main.PreLLMHook(0x1)\n\t/src/a.go:5 +0x1\n";
    let old = goroutines(10, "chan receive, 7 minutes", frames);
    let new = goroutines(90, "chan receive", frames);
    for text in [format!("{old}{new}"), format!("{new}{old}")] {
        let dump = read(text.as_bytes());
        let groups = group(&dump, RuleSet::original(), &GroupOptions::default());
        let Summary { long_waiting, potentially_stuck, per_request, .. } = groups.summary;
        assert_eq!((long_waiting, potentially_stuck, per_request), (10, 10, 100));
        assert_eq!(groups.rows[0].waits.max(), Some(7));
    }
}

#[test]
fn evidence_is_told_by_its_strength() {
    let f = "main.f(0x1)\n\t/a.go:1 +0x1\n";
    let rules = RuleSet::shipped();
    use Category::{Background, Unknown};
    check(
        &goroutines(3, "chan receive (leaked)", f),
        rules,
        &[(3, Unknown, Some(Evidence::Leaked))],
    );
    check(
        &goroutines(10, "sync.Mutex.Lock", f),
        rules,
        &[(10, Unknown, Some(Evidence::CrowdAtLock))],
    );
    check(&goroutines(9, "sync.Mutex.Lock", f), rules, &[(9, Unknown, None)]);
    check(
        &goroutines(1, "chan send (nil chan)", f),
        rules,
        &[(1, Unknown, Some(Evidence::NilChannel))],
    );
    check(
        &goroutines(1, "select (no cases)", f),
        rules,
        &[(1, Unknown, Some(Evidence::NilChannel))],
    );
    let main = "main.main()\n\t/a.go:1 +0x1\n";
    check(&goroutines(1, "select (no cases)", main), rules, &[(1, Background, None)]);
    // A long wait alone is no evidence.
    check(&goroutines(1, "chan receive, 90 minutes", f), rules, &[(1, Unknown, None)]);
    let waits = "std::sys::sync::mutex::futex::Mutex::lock_contended()\n\t/rustc/1/library/std/src/sys/sync/mutex/futex.rs:5\n";
    check(
        &goroutines(12, "futex wait", waits),
        rules,
        &[(12, Unknown, Some(Evidence::CrowdAtLock))],
    );
}

#[test]
fn shipped_rules_know_what_they_should() {
    let go = "/usr/local/go/src";
    for (state, function, file, rule) in [
        ("IO wait", "net/http.serverHandler.ServeHTTP", "net/http/server.go", "go-http-handler"),
        ("IO wait", "net/http.(*conn).serve", "net/http/server.go", "go-http-idle-connection"),
        (
            "select",
            "net/http.(*persistConn).writeLoop",
            "net/http/transport.go",
            "go-http-client-connection",
        ),
        ("select", "database/sql.(*DB).connectionOpener", "database/sql/sql.go", "go-sql-pool"),
        ("select", "database/sql.(*DB).QueryContext", "database/sql/sql.go", "go-sql-call"),
        ("IO wait", "net.(*TCPListener).Accept", "net/tcpsock.go", "go-accept"),
        (
            "select",
            "google.golang.org/grpc.(*Server).processUnaryRPC",
            "x/server.go",
            "go-grpc-handler",
        ),
        (
            "select",
            "google.golang.org/grpc/internal/transport.(*http2Server).keepalive",
            "x/t.go",
            "go-grpc-connection",
        ),
        ("syscall", "os/signal.loop", "os/signal/signal_unix.go", "go-signals"),
        ("select", "main.(*app).flushLoop", "main.go", "loop-by-name"),
        ("futex wait", "tokio::runtime::park::Inner::park", "park.rs", "rust-tokio-idle"),
        ("epoll wait", "mio::sys::unix::selector::Selector::select", "epoll.rs", "rust-tokio-idle"),
        ("futex wait", "rayon_core::sleep::Sleep::sleep", "mod.rs", "rust-rayon-idle"),
        (
            "futex wait",
            "<axum::handler::Layered<L,H,T,S> as Handler>::call",
            "mod.rs",
            "rust-http-handler",
        ),
        (
            "read",
            "hyper::proto::h1::dispatch::Dispatcher<D,Bs,I,T>::poll_loop",
            "dispatch.rs",
            "rust-http-handler",
        ),
        ("accept", "std::net::tcp::TcpListener::accept", "tcp.rs", "rust-accept"),
    ] {
        let text = format!("goroutine 5 [{state}]:\n{function}(0x1)\n\t{go}/{file}:7 +0x1\n");
        let dump = read(text.as_bytes());
        let groups = group(&dump, RuleSet::shipped(), &GroupOptions::default());
        assert_eq!(groups.rows[0].rule, Some(rule), "{function}");
    }
}

#[test]
fn user_rules_come_first() {
    let rules = RuleSet::parse(
        "[[rule]]\nid = \"mine\"\ncategory = \"per-request\"\nstuck_after = \"5m\"\nseverity = \"high\"\n\
         match = { any_frame = \"main.f\", state = [\"sel*\", \"IO wait\"] }\n\
         unless = { created_by = \"main.boot\" }\n",
    )
    .unwrap();
    let rules = rules.then(RuleSet::shipped().clone());
    let frames = "main.f(0x1)\n\t/a.go:1 +0x1\n";
    let booted = "main.f(0x1)\n\t/a.go:1 +0x1\ncreated by main.boot\n\t/a.go:2 +0x1\n";
    let text =
        goroutines(1, "select, 5 minutes", frames) + &goroutines(1, "select, 4 minutes", booted);
    let dump = read(text.as_bytes());
    let groups = group(&dump, &rules, &GroupOptions::default());
    assert_eq!(groups.rows[0].rule, Some("mine"));
    assert_eq!(groups.rows[0].stuck.as_ref().unwrap().severity.as_deref(), Some("high"));
    assert_eq!((groups.rows[1].rule, groups.rows[1].category), (None, Category::Unknown));
}

#[test]
fn the_json_is_the_contract() {
    let text = "goroutine 7 [IO wait, 5 minutes]:\nmain.handleRequest(0x1)\n\t/a.go:31 +0x1d\n\
                created by main.main in goroutine 1\n\t/a.go:9 +0x1\n\n\
                goroutine 8 [running]:\nmain.f()\n\t/a.go:1 +0x1\n";
    let dump = read(text.as_bytes());
    let groups = group(&dump, RuleSet::shipped(), &GroupOptions::default());
    let found = serde_json::to_value(goroutines_json(&groups, Some("now"), Some("raw"))).unwrap();
    let expected = json!({
        "timestamp": "now",
        "total_goroutines": 2,
        "groups": [
            {
                "count": 1, "state": "IO wait", "wait_reason": "IO wait", "wait_minutes": 5,
                "wait": {"known": 1, "min": 5, "median": 5, "max": 5},
                "top_func": "main.handleRequest", "file": "/a.go", "line": 31,
                "user_func": "main.handleRequest",
                "stack": ["main.handleRequest /a.go:31"], "created_by": "main.main /a.go:9",
                "category": "per-request", "rule": "handler-by-name",
                "stuck": {
                    "evidence": "waiting-too-long", "count": 1,
                    "why": "1 per-request has been waiting for 1 min or more, the longest for 5 min"
                },
                "ids": [7], "labels": [], "locked_to_thread": 0, "leaked": 0, "partial_stacks": 0
            },
            {
                "count": 1, "state": "running", "wait_reason": null, "wait_minutes": null,
                "wait": {"known": 0, "min": null, "median": null, "max": null},
                "top_func": "main.f", "file": "/a.go", "line": 1, "user_func": "main.f", "stack": ["main.f /a.go:1"],
                "created_by": null, "category": "unknown", "rule": null, "stuck": null,
                "ids": [8], "labels": [], "locked_to_thread": 0, "leaked": 0, "partial_stacks": 0
            }
        ],
        "summary": {
            "background": 0, "per_request": 1, "unknown": 1, "long_waiting": 1,
            "potentially_stuck": 1, "leaked": 0, "waits_known": 1
        },
        "format": "debug2", "truncated": false, "warnings": [], "raw_profile": "raw"
    });
    assert_eq!(found, expected);
    let without = serde_json::to_value(goroutines_json(&groups, None, None)).unwrap();
    assert_eq!((&without["timestamp"], without.get("raw_profile")), (&json!(null), None));
}

#[test]
fn text_reads_well() {
    let text = goroutines(
        3,
        "chan receive, 7 minutes",
        "main.handleRequest(0x1)\n\t/src/app/main.go:5 +0x1\n",
    ) + &goroutines(
        1,
        "select",
        &format!("main.{}(0x1)\n\t/src/app/main.go:9 +0x1\n", "long".repeat(20)),
    );
    let dump = read(text.as_bytes());
    let groups = group(&dump, RuleSet::shipped(), &GroupOptions::default());
    let expected = "\
4 goroutines in 2 groups
0 background, 3 per-request, 1 unknown; 3 long waiting, 3 potentially stuck

3 × chan receive, 7 min  per-request (handler-by-name)
  STUCK? waiting too long: 3 per-request have been waiting for 1 min or more,
      the longest for 7 min
    main.handleRequest /src/app/main.go:5

1 × select  unknown
    …glonglonglonglonglonglonglonglonglonglonglonglonglonglonglonglong main.go:9
";
    assert_eq!(render(&groups, 80, 10), expected);
    assert!(render(&groups, 200, 1).ends_with("\n1 more group; -n 0 shows all\n"));
}

#[test]
fn growth_is_evidence() {
    let frames = "main.f(0x1)\n\t/a.go:1 +0x1\n";
    let base = read(goroutines(2, "chan receive", frames).as_bytes());
    let more = goroutines(5, "chan receive", frames) + &goroutines(1, "running", frames);
    let new = read(more.as_bytes());
    let options = GroupOptions::default();
    let (base, new) =
        (group(&base, RuleSet::shipped(), &options), group(&new, RuleSet::shipped(), &options));
    let diff = diff(&base, &new);
    assert_eq!((diff.before, diff.after, diff.unchanged), (2, 6, 0));
    let deltas: Vec<_> = diff.changes.iter().map(|change| change.delta).collect();
    assert_eq!(deltas, [3, 1]);
    let stuck = diff.changes[0].stuck.as_ref().unwrap();
    assert_eq!((stuck.evidence, stuck.why.as_str()), (Evidence::Growing, "grown from 2 to 5"));
    assert_eq!(diff.changes[1].stuck, None);
    let text = render_diff(&diff, 80, 10);
    assert!(
        text.starts_with("6 goroutines, 2 before (+4); 2 groups changed, 0 did not\n"),
        "{text}"
    );
    assert!(
        text.contains("+3  2 → 5  chan receive  unknown\n    growing: grown from 2 to 5\n"),
        "{text}"
    );
}

#[test]
fn forms_are_compared_by_what_they_have_in_common() {
    let states = "goroutine 1 [running]:\nmain.main()\n\t/a.go:9 +0x1\n\n\
                  goroutine 7 [select]:\nmain.f()\n\t/a.go:20 +0x1\n\
                  created by main.main in goroutine 1\n\t/a.go:8 +0x2\n\n\
                  goroutine 8 [chan receive]:\nmain.f()\n\t/a.go:21 +0x1\n";
    let counts = "goroutine profile: total 4\n3 @ 0x3 0x4\n#\t0x3\tmain.f+0x1\t/a.go:20\n\n\
                  1 @ 0x1 0x2\n#\t0x1\tmain.main+0x1\t/a.go:9\n\n";
    let (states, counts) = (read(states.as_bytes()), read(counts.as_bytes()));
    let grouped = |dump| group(dump, RuleSet::shipped(), &GroupOptions::default());
    let found = diff(&grouped(&states), &grouped(&counts));
    let changes: Vec<_> =
        found.changes.iter().map(|one| (one.before, one.after, one.top_func.as_str())).collect();
    assert_eq!((changes, found.unchanged), (vec![(2, 3, "main.f")], 1));
    assert!(render_diff(&found, 200, 9).contains("the forms differ, debug2 and debug1"));
    assert_eq!(diff(&grouped(&counts), &grouped(&counts)).note, None);
}

#[test]
fn rows_of_a_creator_look_past_what_starts_for_others() {
    let started = |id: u32, by: &str| {
        format!(
            "goroutine {id} [select]:\nmain.work(...)\n\t/a.go:3\nmain.{by}.func1()\n\t/a.go:4 +0x1\n\
             sync.(*WaitGroup).Go.func1()\n\t/go/src/sync/waitgroup.go:239 +0x4a\n\
             created by sync.(*WaitGroup).Go in goroutine 1\n\t/go/src/sync/waitgroup.go:237 +0x73\n\n"
        )
    };
    let text = [started(2, "a"), started(3, "b"), started(4, "a")].concat();
    let dump = read(text.as_bytes());
    let options = GroupOptions { by: By::Creator, ..GroupOptions::default() };
    let groups = group(&dump, RuleSet::shipped(), &options);
    let found: Vec<_> = groups
        .rows
        .iter()
        .map(|row| (row.count, row.created_by().unwrap().function.into_owned()))
        .collect();
    assert_eq!(found, [(2, "main.a".to_owned()), (1, "main.b".to_owned())]);
}

#[test]
fn counts_stay_at_the_largest() {
    let text = format!(
        "goroutine profile: total 2\n{0} @ 0x1\n#\t0x1\tmain.f+0x1\t/a.go:1\n\n\
         {0} @ 0x2\n#\t0x2\tmain.f+0x2\t/a.go:2\n\n1 @ 0x3\n#\t0x3\tmain.g+0x1\t/a.go:3\n",
        u64::MAX
    );
    let dump = read(text.as_bytes());
    for by in [By::Exact, By::Function, By::Creator, By::Top(1), By::Label] {
        let options = GroupOptions { by, ..GroupOptions::default() };
        let groups = group(&dump, RuleSet::shipped(), &options);
        assert_eq!((groups.total, groups.summary.unknown), (u64::MAX, u64::MAX));
        let found = diff(&groups, &groups);
        assert_eq!((found.before, found.changes.len()), (u64::MAX, 0));
    }
}
