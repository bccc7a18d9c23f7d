//! `demo`: an embedded service with a known workload, profiled over HTTP like any other.

mod check;
mod tasks;
mod thread_clock;
mod workload;

use std::io::{self, Read as _, Write as _};
use std::net::ToSocketAddrs as _;
use std::process::ExitCode;

use profilez::analysis::report::ReportOptions;
use profilez::archive::{Bundle, BundleReader, Limits};
use profilez::core::{Collectors, DEFAULT_MAX_WINDOW, Kind, MIN_WINDOW, waits};
use profilez::format::{format_duration, parse_duration};
use profilez::http::client::{Client, Request};
use profilez::http::server::DebugService;

use crate::args::DemoArgs;
use crate::collect::{BundleDestination, CollectionBar};
use crate::output::{self, CommandFailure, chain, note};
use crate::{interrupt, report};
use tasks::DemoTasks;
use workload::DemoWorkload;

const ROWS: usize = 5;

/// The rate of the block profile: nanoseconds of waiting for one event.
const BLOCK_RATE: u64 = 1_000_000;

pub(crate) fn run(args: &DemoArgs) -> Result<ExitCode, CommandFailure> {
    check(args).map_err(CommandFailure::Usage)?;
    // What the workload allocates from its first moment on is to be seen.
    profilez::core::heap::install();
    let workload = DemoWorkload::start()?;
    let _tasks = DemoTasks::start()?;
    let server = DebugService::builder("demo")
        .version(env!("CARGO_PKG_VERSION"))
        .build()
        .serve(args.listen.as_str())?;
    let address = server.local_addr().map(|address| address.to_string()).unwrap_or_default();
    if args.serve {
        return serve(&address);
    }
    let client = Client::builder(&address)?.build();
    let mut kept = match &args.output {
        Some(path) => Some(BundleDestination::new(Some(path), args.force, client.url())?),
        None => None,
    };
    let cancelled = client.clone();
    interrupt::call_on_interrupt(move || cancelled.cancel())?;
    note(&format!("the demo service listens on {}", client.url()));

    let bar = CollectionBar::new(parse_duration(&args.duration)?, false);
    let request = Request::default().duration(args.duration.as_str()).kinds(kinds());
    let mut bytes = Vec::new();
    let collected = client.collect(&request, &mut bytes, &mut |progress| bar.show(progress));
    let known = workload.known();
    bar.done();
    if interrupt::has_happened() {
        output::error("interrupted");
        return Ok(ExitCode::from(output::INTERRUPTED));
    }
    let collected = collected?;
    if let Some(error) = collected.broke_off {
        return Err(error.into());
    }
    workload.stop();
    server.shut_down();

    if let Some(destination) = &mut kept {
        destination.write_all(&bytes)?;
        if let Some(file) = destination.keep(collected.file_name.as_deref())? {
            note(&format!("kept {file}; read it again with `profilez report {file}`"));
        }
    }
    let bundle = Bundle::read(&bytes[..], &Limits::default())?;
    let checks = check::compare(&bundle, &known)?;
    let failed = bundle.manifest.as_ref().is_none_or(|manifest| !manifest.errors.is_empty());
    let report = report::read_bundle(
        BundleReader::open(&bytes[..], &Limits::default())?,
        &ReportOptions::rows(ROWS),
    );
    if args.json {
        let both = serde_json::json!({ "report": report, "known": checks });
        output::print_json(&both, output::JsonLayout::Pretty)?;
    } else {
        let (report, checks) = (report::render_report(&report), check::render_checks(&checks));
        output::print(&format!("{report}\n{checks}"))?;
    }
    Ok(ExitCode::from(if failed { output::PARTIAL } else { 0 }))
}

/// Refuses arguments that the demo can do nothing with.
fn check(args: &DemoArgs) -> Result<(), String> {
    let listen = &args.listen;
    let mut addresses =
        listen.to_socket_addrs().map_err(|error| format!("--listen {listen}: {error}"))?;
    if !addresses.all(|address| address.ip().is_loopback()) {
        return Err(format!("--listen {listen}: the demo listens on loopback only"));
    }
    let window = parse_duration(&args.duration).map_err(|error| chain(&error))?;
    if !(MIN_WINDOW..=DEFAULT_MAX_WINDOW).contains(&window) {
        let (least, most) = (format_duration(MIN_WINDOW), format_duration(DEFAULT_MAX_WINDOW));
        return Err(format!("the duration may be from {least} to {most}"));
    }
    Ok(())
}

/// Returns the kinds that a request gets that names none, and a trace.
fn kinds() -> String {
    let available = Collectors::new().available();
    let kinds = Kind::DEFAULT.into_iter().chain([Kind::Trace]);
    let kinds: Vec<&str> =
        kinds.filter(|&kind| available.check(kind).is_ok()).map(Kind::name).collect();
    kinds.join(",")
}

/// Keeps the service running until it is interrupted. Its waits are recorded all the time, as those of
/// a program that wants `/debug/pprof/block` and `mutex` to have them.
fn serve(address: &str) -> Result<ExitCode, CommandFailure> {
    waits::set_block_profile_rate(BLOCK_RATE);
    waits::set_mutex_profile_fraction(1);
    // What waits for a lock or a channel would be the first that the block profile shows.
    let (mut interrupted, interrupt) = io::pipe()?;
    interrupt::call_on_interrupt(move || {
        // There is nobody to tell once the command has come to its end.
        let _ = (&interrupt).write_all(b"\n");
    })?;
    output::print(&format!("http://{address}/debug/profile"))?;
    note(&format!("the live page is at http://{address}/debug/"));
    note(&format!("try `profilez collect {address}`; Ctrl-C ends the demo"));
    let _ = interrupted.read(&mut [0]);
    Ok(ExitCode::from(output::INTERRUPTED))
}
