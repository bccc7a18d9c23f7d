//! The engines that are compared, behind one face: start, then either stop or finish.

use std::fmt;
use std::str::FromStr;

use profile_core::Collector;
use profile_core::collect::{SampledCpu, Window};
use profile_core::profile::{DecodeLimits, Profile};

/// What samples a process, if anything does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// Nothing: the truth that the others are compared with.
    None,
    /// Our own sampler.
    Ours,
    /// The `pprof` crate with its default unwinder. Samples inside libgcc are left out: without
    /// that it crashes on the first panic.
    Pprof,
}

/// An engine at work.
pub struct Sampling(Inner);

enum Inner {
    None,
    Ours(Box<dyn Window>),
    Pprof(pprof::ProfilerGuard<'static>),
}

/// One stack of a profile.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The function of each frame, the leaf first. What was inlined into it is left out.
    pub functions: Vec<String>,
    /// The thread's name.
    pub thread: String,
    /// How many times it was sampled.
    pub count: f64,
}

impl Engine {
    /// Begins to sample.
    ///
    /// # Panics
    ///
    /// Where the engine does not start: there is nothing to measure then.
    pub fn start(self, hz: u32) -> Sampling {
        Sampling(match self {
            Engine::None => Inner::None,
            Engine::Ours => Inner::Ours(SampledCpu::new().hz(hz).start().expect("ours starts")),
            Engine::Pprof => Inner::Pprof(
                pprof::ProfilerGuardBuilder::default()
                    .frequency(hz as i32)
                    .blocklist(&["libgcc"])
                    .build()
                    .expect("the pprof crate starts"),
            ),
        })
    }
}

impl Sampling {
    /// Ends, and hands over what was sampled as addresses, which nobody looks at.
    pub fn stop(self) {
        match self.0 {
            Inner::None => {}
            Inner::Ours(window) => drop(window.close()),
            Inner::Pprof(guard) => drop(guard.report().build_unresolved()),
        }
    }

    /// Ends, and gives every stack by name.
    pub fn finish(self) -> Vec<Sample> {
        match self.0 {
            Inner::None => Vec::new(),
            Inner::Ours(window) => {
                let files = window.close()().expect("ours finishes");
                decode(&files[0].bytes)
            }
            Inner::Pprof(guard) => {
                let report = guard.report().build().expect("the pprof crate finishes");
                report.data.iter().map(|(frames, count)| resolved(frames, *count)).collect()
            }
        }
    }
}

/// The samples of a `cpu.prof`.
///
/// # Panics
///
/// Where it does not decode: then its writer is at fault.
pub fn decode(bytes: &[u8]) -> Vec<Sample> {
    let profile = Profile::decode(bytes, &DecodeLimits::default()).expect("ours decodes");
    let name = |location: u32| {
        let outermost = profile.lines_of(&profile.locations[location as usize]).last();
        outermost.map_or_else(String::new, |line| {
            profile.str(profile.functions[line.function as usize].name).to_owned()
        })
    };
    let samples = profile.samples.iter();
    let sample = |sample: profile_core::profile::Sample<'_>| Sample {
        functions: sample.stack.iter().map(|&location| name(location)).collect(),
        thread: sample
            .labels
            .iter()
            .find(|label| profile.str(label.key) == "thread")
            .map_or_else(String::new, |label| profile.str(label.str).to_owned()),
        count: sample.values[0] as f64,
    };
    samples.map(sample).collect()
}

fn resolved(frames: &pprof::Frames, count: isize) -> Sample {
    Sample {
        functions: frames
            .frames
            .iter()
            .map(|symbols| symbols.last().map_or_else(String::new, pprof::Symbol::name))
            .collect(),
        thread: frames.thread_name.clone(),
        count: count as f64,
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Engine::None => "none",
            Engine::Ours => "ours",
            Engine::Pprof => "pprof",
        })
    }
}

impl FromStr for Engine {
    type Err = String;

    fn from_str(name: &str) -> Result<Engine, String> {
        [Engine::None, Engine::Ours, Engine::Pprof]
            .into_iter()
            .find(|engine| engine.to_string() == name)
            .ok_or_else(|| format!("no such engine: {name}"))
    }
}
