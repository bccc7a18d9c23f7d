//! `collect`: bundles from running services to files.

mod destination;
mod progress;
mod watch;

use std::env;
use std::error::Error as StdError;
use std::io::{self, IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::thread;

use profilez::archive::{Contents, Manifest};
use profilez::core::parse_duration;
use profilez::http::Error;
use profilez::http::client::{Client, Collected, Request};
use serde::Serialize;

use crate::args::CollectArgs;
use crate::interrupt;
use crate::output::{self, Failure, chain, note, printable};
pub(crate) use destination::Destination;
pub(crate) use progress::Bar;
use watch::Watch;

/// What is sent to every service.
struct Job<'a> {
    args: &'a CollectArgs,
    token: Option<String>,
    request: Request,
    several: bool,
}

/// What is printed with `--json`, a line for each service.
#[derive(Serialize)]
struct Line<'a> {
    url: &'a str,
    file: Option<&'a str>,
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

/// What arrived of a bundle.
struct Arrived {
    bytes: u64,
    /// Where it is; `None` where it is in no file.
    file: Option<String>,
    /// `None` where nothing of it can be read.
    contents: Option<Contents>,
}

pub(crate) fn run(args: &CollectArgs) -> Result<ExitCode, Failure> {
    check(args).map_err(Failure::Usage)?;
    let mut request = Request::default();
    if let Some(duration) = &args.duration {
        request = request.duration(duration);
    }
    if let Some(kinds) = &args.profiles {
        request = request.kinds(kinds);
    }
    let urls =
        if args.urls.is_empty() { vec!["http://localhost".to_owned()] } else { args.urls.clone() };
    let job = Job { args, token: token(args)?, request, several: urls.len() > 1 };
    let clients = urls
        .iter()
        .map(|url| client(url, &job))
        .collect::<Result<Vec<Client>, Error>>()
        .map_err(|error| Failure::Usage(chain(&error)))?;
    let cancelled = clients.clone();
    interrupt::on(move || cancelled.iter().for_each(Client::cancel))?;

    let outcomes: Vec<Outcome> = thread::scope(|scope| {
        let running: Vec<_> =
            clients.iter().map(|client| scope.spawn(|| job.collect(client))).collect();
        let failed = |_| Ok(Outcome::Failed);
        running
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(failed))
            .collect::<Result<_, _>>()
    })?;
    Ok(exit_code(&outcomes))
}

/// Arguments that are good one by one and make no sense together.
fn check(args: &CollectArgs) -> Result<(), String> {
    let output = args.output.as_deref();
    let to_stdout = output == Some(Path::new("-"));
    if args.urls.len() > 1 && output.is_some_and(|path| !path.is_dir()) {
        return Err("with several URLs the output must be a directory that exists".to_owned());
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

/// The token: from an argument or else from the environment.
fn token(args: &CollectArgs) -> Result<Option<String>, Failure> {
    let variable = |name| env::var_os(name).filter(|value| !value.is_empty());
    let read = |path: &Path| {
        std::fs::read_to_string(path)
            .map_err(|error| format!("could not read the token in {}: {error}", path.display()))
    };
    let token = if let Some(token) = &args.token {
        token.clone()
    } else if let Some(path) = &args.token_file {
        read(path)?
    } else if let Some(token) = variable("PROFILEZ_TOKEN") {
        token.into_string().map_err(|_| "the token in PROFILEZ_TOKEN is not text")?
    } else if let Some(path) = variable("PROFILEZ_TOKEN_FILE") {
        read(&PathBuf::from(path))?
    } else {
        return Ok(None);
    };
    let token = token.trim();
    if token.is_empty() {
        return Err("the token is empty".into());
    }
    if !token.chars().all(|c| c == ' ' || c.is_ascii_graphic()) {
        return Err("the token holds characters that can't be sent in a header".into());
    }
    Ok(Some(token.to_owned()))
}

fn exit_code(outcomes: &[Outcome]) -> ExitCode {
    let all_failed = outcomes.iter().all(|outcome| matches!(outcome, Outcome::Failed));
    let all_complete = outcomes.iter().all(|outcome| matches!(outcome, Outcome::Complete));
    if all_complete {
        ExitCode::SUCCESS
    } else if interrupt::happened() {
        ExitCode::from(output::INTERRUPTED)
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

impl Job<'_> {
    fn collect(&self, client: &Client) -> io::Result<Outcome> {
        let prepared = Destination::new(self.args.output.as_deref(), self.args.force, client.url())
            .and_then(|destination| Ok((destination, Watch::start()?)));
        let (destination, watch) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => {
                let nothing = Arrived { bytes: 0, file: None, contents: None };
                return self.failed(client, &error, nothing);
            }
        };
        let bar = Bar::new(self.request.window(), self.args.quiet || self.several);
        let mut to = Watched { to: destination, watch, bytes: 0 };
        let collected = client.collect(&self.request, &mut to, &mut |progress| bar.show(progress));
        let Watched { to, watch, bytes } = to;
        let contents = watch.end();
        bar.done();
        match collected {
            Ok(collected) => self.finish(client, to, &collected, contents),
            Err(error) => {
                // Of a bundle that breaks off, what arrived is worth having; what was refused or
                // could not be written to a stream isn't.
                let lost = match &error {
                    Error::TooLarge { .. } => true,
                    Error::Write(_) => to.is_stream(),
                    _ => false,
                };
                let contents = contents.filter(|_| !lost);
                let file = to.abandon(contents.is_some());
                self.failed(client, &error, Arrived { bytes, file, contents })
            }
        }
    }

    fn finish(
        &self,
        client: &Client,
        destination: Destination,
        collected: &Collected,
        contents: Option<Contents>,
    ) -> io::Result<Outcome> {
        let bytes = collected.bytes;
        let Some(contents) = contents else {
            let error = format!("{} sent {bytes} bytes that are no bundle", client.url());
            let arrived = Arrived { bytes, file: destination.abandon(false), contents: None };
            return self.failed(client, &io::Error::other(error), arrived);
        };
        let file = match destination.keep(collected.file_name.as_deref()) {
            Ok(file) => file,
            Err(error) => {
                let file = destination.abandon(true);
                let arrived = Arrived { bytes, file, contents: Some(contents) };
                return self.failed(client, &error, arrived);
            }
        };
        let whole = contents.manifest.as_ref().is_some_and(|manifest| manifest.errors.is_empty());
        let complete = whole && !contents.truncated;
        if !self.args.quiet {
            explain(&contents);
            if let Some(file) = &file {
                note(&format!("read it with `profilez report {file}`"));
            }
        }
        self.print(&Line {
            url: client.url(),
            file: file.as_deref(),
            bytes,
            complete,
            error: None,
            manifest: contents.manifest,
        })?;
        Ok(if complete { Outcome::Complete } else { Outcome::Partial })
    }

    fn failed(
        &self,
        client: &Client,
        error: &(dyn StdError + 'static),
        arrived: Arrived,
    ) -> io::Result<Outcome> {
        let mut reason =
            if interrupt::happened() { "interrupted".to_owned() } else { chain(error) };
        if self.several && !reason.contains(client.url()) {
            reason = format!("{}: {reason}", client.url());
        }
        output::error(&reason);
        if let Some(hint) = hint(error) {
            note(&hint);
        }
        let Arrived { bytes, file, contents } = arrived;
        if let Some(file) = &file {
            note(&format!("what arrived ({bytes} bytes) is in {file}"));
        }
        let readable = contents.is_some();
        self.print(&Line {
            url: client.url(),
            file: file.as_deref(),
            bytes,
            complete: false,
            error: Some(reason),
            manifest: contents.and_then(|contents| contents.manifest),
        })?;
        Ok(if readable { Outcome::Partial } else { Outcome::Failed })
    }

    /// Prints the file's name, or a line of JSON; one at a time, whichever thread it comes from.
    fn print(&self, line: &Line<'_>) -> io::Result<()> {
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let _one = ONE_AT_A_TIME.lock();
        match line.file {
            _ if self.args.json => output::print_json(line, output::Json::Line),
            Some(file) => output::print(file),
            None => Ok(()),
        }
    }
}

/// What to do about a failure.
fn hint(error: &(dyn StdError + 'static)) -> Option<String> {
    let (status, retry_after) = match error.downcast_ref::<Error>()? {
        Error::Refused { status, retry_after, .. } => (*status, *retry_after),
        Error::TooLarge { .. } => return Some("--max-size MIB takes larger ones".to_owned()),
        _ => return None,
    };
    let hint = match status {
        300..=399 => "redirects are not followed: collect from the address it leads to",
        401 => "is the token right? give one with --token-file FILE or PROFILEZ_TOKEN",
        404 => "there is no such endpoint: is the path right, and profilez mounted there?",
        409 => match retry_after {
            Some(after) => return Some(format!("try again in {} s", after.as_secs())),
            None => "try again when that collection is done",
        },
        _ => return None,
    };
    Some(hint.to_owned())
}

/// Says what is missing, and why.
fn explain(contents: &Contents) {
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

/// Writes a bundle, and has it watched.
struct Watched {
    to: Destination,
    watch: Watch,
    bytes: u64,
}

impl Write for Watched {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let len = self.to.write(bytes)?;
        self.watch.see(&bytes[..len]);
        self.bytes += len as u64;
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}
