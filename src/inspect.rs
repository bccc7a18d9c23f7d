//! `inspect`: what a file is, and what is in it.

use std::fmt::Write as _;
use std::io::Read;
use std::process::ExitCode;

use profilez::analysis::dump::{Dump, DumpFacts, Options, Parser, facts};
use profilez::analysis::inspect::{LabelCount, LabelFacts, ProfileFacts, inspect};
use profilez::analysis::trace::{TraceLimits, TraceSummary, summarize};
use profilez::analysis::units::plural;
use profilez::analysis::{Format, sniff};
use profilez::archive::{Contents, Listed, Manifest};
use serde::Serialize;

use crate::args::InspectArgs;
use crate::dumps;
use crate::groups::exit_code;
use crate::input::{self, FileBundleReader, FileStream};
use crate::output::{self, CommandFailure, printable};

/// The facts of a bundle.
#[derive(Serialize)]
struct BundleFacts {
    format: &'static str,
    manifest: Option<Manifest>,
    entries: Vec<EntryFacts>,
    truncated: bool,
    warnings: Vec<String>,
}

#[derive(Serialize)]
struct EntryFacts {
    name: String,
    /// Its format, in the words of the `format` of what is no bundle.
    format: &'static str,
    bytes: u64,
    /// True if all of it arrived.
    complete: bool,
}

/// The facts of a trace, of which `trace` says more.
#[derive(Serialize)]
struct TraceFacts {
    format: &'static str,
    producer: String,
    window_micros: f64,
    events: u64,
    lost_events: u64,
    threads: usize,
    warnings: Vec<String>,
}

/// Number of bytes of an entry that are looked at at a time.
const PIECE: usize = 256 << 10;

pub(crate) fn run(args: &InspectArgs) -> Result<ExitCode, CommandFailure> {
    let options = Options { strip_prefix: args.strip_prefix, ..Options::default() };
    if let Some(dump) = dumps::stream(&args.file, &options)? {
        return print_dump(&dump, args.json);
    }
    match input::stream(&args.file)? {
        FileStream::Bundle(reader) => {
            let facts = bundle_facts(*reader);
            if args.json {
                output::print_json(&facts, output::JsonLayout::Pretty)?;
            } else {
                output::print(&bundle_text(&facts))?;
            }
            let code = if facts.truncated { output::PARTIAL } else { 0 };
            Ok(ExitCode::from(code))
        }
        FileStream::Bytes(bytes) if dumps::is_dump(&bytes, &options) => {
            match dumps::read_bytes(&bytes, &options)? {
                Some(dump) => print_dump(&dump, args.json),
                None => Err(dumps::refuse(&args.file, &bytes)),
            }
        }
        FileStream::Bytes(bytes) if sniff(&bytes) == Format::Trace => {
            let summary = summarize(&bytes, &TraceLimits::default())
                .map_err(|error| format!("{}: {}", args.file, output::chain(&error)))?;
            let facts = trace_facts(summary);
            if args.json {
                output::print_json(&facts, output::JsonLayout::Pretty)?;
            } else {
                output::print(&trace_text(&facts))?;
            }
            Ok(ExitCode::SUCCESS)
        }
        FileStream::Bytes(bytes) => {
            let facts = inspect(&bytes).map_err(|error| {
                format!("{}: {}{}", args.file, output::chain(&error), dumps::hint(&bytes))
            })?;
            if args.json {
                output::print_json(&facts, output::JsonLayout::Pretty)?;
            } else {
                output::print(&profile_text(&facts))?;
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn print_dump(dump: &Dump, json: bool) -> Result<ExitCode, CommandFailure> {
    let facts = facts(dump);
    if json {
        output::print_json(&facts, output::JsonLayout::Pretty)?;
    } else {
        output::print(&dump_text(&facts))?;
    }
    Ok(ExitCode::from(exit_code(dump)))
}

fn trace_facts(summary: TraceSummary) -> TraceFacts {
    let TraceSummary { producer, window_micros, events, lost_events, threads, warnings, .. } =
        summary;
    TraceFacts {
        format: Format::Trace.word(),
        producer,
        window_micros,
        events,
        lost_events,
        threads,
        warnings,
    }
}

/// Looks at a bundle as it is read. No more than a piece of an entry is kept.
fn bundle_facts(mut reader: FileBundleReader) -> BundleFacts {
    let mut formats = Vec::new();
    let mut piece = Vec::with_capacity(PIECE);
    while let Some(mut entry) = reader.next_entry() {
        formats.push(format_of(&mut entry, &mut piece));
    }
    let Contents { manifest, entries, truncated, warnings } = reader.finish();
    let facts = |(listed, format): (Listed, &'static str)| EntryFacts {
        name: listed.name.to_string(),
        format,
        bytes: listed.bytes,
        complete: listed.complete,
    };
    BundleFacts {
        format: "bundle",
        entries: entries.into_iter().zip(formats).map(facts).collect(),
        manifest,
        truncated,
        warnings: input::warning_texts(&warnings),
    }
}

/// Returns the format of an entry, told from its beginning. The form of a dump is told from all of
/// it.
fn format_of(entry: &mut impl Read, piece: &mut Vec<u8>) -> &'static str {
    let mut fill = |piece: &mut Vec<u8>| {
        piece.clear();
        // Where the bundle breaks off, its warnings say so.
        let _ = entry.by_ref().take(PIECE as u64).read_to_end(piece);
    };
    fill(piece);
    let format = sniff(piece);
    if format != Format::Dump || piece.starts_with(&[0x1f, 0x8b]) {
        while !piece.is_empty() {
            fill(piece);
        }
        return format.word();
    }
    let mut parser = Parser::new(&Options::default());
    while !piece.is_empty() {
        parser.feed(piece);
        fill(piece);
    }
    facts(&parser.finish()).format
}

fn bundle_text(facts: &BundleFacts) -> String {
    let mut text = String::from("format      bundle\n");
    if let Some(manifest) = &facts.manifest {
        let Manifest { service, version, host, pid, started, window_seconds, .. } = manifest;
        let rows = [
            ("service", format!("{service} {version}")),
            ("host", format!("{host}, pid {pid}")),
            ("build id", manifest.build_id.clone()),
            ("started", format!("{started}, window {window_seconds} s")),
        ];
        for (name, value) in rows {
            add_row(&mut text, name, &value);
        }
    }
    for EntryFacts { name, format, bytes, complete } in &facts.entries {
        let cut = if *complete { "" } else { ", cut off" };
        add_row(&mut text, "entry", &format!("{name}  {format}  {}{cut}", plural(*bytes, "byte")));
    }
    if let Some(manifest) = &facts.manifest {
        for missing in &manifest.unavailable {
            let hint = output::hint(missing);
            add_row(&mut text, "not there", &format!("{}: {}{hint}", missing.kind, missing.reason));
        }
        for failed in &manifest.errors {
            add_row(&mut text, "failed", &format!("{}: {}", failed.kind, failed.error));
        }
    }
    if facts.truncated {
        add_row(&mut text, "truncated", "yes: something of the bundle is lost");
    }
    for warning in &facts.warnings {
        add_row(&mut text, "warning", warning);
    }
    text
}

fn profile_text(facts: &ProfileFacts) -> String {
    let mut text = String::new();
    add_row(&mut text, "format", facts.format);
    for (sample_type, sum) in facts.sample_types.iter().zip(&facts.value_sums) {
        add_row(&mut text, "total", &format!("{sum} {sample_type}"));
    }
    let counts = [
        ("samples", facts.samples),
        ("stacks", facts.distinct_stacks),
        ("locations", facts.locations),
        ("functions", facts.functions),
        ("mappings", facts.mappings),
    ];
    for (name, count) in counts {
        add_row(&mut text, name, &count.to_string());
    }
    add_row(&mut text, "period", &facts.period.to_string());
    add_row(&mut text, "duration", &format!("{:.3} s", facts.duration_nanos as f64 / 1e9));
    for LabelFacts { key, samples, values, commonest } in &facts.labels {
        let common =
            commonest.iter().map(|LabelCount { value, samples }| format!("{value} ({samples})"));
        let more = if *values > commonest.len() { ", \u{2026}" } else { "" };
        let common = common.collect::<Vec<_>>().join(", ");
        let (samples, values) = (plural(*samples, "sample"), plural(*values as u64, "value"));
        add_row(&mut text, "label", &format!("{key}: {samples}, {values}: {common}{more}"));
    }
    for comment in &facts.comments {
        add_row(&mut text, "comment", comment);
    }
    for warning in &facts.warnings {
        add_row(&mut text, "warning", warning);
    }
    text
}

fn trace_text(facts: &TraceFacts) -> String {
    let mut text = String::new();
    add_row(&mut text, "format", facts.format);
    add_row(&mut text, "producer", &facts.producer);
    add_row(&mut text, "window", &format!("{:.3} s", facts.window_micros / 1e6));
    add_row(&mut text, "events", &facts.events.to_string());
    if facts.lost_events > 0 {
        add_row(&mut text, "lost", &facts.lost_events.to_string());
    }
    add_row(&mut text, "threads", &facts.threads.to_string());
    for warning in &facts.warnings {
        add_row(&mut text, "warning", warning);
    }
    text
}

fn dump_text(facts: &DumpFacts) -> String {
    let mut text = String::new();
    let crash = if facts.crash { ", of a crash" } else { "" };
    add_row(&mut text, "format", &format!("{}{crash}", facts.format));
    add_row(&mut text, "goroutines", &facts.goroutines.to_string());
    add_row(&mut text, "groups", &facts.groups.to_string());
    let mut states: Vec<_> = facts.by_state.iter().collect();
    states.sort_by_key(|&(_, &count)| std::cmp::Reverse(count));
    for (state, count) in states {
        add_row(&mut text, "state", &format!("{count:>7}  {state}"));
    }
    let longest = match facts.max_wait_minutes {
        Some(minutes) => {
            let known = if facts.waits_known == 1 { "is" } else { "are" };
            format!("{} at most; {} {known} known", plural(minutes, "minute"), facts.waits_known)
        }
        None => "not known".to_owned(),
    };
    add_row(&mut text, "waits", &longest);
    let counts = [
        ("with labels", facts.with_labels),
        ("leaked", facts.leaked),
        ("locked", facts.locked_to_thread),
        ("partial", facts.partial_stacks),
    ];
    for (name, count) in counts.into_iter().filter(|&(_, count)| count > 0) {
        add_row(&mut text, name, &count.to_string());
    }
    if facts.truncated {
        add_row(&mut text, "truncated", "yes: there were more");
    }
    for layer in &facts.unwrapped {
        add_row(&mut text, "without", layer);
    }
    for warning in &facts.warnings {
        add_row(&mut text, "warning", warning);
    }
    text
}

/// Adds a line of a name and its value, which may come from anywhere.
fn add_row(text: &mut String, name: &str, value: &str) {
    if !value.trim().is_empty() {
        // Writing to a string can't fail.
        let _ = writeln!(text, "{name:<11} {}", printable(value.trim()));
    }
}
