//! Profiles one by one, from the endpoints that every Go service has: what records a window side by
//! side, the rest after it. They are written in the plan's order, whichever answer comes first.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::{Duration, SystemTime};

use profile_archive::{EntryName, Header, Source};
use profile_core::{Available, Kind, Plan};

use super::content::{AnswerContent, ContentForm, recognise};
use super::endpoint::{EndpointFetch, absent};
use super::exchange::HttpAnswer;
use super::index::{profile_names, program_name, without_secrets};
use super::named::pick_named;
use super::output::{BundleEnd, BundleOutput};
use super::retry::RetryBudget;
use super::{Client, Collected, Progress, Request};
use crate::{Error, Result};

/// A message to the thread that writes, from one that fetches.
enum FetchMessage {
    Progress(Progress),
    /// The answer to one of the requests that record, by its place among them.
    Done(usize, Result<HttpAnswer>),
}

/// The state of a collection from single endpoints.
struct EndpointCollection<'a> {
    client: &'a Client,
    budget: RetryBudget,
    output: BundleOutput<'a>,
    /// Cumulative profiles from before the window, for comparison, and for want of better ones.
    before: Vec<(Kind, HttpAnswer)>,
    /// Number of requests in a row that have come to nothing.
    silent: u32,
    /// The error of the last of them.
    silence: Option<Error>,
    /// The first failure, for a collection in which there are only failures.
    first: Option<Error>,
    received: u64,
}

/// The time that an answer may take beyond its window.
const ANSWER: Duration = Duration::from_secs(60);
/// The longest window that is asked for. Go itself knows no limit.
const LONGEST_WINDOW: Duration = Duration::from_secs(24 * 3600);
/// The largest answer in bytes, which is the largest entry that is read again.
const LARGEST: u64 = 512 << 20;
/// The largest index or command line, in bytes.
const SMALL: u64 = 1 << 20;
/// Number of requests in a row without an answer after which the service is taken for gone.
const SILENCES: u32 = 2;

/// Collects what there is; `None` where there is neither an index nor any of the profiles.
pub(super) fn collect(
    client: &Client,
    request: &Request,
    budget: RetryBudget,
    to: &mut dyn Write,
    progress: &mut dyn FnMut(Progress),
) -> Result<Option<Collected>> {
    let anything = Available::new([]).with_max_window(LONGEST_WINDOW);
    let plan = Plan::parse(&plan_query(request), &anything).map_err(Error::Plan)?;
    let listed = fetch_index(client, budget, progress)?;
    let cmdline = fetch_command_line(client, budget);
    let service = cmdline.as_deref().and_then(|line| line.split(|&byte| byte == 0).next());
    let service = service.map(program_name).unwrap_or_default();

    let offered = |kind: Kind| {
        kind.is_timed() || listed.as_ref().is_none_or(|names| names.contains(kind.name()))
    };
    let (kinds, missing): (Vec<Kind>, Vec<Kind>) =
        plan.kinds().iter().partition(|kind| offered(**kind));
    let windowed: Vec<EndpointFetch> = kinds
        .iter()
        .filter(|kind| kind.is_windowed())
        .map(|kind| EndpointFetch::of(*kind))
        .collect();
    let asked_for = request.duration.as_ref().is_some_and(|duration| !duration.is_empty());
    // What nothing records is waited for only if it was asked for.
    let window = if windowed.is_empty() && (kinds.is_empty() || !asked_for) {
        Duration::ZERO
    } else {
        whole_seconds(plan.window())
    };
    let header = Header {
        service: service.clone(),
        version: String::new(),
        host: client.target.host(),
        pid: 0,
        build_id: String::new(),
        started: SystemTime::now(),
        window,
        source: Source::Individual,
        rates: BTreeMap::new(),
    };
    let output = BundleOutput::begin(to, header)?;
    let mut collection = EndpointCollection {
        client,
        budget,
        output,
        before: Vec::new(),
        silent: 0,
        silence: None,
        first: None,
        received: 0,
    };
    collection.output.cmdline(cmdline.as_deref().map(without_secrets).unwrap_or_default());
    for kind in missing {
        collection.output.unavailable(&absent(kind));
    }
    if !window.is_zero() {
        collection.take_before(&kinds);
    }
    let again = if windowed.is_empty() {
        collection.let_pass(window, progress);
        Vec::new()
    } else {
        collection.record(&windowed, window, progress)
    };
    let snapshots = kinds.iter().filter(|kind| !kind.is_windowed()).copied();
    collection.take_snapshots(snapshots.chain(again), progress);
    // Those that were not asked for by name, where nothing was.
    if request.kinds.as_ref().is_none_or(String::is_empty) {
        collection.take_named(&listed.as_ref().map(pick_named).unwrap_or_default());
    }
    collection.keep_before();
    match collection.finish(&service) {
        Err(Error::Nothing { .. }) if listed.is_none() => Ok(None),
        finished => finished.map(Some),
    }
}

/// Rounds a window up to whole seconds, as Go takes it.
fn whole_seconds(window: Duration) -> Duration {
    Duration::from_secs(window.as_secs() + u64::from(window.subsec_nanos() > 0))
}

/// Returns a request as the query that [`Plan`] reads.
fn plan_query(request: &Request) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    if let Some(duration) = &request.duration {
        query.append_pair("duration", duration);
    }
    if let Some(kinds) = &request.kinds {
        query.append_pair("profiles", kinds);
    }
    query.finish()
}

/// Returns the names in the index; `None` where there is no index to read them from.
fn fetch_index(
    client: &Client,
    budget: RetryBudget,
    progress: &mut dyn FnMut(Progress),
) -> Result<Option<BTreeSet<String>>> {
    let url = client.target.pprof("", None);
    let fetch = || client.fetch(&url, ANSWER.min(budget.left()), SMALL);
    match client.retry_within(budget, Duration::ZERO, progress, fetch) {
        Ok(answer) => Ok(profile_names(&answer.read()?)),
        Err(error @ Error::Refused { status: 401 | 403, .. }) => Err(error),
        Err(error @ (Error::Request { .. } | Error::Handshake { .. })) => Err(error),
        Err(_) => Ok(None),
    }
}

/// Returns the command line, where the service shows it. It is no profile: many keep it to
/// themselves.
fn fetch_command_line(client: &Client, budget: RetryBudget) -> Option<Vec<u8>> {
    let url = client.target.pprof("cmdline", None);
    let answer = client.fetch(&url, ANSWER.min(budget.left()), SMALL).ok()?;
    let is_text = answer.content_type.starts_with("text/plain");
    answer.read().ok().filter(|_| is_text)
}

impl EndpointCollection<'_> {
    /// Takes what is cumulative a first time: so that the window can be told from what was before
    /// it, and so that there is something if the service doesn't survive the window.
    fn take_before(&mut self, kinds: &[Kind]) {
        for kind in [Kind::Heap, Kind::Goroutine] {
            if kinds.contains(&kind)
                && let Ok(answer) = self.fetch(EndpointFetch::of(kind))
            {
                self.before.push((kind, answer));
            }
        }
    }

    /// Lets a window pass in which nothing is recorded.
    fn let_pass(&self, window: Duration, progress: &mut dyn FnMut(Progress)) {
        if !window.is_zero() {
            progress(Progress::Recording);
            self.client.cancel.wait(window.min(self.budget.left()));
        }
    }

    /// Records the window. Returns the kinds of which the service knows no increase, and that are
    /// to be taken as they stand.
    fn record(
        &mut self,
        windowed: &[EndpointFetch],
        window: Duration,
        progress: &mut dyn FnMut(Progress),
    ) -> Vec<Kind> {
        let mut again = Vec::new();
        // What comes early waits for its turn.
        let (mut early, mut turn) = (BTreeMap::new(), 0);
        let (sender, messages) = mpsc::channel();
        let (client, budget) = (self.client, self.budget);
        progress(Progress::Recording);
        thread::scope(|scope| {
            for (place, fetch) in windowed.iter().copied().enumerate() {
                let sender = sender.clone();
                scope.spawn(move || fetch_window(client, budget, place, fetch, window, &sender));
            }
            drop(sender);
            for message in messages {
                match message {
                    FetchMessage::Progress(told) => progress(told),
                    FetchMessage::Done(place, result) => {
                        early.insert(place, result);
                        while let Some(result) = early.remove(&turn) {
                            again.extend(self.keep_window(windowed[turn], window, result));
                            turn += 1;
                        }
                        progress(Progress::Received(self.received));
                    }
                }
            }
        });
        again
    }

    /// Keeps the result of a window, or returns the kind if it was none.
    fn keep_window(
        &mut self,
        fetch: EndpointFetch,
        window: Duration,
        result: Result<HttpAnswer>,
    ) -> Option<Kind> {
        if !fetch.kind.is_timed() {
            match result {
                // A service that doesn't know `seconds` answers at once, with everything so far.
                Ok(answer) if answer.took < window / 2 => {
                    self.before.push((fetch.kind, answer));
                    return Some(fetch.kind);
                }
                Err(Error::Refused { status: 400, .. }) => return Some(fetch.kind),
                result => self.keep_answer(fetch, result),
            }
        } else {
            self.keep_answer(fetch, result);
        }
        None
    }

    /// Takes snapshots, one after the other.
    fn take_snapshots(
        &mut self,
        kinds: impl Iterator<Item = Kind>,
        progress: &mut dyn FnMut(Progress),
    ) {
        for kind in kinds {
            let fetch = EndpointFetch::of(kind);
            if let Some(reason) = self.reason_to_stop() {
                self.output.error(kind.name(), reason);
                continue;
            }
            let result = self.fetch(fetch);
            let is_there = result.is_ok();
            self.keep_answer(fetch, result);
            if is_there && kind == Kind::Goroutine && self.reason_to_stop().is_none() {
                let dump = self.fetch(EndpointFetch::DUMP);
                self.keep_answer(EndpointFetch::DUMP, dump);
            }
            progress(Progress::Received(self.received));
        }
    }

    /// Takes the service's own profiles, one after the other.
    fn take_named(&mut self, names: &[&str]) {
        for name in names {
            if let Some(reason) = self.reason_to_stop() {
                self.output.error(name, reason);
                continue;
            }
            let answer = self.fetch_profile(name, None);
            let form = ContentForm::Profile;
            let kept = answer.and_then(|answer| self.write_as(name, name, form, answer));
            if let Err(error) = kept {
                self.output.error(name, error.chain());
            }
        }
    }

    /// Returns the reason why nothing more is to be asked, if there is one.
    fn reason_to_stop(&self) -> Option<&'static str> {
        if self.client.cancel.is_set() {
            Some("interrupted before its turn")
        } else if self.output.is_closed() {
            Some("the bundle could not be written")
        } else if self.silent >= SILENCES {
            Some("the service had stopped answering")
        } else {
            None
        }
    }

    fn fetch(&self, fetch: EndpointFetch) -> Result<HttpAnswer> {
        self.fetch_profile(fetch.endpoint, fetch.debug)
    }

    fn fetch_profile(&self, endpoint: &str, debug: Option<&str>) -> Result<HttpAnswer> {
        let EndpointCollection { client, budget, .. } = *self;
        let url = client.target.pprof(endpoint, debug.map(|debug| ("debug", debug)));
        let limit = self.largest_answer();
        client.retry_within(budget, Duration::ZERO, &mut |_| {}, || {
            client.fetch(&url, ANSWER.min(budget.left()), limit)
        })
    }

    /// Returns the largest answer that is taken now.
    fn largest_answer(&self) -> u64 {
        LARGEST.min(self.client.limit.saturating_sub(self.received))
    }

    /// Writes an answer down, or why there is none.
    fn keep_answer(&mut self, fetch: EndpointFetch, result: Result<HttpAnswer>) {
        let kind = fetch.kind;
        if !matches!(result, Err(Error::Request { .. })) {
            self.silent = 0;
            self.silence = None;
        }
        let error = match result.and_then(|answer| self.write(fetch, answer, "")) {
            Ok(()) => return,
            Err(Error::Refused { status: 404, .. }) if fetch.debug.is_none() => {
                self.output.unavailable(&absent(kind));
                return;
            }
            Err(error) => error,
        };
        let text =
            if self.client.cancel.is_set() { Error::Cancelled.to_string() } else { error.chain() };
        self.output.error(kind.name(), text);
        match error {
            error @ Error::Request { .. } => {
                self.silent += 1;
                self.silence = Some(error);
            }
            error => self.first = self.first.take().or(Some(error)),
        }
    }

    /// Writes an answer to the bundle, if it is what it should be.
    fn write(&mut self, fetch: EndpointFetch, answer: HttpAnswer, infix: &str) -> Result<()> {
        let kind = fetch.kind.name();
        self.write_as(kind, &format!("{kind}{infix}"), fetch.form, answer)
    }

    fn write_as(
        &mut self,
        kind: &str,
        stem: &str,
        form: ContentForm,
        answer: HttpAnswer,
    ) -> Result<()> {
        let (took, content_type) = (answer.took, answer.content_type.clone());
        self.received += answer.bytes;
        let AnswerContent { ending, bytes, doubt } =
            recognise(form, answer.read()?, &content_type).map_err(Error::Content)?;
        // Kinds, plain names and endings are good names.
        let Ok(name) = format!("{stem}.{ending}").parse::<EntryName>() else { return Ok(()) };
        self.output.append(kind, &name, &bytes, took);
        if let Some(doubt) = doubt {
            self.output.error(kind, doubt);
        }
        Ok(())
    }

    /// Writes down what was taken before the window: beside what was taken after it, or instead.
    fn keep_before(&mut self) {
        for (kind, answer) in std::mem::take(&mut self.before) {
            let infix = if self.output.has(kind) { ".before" } else { "" };
            if let Err(error) = self.write(EndpointFetch::of(kind), answer, infix) {
                self.output.error(kind.name(), error.chain());
            }
        }
    }

    fn finish(self, service: &str) -> Result<Collected> {
        let EndpointCollection { client, output, silence, first, .. } = self;
        let broke_off = if client.cancel.is_set() { Some(Error::Cancelled) } else { silence };
        if output.is_empty() && !output.is_closed() {
            let nothing = || Error::Nothing { url: client.target.shown_index() };
            return Err(broke_off.or(first).unwrap_or_else(nothing));
        }
        let service = if service.is_empty() { "service" } else { service };
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let file_name = Some(format!("{service}-profile-{}.tar.gz", now.as_secs()));
        output.finish(BundleEnd { file_name, broke_off, ..BundleEnd::default() })
    }
}

/// Fetches what takes as long as the window, and says how it went.
fn fetch_window(
    client: &Client,
    budget: RetryBudget,
    place: usize,
    fetch: EndpointFetch,
    window: Duration,
    to: &Sender<FetchMessage>,
) {
    let seconds = window.as_secs().to_string();
    let url = client.target.pprof(fetch.endpoint, Some(("seconds", &seconds)));
    // The receiver outlives this thread, and if not, there is nobody to tell.
    let mut progress = |told| drop(to.send(FetchMessage::Progress(told)));
    let result = client.retry_within(budget, window, &mut progress, || {
        let left = budget.left();
        // Something of the time is for what comes after the window.
        let beyond = ANSWER.min(left.saturating_sub(window) / 2);
        client.fetch(&url, window + beyond, LARGEST.min(client.limit))
    });
    let _ = to.send(FetchMessage::Done(place, result));
}
