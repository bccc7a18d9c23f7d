//! `go tool pprof` attached to a live service: every kind, every report, its web pages, credentials
//! in the URL, and the delta of a leak that is known.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use profilez::core::collect::{File, Pending, Window};
use profilez::core::profile::{Builder, DecodeLimits, Function, Line, Profile};
use profilez::core::{Collector, Collectors, Error, Kind, Unavailable};
use profilez::http::server::{DebugService, Token};

use crate::support::go::{go, pprof};
use crate::support::http::get;
use crate::support::server::real;

/// The endpoint of each kind.
const KINDS: [(&str, Kind); 7] = [
    ("profile", Kind::Cpu),
    ("heap", Kind::Heap),
    ("allocs", Kind::Allocs),
    ("block", Kind::Block),
    ("mutex", Kind::Mutex),
    ("goroutine", Kind::Goroutine),
    ("threadcreate", Kind::Threadcreate),
];

#[inline(never)]
fn busy_for_pprof(stop: &AtomicBool) -> u64 {
    let mut state = 1u64;
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..10_000 {
            state = (state * 1_664_525 + 1_013_904_223) & 0xffff_ffff;
        }
        black_box(state);
    }
    state
}

/// Runs `body` beside a thread that computes, allocates and keeps, and has a name.
fn beside_work<T>(body: impl FnOnce() -> T) -> T {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let work = || busy_for_pprof(&stop);
        thread::Builder::new().name("cruncher".to_owned()).spawn_scoped(scope, work).unwrap();
        scope.spawn(|| {
            let mut kept = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                kept.push(keep_for_attach());
                // Never all of them: a snapshot comes at any time.
                if kept.len() > 64 {
                    kept.truncate(32);
                }
                thread::sleep(Duration::from_millis(2));
            }
        });
        let result = body();
        stop.store(true, Ordering::Relaxed);
        result
    })
}

#[inline(never)]
fn keep_for_attach() -> Vec<u8> {
    // Functions that are alike become one in an optimised build.
    black_box("keep_for_attach");
    black_box(Vec::with_capacity(black_box(1 << 20)))
}

/// `go tool pprof` with a folder of its own for what it fetches.
fn fetch(go: &Path, directory: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(go);
    command.env("PPROF_TMPDIR", directory).args(["tool", "pprof"]).args(arguments);
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "pprof {arguments:?}\n{text}{errors}");
    text
}

#[test]
fn go_tool_pprof_attaches_to_every_kind() {
    let Some(go) = go() else { return };
    let (_one, server, address) = real();
    let directory = tempfile::tempdir().unwrap();
    let available = Collectors::new().available();
    let url = |name: &str| format!("http://{address}/debug/pprof/{name}");
    // In this process sampling is off but for windows, and a snapshot has none.
    let sampling = profilez::core::single::open(&Collectors::new(), Kind::Heap).unwrap();
    let files: BTreeMap<&str, PathBuf> = beside_work(|| {
        // As people do it: no more than the address for the CPU, and whole seconds for the rest.
        let bare = fetch(&go, directory.path(), &["-top", "-seconds=1", &address.to_string()]);
        assert!(bare.contains("Type: cpu"), "{bare}");
        KINDS
            .iter()
            .map(|&(name, _)| {
                let path = directory.path().join(format!("{name}.pb.gz"));
                let output = format!("-output={}", path.display());
                let window = if name == "profile" { "-seconds=2" } else { "-seconds=1" };
                fetch(&go, directory.path(), &["-proto", &output, window, &url(name)]);
                if name != "profile" {
                    fetch(&go, directory.path(), &["-proto", &output, &url(name)]);
                    fetch(&go, directory.path(), &["-top", &url(&format!("{name}?debug=1"))]);
                }
                (name, path)
            })
            .collect()
    });
    for (name, kind) in KINDS {
        let path = files[name].to_str().unwrap();
        let top = pprof(&go, &["-top", "-cum", path]);
        for report in ["-traces", "-tree", "-raw"] {
            pprof(&go, &[report, path]);
        }
        let diff = pprof(&go, &["-top", "-diff_base", path, path]);
        assert!(diff.contains("Showing nodes accounting for 0"), "{name}: {diff}");
        if available.check(kind).is_err() {
            let comments = pprof(&go, &["-comments", path]);
            assert!(comments.contains("not collected: "), "{name}: {comments}");
            continue;
        }
        let profile = std::fs::read(path).unwrap();
        let profile = Profile::decode(&profile, &DecodeLimits::default()).unwrap();
        if !profile.samples.is_empty() {
            pprof(&go, &["-peek", ".", path]);
        }
        let function = match name {
            "profile" => "it::attach::busy_for_pprof",
            "heap" | "allocs" => "it::attach::keep_for_attach",
            "goroutine" => "it::attach::beside_work",
            _ => continue,
        };
        assert!(top.contains(function), "{name}: {top}");
        let list = pprof(&go, &["-list", function.rsplit("::").next().unwrap(), path]);
        assert!(list.contains("tests/it/attach.rs"), "{name}: {list}");
    }
    let cpu = files["profile"].to_str().unwrap();
    let list = pprof(&go, &["-list", "busy_for_pprof", cpu]);
    assert!(list.contains("state = (state * 1_664_525 + 1_013_904_223) & 0xffff_ffff;"), "{list}");
    let peek = pprof(&go, &["-peek", "busy_for_pprof", cpu]);
    assert!(peek.contains("it::attach::busy_for_pprof"), "{peek}");
    // The thread's name is a tag.
    let focused = pprof(&go, &["-top", "-tagfocus=thread=cruncher", cpu]);
    assert!(focused.contains("it::attach::busy_for_pprof"), "{focused}");
    let ignored = pprof(&go, &["-top", "-tagignore=thread=cruncher", cpu]);
    assert!(!ignored.contains("it::attach::busy_for_pprof"), "{ignored}");
    let threads = files["goroutine"].to_str().unwrap();
    let running = pprof(&go, &["-top", "-cum", "-tagfocus=thread=cruncher", threads]);
    assert!(running.contains("it::attach::busy_for_pprof"), "{running}");
    pages(&go, cpu, "busy_for_pprof");
    pages(&go, files["allocs"].to_str().unwrap(), "keep_for_attach");
    drop(sampling);
    server.shut_down();
}

/// The web pages that pprof makes of a profile.
///
/// The program is as if it were on another host: pprof would disassemble it for the source page, and
/// needs minutes for one with so much debug information.
#[track_caller]
fn pages(go: &Path, profile: &str, function: &str) {
    let bytes = std::fs::read(profile).unwrap();
    let mut elsewhere = Profile::decode(&bytes, &DecodeLimits::default()).unwrap();
    let program = elsewhere.strings.push("/elsewhere/program");
    elsewhere.mappings[0].filename = program;
    let profile = format!("{profile}.elsewhere");
    std::fs::write(&profile, elsewhere.encode_gzip()).unwrap();
    let ui = Ui::start(go, &profile);
    let (peek, source) = (format!("peek?f={function}"), format!("source?f={function}"));
    for page in ["top", "flamegraph", &peek, &source] {
        let answer = get(ui.address, &format!("/ui/{page}"));
        let text = String::from_utf8_lossy(&answer.body);
        assert_eq!(answer.status, 200, "{page}: {text}");
        assert!(text.contains(function), "{function} is not on {page} of {profile}");
    }
}

/// `go tool pprof -http`, until it is dropped.
struct Ui {
    child: Child,
    address: SocketAddr,
    /// It would be killed for writing into a pipe without a reader.
    _errors: BufReader<ChildStderr>,
}

impl Ui {
    fn start(go: &Path, profile: &str) -> Ui {
        // `go tool` would stand between us and the one to end.
        let named = Command::new(go).args(["tool", "-n", "pprof"]).output().unwrap();
        let mut child = Command::new(String::from_utf8(named.stdout).unwrap().trim())
            .args(["-no_browser", "-http=127.0.0.1:", profile])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut errors = BufReader::new(child.stderr.take().unwrap());
        let address = errors
            .by_ref()
            .lines()
            .map_while(Result::ok)
            .find_map(|line| line.split_once("http://").map(|(_, address)| address.to_owned()))
            .expect("pprof says where it serves");
        let address = address.trim().parse().unwrap();
        // It says so before it listens.
        let began = Instant::now();
        while TcpStream::connect(address).is_err() && began.elapsed() < Duration::from_secs(30) {
            thread::sleep(Duration::from_millis(10));
        }
        Ui { child, address, _errors: errors }
    }
}

impl Drop for Ui {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn credentials_in_the_url_let_go_tool_pprof_in() {
    let Some(go) = go() else { return };
    let (_one, other, _address) = real();
    other.shut_down();
    let token = Token::new("s3cret").unwrap();
    let server =
        DebugService::builder("shop").authorizer(token).build().serve("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let url = format!("http://x:s3cret@{address}/debug/pprof/goroutine");
    let top = fetch(&go, directory.path(), &["-top", &url]);
    assert!(top.contains("Type: goroutine"), "{top}");
    let output = Command::new(&go)
        .env("PPROF_TMPDIR", directory.path())
        .args(["tool", "pprof", "-top", &format!("http://x:wrong@{address}/debug/pprof/heap")])
        .output()
        .unwrap();
    assert!(!output.status.success());
    // What the server says is passed on to the one at the terminal.
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("401 Unauthorized - Missing or invalid credentials."), "{errors}");
    server.shut_down();
}

/// A collector that tells how many snapshots were taken.
struct Counted {
    inner: Collectors,
    snapshots: Arc<AtomicUsize>,
}

impl Collector for Counted {
    fn kind(&self) -> Kind {
        Kind::Heap
    }

    fn check(&self) -> Result<(), Unavailable> {
        self.inner.collector(Kind::Heap).check()
    }

    fn snapshot(&self) -> Result<Vec<File>, Error> {
        let files = self.inner.collector(Kind::Heap).snapshot();
        self.snapshots.fetch_add(1, Ordering::SeqCst);
        files
    }

    fn start(&self) -> Result<Box<dyn Window>, Error> {
        self.inner.collector(Kind::Heap).start()
    }
}

#[inline(never)]
fn leak_for_the_delta() -> Vec<u8> {
    // Functions that are alike become one in an optimised build.
    black_box("leak_for_the_delta");
    black_box(Vec::with_capacity(black_box(1 << 20)))
}

#[test]
fn the_delta_of_a_known_leak_is_the_leak() {
    let (_one, other, _address) = real();
    other.shut_down();
    let snapshots = Arc::new(AtomicUsize::new(0));
    let counted = Counted { inner: Collectors::new(), snapshots: Arc::clone(&snapshots) };
    let server = DebugService::builder("shop")
        .collectors(Collectors::new().with(counted))
        .build()
        .serve("127.0.0.1:0")
        .unwrap();
    let address = server.local_addr().unwrap();
    // Blocks that were there before are not new, whether or not they go.
    let before: Vec<_> = (0..8).map(|_| leak_for_the_delta()).collect();
    let leaked = thread::scope(|scope| {
        let leaking = scope.spawn(|| {
            while snapshots.load(Ordering::SeqCst) == 0 {
                thread::sleep(Duration::from_millis(1));
            }
            let kept: Vec<_> = (0..24).map(|_| leak_for_the_delta()).collect();
            drop((0..8).map(|_| leak_for_the_delta()).collect::<Vec<_>>());
            kept
        });
        let answer = get(address, "/debug/pprof/heap?seconds=3");
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        let disposition = answer.header("content-disposition");
        assert_eq!(disposition, Some("attachment; filename=\"heap-delta\""));
        let delta = Profile::decode(&answer.body, &DecodeLimits::default()).unwrap();
        let of = |value: usize| -> i64 {
            let ours = delta.samples.iter().filter(|sample| {
                let at = sample.stack.iter().map(|&at| &delta.locations[at as usize]);
                at.flat_map(|location| delta.lines_of(location)).any(|line| {
                    let name = delta.functions[line.function as usize].name;
                    delta.str(name).ends_with("leak_for_the_delta")
                })
            });
            ours.map(|sample| sample.values[value]).sum()
        };
        // At one sample every 64 KiB no block of 1 MiB is missed, and scaling up for those that
        // are adds a few bytes.
        let leaked = leaking.join().unwrap();
        let (allocated, kept) = (32 << 20, (leaked.len() as i64) << 20);
        assert!((allocated..allocated + 200).contains(&of(1)), "{} allocated", of(1));
        assert!((kept..kept + 200).contains(&of(3)), "{} kept", of(3));
        assert!((3_000_000_000..10_000_000_000).contains(&delta.duration_nanos));
        leaked
    });
    drop((before, leaked));
    server.shut_down();
}

#[test]
fn text_forms_hold_what_the_profiles_do() {
    let Some(go) = go() else { return };
    let (_one, server, address) = real();
    let directory = tempfile::tempdir().unwrap();
    let sampling = profilez::core::single::open(&Collectors::new(), Kind::Heap).unwrap();
    let kept: Vec<_> = (0..16).map(|_| keep_for_attach()).collect();
    // The text has addresses only; pprof gets their names from `symbol`, and demangles them.
    let url = format!("http://{address}/debug/pprof/heap?debug=1");
    let top = fetch(&go, directory.path(), &["-top", "-cum", "-unit=kB", "-inuse_space", &url]);
    let row = top.lines().find(|line| line.ends_with("it::attach::keep_for_attach"));
    let row = row.unwrap_or_else(|| panic!("{top}"));
    assert!(row.contains("16384kB"), "sampled values, scaled up once: {row}");
    let url = format!("http://{address}/debug/pprof/goroutine?debug=1");
    let top = fetch(&go, directory.path(), &["-top", "-cum", &url]);
    assert!(top.contains("it::attach::text_forms_hold_what_the_profiles_do"), "{top}");
    let text = get(address, "/debug/pprof/goroutine?debug=1");
    let text = String::from_utf8(text.body).unwrap();
    assert!(text.starts_with("goroutine profile: total "), "{text}");
    assert!(text.contains("\n# labels: {\"category\":\"") && text.contains("\n#\t0x"), "{text}");
    let dump = get(address, "/debug/pprof/goroutine?debug=2");
    let dump = String::from_utf8(dump.body).unwrap();
    assert!(dump.starts_with("goroutine ") && dump.contains("]"), "{dump}");
    drop((kept, sampling));
    server.shut_down();
}

/// A profile that is there already.
struct Given {
    kind: Kind,
    bytes: Vec<u8>,
}

impl Collector for Given {
    fn kind(&self) -> Kind {
        self.kind
    }

    fn check(&self) -> Result<(), Unavailable> {
        Ok(())
    }

    fn start(&self) -> Result<Box<dyn Window>, Error> {
        Ok(Box::new(Given { kind: self.kind, bytes: self.bytes.clone() }))
    }
}

impl Window for Given {
    fn close(self: Box<Self>) -> Pending {
        Box::new(move || Ok(vec![File { name: self.kind.file_name(), bytes: self.bytes.into() }]))
    }
}

#[test]
fn waits_as_text_are_as_long_as_in_the_profile() {
    let Some(go) = go() else { return };
    let at = busy_for_pprof as fn(&AtomicBool) -> u64 as usize as u64;
    let mut builder = Builder::new(&[("contentions", "count"), ("delay", "nanoseconds")]);
    builder.period("contentions", "count", 1);
    let name = builder.str("it::attach::busy_for_pprof");
    let function = builder.function(Function { name, ..Function::default() });
    let location = builder.location(None, at, &[Line { function, line: 1, column: 0 }]);
    builder.sample(&[location], &[3, 4_500_000_000], &[]);
    let bytes = builder.finish().encode_gzip();
    let given = |kind| Given { kind, bytes: bytes.clone() };
    let collectors = Collectors::new().with(given(Kind::Block)).with(given(Kind::Mutex));
    let service = DebugService::builder("shop").collectors(collectors).build();
    let server = service.serve("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    let directory = tempfile::tempdir().unwrap();
    for query in ["block", "block?debug=1", "mutex", "mutex?debug=1"] {
        let url = format!("http://{address}/debug/pprof/{query}");
        for (index, total) in [("delay", "4.50s"), ("contentions", "3")] {
            let index = format!("-sample_index={index}");
            let top = fetch(&go, directory.path(), &["-top", &index, &url]);
            let row = top.lines().find(|line| line.ends_with("it::attach::busy_for_pprof"));
            let row = row.unwrap_or_else(|| panic!("{query}: {top}"));
            assert_eq!(row.split_whitespace().next(), Some(total), "{query}: {row}");
        }
    }
    server.shut_down();
}
