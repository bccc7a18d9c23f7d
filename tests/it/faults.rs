//! What is known to go wrong in endpoints of this kind, and does not here.

use std::io::{BufReader, Read as _};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http_body_util::BodyExt as _;
use profilez::core::collect::{File, Pending, Window};
use profilez::core::{Collector, Collectors, Error, Gate, Kind, Unavailable};
use profilez::http::server::{DebugService, Identity};
use tracing::field::{Field, Visit};

use crate::support::fakes::{Fake, Fault, noise, service};
use crate::support::http::{get, receive_head, send};
use crate::support::own_process::is_own_process;
use crate::support::server::{heap_sampling, real, unpack};

#[test]
fn nothing_is_switched_on_that_was_not_asked_for() {
    let (_one, server, address) = real();
    let client = send(address, "GET", "/debug/profile?duration=10s&profiles=cpu", &[]);
    receive_head(&mut BufReader::new(&client)).unwrap();
    assert!(!heap_sampling(), "a CPU profile needs no heap sampling");
    drop(client);
    server.shut_down();
}

#[test]
fn another_cpu_profiler_is_named_and_not_disturbed() {
    let (_one, server, address) = real();
    let other = pprof::ProfilerGuardBuilder::default().frequency(100).build().unwrap();
    let answer = get(address, "/debug/profile?duration=20ms&profiles=heap,cpu");
    assert_eq!(answer.status, 500);
    let (message, detail) = answer.refusal();
    assert_eq!(message, "Failed to start CPU profile.");
    assert!(detail.contains("SIGPROF is in use by a signal handler at 0x"), "{detail}");
    assert!(!heap_sampling(), "what was started before it is undone");
    // Not asked for by name, it leaves the others.
    let bundle = unpack(&get(address, "/debug/profile?duration=20ms"));
    assert!(!bundle.names.contains(&"cpu.prof".to_owned()), "{:?}", bundle.names);
    assert!(bundle.names.contains(&"heap.prof".to_owned()), "{:?}", bundle.names);
    assert!(other.report().build().is_ok(), "the other one goes on");
    drop(other);
    unpack(&get(address, "/debug/profile?duration=20ms&profiles=heap,cpu"));
    server.shut_down();
}

#[test]
fn a_panic_beside_a_cpu_profile_does_not_leave_it_running() {
    let (_one, server, _address) = real();
    server.shut_down();
    for fault in [Fault::Start, Fault::Finish, Fault::Panic] {
        let server = DebugService::builder("test")
            .collectors(Collectors::new().with(Fake::faulty(Kind::Heap, fault)))
            .build()
            .serve("127.0.0.1:0")
            .unwrap();
        let address = server.local_addr().unwrap();
        for _ in 0..2 {
            let bundle =
                unpack(&get(address, "/debug/profile?duration=20ms&profiles=cpu,heap,allocs"));
            assert_eq!(bundle.names, ["cpu.prof", "allocs.prof", "manifest.json"]);
        }
        server.shut_down();
    }
}

/// A kind that takes its time after the window, and counts how often.
struct Slow {
    kind: Kind,
    done: Arc<Mutex<Vec<Kind>>>,
}

impl Collector for Slow {
    fn kind(&self) -> Kind {
        self.kind
    }

    fn check(&self) -> Result<(), Unavailable> {
        Ok(())
    }

    fn start(&self) -> Result<Box<dyn Window>, Error> {
        Ok(Box::new(Slow { kind: self.kind, done: Arc::clone(&self.done) }))
    }
}

impl Window for Slow {
    fn close(self: Box<Self>) -> Pending {
        Box::new(move || {
            std::thread::sleep(Duration::from_millis(200));
            self.done.lock().unwrap().push(self.kind);
            Ok(vec![File { name: self.kind.file_name(), bytes: noise(1 << 20).into() }])
        })
    }
}

#[test]
fn a_client_that_leaves_after_the_window_ends_the_work() {
    let done: Arc<Mutex<Vec<Kind>>> = Arc::default();
    let gate = Gate::new();
    let collectors = Kind::ALL
        .into_iter()
        .map(|kind| Slow { kind, done: Arc::clone(&done) })
        .fold(Collectors::new(), Collectors::with);
    let server = DebugService::builder("test")
        .collectors(collectors)
        .gate(gate.clone())
        .build()
        .serve("127.0.0.1:0")
        .unwrap();
    let all = Kind::ALL.map(Kind::name).join(",");
    let path = format!("/debug/profile?duration=10ms&profiles={all}");
    let mut client = send(server.local_addr().unwrap(), "GET", &path, &[]);
    // The first kind's profile is on its way.
    let mut first = vec![0; 100_000];
    client.read_exact(&mut first).unwrap();
    drop(client);
    let began = Instant::now();
    while gate.try_enter(Duration::ZERO).is_err() {
        assert!(began.elapsed() < Duration::from_secs(1), "the work goes on for nobody");
        std::thread::sleep(Duration::from_millis(1));
    }
    let done = done.lock().unwrap().len();
    assert!(done <= 3, "{done} kinds were taken for a client that had left after one");
    server.shut_down();
}

/// Remembers the fields of the events of one target.
#[derive(Clone, Default)]
struct Remember(Arc<Mutex<Vec<String>>>);

impl tracing::Subscriber for Remember {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target() == "profilez"
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        struct Fields(String);
        impl Visit for Fields {
            fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
                self.0.push_str(&format!("{}={value:?} ", field.name()));
            }
        }
        let mut fields = Fields(String::new());
        event.record(&mut fields);
        self.0.lock().unwrap().push(fields.0);
    }
}

#[test]
fn each_collection_leaves_one_event() {
    // Which events are wanted is remembered for the whole process.
    if !is_own_process("faults::each_collection_leaves_one_event") {
        return;
    }
    let events = Remember::default();
    let service = service([Fake::new(Kind::Cpu, 10), Fake::faulty(Kind::Heap, Fault::Finish)])
        .authorizer(|_: &http::request::Parts| Ok(Identity::new("alice")))
        .build();
    let body = tracing::subscriber::with_default(events.clone(), || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let uri = "/debug/profile?duration=20ms&profiles=cpu,heap";
            let request = http::Request::builder().uri(uri).body(String::new()).unwrap();
            service.respond(request).await.into_body().collect().await.unwrap().to_bytes()
        })
    });
    // The thread of the collection writes the event after the last byte.
    let began = Instant::now();
    while events.0.lock().unwrap().is_empty() && began.elapsed() < Duration::from_secs(5) {
        std::thread::yield_now();
    }
    let events = events.0.lock().unwrap();
    let [event] = &events[..] else { panic!("{events:?}") };
    for field in [
        "caller=alice".to_owned(),
        "kinds=\"cpu,heap\"".to_owned(),
        "window_seconds=0.02".to_owned(),
        format!("bytes={}", body.len()),
        "failed=\"heap: heap could not be collected: told to fail\"".to_owned(),
        "outcome=partial".to_owned(),
        "took_seconds=0.".to_owned(),
    ] {
        assert!(event.contains(&field), "{field} is not in {event}");
    }
}
