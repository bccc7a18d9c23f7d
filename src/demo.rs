//! `demo`: an embedded service with a known workload, profiled over HTTP like any other.

mod check;
mod workload;

use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use profilez::core::parse_duration;
use profilez::http::client::{Client, Request};
use profilez::http::server::DebugService;

use crate::args::DemoArgs;
use crate::output::{self, Failure};
use crate::{collect, report};
use workload::Workload;

const ROWS: usize = 5;

pub(crate) fn run(args: &DemoArgs) -> Result<ExitCode, Failure> {
    let workload = Workload::start()?;
    let server = DebugService::builder("demo")
        .version(env!("CARGO_PKG_VERSION"))
        .build()
        .serve(args.listen.as_str())?;
    let address = server.local_addr().map(|address| address.to_string()).unwrap_or_default();
    if args.serve {
        return serve(&address);
    }
    output::note(&format!("the demo service listens on http://{address}/debug/profile"));

    let window = parse_duration(&args.duration)?;
    let client = Client::builder(&address)?.build();
    let mut file = match &args.output {
        Some(path) => {
            File::options().read(true).write(true).create(true).truncate(true).open(path)?
        }
        None => tempfile::tempfile()?,
    };
    let progress = collect::Bar::new(window, false);
    client.collect(
        &Request::default().duration(args.duration.as_str()),
        &mut file,
        &mut |now| progress.show(now),
    )?;
    progress.done();
    let known = workload.known();
    workload.stop();
    file.flush()?;
    file.seek(SeekFrom::Start(0))?;

    let report = report::of_bundle(&mut file, ROWS)?;
    let checks = check::compare(&mut file, &known)?;
    if args.json {
        output::print(&serde_json::to_string_pretty(&serde_json::json!({
            "report": report, "known": checks,
        }))?)?;
    } else {
        output::print(&report::text(&report))?;
        output::print(&check::text(&checks))?;
    }
    if let Some(path) = &args.output {
        output::note(&format!("kept {}; read it again with `profilez report`", path.display()));
    }
    server.shut_down();
    Ok(ExitCode::SUCCESS)
}

/// Keeps the service running until it is interrupted.
fn serve(address: &str) -> Result<ExitCode, Failure> {
    output::print(&format!("http://{address}/debug/profile"))?;
    output::note(&format!("try `profilez collect {address}`; Ctrl-C ends the demo"));
    let (interrupt, interrupted) = std::sync::mpsc::channel();
    ctrlc::set_handler(move || {
        let _ = interrupt.send(());
    })?;
    // Ends with the handler's message; the sender lives as long as the process.
    while interrupted.recv_timeout(Duration::from_secs(3600)).is_err() {}
    Ok(ExitCode::from(output::INTERRUPTED))
}
