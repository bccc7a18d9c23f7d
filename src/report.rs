//! `report`: the whole story of a bundle or a profile on one screen.

use std::fmt::Write as _;
use std::io::Read;
use std::process::ExitCode;

use profilez::analysis::dump::{Dump, Options};
use profilez::analysis::report::{self, DumpSummary, Report as Profiles, ReportOptions};
use profilez::analysis::trace::{Finding, TraceLimits, findings, render_findings, summarize};
use profilez::analysis::{Format, sniff};
use profilez::archive::{BundleReader, Contents, Manifest};
use serde::Serialize;

use crate::archives;
use crate::args::ReportArgs;
use crate::dumps;
use crate::input::{self, FileStream};
use crate::output::{self, CommandFailure, printable};

/// The report that is printed: where it comes from, what it says, and what is missing.
#[derive(Serialize)]
pub(crate) struct FileReport {
    /// `None` for a profile on its own, or a bundle that breaks off.
    manifest: Option<Manifest>,
    truncated: bool,
    #[serde(flatten)]
    profiles: Profiles,
    /// Findings of its trace.
    findings: Vec<Finding>,
    warnings: Vec<String>,
}

/// The most findings of a trace that are shown.
const FINDINGS: usize = 12;

pub(crate) fn run(args: &ReportArgs) -> Result<ExitCode, CommandFailure> {
    let options = Options { strip_prefix: args.strip_prefix, ..Options::default() };
    let report = match dumps::stream(&args.file, &options)? {
        Some(dump) => report_of_dump(args, &dump),
        None => read(args, &options)?,
    };
    if args.json {
        output::print_json(&report, output::JsonLayout::Pretty)?;
    } else {
        output::print(&render_report(&report))?;
    }
    let is_partial = |dump: &DumpSummary| dump.truncated || dump.limited;
    let partial = report.truncated || report.profiles.dumps.iter().any(is_partial);
    Ok(ExitCode::from(if partial { output::PARTIAL } else { 0 }))
}

fn options_of(args: &ReportArgs) -> ReportOptions {
    ReportOptions { rows: args.rows, only_mine: args.only_mine }
}

fn report_of_dump(args: &ReportArgs, dump: &Dump) -> FileReport {
    report_of_one(report::of_dump(&args.file, dump, args.rows), dump.truncated())
}

fn report_of_one(profiles: Profiles, truncated: bool) -> FileReport {
    FileReport { manifest: None, truncated, profiles, findings: Vec::new(), warnings: Vec::new() }
}

fn read(args: &ReportArgs, options: &Options) -> Result<FileReport, CommandFailure> {
    let bytes = match input::stream(&args.file)? {
        FileStream::Bundle(reader) => return Ok(read_bundle(*reader, &options_of(args))),
        FileStream::Bytes(bytes) => bytes,
    };
    if dumps::is_dump(&bytes, options) {
        let dump = dumps::read_bytes(&bytes, options)?;
        let dump = dump.ok_or_else(|| dumps::refuse(&args.file, &bytes))?;
        return Ok(report_of_dump(args, &dump));
    }
    let profiles = report::report([(args.file.as_str(), bytes.as_slice())], &options_of(args));
    if let Some(note) = profiles.notes.first() {
        return Err(format!("{}: {}{}", note.name, note.text, dumps::hint(&bytes)).into());
    }
    let truncated = profiles.dumps.iter().any(|dump| dump.truncated);
    Ok(report_of_one(profiles, truncated))
}

/// Makes the report of a bundle, of which one entry at a time is in memory.
pub(crate) fn read_bundle<R: Read>(
    mut reader: BundleReader<R>,
    options: &ReportOptions,
) -> FileReport {
    let (mut found, mut of_traces) = (Vec::new(), Vec::new());
    let profiles = report::report(
        std::iter::from_fn(|| {
            loop {
                let mut entry = reader.next_entry()?;
                let name = entry.name().to_string();
                let mut data = Vec::new();
                // One from before the window says what the one after it says. Why one is not whole, the
                // bundle's warnings say.
                if name.ends_with(".before.prof") || entry.read_to_end(&mut data).is_err() {
                    continue;
                }
                let data = archives::unpack_entry(data, &name);
                match sniff(&data) {
                    Format::Trace => match summarize(&data, &TraceLimits::default()) {
                        Ok(summary) => {
                            found.extend(findings(&summary));
                            of_traces.extend(summary.warnings);
                        }
                        Err(error) => of_traces.push(error.chain()),
                    },
                    Format::GoTrace => {}
                    _ => return Some((name, data)),
                }
            }
        }),
        options,
    );
    let Contents { manifest, truncated, warnings, .. } = reader.finish();
    let mut warnings = input::warning_texts(&warnings);
    warnings.extend(of_traces);
    FileReport { profiles, manifest, truncated, findings: found, warnings }
}

pub(crate) fn render_report(report: &FileReport) -> String {
    let mut text = String::new();
    if let Some(manifest) = &report.manifest {
        add_head(&mut text, manifest);
    }
    if report.truncated {
        add_line(&mut text, "This file is not whole: something of it is lost.");
    }
    for warning in &report.warnings {
        add_line(&mut text, &format!("Warning: {warning}"));
    }
    let profiles = report::render(&report.profiles, output::width());
    if !profiles.is_empty() {
        add_gap(&mut text);
        text.push_str(&profiles);
    }
    if !report.findings.is_empty() {
        add_gap(&mut text);
        add_line(&mut text, "Findings of the trace");
        text.push_str(&render_findings(&report.findings, FINDINGS, output::width()));
    }
    if report.findings.len() > FINDINGS {
        add_line(&mut text, "  and more: `profilez trace FILE`");
    }
    if let Some(manifest) = &report.manifest {
        add_tail(&mut text, manifest);
    }
    text
}

fn add_head(text: &mut String, manifest: &Manifest) {
    let Manifest { service, version, host, pid, started, window_seconds, .. } = manifest;
    let version = if version.is_empty() { String::new() } else { format!(" {version}") };
    // Of a service that was asked from outside it isn't known.
    let pid = if *pid == 0 { String::new() } else { format!(", pid {pid}") };
    add_line(
        text,
        &format!("{service}{version} on {host}{pid}: {window_seconds} s from {started}"),
    );
}

/// Adds what is not in the bundle, and what would bring it in.
fn add_tail(text: &mut String, manifest: &Manifest) {
    if !manifest.errors.is_empty() {
        add_gap(text);
        add_line(text, "Failed");
    }
    for failed in &manifest.errors {
        add_line(text, &format!("  {:<13} {}", failed.kind, failed.error));
    }
    if !manifest.unavailable.is_empty() {
        add_gap(text);
        add_line(text, "Not collected");
    }
    for missing in &manifest.unavailable {
        let hint = output::hint(missing);
        add_line(text, &format!("  {:<13} {}{hint}", missing.kind, missing.reason));
    }
}

/// Adds an empty line between two parts.
fn add_gap(text: &mut String) {
    if !text.is_empty() {
        text.push('\n');
    }
}

/// Adds a line of text that may come from anywhere.
fn add_line(text: &mut String, content: &str) {
    // Writing to a string can't fail.
    let _ = writeln!(text, "{}", printable(content));
}
