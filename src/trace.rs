//! `trace`: what a trace says.

use std::process::ExitCode;

use profilez::analysis::trace::{Finding, TraceLimits, TraceSummary, findings, render, summarize};
use profilez::archive::Bundle;
use profilez::format::Kind;
use serde::Serialize;

use crate::args::TraceArgs;
use crate::input::{self, FileContent};
use crate::output::{self, CommandFailure, chain};

/// The answer that is printed as JSON.
#[derive(Serialize)]
struct TraceAnswer<'a> {
    #[serde(flatten)]
    summary: &'a TraceSummary,
    findings: Vec<Finding>,
}

pub(crate) fn run(args: &TraceArgs) -> Result<ExitCode, CommandFailure> {
    let (bytes, complete) = match input::open(&args.file)? {
        FileContent::Bytes(bytes) => (bytes, true),
        FileContent::Bundle(bundle) => trace_of_bundle(*bundle, &args.file)?,
    };
    let summary = summarize(&bytes, &TraceLimits::default())
        .map_err(|error| format!("{}: {}", args.file, chain(&error)))?;
    if args.json {
        let answer = TraceAnswer { summary: &summary, findings: findings(&summary) };
        output::print_json(&answer, output::JsonLayout::Pretty)?;
    } else {
        output::print(&render(&summary, args.rows, output::width()))?;
    }
    Ok(ExitCode::from(if complete { 0 } else { output::PARTIAL }))
}

/// Returns the trace of a bundle, and whether all of it arrived.
fn trace_of_bundle(bundle: Bundle, file: &str) -> Result<(Vec<u8>, bool), CommandFailure> {
    let truncated = bundle.truncated;
    let mut entries = bundle.entries.into_iter();
    match entries.find(|entry| entry.name == Kind::Trace.file_name()) {
        Some(entry) => Ok((entry.data, entry.complete)),
        None if truncated => {
            Err(format!("{file} has no trace.json: the bundle is not whole").into())
        }
        None => {
            Err(format!("{file} has no trace.json; collect one with `--profiles trace`").into())
        }
    }
}
