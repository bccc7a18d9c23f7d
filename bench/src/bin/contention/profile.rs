//! What a profile says of a function.

use profile_core::Collector;
use profile_core::profile::{DecodeLimits, Profile};

/// The profile of what happens in a window of this collector.
pub(crate) fn window(collector: &dyn Collector, during: impl FnOnce()) -> Profile {
    let window = collector.start().expect("the collector starts");
    during();
    decode(&window.close()().expect("the profile is finished")[0].bytes)
}

/// A profile from its bytes.
pub(crate) fn decode(bytes: &[u8]) -> Profile {
    Profile::decode(bytes, &DecodeLimits::default()).expect("our own profiles can be read")
}

/// The sum of a value over the samples with a function whose name ends so.
pub(crate) fn sum(profile: &Profile, value: usize, function: &str) -> f64 {
    let has = |stack: &[u32]| {
        stack.iter().any(|&location| {
            let lines = profile.lines_of(&profile.locations[location as usize]);
            lines.iter().any(|line| {
                profile.str(profile.functions[line.function as usize].name).contains(function)
            })
        })
    };
    let samples = profile.samples.iter().filter(|sample| has(sample.stack));
    samples.map(|sample| sample.values[value] as f64).sum()
}
