//! Taking one kind: on a thread of its own, which ends at once when the client leaves.
//!
//! Windows may overlap. Finishing profiles, which takes memory for a moment, is one at a time for
//! each kind, and for all kinds as far as that takes no second: a collector that hangs holds up
//! nobody but its own kind.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use profile_core::collect::{File, empty_profile};
use profile_core::profile::{DecodeLimits, Profile, TextForm};
use profile_core::{Error, Kind, OwnWork, Unavailable, single, symbols};
use tokio::sync::oneshot;

use super::super::access::Identity;
use super::super::reply::{self, Refusal};
use super::Shared;
use super::query::Job;

/// More threads than a debug endpoint has any use for.
const MOST: usize = 64;

/// Who is at work.
#[derive(Default)]
pub(in super::super) struct Taking {
    threads: AtomicUsize,
    kinds: [Mutex<()>; Kind::ALL.len()],
    naming: Mutex<()>,
    /// How many are finishing something, of any kind.
    finishing: Mutex<usize>,
    finished: Condvar,
}

/// How long one waits for others than its own kind.
const CONSIDERATE: Duration = Duration::from_secs(1);

/// While one of these lives no other of its kind does, and no other of all if that can be helped.
pub(super) struct Finishing<'a> {
    taking: &'a Taking,
    _own: MutexGuard<'a, ()>,
}

impl Taking {
    /// For a profile of a kind.
    fn finishing(&self, kind: Kind) -> Finishing<'_> {
        self.after(&self.kinds[kind as usize])
    }

    /// For the names of addresses.
    pub(super) fn naming(&self) -> Finishing<'_> {
        self.after(&self.naming)
    }

    fn after<'a>(&'a self, own: &'a Mutex<()>) -> Finishing<'a> {
        let own = own.lock().unwrap_or_else(PoisonError::into_inner);
        let finishing = self.finishing.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut finishing, _in_time) = self
            .finished
            .wait_timeout_while(finishing, CONSIDERATE, |finishing| *finishing > 0)
            .unwrap_or_else(PoisonError::into_inner);
        *finishing += 1;
        Finishing { taking: self, _own: own }
    }
}

impl Drop for Finishing<'_> {
    fn drop(&mut self) {
        *self.taking.finishing.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.taking.finished.notify_one();
    }
}

/// A thread's place among the [`MOST`].
struct Place(Arc<Shared>);

impl Place {
    fn new(shared: &Arc<Shared>) -> Result<Place, Refusal> {
        let place = Place(Arc::clone(shared));
        if shared.taking.threads.fetch_add(1, Ordering::Relaxed) < MOST {
            Ok(place)
        } else {
            Err(reply::too_many_profiles(MOST))
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.taking.threads.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Tells whether the client is still there: nothing is ever sent, and the other end goes with it.
pub(super) struct Client(mpsc::Receiver<Infallible>);

impl Client {
    /// Waits for a window.
    fn wait(&self, window: Duration) -> Result<(), Refusal> {
        match self.0.recv_timeout(window) {
            Err(RecvTimeoutError::Timeout) => Ok(()),
            // Nobody is there to read it.
            Err(RecvTimeoutError::Disconnected) => Err(reply::client_left()),
            Ok(never) => match never {},
        }
    }
}

/// Runs work on a thread of its own. Dropping the future tells the work that the client left.
pub(super) async fn on_a_thread<T: Send + 'static>(
    shared: &Arc<Shared>,
    work: impl FnOnce(&Shared, &Client) -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    let place = Place::new(shared)?;
    let (_client, left) = mpsc::channel();
    let (done, answer) = oneshot::channel();
    // Whoever listens for events on this thread is to get these too.
    let dispatch = tracing::dispatcher::get_default(Clone::clone);
    let thread = thread::Builder::new()
        .name("profilez-pprof".to_owned())
        .spawn(move || {
            let _own = OwnWork::begin();
            let result =
                tracing::dispatcher::with_default(&dispatch, || work(&place.0, &Client(left)));
            let _ = done.send(result);
        })
        .map_err(|error| reply::profile_failed(&format!("no thread for it: {error}")))?;
    shared.keep(thread);
    answer.await.map_err(|_| reply::profile_failed("its thread panicked"))?
}

/// Takes what is asked for.
pub(super) async fn take(
    shared: &Arc<Shared>,
    job: Job,
    caller: Identity,
) -> Result<Vec<u8>, Refusal> {
    on_a_thread(shared, move |shared, client| {
        let began = Instant::now();
        let result = run(shared, &job, client);
        let outcome = result.as_ref().map_or_else(Refusal::message, |_| "complete");
        tracing::debug!(
            target: "profilez",
            caller = %caller,
            kind = job.kind().name(),
            took_seconds = began.elapsed().as_secs_f64(),
            bytes = result.as_ref().map_or(0, Vec::len),
            outcome,
            "single profile"
        );
        result
    })
    .await
}

/// Whether there would be an answer.
pub(super) fn could(shared: &Shared, job: &Job) -> Result<(), Refusal> {
    match (job, shared.collectors.collector(job.kind()).check()) {
        (Job::Trace(_), Err(why)) => Err(reply::no_trace(&why)),
        _ => Ok(()),
    }
}

fn run(shared: &Shared, job: &Job, client: &Client) -> Result<Vec<u8>, Refusal> {
    could(shared, job)?;
    if let Err(why) = shared.collectors.collector(job.kind()).check() {
        return Ok(in_place_of(&why, job));
    }
    match *job {
        Job::Profile(window) => record(shared, Kind::Cpu, window, client, reply::cpu_not_enabled),
        Job::Trace(window) => record(shared, Kind::Trace, window, client, reply::trace_not_enabled),
        Job::Delta { kind: kind @ (Kind::Block | Kind::Mutex), window } => {
            // They count nothing but in windows, so that a window is the difference.
            record(shared, kind, window, client, failed)
        }
        Job::Delta { kind, window } => difference(shared, kind, window, client),
        Job::Now { kind, gc } => {
            let _one = shared.taking.finishing(kind);
            let bytes = main_file(kind, single::snapshot(&shared.collectors, kind))?;
            if gc {
                with_note(&bytes, "gc: there is no garbage to collect first")
            } else {
                Ok(bytes)
            }
        }
        Job::Text { kind, debug } => {
            let _one = shared.taking.finishing(kind);
            let files = single::snapshot(&shared.collectors, kind);
            if kind == Kind::Goroutine && debug >= 2 {
                let files = files.map_err(|error| failed(&error))?;
                let text = files.into_iter().find(|file| file.name == "goroutine.txt");
                return text.map(|file| file.bytes).ok_or_else(|| no_file(kind));
            }
            let profile = decode(&main_file(kind, files)?)?;
            Ok(text_of(kind, &profile).into_bytes())
        }
    }
}

/// The profile of a window, as the kind's own collector writes it.
fn record(
    shared: &Shared,
    kind: Kind,
    window: Duration,
    client: &Client,
    not_started: fn(&Error) -> Refusal,
) -> Result<Vec<u8>, Refusal> {
    let open = single::open(&shared.collectors, kind).map_err(|error| not_started(&error))?;
    client.wait(window)?;
    let unfinished = open.close().map_err(|error| failed(&error))?;
    let _one = shared.taking.finishing(kind);
    main_file(kind, unfinished.finish())
}

/// What a kind that counts from the start has counted in a window: one snapshot less another.
fn difference(
    shared: &Shared,
    kind: Kind,
    window: Duration,
    client: &Client,
) -> Result<Vec<u8>, Refusal> {
    // Open all the while, for what is not counted otherwise.
    let open = single::open(&shared.collectors, kind).map_err(|error| failed(&error))?;
    let take = || {
        let _one = shared.taking.finishing(kind);
        let mut profile = decode(&main_file(kind, single::snapshot(&shared.collectors, kind))?)?;
        profile.time_nanos = unix_nanos(SystemTime::now());
        Ok(profile)
    };
    let before = take()?;
    client.wait(window)?;
    let after = take()?;
    drop(open);
    let delta = after.since(&before).map_err(|error| reply::delta_failed(&error))?;
    Ok(delta.encode_gzip())
}

/// What stands for a kind that this process can't give.
fn in_place_of(why: &Unavailable, job: &Job) -> Vec<u8> {
    let Some(profile) = empty_profile(why) else { return Vec::new() };
    match *job {
        Job::Text { kind, .. } => text_of(kind, &profile).into_bytes(),
        _ => profile.encode_gzip(),
    }
}

fn text_of(kind: Kind, profile: &Profile) -> String {
    let form = match kind {
        Kind::Heap | Kind::Allocs => TextForm::Heap,
        Kind::Block => TextForm::Contention,
        Kind::Mutex => TextForm::Mutex,
        _ => TextForm::Count,
    };
    let addresses: Vec<u64> = profile.locations.iter().map(|location| location.address).collect();
    let starts: HashMap<u64, u64> = addresses
        .iter()
        .zip(symbols(&addresses))
        .filter_map(|(&address, symbol)| Some((address, symbol?.start)))
        .collect();
    profile.text(form, &|address| starts.get(&address).copied())
}

fn with_note(bytes: &[u8], note: &str) -> Result<Vec<u8>, Refusal> {
    let mut profile = decode(bytes)?;
    let note = profile.strings.push(note);
    profile.comments.push(note);
    Ok(profile.encode_gzip())
}

fn main_file(kind: Kind, files: Result<Vec<File>, Error>) -> Result<Vec<u8>, Refusal> {
    let files = files.map_err(|error| failed(&error))?;
    let main = files.into_iter().find(|file| file.name == kind.file_name());
    main.map(|file| file.bytes).ok_or_else(|| no_file(kind))
}

fn decode(bytes: &[u8]) -> Result<Profile, Refusal> {
    Profile::decode(bytes, &DecodeLimits::default())
        .map_err(|error| reply::profile_failed(&error.to_string()))
}

fn failed(error: &Error) -> Refusal {
    reply::profile_failed(&error.chain())
}

fn no_file(kind: Kind) -> Refusal {
    reply::profile_failed(&format!("the {kind} collector gave no such file"))
}

fn unix_nanos(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}
