//! Speedscope's JSON: profiles of sampled stacks, or of what began and ended, over shared frames.

use profile_format::profile::Profile;
use serde::Deserialize;

use super::{NamedFrame, StackBuilder, to_value, too_many_frames};
use crate::{Error, Format, Result};

#[derive(Deserialize)]
struct SpeedscopeFile {
    shared: SharedFrames,
    profiles: Vec<SpeedscopeProfile>,
}

#[derive(Deserialize)]
struct SharedFrames {
    frames: Vec<SpeedscopeFrame>,
}

#[derive(Deserialize)]
struct SpeedscopeFrame {
    name: String,
    #[serde(default)]
    file: Option<String>,
    #[serde(default)]
    line: Option<f64>,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum SpeedscopeProfile {
    Sampled { name: String, unit: String, samples: Vec<Vec<u32>>, weights: Vec<f64> },
    Evented { name: String, unit: String, events: Vec<FrameEvent> },
}

/// A frame that is entered (`O`) or left (`C`).
#[derive(Deserialize)]
struct FrameEvent {
    #[serde(rename = "type")]
    kind: char,
    frame: u32,
    at: f64,
}

/// Returns whether JSON names speedscope's schema.
pub(super) fn is_speedscope(head: &[u8]) -> bool {
    head.trim_ascii_start().starts_with(b"{")
        && memchr::memmem::find(head, b"speedscope.app/file-format-schema").is_some()
}

impl SpeedscopeProfile {
    fn unit(&self) -> &str {
        let (SpeedscopeProfile::Sampled { unit, .. } | SpeedscopeProfile::Evented { unit, .. }) =
            self;
        unit
    }

    fn name(&self) -> &str {
        let (SpeedscopeProfile::Sampled { name, .. } | SpeedscopeProfile::Evented { name, .. }) =
            self;
        name
    }
}

/// Returns the sample type of a unit, and what a value is multiplied by.
fn sample_type(unit: &str) -> ((&'static str, &'static str), f64) {
    let time = ("time", "nanoseconds");
    match unit {
        "nanoseconds" => (time, 1.0),
        "microseconds" => (time, 1e3),
        "milliseconds" => (time, 1e6),
        "seconds" => (time, 1e9),
        "bytes" => (("space", "bytes"), 1.0),
        _ => (("samples", "count"), 1.0),
    }
}

pub(super) fn read(bytes: &[u8], max_frames: u64) -> Result<(Profile, Vec<String>)> {
    let wrong = |why: String| Error::Import { form: Format::Speedscope, why };
    let file: SpeedscopeFile =
        serde_json::from_slice(bytes).map_err(|error| wrong(error.to_string()))?;
    let SpeedscopeFile { shared, profiles } = file;
    let first = profiles.first().ok_or_else(|| wrong("there are no profiles in it".to_owned()))?;
    let (wanted, _) = sample_type(first.unit());
    let mut stacks = StackBuilder::new(&[wanted]);
    let places: Vec<u32> = shared
        .frames
        .iter()
        .map(|frame| {
            let (function, file) = (frame.name.as_str(), frame.file.as_deref().unwrap_or(""));
            let line = to_value(frame.line.unwrap_or(0.0));
            stacks.place(NamedFrame { function, file, line, object: "" })
        })
        .collect();
    for profile in &profiles {
        let (kind, scale) = sample_type(profile.unit());
        if kind != wanted {
            stacks.warn(|| format!("{:?} is in another unit and left out", profile.name()));
            continue;
        }
        let done = add_profile(&mut stacks, profile, &places, scale, max_frames);
        done.map_err(|problem| match problem {
            StackProblem::TooMany => too_many_frames(max_frames),
            StackProblem::NoFrame(frame) => wrong(format!("there is no frame {frame}")),
        })?;
    }
    Ok(stacks.finish())
}

/// The fault of a stack.
enum StackProblem {
    TooMany,
    NoFrame(u32),
}

fn add_profile(
    stacks: &mut StackBuilder,
    profile: &SpeedscopeProfile,
    places: &[u32],
    scale: f64,
    max_frames: u64,
) -> Result<(), StackProblem> {
    let thread = stacks.builder.text_label("profile", profile.name());
    let place =
        |frame: u32| places.get(frame as usize).copied().ok_or(StackProblem::NoFrame(frame));
    // The root comes first in their stacks.
    let mut add = |stack: &[u32], value: f64| {
        let leaf_first: Vec<u32> = stack.iter().rev().copied().collect();
        stacks.sample(&leaf_first, &[to_value(value * scale)], &[thread]);
        if stacks.frames > max_frames { Err(StackProblem::TooMany) } else { Ok(()) }
    };
    match profile {
        SpeedscopeProfile::Sampled { samples, weights, .. } => {
            for (index, sample) in samples.iter().enumerate() {
                let stack = sample.iter().map(|&frame| place(frame));
                add(
                    &stack.collect::<Result<Vec<u32>, _>>()?,
                    weights.get(index).copied().unwrap_or(1.0),
                )?;
            }
        }
        SpeedscopeProfile::Evented { events, .. } => {
            let (mut stack, mut since) = (Vec::new(), 0.0);
            for event in events {
                if !stack.is_empty() && event.at > since {
                    add(&stack, event.at - since)?;
                }
                since = event.at;
                let place = place(event.frame)?;
                if event.kind == 'O' {
                    stack.push(place);
                } else if let Some(at) = stack.iter().rposition(|&open| open == place) {
                    stack.truncate(at);
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::top::{TopOptions, top};

    const SCHEMA: &str = "https://www.speedscope.app/file-format-schema.json";

    /// Returns rows as name, flat and cum.
    fn rows(profiles: &str) -> Vec<(String, i64, i64)> {
        let text = format!(
            "{{\"$schema\":\"{SCHEMA}\",\"shared\":{{\"frames\":[{{\"name\":\"main\"}},\
             {{\"name\":\"f\",\"file\":\"f.js\",\"line\":7}}]}},\"profiles\":[{profiles}]}}"
        );
        let read = crate::read(text.as_bytes()).unwrap();
        assert_eq!(read.format, Format::Speedscope);
        let top = top(&read.stacks, &TopOptions::default()).unwrap();
        top.rows.into_iter().map(|row| (row.name, row.flat, row.cum)).collect()
    }

    #[test]
    fn both_kinds_are_read() {
        let expected = [("f".to_owned(), 3000, 3000), ("main".to_owned(), 1000, 4000)];
        assert_eq!(
            rows(
                "{\"type\":\"sampled\",\"name\":\"a\",\"unit\":\"microseconds\",\"startValue\":0,\
                 \"endValue\":4,\"samples\":[[0,1],[0]],\"weights\":[3,1]}"
            ),
            expected
        );
        assert_eq!(
            rows(
                "{\"type\":\"evented\",\"name\":\"a\",\"unit\":\"microseconds\",\"startValue\":0,\
                 \"endValue\":4,\"events\":[{\"type\":\"O\",\"frame\":0,\"at\":0},\
                 {\"type\":\"O\",\"frame\":1,\"at\":1},{\"type\":\"C\",\"frame\":1,\"at\":4},\
                 {\"type\":\"C\",\"frame\":0,\"at\":4}]}"
            ),
            expected
        );
    }

    #[test]
    fn what_expands_has_a_limit() {
        let mut events = String::new();
        for at in 0..2000 {
            events += &format!("{{\"type\":\"O\",\"frame\":0,\"at\":{at}}},");
        }
        let text = format!(
            "{{\"$schema\":\"{SCHEMA}\",\"shared\":{{\"frames\":[{{\"name\":\"f\"}}]}},\
             \"profiles\":[{{\"type\":\"evented\",\"name\":\"\",\"unit\":\"none\",\"events\":[{}]}}]}}",
            events.trim_end_matches(',')
        );
        let error = read(text.as_bytes(), 1000).unwrap_err().chain();
        assert!(error.ends_with("more than 1000 frames in its stacks"), "{error}");
        assert!(read(text.as_bytes(), 10_000_000).is_ok());
    }
}
