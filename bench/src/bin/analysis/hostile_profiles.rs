//! Profiles that are made to hurt: each has to be read, or refused, in a second and in 64 MB beyond
//! its bytes, and refusals say what is wrong.

use std::fmt::Display;
use std::io::Write as _;
use std::time::Instant;

use flate2::Compression;
use flate2::write::GzEncoder;
use profile_analysis::flame::{Flame, html, svg};
use profile_analysis::inspect::facts;
use profile_analysis::top::{By, TopOptions, top};
use profile_format::profile::{Builder, Function, Line as Place};
use profilez_bench::engine::Engine;
use profilez_bench::memory::resident_megabytes;
use profilez_bench::run::{Figures, Line, Runner, figures};
use profilez_bench::table::{Bar, Row};

use crate::dumps::peak_megabytes;

/// The line.
pub(crate) const LINE: Line = Line { name: "hostile-profiles", rows, child };

/// An input's name, the input, and what its refusal says; empty where it is read.
type Input = (&'static str, fn() -> Vec<u8>, &'static str);

const INPUTS: [Input; 8] = [
    ("a gzip'd bomb of 4 GB", bomb, "bytes for what it has compressed"),
    ("gzip in gzip", || gzip(&gzip(&deep(10))), "gzip inside gzip"),
    ("a stack of 200 k frames", || deep(200_000), ""),
    ("ids without order", sparse, ""),
    ("sums past 64 bits", overflowing, ""),
    ("2 M samples of two bytes", || [0x12, 0x00].repeat(2_000_000), "no string table"),
    ("one sample of 4 M empty labels", labels, "instead of 1"),
    ("a text with a line of 32 MB", text, ""),
];

fn rows(runner: &mut Runner) -> Vec<Row> {
    let mut rows = Vec::new();
    for (index, (name, ..)) in INPUTS.iter().enumerate() {
        let [ours] = runner.pairs([Engine::Ours], &[index as u32]);
        rows.push(
            Row::new(format!("{name}: read, counted, ranked, drawn"), "s")
                .ours(ours.spread("seconds"))
                .bar(Bar::AtMost(1.0)),
        );
        rows.push(
            Row::new(format!("{name}: memory beyond the input"), "MB")
                .ours(ours.spread("memory"))
                .bar(Bar::AtMost(64.0)),
        );
    }
    rows
}

fn child(_: Engine, args: &[u32]) -> Figures {
    let (name, input, refusal) = INPUTS[args[0] as usize];
    let bytes = input();
    // What making it has needed, if that was more, does not count.
    let before = peak_megabytes().max(resident_megabytes());
    let begun = Instant::now();
    let said = answers(&bytes).err().unwrap_or_default();
    let seconds = begun.elapsed().as_secs_f64();
    assert!(said.contains(refusal) && said.is_empty() == refusal.is_empty(), "{name}: {said}");
    figures([("seconds", seconds), ("memory", peak_megabytes() - before)])
}

/// Everything that the command does with a profile.
fn answers(bytes: &[u8]) -> Result<(), String> {
    let text = |error: &dyn Display| error.to_string();
    let read = profile_analysis::read(bytes).map_err(|error| error.chain())?;
    assert!(facts(&read).samples > 0);
    for by in [By::Function, By::Site] {
        let options = TopOptions { by, limit: Some(50), ..TopOptions::default() };
        top(&read.stacks, &options).map_err(|error| text(&error))?;
    }
    let flame = Flame::new(&read.stacks, None, None).map_err(|error| text(&error))?;
    svg(&flame, "hostile", false).map_err(|error| text(&error))?;
    html(&flame, "hostile", false).map_err(|error| text(&error))?;
    Ok(())
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(bytes).expect("a vector takes every byte");
    gzip.finish().expect("a vector takes every byte")
}

fn bomb() -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    // A field that nobody knows, of 4 GB.
    gzip.write_all(b"\x0a\x00\xa2\x06\x80\x80\x80\x80\x10").expect("a vector takes every byte");
    let zeros = vec![0; 1 << 20];
    for _ in 0..4096 {
        gzip.write_all(&zeros).expect("a vector takes every byte");
    }
    gzip.finish().expect("a vector takes every byte")
}

fn deep(frames: u32) -> Vec<u8> {
    let mut builder = Builder::new(&[("samples", "count")]);
    let stack: Vec<u32> = (0..frames)
        .map(|number| {
            let name = builder.str(&format!("f{number}"));
            let function = builder.function(Function { name, ..Function::default() });
            builder.location(None, 1, &[Place { function, line: 1, column: 0 }])
        })
        .collect();
    builder.sample(&stack, &[1], &[]);
    builder.finish().encode()
}

/// A field of a message.
fn field(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    out.push(number << 3 | 2);
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// One sample type and two strings.
fn head() -> Vec<u8> {
    let mut out = Vec::new();
    field(&mut out, 1, &[0x08, 0x01]);
    field(&mut out, 6, b"");
    field(&mut out, 6, b"a");
    out
}

fn sparse() -> Vec<u8> {
    let mut out = head();
    for number in 0..100_000_u64 {
        let id = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1 << 63;
        let mut message = vec![0x08];
        varint(&mut message, id);
        field(&mut out, 4, &message);
        let mut ids = Vec::new();
        varint(&mut ids, id);
        let mut message = Vec::new();
        field(&mut message, 1, &ids);
        field(&mut message, 2, &[1]);
        field(&mut out, 2, &message);
    }
    out
}

fn overflowing() -> Vec<u8> {
    let mut builder = Builder::new(&[("samples", "count")]);
    let places: Vec<u32> = (0..100).map(|address| builder.location(None, address, &[])).collect();
    for number in 0..100_000 {
        builder.sample(&[places[number % 100]], &[i64::MAX], &[]);
    }
    builder.finish().encode()
}

fn labels() -> Vec<u8> {
    let mut out = head();
    field(&mut out, 2, &[0x1a, 0x00].repeat(4_000_000));
    out
}

fn text() -> Vec<u8> {
    let start = "heap profile: 1: 2 [3: 4] @ heap/1048576\n1: 2 [3: 4] @ 0x1\n1: 2 [3: 4] @";
    format!("{start}{}", " 0x1".repeat(8 << 20)).into_bytes()
}
