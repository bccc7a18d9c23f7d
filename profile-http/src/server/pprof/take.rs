//! Taking one kind: what each request is made of.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use profile_core::collect::{Content, empty_profile};
use profile_core::profile::{Profile, TextForm};
use profile_core::single::{self, KindFiles, Unfinished};
use profile_core::task::Detail;
use profile_core::{Collectors, CpuRate, Error, Kind, OwnWork, Unavailable, symbols};
use profile_format::DUMP_FILE_NAME;

use super::super::access::Identity;
use super::super::pipe;
use super::super::reply::{self, HttpRefusal};
use super::query::ProfileJob;
use super::threads::{AnswerSlot, WaitingClient, on_a_thread};
use super::{Body, ServiceState};

/// Takes what is asked for.
pub(super) async fn take(
    shared: &Arc<ServiceState>,
    job: ProfileJob,
    caller: Identity,
) -> Result<Body, HttpRefusal> {
    on_a_thread(shared, move |shared, client, answer| {
        let began = Instant::now();
        let outcome = run(shared, &job, client, answer);
        tracing::debug!(
            target: "profilez",
            caller = %caller,
            kind = job.kind().name(),
            took_seconds = began.elapsed().as_secs_f64(),
            bytes = *outcome.as_ref().unwrap_or(&0),
            outcome = outcome.as_ref().map_or_else(String::as_str, |_| "complete"),
            "single profile"
        );
    })
    .await
}

const LEFT: &str = "the client left";

/// Time beyond a window after which the answer begins, be the profile ready or not. `go tool pprof`
/// waits for an answer to begin for five seconds beyond the window, and the first profile of a
/// large program may take that long to finish.
const PUNCTUAL: Duration = Duration::from_secs(3);

/// Answers, and returns how many bytes that were, or why there are none.
fn run(
    shared: &ServiceState,
    job: &ProfileJob,
    client: &WaitingClient,
    answer: AnswerSlot<Body>,
) -> Result<u64, String> {
    let (kind, unfinished) = match collect(shared, job, client) {
        Ok(TakenProfile::Closed { kind, unfinished }) => (kind, unfinished),
        Ok(TakenProfile::Whole(content)) => return send_answer(shared, Ok(content), answer),
        Err(refusal) => return send_answer(shared, Err(refusal), answer),
    };
    thread::scope(|scope| {
        let (done, finished) = mpsc::channel();
        let finish = move || {
            let _own = OwnWork::of_thread();
            let _one = shared.taking.wait_to_finish(kind);
            let _ = done.send(main_file(unfinished.finish()).map(Content::into_encoded));
        };
        let name = "profilez-finish".to_owned();
        if let Err(error) = thread::Builder::new().name(name).spawn_scoped(scope, finish) {
            return send_answer(shared, Err(reply::profile_failed(&error.to_string())), answer);
        }
        match finished.recv_timeout(PUNCTUAL) {
            Ok(result) => send_answer(shared, result, answer),
            Err(_) => send_answer_late(&finished, shared.patience, answer),
        }
    })
}

/// Answers with what there is.
fn send_answer(
    shared: &ServiceState,
    result: Result<Content, HttpRefusal>,
    answer: AnswerSlot<Body>,
) -> Result<u64, String> {
    let result = match result.map(Content::into_encoded) {
        Ok(content) if content.in_memory().is_none() => {
            let (writer, reader) = pipe::pipe(shared.patience);
            if !answer.give(Ok(Body::stream(reader))) {
                return Err(LEFT.to_owned());
            }
            return stream_content(content, writer);
        }
        result => result,
    };
    let outcome = match &result {
        Ok(content) => Ok(content.len()),
        Err(refusal) => Err(refusal.message().to_owned()),
    };
    let there = answer.give(result.map(|content| Body::full(content.into_vec().into())));
    if there { outcome } else { outcome.and(Err(LEFT.to_owned())) }
}

/// Writes an answer that has begun. Without an end the client sees that it is not whole; once it sees
/// the end, what the content was made of is free for its next request.
fn stream_content(content: Content, mut writer: pipe::PipeWriter) -> Result<u64, String> {
    content.write_to(&mut writer).map_err(|error| error.to_string())?;
    let len = content.len();
    drop(content);
    writer.finish();
    Ok(len)
}

/// Begins the answer before there is a profile.
fn send_answer_late(
    finished: &mpsc::Receiver<Result<Content, HttpRefusal>>,
    patience: Duration,
    answer: AnswerSlot<Body>,
) -> Result<u64, String> {
    let (writer, reader) = pipe::pipe(patience);
    if !answer.give(Ok(Body::stream(reader))) {
        return Err(LEFT.to_owned());
    }
    let content = finished
        .recv()
        .map_err(|_| "its thread panicked".to_owned())?
        .map_err(|refusal| refusal.message().to_owned())?;
    stream_content(content, writer)
}

/// A collection at the point from which it can be answered.
enum TakenProfile {
    Whole(Content),
    /// A window is over, and its profile still to be finished.
    Closed {
        kind: Kind,
        unfinished: Unfinished,
    },
}

/// Returns whether there would be an answer.
pub(super) fn check_available(shared: &ServiceState, job: &ProfileJob) -> Result<(), HttpRefusal> {
    match (job, shared.collectors.collector(job.kind()).check()) {
        (ProfileJob::Trace(_), Err(why)) => Err(reply::no_trace(&why)),
        (ProfileJob::Now { tasks, .. } | ProfileJob::Text { tasks, .. }, _) => {
            collectors_in_detail(shared, *tasks).map(drop)
        }
        _ => Ok(()),
    }
}

fn collect(
    shared: &ServiceState,
    job: &ProfileJob,
    client: &WaitingClient,
) -> Result<TakenProfile, HttpRefusal> {
    check_available(shared, job)?;
    let kind = job.kind();
    if let Err(why) = shared.collectors.collector(kind).check() {
        return Ok(TakenProfile::Whole(empty_answer(&why, job)));
    }
    let closed = |collectors: &Collectors, window, not_started| {
        record(collectors, kind, window, client, not_started)
            .map(|unfinished| TakenProfile::Closed { kind, unfinished })
    };
    let whole = match *job {
        ProfileJob::Profile { window, hz } => {
            let collectors = collectors_at_rate(shared, hz)?;
            return closed(&collectors, window, reply::cpu_not_enabled);
        }
        ProfileJob::Trace(window) => {
            return closed(&shared.collectors, window, reply::trace_not_enabled);
        }
        ProfileJob::Delta { kind, window } if kind.is_windowed() => {
            // Their windows tell the difference, exactly.
            let unfinished = record(&shared.collectors, kind, window, client, failed)?;
            let _one = shared.taking.wait_to_finish(kind);
            main_file(unfinished.finish())
        }
        ProfileJob::Delta { kind, window } => take_difference(shared, kind, window, client),
        ProfileJob::Now { kind, gc, tasks } => {
            let collectors = collectors_in_detail(shared, tasks)?;
            let _one = shared.taking.wait_to_finish(kind);
            let content = main_file(single::snapshot(&collectors, kind))?;
            if gc {
                with_note(content, "gc: there is no garbage to collect first")
            } else {
                Ok(content)
            }
        }
        ProfileJob::Text { kind, debug, tasks } => snapshot_text(shared, kind, debug, tasks),
    };
    whole.map(TakenProfile::Whole)
}

/// Returns the collectors, with dumps that tell what tasks wait in, where that is asked for.
fn collectors_in_detail(
    shared: &ServiceState,
    tasks: Option<Detail>,
) -> Result<Cow<'_, Collectors>, HttpRefusal> {
    match tasks {
        None => Ok(Cow::Borrowed(&shared.collectors)),
        Some(detail) => {
            let collectors = shared.collectors.with_tasks(detail);
            collectors.map(Cow::Owned).map_err(|why| reply::not_so(&why))
        }
    }
}

/// Returns the collectors, with CPU profiles of the rate that is asked for.
fn collectors_at_rate(
    shared: &ServiceState,
    hz: Option<CpuRate>,
) -> Result<Cow<'_, Collectors>, HttpRefusal> {
    match hz {
        None => Ok(Cow::Borrowed(&shared.collectors)),
        Some(rate) => {
            let collectors = shared.collectors.with_hz(rate);
            collectors.map(Cow::Owned).map_err(|why| reply::not_so(&why))
        }
    }
}

/// Returns the snapshot of a kind, in one of Go's text forms.
fn snapshot_text(
    shared: &ServiceState,
    kind: Kind,
    debug: i64,
    tasks: Option<Detail>,
) -> Result<Content, HttpRefusal> {
    let collectors = collectors_in_detail(shared, tasks)?;
    let _one = shared.taking.wait_to_finish(kind);
    let files = single::snapshot(&collectors, kind).map_err(|error| failed(&error))?;
    if kind == Kind::Goroutine && debug >= 2 {
        let text = files.into_iter().find(|file| file.name == DUMP_FILE_NAME);
        return text.map(|file| file.bytes).ok_or_else(|| no_file(kind));
    }
    let profile = profile_of(main_file(Ok(files))?)?;
    Ok(text_of(kind, &profile).into_bytes().into())
}

/// Records a window from its opening to its end.
fn record(
    collectors: &Collectors,
    kind: Kind,
    window: Duration,
    client: &WaitingClient,
    not_started: fn(&Error) -> HttpRefusal,
) -> Result<Unfinished, HttpRefusal> {
    let open = single::open(collectors, kind).map_err(|error| not_started(&error))?;
    client.wait(window)?;
    open.close().map_err(|error| failed(&error))
}

/// Returns the increase in a window of a kind that counts from the start: one snapshot less
/// another.
fn take_difference(
    shared: &ServiceState,
    kind: Kind,
    window: Duration,
    client: &WaitingClient,
) -> Result<Content, HttpRefusal> {
    // Open all the while, for what is not counted otherwise.
    let open = single::open(&shared.collectors, kind).map_err(|error| failed(&error))?;
    let take = || {
        let _one = shared.taking.wait_to_finish(kind);
        let mut profile = profile_of(main_file(single::snapshot(&shared.collectors, kind))?)?;
        profile.time_nanos = unix_nanos(SystemTime::now());
        Ok(profile)
    };
    let before = take()?;
    client.wait(window)?;
    let after = take()?;
    drop(open);
    let delta = after.since(&before).map_err(|error| reply::delta_failed(&error))?;
    Ok(delta.into())
}

/// Returns the answer in place of a kind that this process can't give.
fn empty_answer(why: &Unavailable, job: &ProfileJob) -> Content {
    let Some(profile) = empty_profile(why) else { return Vec::new().into() };
    match *job {
        ProfileJob::Text { kind, .. } => text_of(kind, &profile).into_bytes().into(),
        _ => profile.into(),
    }
}

fn text_of(kind: Kind, profile: &Profile) -> String {
    let form = kind.facts().profile.map_or(TextForm::Count, |shape| shape.text_form);
    let addresses: Vec<u64> = profile.locations.iter().map(|location| location.address).collect();
    let starts: HashMap<u64, u64> = addresses
        .iter()
        .zip(symbols(&addresses))
        .filter_map(|(&address, symbol)| Some((address, symbol?.start)))
        .collect();
    profile.text(form, &|address| starts.get(&address).copied())
}

fn with_note(content: Content, note: &str) -> Result<Content, HttpRefusal> {
    let mut profile = profile_of(content)?;
    let note = profile.strings.push(note);
    profile.comments.push(note);
    Ok(profile.into())
}

fn main_file(files: Result<KindFiles, Error>) -> Result<Content, HttpRefusal> {
    files.and_then(KindFiles::main).map_err(|error| failed(&error))
}

fn profile_of(content: Content) -> Result<Profile, HttpRefusal> {
    content.into_profile().map_err(|error| reply::profile_failed(&error.to_string()))
}

fn failed(error: &Error) -> HttpRefusal {
    reply::profile_failed(&error.chain())
}

fn no_file(kind: Kind) -> HttpRefusal {
    reply::profile_failed(&format!("the {kind} collector gave no such file"))
}

fn unix_nanos(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::{Context, Poll, Waker};

    use super::*;

    /// A content that is given back with some delay.
    struct HeldContent(Arc<AtomicBool>);

    impl Drop for HeldContent {
        fn drop(&mut self) {
            thread::sleep(Duration::from_millis(50));
            self.0.store(true, Ordering::Relaxed);
        }
    }

    #[test]
    fn who_sees_the_end_of_an_answer_finds_nothing_in_use() {
        let free = Arc::new(AtomicBool::new(false));
        let held = HeldContent(Arc::clone(&free));
        let content = Content::written(move |writer| {
            let HeldContent(_) = &held;
            writer.write_all(b"some bytes")
        });
        let (writer, mut reader) = pipe::pipe(Duration::from_secs(60));
        thread::scope(|scope| {
            scope.spawn(|| assert_eq!(stream_content(content.unwrap(), writer), Ok(10)));
            let mut read = 0;
            loop {
                match reader.poll_read(&mut Context::from_waker(Waker::noop())) {
                    Poll::Ready(Some(piece)) => read += piece.unwrap().len(),
                    Poll::Ready(None) => break,
                    Poll::Pending => thread::yield_now(),
                }
            }
            assert!(free.load(Ordering::Relaxed), "it is still in use");
            assert_eq!(read, 10);
        });
    }
}
