//! `/debug/profile`: one collection, on a thread of its own, streamed into the answer.
//!
//! A thread rather than the runtime's pool: a service whose pool is stuck is one that needs
//! profiling. The thread owns the recording, so that whatever ends the collection undoes it there.

use std::fmt::Display;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use http::header::{self, HeaderMap, HeaderValue};
use http::request::Parts;
use http::{Method, Response};
use profile_archive::{BundleWriter, Header, Source};
use profile_core::session::Artifact;
use profile_core::{Error, Kind, OwnWork, Permit, Plan, session};
use tokio::sync::oneshot;

use super::access::Identity;
use super::pipe::{self, PipeWriter};
use super::read_body::read_body;
use super::reply::{self, HttpRefusal, HttpReply};
use super::{Body, RequestBody, ServiceState};

/// The largest form, in bytes.
const LARGEST_FORM: usize = 64 << 10;
/// The header that says what format the bundle is in.
const FORMAT_HEADER: &str = "profilez-format";

/// Returns the parameters of a request: those of its query, and those of a form in its body.
pub(super) async fn request_query<B: RequestBody>(
    request: &Parts,
    body: B,
) -> Result<String, HttpRefusal> {
    let mut query = request.uri.query().unwrap_or("").to_owned();
    if request.method == Method::POST && is_form(&request.headers) {
        let form = read_body(body, LARGEST_FORM).await?;
        query.push('&');
        query.push_str(&String::from_utf8_lossy(&form));
    }
    Ok(query)
}

fn is_form(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let name = content_type.unwrap_or("").split(';').next().unwrap_or("").trim();
    name.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

/// Answers with a bundle, once its window is open; where the head alone is asked for, with what it would
/// be if one were made now.
pub(super) async fn answer(
    shared: Arc<ServiceState>,
    query: &str,
    request: &Parts,
    caller: Identity,
) -> HttpReply {
    let available = shared.collectors.available().with_max_window(shared.max_window);
    let plan = Plan::parse(query, &available).map_err(reply::bad_plan)?;
    if plan.kinds().is_empty() {
        return Err(reply::nothing_available(plan.left_out()));
    }
    if request.method == Method::HEAD {
        return Ok(response(&shared.service, SystemTime::now(), Body::omitted()));
    }
    let permit = shared.gate.try_enter(plan.window()).map_err(|busy| reply::busy(&busy))?;
    let (writer, reader) = pipe::pipe(shared.patience);
    let (started, start) = oneshot::channel();
    let collection = BundleCollection { shared: Arc::clone(&shared), plan, caller };
    // Whoever listens for events on this thread is to get this collection's too.
    let dispatch = tracing::dispatcher::get_default(Clone::clone);
    let thread = thread::Builder::new()
        .name("profilez-bundle".to_owned())
        .spawn(move || {
            let _own = OwnWork::of_thread();
            tracing::dispatcher::with_default(&dispatch, || {
                collection.run(permit, writer, started);
            });
        })
        .map_err(|error| reply::not_started(&format!("no thread for the collection: {error}")))?;
    shared.keep_thread(thread);
    let started = start
        .await
        .map_err(|_| reply::not_started("the collection ended before it began"))?
        .map_err(|error| reply::start_failed(&error))?;
    Ok(response(&shared.service, started, Body::stream(reader)))
}

fn response(service: &str, started: SystemTime, body: Body) -> Response<Body> {
    let service = file_name_part(service);
    let unix_seconds = started.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let file_name = format!("attachment; filename=\"{service}-profile-{unix_seconds}.tar.gz\"");
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/gzip"));
    // Promises a manifest, which other servers' archives don't have: without it nobody could tell that
    // it is missing.
    headers.insert(FORMAT_HEADER, HeaderValue::from(profile_archive::FORMAT));
    if let Ok(value) = HeaderValue::from_str(&file_name) {
        headers.insert(header::CONTENT_DISPOSITION, value);
    }
    response
}

/// Returns a service's name as part of a file name: whatever else it holds becomes `-`.
fn file_name_part(service: &str) -> String {
    let part: String = service
        .chars()
        .take(64)
        .map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' })
        .collect();
    let part = part.trim_start_matches(['.', '-']);
    if part.is_empty() { "service".to_owned() } else { part.to_owned() }
}

struct BundleCollection {
    shared: Arc<ServiceState>,
    plan: Plan,
    caller: Identity,
}

/// The sender that tells the handler since when the window is open, or why it is not.
type StartedBundle = oneshot::Sender<Result<SystemTime, Error>>;

/// The sums of a collection, for its record.
#[derive(Default)]
struct CollectionTally {
    bytes: u64,
    failed: Vec<String>,
}

impl BundleCollection {
    fn run(self, permit: Permit, mut writer: PipeWriter, started: StartedBundle) {
        let began = Instant::now();
        let recording = match session::start(&self.plan, &self.shared.collectors, permit) {
            Ok(recording) => recording,
            Err(error) => {
                self.record(&began, &CollectionTally::default(), &error.chain());
                // The handler is gone only if the client is, and then nobody wants to know.
                let _ = started.send(Err(error));
                return;
            }
        };
        if started.send(Ok(recording.started())).is_err() {
            drop(recording);
            self.record(&began, &CollectionTally::default(), &"the client left");
            return;
        }
        let mut tally = CollectionTally::default();
        let written = self.write(recording, &mut writer, &mut tally);
        tally.bytes = writer.written();
        match written {
            Ok(()) => {
                writer.finish();
                let outcome = if tally.failed.is_empty() { "complete" } else { "partial" };
                self.record(&began, &tally, &outcome);
            }
            Err(error) => self.record(&began, &tally, &profile_format::chain(&error)),
        }
    }

    /// Waits for the window and writes the bundle. By the time this returns the recording is gone,
    /// whatever it was that ended it.
    fn write(
        &self,
        recording: session::Recording,
        writer: &mut PipeWriter,
        tally: &mut CollectionTally,
    ) -> io::Result<()> {
        let left = || io::Error::new(io::ErrorKind::BrokenPipe, "the client left");
        let header = self.header(&recording);
        let client = writer.watch();
        let mut bundle = BundleWriter::new(&mut *writer, header).map_err(io::Error::other)?;
        // The client is to see at once that the collection is under way.
        bundle.flush().map_err(io::Error::other)?;
        if !client.wait(recording.window()) {
            return Err(left());
        }
        for why in self.plan.left_out() {
            bundle.unavailable(why);
        }
        for artifact in recording.stop() {
            let Artifact { kind, name, took, data } = artifact;
            match data {
                Ok(content) => {
                    let began = Instant::now();
                    let content = content.into_encoded();
                    let took = took + began.elapsed();
                    bundle.append(kind, name, &content, took).map_err(io::Error::other)?;
                    if let Some(reason) = content.shortfall() {
                        tally.failed.push(format!("{kind}: {reason}"));
                        bundle.error(kind.name(), reason);
                    }
                }
                Err(error) => {
                    tally.failed.push(format!("{kind}: {}", error.chain()));
                    match error {
                        Error::Unavailable(why) => bundle.unavailable(&why),
                        error => bundle.error(kind.name(), error.chain()),
                    }
                }
            }
            if !client.is_read() {
                return Err(left());
            }
        }
        bundle.finish().map_err(io::Error::other)?;
        Ok(())
    }

    fn header(&self, recording: &session::Recording) -> Header {
        let ServiceState { service, version, process, collectors, .. } = &*self.shared;
        Header {
            service: service.clone(),
            version: version.clone(),
            host: process.host.clone(),
            pid: process.pid,
            build_id: process.build_id.clone(),
            started: recording.started(),
            window: recording.window(),
            source: Source::Consolidated,
            rates: self
                .plan
                .kinds()
                .iter()
                .filter_map(|&kind| {
                    let asked = self.plan.hz().filter(|_| kind == Kind::Cpu);
                    let asked = asked.map(|rate| u64::from(rate.hz()));
                    Some((kind, asked.or_else(|| collectors.collector(kind).rate())?))
                })
                .collect(),
        }
    }

    /// Records a collection as one structured event.
    fn record(&self, began: &Instant, tally: &CollectionTally, outcome: &dyn Display) {
        let kinds: Vec<&str> = self.plan.kinds().iter().map(|kind| kind.name()).collect();
        tracing::info!(
            target: "profilez",
            caller = %self.caller,
            kinds = kinds.join(","),
            window_seconds = self.plan.window().as_secs_f64(),
            took_seconds = Duration::as_secs_f64(&began.elapsed()),
            bytes = tally.bytes,
            failed = tally.failed.join("; "),
            outcome = %outcome,
            "profile collection"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::file_name_part;

    #[test]
    fn a_service_name_can_not_break_out_of_a_file_name() {
        assert_eq!(file_name_part("shop-api.v2"), "shop-api.v2");
        assert_eq!(file_name_part("../../etc/passwd"), "etc-passwd");
        assert_eq!(file_name_part("a\"b\r\nc"), "a-b--c");
        assert_eq!(file_name_part("läden"), "l-den");
        assert_eq!(file_name_part("..."), "service");
        assert_eq!(file_name_part(&"x".repeat(1000)).len(), 64);
    }
}
