//! What tasks wait in, where a request asks for it by name: by real trees of `await-tree`, over a real socket.

use std::fmt;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use await_tree::{Config, InstrumentAwait as _, Registry, span};
use profilez::analysis::dump;
use profilez::core::profile::{DecodeLimits, Profile};
use profilez::task::{self, DETAIL_TIMEOUT, State};

use crate::command::{self, run};
use crate::support::http::{Answer, get};
use crate::support::own_process::is_own_process;
use crate::support::server::{real, unpack};
use crate::tasks::{blocks, runtime};

/// Would be another goroutine, a creator and a label, if it were written as it is.
const HOSTILE: &str = "created by x\n\ngoroutine 1 [running] {task: forged}:\nforged()\n\tf.rs:1\n";

/// Waits until every task has been polled and waits.
fn await_tasks() {
    let began = Instant::now();
    loop {
        let mut waiting = true;
        task::all(&mut |status| waiting &= status.state == State::Idle);
        if waiting {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(20));
        thread::sleep(Duration::from_millis(5));
    }
}

fn text(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    String::from_utf8(answer.body.clone()).unwrap()
}

/// The samples' stacks, from the inside to the outside, of tasks with this name.
fn stacks(profile: &[u8], task: &str) -> Vec<Vec<String>> {
    let profile = Profile::decode(profile, &DecodeLimits::default()).unwrap();
    profile.check().unwrap();
    let named = |sample: &profilez::core::profile::Sample<'_>| {
        let is_it = |l: &profilez::core::profile::Label| {
            profile.str(l.key) == "task" && profile.str(l.str) == task
        };
        sample.labels.iter().any(is_it)
    };
    let name = |&location: &u32| {
        let lines = profile.lines_of(&profile.locations[location as usize]);
        profile.str(profile.functions[lines[0].function as usize].name).to_owned()
    };
    let samples = profile.samples.iter().filter(named);
    samples.map(|sample| sample.stack.iter().map(name).collect()).collect()
}

#[test]
fn trees_stand_in_the_blocks_of_their_tasks() {
    const TEST: &str = "details::trees_stand_in_the_blocks_of_their_tasks";
    if !is_own_process(TEST) {
        return;
    }
    let (_one, server, address) = real();
    let runtime = runtime(2);
    let registry = Registry::new(Config::default());
    let pending = std::future::pending::<()>;
    let inside = registry.clone();
    let work = async move {
        let root = inside.register(task::current().unwrap(), "handle order");
        let both = async move {
            tokio::join!(
                pending().instrument_await("charge card"),
                pending().instrument_await(span!("{HOSTILE}")),
            );
        };
        root.instrument(both.instrument_await("pay")).await;
    };
    let _task = task::named("t_checkout").per_request().spawn_on(work, runtime.handle());
    let other = registry.register("a \"key\"", "compactor");
    let _other = runtime.spawn(other.instrument(pending().instrument_await("wait for level 0")));
    await_tasks();

    // Nobody was told of the registry yet.
    let path = "/debug/pprof/goroutine?debug=2";
    let refused = get(address, &format!("{path}&tasks=await-tree"));
    assert_eq!(refused.status, 501);
    assert_eq!(
        String::from_utf8_lossy(&refused.body),
        "failed to collect profile: tasks=await-tree: no registry of await-tree was handed over; call \
         `task::show_trees(&registry)`\n"
    );
    let refused = get(address, "/debug/profile?duration=10ms&tasks=await-tree");
    assert_eq!(refused.status, 501);
    assert_eq!(refused.refusal().0, "tasks=await-tree is not available in this process.");
    assert!(refused.refusal().1.contains("no registry of await-tree"), "{:?}", refused.refusal());
    let _shown = task::show_trees(&registry);

    let dumped = text(&get(address, &format!("{path}&tasks=await-tree")));
    let [order] = blocks(&dumped, "{task: t_checkout, category: \"per-request\"}:")[..] else {
        panic!("{dumped}")
    };
    let functions: Vec<&str> = order
        .lines()
        .skip(1)
        .step_by(2)
        .map(|line| line.rsplit_once('(').map_or(line, |(name, _)| name))
        .collect();
    // Which of the two came first a clock of milliseconds can't tell.
    let (leaves, callers) = functions.split_at(2);
    assert!(leaves.contains(&"charge card"), "{order}");
    assert!(leaves.iter().any(|leaf| leaf.starts_with("\"created by x  goroutine 1 ")), "{order}");
    assert_eq!(callers, ["pay", "handle order", "t_checkout", "created by task spawn"]);
    assert!(order.contains("\npay(2 at once, 0."), "{order}");

    let [other] = blocks(&dumped, "[task idle] {task: compactor, key: \"a \\\"key\\\"\"")[..]
    else {
        panic!("{dumped}")
    };
    assert!(other.contains("\nwait for level 0(0."), "{other}");

    // Readers see as many goroutines as there are, and none that a name made up.
    let read = dump::parse(dumped.as_bytes());
    assert_eq!(read.warnings().len(), 0, "{dumped}");
    let headers = dumped.lines().filter(|line| line.starts_with("goroutine ")).count() as u64;
    assert_eq!(read.goroutines(), headers);
    assert!(!dumped.lines().any(|line| line.starts_with("goroutine 1 ")), "{dumped}");

    // The profile shows one way down.
    let profile = get(address, "/debug/pprof/goroutine?tasks=await-tree").body;
    let [stack] = &stacks(&profile, "t_checkout")[..] else { panic!("one sample") };
    assert_eq!(stack[1..], ["pay", "handle order", "t_checkout"]);
    assert_eq!(stacks(&profile, "compactor"), [["wait for level 0", "compactor"]]);

    let json = get(address, "/debug/goroutines?tasks=await-tree").json();
    let groups = json["groups"].as_array().unwrap();
    let has = |name: &str| groups.iter().any(|group| group["stack"].to_string().contains(name));
    assert!(has("handle order") && has("wait for level 0"), "{json}");

    let bundle = get(address, "/debug/profile?duration=10ms&profiles=goroutine&tasks=await-tree");
    let bundle = unpack(&bundle);
    let in_bundle = String::from_utf8_lossy(&bundle.files["goroutine.txt"]).into_owned();
    assert!(in_bundle.contains("\nhandle order("), "{in_bundle}");
    assert_eq!(stacks(&bundle.files["goroutine.prof"], "compactor").len(), 1);

    let directory = tempfile::tempdir().unwrap();
    let file = command::path(&directory, "x.tar.gz");
    let url = address.to_string();
    let ran =
        run(["collect", &url, "-d10ms", "-p", "goroutine", "--tasks", "await-tree", "-o", &file]);
    ran.code(0);
    let dump = format!("{file}:goroutine.txt");
    let shown = run(["groups", "--json", &dump]).code(0).json().to_string();
    assert!(shown.contains("handle order") && shown.contains("wait for level 0"), "{shown}");
    let refused = run(["collect", &url, "--tasks", "stacks", "-o", &file]).code(2);
    assert!(refused.stderr.contains("valid values: await-tree"), "{}", refused.stderr);

    // Without being asked nothing of it is there.
    let plain = text(&get(address, path));
    assert!(plain.contains("t_checkout") && !plain.contains("handle order"), "{plain}");
    assert!(!plain.contains("compactor"), "{plain}");

    for (query, status, says) in [
        ("goroutine?tasks=stacks", 400, "invalid value for \"tasks\" - valid values: await-tree"),
        ("goroutine?tasks=await-tree&seconds=1", 400, "seconds and tasks params are incompatible"),
    ] {
        let refused = get(address, &format!("/debug/pprof/{query}"));
        let said = String::from_utf8_lossy(&refused.body);
        assert_eq!(refused.status, status, "{query}: {said}");
        assert!(said.starts_with(says), "{query}: {said}");
    }
    for query in ["profile?tasks=stacks", "goroutines?tasks=stacks", "profile?task=await-tree"] {
        assert_eq!(get(address, &format!("/debug/{query}")).status, 400, "{query}");
    }
    let elsewhere = get(address, "/debug/profile?profiles=heap&tasks=await-tree");
    let told = elsewhere.refusal();
    assert!(elsewhere.status == 400 && told.1.contains("\"goroutine\""), "{told:?}");
    server.shut_down();
}

/// A key that takes as long as it is told to say what it is.
#[derive(Clone)]
struct SlowKey(Arc<Mutex<mpsc::Receiver<()>>>);

impl fmt::Debug for SlowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let _ = self.0.lock().unwrap().recv();
        f.write_str("slow")
    }
}

impl PartialEq for SlowKey {
    fn eq(&self, other: &SlowKey) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for SlowKey {}

impl std::hash::Hash for SlowKey {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.0).hash(state);
    }
}

#[test]
fn trees_that_are_not_told_in_time_are_left_out() {
    const TEST: &str = "details::trees_that_are_not_told_in_time_are_left_out";
    if !is_own_process(TEST) {
        return;
    }
    let (_one, server, address) = real();
    let registry = Registry::new(Config::default());
    let (done, is_done) = mpsc::channel();
    let _slow = registry.register(SlowKey(Arc::new(Mutex::new(is_done))), "slow");
    let _shown = task::show_trees(&registry);
    let path = "/debug/pprof/goroutine?debug=2&tasks=await-tree";
    let began = Instant::now();
    let dumped = text(&get(address, path));
    let took = began.elapsed();
    assert!(took >= DETAIL_TIMEOUT && took < DETAIL_TIMEOUT + Duration::from_secs(10), "{took:?}");
    assert!(dumped.ends_with("\n\n# tasks=await-tree: timed out after 2s\n"), "{dumped}");
    let read = dump::parse(dumped.as_bytes());
    assert_eq!(read.warnings().len(), 0, "{dumped}");
    assert!(read.goroutines() >= 2, "the threads are there, without the profiler's own");

    let began = Instant::now();
    let dumped = text(&get(address, path));
    assert!(began.elapsed() < DETAIL_TIMEOUT, "nobody waits for it twice");
    let still = "\n# tasks=await-tree: an earlier request of this kind is still under way\n";
    assert!(dumped.ends_with(still), "{dumped}");
    let comments = get(address, "/debug/pprof/goroutine?tasks=await-tree").body;
    let profile = Profile::decode(&comments, &DecodeLimits::default()).unwrap();
    assert!(profile.comments.iter().any(|&comment| profile.str(comment) == still[3..].trim_end()));

    drop(done);
    let began = Instant::now();
    loop {
        let dumped = text(&get(address, path));
        if blocks(&dumped, "{task: slow, key: slow, ").len() == 1 {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "{dumped}");
    }
    server.shut_down();
}
