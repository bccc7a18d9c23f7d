//! The JSON that speedscope opens: a `sampled` profile, each stack one sample with its weight.

use serde::{Serialize, Serializer};

use super::Flame;
use crate::Result;
use crate::top::saturate;

#[derive(Serialize)]
struct SpeedscopeFile<'a> {
    #[serde(rename = "$schema")]
    schema: &'static str,
    name: &'a str,
    exporter: &'static str,
    #[serde(rename = "activeProfileIndex")]
    active: u32,
    shared: SharedFrames<'a>,
    profiles: Vec<SampledProfile<'a>>,
}

#[derive(Serialize)]
struct SharedFrames<'a> {
    frames: Vec<SpeedscopeFrame<'a>>,
}

#[derive(Serialize)]
struct SpeedscopeFrame<'a> {
    name: &'a str,
}

#[derive(Serialize)]
struct SampledProfile<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    name: &'a str,
    unit: &'static str,
    #[serde(rename = "startValue")]
    start: i64,
    #[serde(rename = "endValue")]
    end: i64,
    #[serde(serialize_with = "serialize_stacks")]
    samples: ChosenStacks<'a>,
    weights: Vec<i64>,
}

/// The stacks of a flame graph that are written.
struct ChosenStacks<'a> {
    flame: &'a Flame,
    stacks: Vec<usize>,
}

fn serialize_stacks<S: Serializer>(
    chosen: &ChosenStacks<'_>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(chosen.stacks.iter().map(|&stack| chosen.flame.stack(stack)))
}

/// Writes the stacks whose values are above zero; of two profiles those of the new one.
///
/// # Errors
///
/// Where no stack has a value above zero.
pub fn speedscope<'a>(flame: &'a Flame, title: &'a str) -> Result<impl Serialize + 'a> {
    super::check_not_empty(flame)?;
    let stacks: Vec<usize> = (0..flame.len()).filter(|&stack| flame.values[stack] > 0).collect();
    let weights: Vec<i64> = stacks.iter().map(|&stack| saturate(flame.values[stack])).collect();
    let end = weights.iter().fold(0_i64, |sum, &weight| sum.saturating_add(weight));
    let unit = match flame.unit.as_str() {
        "bytes" | "byte" => "bytes",
        "nanoseconds" | "ns" => "nanoseconds",
        "microseconds" | "us" => "microseconds",
        "milliseconds" | "ms" => "milliseconds",
        "seconds" | "s" => "seconds",
        _ => "none",
    };
    Ok(SpeedscopeFile {
        schema: "https://www.speedscope.app/file-format-schema.json",
        name: title,
        exporter: concat!("profilez ", env!("CARGO_PKG_VERSION")),
        active: 0,
        shared: SharedFrames {
            frames: flame.names.iter().map(|name| SpeedscopeFrame { name }).collect(),
        },
        profiles: vec![SampledProfile {
            kind: "sampled",
            name: &flame.sample_type,
            unit,
            start: 0,
            end,
            samples: ChosenStacks { flame, stacks },
            weights,
        }],
    })
}
