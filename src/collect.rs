//! `collect`: bundles from running services to files.

mod destination;
mod hints;
mod progress;
mod settings;

use std::error::Error as StdError;
use std::io::{self, IsTerminal as _};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use profilez::archive::Manifest;
use profilez::format::{Kind, parse_duration};
use profilez::http::Error;
use profilez::http::client::{Client, Collected, Request};
use serde::Serialize;

use crate::args::CollectArgs;
use crate::interrupt;
use crate::output::{self, CommandFailure, chain, note, printable};
pub(crate) use destination::BundleDestination;
pub(crate) use progress::CollectionBar;
use settings::ClientSettings;

/// A collection from one service.
struct CollectJob<'a> {
    args: &'a CollectArgs,
    client: &'a Client,
    /// The request, completed by what the URL asks for.
    request: Request,
    /// True if there are other services: messages then name this one.
    several: bool,
}

/// The most services that are collected from at the same time.
const AT_ONCE: usize = 16;

/// A line that is printed with `--json`, one for each service.
#[derive(Serialize)]
struct ServiceLine<'a> {
    url: &'a str,
    file: Option<&'a str>,
    bytes: u64,
    complete: bool,
    error: Option<String>,
    manifest: Option<Manifest>,
}

/// The outcome of one collection.
enum CollectOutcome {
    Complete,
    Partial,
    Failed,
}

pub(crate) fn run(args: &CollectArgs) -> Result<ExitCode, CommandFailure> {
    check(args).map_err(CommandFailure::Usage)?;
    let mut request = Request::default();
    if let Some(duration) = &args.duration {
        request = request.duration(duration);
    }
    if let Some(kinds) = &args.profiles {
        request = request.kinds(kinds);
    }
    if let Some(detail) = args.tasks {
        request = request.tasks(detail);
    }
    if let Some(rate) = args.hz {
        request = request.hz(rate);
    }
    let urls =
        if args.urls.is_empty() { vec!["http://localhost".to_owned()] } else { args.urls.clone() };
    let settings = ClientSettings::read(args)?;
    let clients = urls
        .iter()
        .map(|url| settings.client(url))
        .collect::<Result<Vec<Client>, Error>>()
        .map_err(|error| CommandFailure::Usage(chain(&error)))?;
    let cancelled = clients.clone();
    interrupt::call_on_interrupt(move || cancelled.iter().for_each(Client::cancel))?;

    let next = AtomicUsize::new(0);
    let work = || {
        let mine = || clients.get(next.fetch_add(1, Ordering::Relaxed));
        let collect = |client: &Client| {
            let request = client.complete(&request);
            CollectJob { args, client, request, several: clients.len() > 1 }.collect()
        };
        std::iter::from_fn(mine).map(collect).collect::<io::Result<Vec<_>>>()
    };
    let outcomes = thread::scope(|scope| {
        let workers: Vec<_> = (0..clients.len().min(AT_ONCE)).map(|_| scope.spawn(work)).collect();
        let failed = |_| Ok(vec![CollectOutcome::Failed]);
        workers
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(failed))
            .collect::<io::Result<Vec<_>>>()
    })?;
    let outcomes: Vec<CollectOutcome> = outcomes.into_iter().flatten().collect();
    Ok(exit_code(&outcomes))
}

/// Refuses arguments that are good one by one and make no sense together.
fn check(args: &CollectArgs) -> Result<(), String> {
    let output = args.output.as_deref();
    let to_stdout = output == Some(Path::new("-"));
    if args.urls.len() > 1 && output.is_some_and(|path| !destination::is_directory(path)) {
        return Err(
            "with several URLs the output must be a directory; one whose name ends with / \
                    is made"
                .to_owned(),
        );
    }
    if let Some(kinds) = &args.profiles {
        for kind in kinds.split(',').map(str::trim).filter(|kind| !kind.is_empty()) {
            let kind: Result<Kind, _> = kind.parse();
            kind.map_err(|error| chain(&error))?;
        }
    }
    if to_stdout && args.json {
        return Err("standard output can't be both the bundle and JSON: give -o FILE".to_owned());
    }
    if to_stdout && io::stdout().is_terminal() && !args.force {
        return Err("a bundle is nothing for a terminal: redirect it or give -o FILE".to_owned());
    }
    let window = args.duration.as_deref().and_then(|duration| parse_duration(duration).ok());
    if let (Some(window), Some(timeout)) = (window, args.timeout)
        && timeout <= window
    {
        return Err("the timeout is for the whole collection, and must be longer than the \
                    duration"
            .to_owned());
    }
    Ok(())
}

fn exit_code(outcomes: &[CollectOutcome]) -> ExitCode {
    let all_failed = outcomes.iter().all(|outcome| matches!(outcome, CollectOutcome::Failed));
    let all_complete = outcomes.iter().all(|outcome| matches!(outcome, CollectOutcome::Complete));
    if all_complete {
        ExitCode::SUCCESS
    } else if interrupt::has_happened() {
        ExitCode::from(output::INTERRUPTED)
    } else if all_failed {
        ExitCode::from(output::FAILED)
    } else {
        ExitCode::from(output::PARTIAL)
    }
}

impl CollectJob<'_> {
    fn collect(&self) -> io::Result<CollectOutcome> {
        let output = self.args.output.as_deref();
        let mut to = match BundleDestination::new(output, self.args.force, self.client.url()) {
            Ok(to) => to,
            Err(error) => return self.fail(&error),
        };
        let bar = CollectionBar::new(self.request.window(), self.args.quiet || self.several);
        let collected =
            self.client.collect(&self.request, &mut to, &mut |progress| bar.show(progress));
        bar.done();
        match collected {
            Ok(Collected { broke_off: Some(Error::Write(error)), .. }) if to.is_stream() => {
                self.fail(&Error::Write(error))
            }
            Ok(collected) => self.finish(to, collected),
            Err(error) => {
                // Nothing of it can be read.
                to.abandon(false);
                self.fail(&error)
            }
        }
    }

    fn finish(
        &self,
        destination: BundleDestination,
        collected: Collected,
    ) -> io::Result<CollectOutcome> {
        let Collected { bytes, file_name, manifest, warnings, broke_off, .. } = collected;
        let said = broke_off.as_ref().map(Error::chain).unwrap_or_default();
        let reason = broke_off.as_ref().map(|error| self.report_error(error));
        let file = if broke_off.is_some() {
            let file = destination.abandon(true);
            if let Some(file) = &file {
                note(&format!("what arrived ({bytes} bytes) is in {file}"));
            }
            file
        } else {
            match destination.keep(file_name.as_deref()) {
                Ok(file) => file,
                Err(error) => {
                    let reason = self.report_error(&error);
                    let file = destination.abandon(true);
                    if let Some(file) = &file {
                        note(&format!("what arrived ({bytes} bytes) is in {file}"));
                    }
                    return self.print_outcome(
                        file.as_deref(),
                        bytes,
                        Some(reason),
                        Some(manifest),
                    );
                }
            }
        };
        if !self.args.quiet {
            for warning in &warnings {
                note(&format!("warning: {}", printable(&warning.to_string())));
            }
            note_missing(&manifest, &said);
            if let Some(file) = &file {
                note(&format!("read it with `profilez report {file}`"));
            }
        }
        self.print_outcome(file.as_deref(), bytes, reason, Some(manifest))
    }

    fn fail(&self, error: &(dyn StdError + 'static)) -> io::Result<CollectOutcome> {
        let reason = self.report_error(error);
        self.print_outcome(None, 0, Some(reason), None)
    }

    /// Says what went wrong, and what to do about it. Returns the first of the two.
    fn report_error(&self, error: &(dyn StdError + 'static)) -> String {
        let mut reason =
            if interrupt::has_happened() { "interrupted".to_owned() } else { chain(error) };
        if let Some(socket) = &self.args.unix_socket
            && matches!(error.downcast_ref(), Some(Error::Request { .. }))
            && !interrupt::has_happened()
        {
            reason = format!("{reason}, through the unix socket {}", socket.display());
        }
        if self.several && !reason.contains(self.client.url()) {
            reason = format!("{}: {reason}", self.client.url());
        }
        output::error(&reason);
        if let Some(hint) = self.hint(error) {
            note(&hint);
        }
        reason
    }

    /// Returns what to do about a failure.
    fn hint(&self, error: &(dyn StdError + 'static)) -> Option<String> {
        let (status, retry_after) = match error.downcast_ref::<Error>()? {
            Error::TooLarge { .. } => return Some("--max-size MIB takes larger ones".to_owned()),
            Error::Handshake { source, .. } => return hints::hint_of_handshake(source, self.args),
            Error::Refused { status: 400, message, .. } if hints::is_about_https(message) => {
                return Some(hints::HTTPS.to_owned());
            }
            Error::Refused { status, retry_after, .. } => (*status, *retry_after),
            _ => return None,
        };
        let hint = match status {
            300..=399 => "redirects are not followed: collect from the address it leads to",
            401 | 403 => "is the token right? give one with --token-file FILE or PROFILEZ_TOKEN",
            404 | 405 if self.request.detail().is_some() => {
                "only /debug/profile of a service with profilez can say what tasks wait in: leave out \
                 --tasks, or tasks= in the URL, to collect from others"
            }
            404 | 405 if self.request.rate().is_some() => {
                "only /debug/profile of a service with profilez has a rate to choose: leave out --hz, or hz= in \
                 the URL, to collect from others"
            }
            404 | 405 if self.args.no_fallback => {
                "/debug/pprof/ was not looked for: leave out --no-fallback to collect from any Go \
                 service"
            }
            404 => {
                "there is no such endpoint, nor /debug/pprof/: is the path right, and are they \
                 mounted there?"
            }
            409 => match retry_after {
                Some(after) => return Some(format!("try again in {} s", after.as_secs())),
                None => "try again when that collection is done",
            },
            _ => return None,
        };
        Some(hint.to_owned())
    }

    /// Prints the result; there is a bundle where there is a manifest.
    fn print_outcome(
        &self,
        file: Option<&str>,
        bytes: u64,
        error: Option<String>,
        manifest: Option<Manifest>,
    ) -> io::Result<CollectOutcome> {
        let readable = manifest.is_some();
        let complete = error.is_none() && manifest.as_ref().is_some_and(|m| self.is_all(m));
        self.print(&ServiceLine {
            url: self.client.url(),
            file,
            bytes,
            complete,
            error,
            manifest,
        })?;
        Ok(match (complete, readable) {
            (true, _) => CollectOutcome::Complete,
            (false, true) => CollectOutcome::Partial,
            (false, false) => CollectOutcome::Failed,
        })
    }

    /// Returns whether a bundle holds what was asked for: what the service doesn't have only counts
    /// where it was named.
    fn is_all(&self, manifest: &Manifest) -> bool {
        let is_missing = |kind: &str| kind.parse().is_ok_and(|kind: Kind| self.request.names(kind));
        manifest.errors.is_empty()
            && manifest.incomplete.is_empty()
            && !manifest.unavailable.iter().any(|missing| is_missing(&missing.kind))
    }

    /// Prints the file's name, or a line of JSON; one at a time, whichever thread it comes from.
    fn print(&self, line: &ServiceLine<'_>) -> io::Result<()> {
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let _one = ONE_AT_A_TIME.lock();
        match line.file {
            _ if self.args.json => output::print_json(line, output::JsonLayout::Line),
            Some(file) => output::print(file),
            None => Ok(()),
        }
    }
}

/// Notes what is missing, and why, unless it was `said` as the error.
fn note_missing(manifest: &Manifest, said: &str) {
    if !manifest.incomplete.is_empty() && manifest.incomplete != said {
        note(&format!(
            "the service's own bundle is not complete: {}",
            printable(&manifest.incomplete)
        ));
    }
    let is_said = |error: &str| !error.is_empty() && said.contains(error);
    let failed = manifest.errors.iter().filter(|failed| !is_said(&failed.error));
    note_first(failed, |failed| format!("{} failed: {}", failed.kind, failed.error));
    note_first(manifest.unavailable.iter(), |missing| {
        format!("{} is not collected: {}", missing.kind, missing.reason)
    });
}

/// Notes the first of many: a manifest may hold as many as its writer likes.
fn note_first<T>(mut all: impl Iterator<Item = T>, text: impl Fn(T) -> String) {
    const MOST: usize = 30;
    all.by_ref().take(MOST).for_each(|one| note(&printable(&text(one))));
    let more = all.count();
    if more > 0 {
        note(&format!("and {more} more, which the manifest names"));
    }
}
