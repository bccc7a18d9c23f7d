//! `collect`: bundles from running services to files.

mod destination;

use std::fs::File;
use std::io::{self, BufReader, Write};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use profilez::archive::{BundleReader, Contents, Limits, Manifest};
use profilez::http::Error;
use profilez::http::client::{Client, Collected, Progress, Request};
use serde::Serialize;

use crate::args::CollectArgs;
use crate::output::{self, Failure, chain, note, printable};
use destination::Destination;

/// What is sent to every service.
struct Job<'a> {
    args: &'a CollectArgs,
    token: Option<String>,
    request: Request,
}

/// What is printed with `--json`, a line for each service.
#[derive(Serialize)]
struct Line<'a> {
    url: &'a str,
    file: Option<String>,
    bytes: u64,
    complete: bool,
    error: Option<String>,
    manifest: Option<Manifest>,
}

/// What a collection came to.
enum Outcome {
    Complete,
    Partial,
    Failed,
}

/// Set by Ctrl-C, which also cancels what is under way.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

pub(crate) fn run(args: &CollectArgs) -> Result<ExitCode, Failure> {
    let token = match &args.token_file {
        Some(path) => Some(
            std::fs::read_to_string(path)
                .map_err(|error| format!("{}: {error}", path.display()))?
                .trim()
                .to_owned(),
        ),
        None => args.token.clone(),
    };
    let mut request = Request::default();
    if let Some(duration) = &args.duration {
        request = request.duration(duration);
    }
    if let Some(kinds) = &args.profiles {
        request = request.kinds(kinds);
    }
    let job = Job { args, token, request };
    let urls =
        if args.urls.is_empty() { vec!["http://localhost".to_owned()] } else { args.urls.clone() };
    let several = urls.len() > 1;
    if several && args.output.as_deref().is_some_and(|path| !path.is_dir()) {
        return Err("with several URLs the output must be a directory that exists".into());
    }
    let clients =
        urls.iter().map(|url| client(url, &job)).collect::<Result<Vec<Client>, Error>>()?;
    cancel_on_interrupt(clients.clone())?;

    let outcomes: Vec<Outcome> = thread::scope(|scope| {
        let running: Vec<_> =
            clients.iter().map(|client| scope.spawn(|| job.collect(client, several))).collect();
        let failed = |_| Ok(Outcome::Failed);
        running
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(failed))
            .collect::<Result<_, _>>()
    })?;
    Ok(exit_code(&outcomes))
}

fn exit_code(outcomes: &[Outcome]) -> ExitCode {
    let all_failed = outcomes.iter().all(|outcome| matches!(outcome, Outcome::Failed));
    let all_complete = outcomes.iter().all(|outcome| matches!(outcome, Outcome::Complete));
    if INTERRUPTED.load(Ordering::SeqCst) {
        ExitCode::from(output::INTERRUPTED)
    } else if all_complete {
        ExitCode::SUCCESS
    } else if all_failed {
        ExitCode::from(output::FAILED)
    } else {
        ExitCode::from(output::PARTIAL)
    }
}

fn client(url: &str, job: &Job<'_>) -> Result<Client, Error> {
    let mut builder = Client::builder(url)?.limit(job.args.max_size.saturating_mul(1 << 20));
    if let Some(token) = &job.token {
        builder = builder.token(token);
    }
    for header in &job.args.headers {
        builder = builder.header(header)?;
    }
    if let Some(timeout) = job.args.timeout {
        builder = builder.timeout(timeout);
    }
    if let Some(path) = &job.args.unix_socket {
        builder = builder.unix_socket(path);
    }
    Ok(builder.build())
}

fn cancel_on_interrupt(clients: Vec<Client>) -> Result<(), ctrlc::Error> {
    ctrlc::set_handler(move || {
        if INTERRUPTED.swap(true, Ordering::SeqCst) {
            // Asked twice: whatever is still going on is not worth waiting for.
            std::process::exit(output::INTERRUPTED.into());
        }
        clients.iter().for_each(Client::cancel);
    })
}

impl Job<'_> {
    fn collect(&self, client: &Client, several: bool) -> io::Result<Outcome> {
        let mut destination = match Destination::open(self.args, client.url()) {
            Ok(destination) => destination,
            Err(error) => return self.failed(client, &error, None, 0),
        };
        let bar = Bar::new(self.request.window(), self.args.quiet || several);
        let mut counted = Counted { to: &mut destination, bytes: 0 };
        let collected =
            client.collect(&self.request, &mut counted, &mut |progress| bar.show(progress));
        let bytes = counted.bytes;
        bar.done();
        match collected {
            Ok(collected) => self.keep(client, destination, &collected),
            Err(error) => {
                // Of a bundle that breaks off, what arrived is worth having.
                let kept = destination.abandon(bytes);
                self.failed(client, &error, kept, bytes)
            }
        }
    }

    fn keep(
        &self,
        client: &Client,
        destination: Destination,
        collected: &Collected,
    ) -> io::Result<Outcome> {
        let (file, path) = match destination.keep(collected.file_name.as_deref()) {
            Ok(kept) => kept,
            Err(error) => return self.failed(client, &error, None, collected.bytes),
        };
        let contents = file.and_then(contents);
        let complete = contents.as_ref().is_none_or(|contents| {
            !contents.truncated
                && contents.manifest.as_ref().is_some_and(|manifest| manifest.errors.is_empty())
        });
        if !self.args.quiet {
            explain(contents.as_ref());
            if let Some(path) = &path {
                note(&format!("read it with `profilez report {path}`"));
            }
        }
        if self.args.json {
            self.line(&Line {
                url: client.url(),
                file: path,
                bytes: collected.bytes,
                complete,
                error: None,
                manifest: contents.and_then(|contents| contents.manifest),
            })?;
        } else if let Some(path) = path {
            output::print(&path)?;
        }
        Ok(if complete { Outcome::Complete } else { Outcome::Partial })
    }

    fn failed(
        &self,
        client: &Client,
        error: &(dyn std::error::Error + 'static),
        kept: Option<String>,
        bytes: u64,
    ) -> io::Result<Outcome> {
        let interrupted = INTERRUPTED.load(Ordering::SeqCst);
        let reason = if interrupted { "interrupted".to_owned() } else { chain(error) };
        note(&format!("error: {}", printable(&reason)));
        if let Some(hint) = hint(error) {
            note(&hint);
        }
        if let Some(kept) = &kept {
            note(&format!("kept what arrived ({bytes} bytes) in {kept}"));
        }
        let readable = kept
            .as_ref()
            .and_then(|path| contents(File::open(path).ok()?))
            .is_some_and(|contents| contents.entries.iter().any(|entry| entry.complete));
        if self.args.json {
            self.line(&Line {
                url: client.url(),
                file: kept,
                bytes,
                complete: false,
                error: Some(reason),
                manifest: None,
            })?;
        }
        Ok(if readable { Outcome::Partial } else { Outcome::Failed })
    }

    /// Prints one line at a time, whichever thread it comes from.
    fn line(&self, line: &Line<'_>) -> io::Result<()> {
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let _one = ONE_AT_A_TIME.lock();
        output::print(&serde_json::to_string(line)?)
    }
}

/// What to do about a refusal.
fn hint(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    let Some(Error::Refused { status, retry_after, .. }) = error.downcast_ref::<Error>() else {
        return None;
    };
    match status {
        401 => Some("give a token with --token-file FILE or PROFILEZ_TOKEN".to_owned()),
        404 => Some(
            "there is no such endpoint: is the path right, and profilez mounted there?".to_owned(),
        ),
        409 => retry_after.map(|after| format!("try again in {} s", after.as_secs())),
        _ => None,
    }
}

fn contents(file: File) -> Option<Contents> {
    let reader = BundleReader::open(BufReader::new(file), &Limits::default()).ok()?;
    Some(reader.finish())
}

/// Says what is missing, and why.
fn explain(contents: Option<&Contents>) {
    let Some(contents) = contents else { return };
    for warning in &contents.warnings {
        note(&format!("warning: {}", printable(&warning.to_string())));
    }
    let Some(manifest) = &contents.manifest else { return };
    for failed in &manifest.errors {
        note(&format!("{} failed: {}", printable(&failed.kind), printable(&failed.error)));
    }
    for missing in &manifest.unavailable {
        note(&format!(
            "{} is not collected: {}",
            printable(&missing.kind),
            printable(&missing.reason)
        ));
    }
}

struct Counted<'a> {
    to: &'a mut Destination,
    bytes: u64,
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let len = self.to.write(bytes)?;
        self.bytes += len as u64;
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// A progress bar on standard error; hidden where that is no terminal.
pub(crate) struct Bar {
    bar: ProgressBar,
}

impl Bar {
    pub(crate) fn new(window: Duration, hidden: bool) -> Bar {
        let target =
            if hidden { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bar = ProgressBar::with_draw_target(None, target).with_message("connecting");
        let style = ProgressStyle::with_template("{spinner} {msg} {elapsed}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        bar.set_prefix(profilez::core::format_duration(window));
        bar.enable_steady_tick(Duration::from_millis(100));
        Bar { bar }
    }

    pub(crate) fn show(&self, progress: Progress) {
        match progress {
            Progress::Recording => {
                self.bar.set_message(format!("recording for {}", self.bar.prefix()));
            }
            Progress::Received(bytes) => {
                self.bar.set_message(format!("received {}", indicatif::BinaryBytes(bytes)));
            }
            _ => {}
        }
    }

    pub(crate) fn done(&self) {
        self.bar.finish_and_clear();
    }
}
