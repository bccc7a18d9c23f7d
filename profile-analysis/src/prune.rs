//! Frames that a profile says are of no interest: its `drop_frames` and `keep_frames`.

use std::collections::HashMap;

use profile_format::profile::{Profile, Samples};

use crate::pattern::compile;
use crate::{Error, Result};

/// The most bytes of an expression that a profile brings. The longest that is known, of gperftools,
/// has 600.
const LONGEST: usize = 64 << 10;

/// Expressions for frames to drop and frames to keep all the same, as a profile has them.
pub(crate) struct FrameDrops {
    dropped: String,
    kept: String,
}

impl FrameDrops {
    /// Returns those of a profile, where it has any.
    pub(crate) fn of(profile: &Profile) -> Option<FrameDrops> {
        let text = |id| profile.str(id).to_owned();
        let drops =
            FrameDrops { dropped: text(profile.drop_frames), kept: text(profile.keep_frames) };
        (!drops.dropped.is_empty()).then_some(drops)
    }
}

/// Drops frames as `go tool pprof` does before it shows anything: a frame goes where `drop_frames`
/// matches its whole name and `keep_frames` does not, and so does all that it called; but none
/// above the first frame that stays, so that no stack loses everything.
///
/// # Errors
///
/// Where one of them is no regular expression, or too large a one.
pub(crate) fn drop_frames(profile: &mut Profile, drops: &FrameDrops) -> Result<()> {
    let whole = |pattern: &str| match pattern.len() {
        ..=LONGEST => compile(&format!("^({pattern})$")),
        _ => Err(Error::PatternTooLong { limit: LONGEST }),
    };
    let dropped = whole(&drops.dropped)?;
    let kept = if drops.kept.is_empty() { None } else { Some(whole(&drops.kept)?) };
    // Millions of functions may have one name.
    let mut known = HashMap::new();
    let goes: Vec<bool> = profile
        .functions
        .iter()
        .map(|function| {
            *known.entry(function.name).or_insert_with(|| {
                let name = shorten_name(profile.str(function.name));
                let is_kept = || kept.as_ref().is_some_and(|kept| kept.is_match(name));
                !name.is_empty() && dropped.is_match(name) && !is_kept()
            })
        })
        .collect();
    let cuts: Vec<LocationCut> = (0..profile.locations.len())
        .map(|index| {
            let lines = profile.locations[index].lines.clone();
            let of_location = &profile.lines[lines.start as usize..lines.end as usize];
            let outermost = of_location.iter().rposition(|line| goes[line.function as usize]);
            match outermost {
                None => LocationCut::Nowhere,
                Some(at) if at + 1 == of_location.len() => LocationCut::Whole,
                Some(at) => {
                    profile.locations[index].lines.start += at as u32 + 1;
                    LocationCut::Below
                }
            }
        })
        .collect();
    let mut samples = Samples::new(profile.sample_types.len());
    for sample in profile.samples.iter() {
        let cut = |location: u32| cuts[location as usize];
        let root = sample.stack.iter().rposition(|&location| cut(location) == LocationCut::Nowhere);
        let hit = root.and_then(|root| {
            sample.stack[..root].iter().rposition(|&location| cut(location) != LocationCut::Nowhere)
        });
        let from = match hit {
            Some(at) if cut(sample.stack[at]) == LocationCut::Whole => at + 1,
            Some(at) => at,
            None => 0,
        };
        samples.push(&sample.stack[from..], sample.values, sample.labels);
    }
    profile.samples = samples;
    Ok(())
}

/// The part of a location that is left out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LocationCut {
    Nowhere,
    /// The location, and what it called.
    Whole,
    /// The frames that it called, inlined or not.
    Below,
}

/// Returns a name without its arguments, as `go tool pprof` shortens it before it looks.
fn shorten_name(name: &str) -> &str {
    let name = name.strip_prefix('.').unwrap_or(name);
    let mut from = 0;
    while let Some(at) = name[from..].find('(').map(|at| from + at) {
        let reserved = if name[at..].starts_with("(anonymous namespace)") {
            at + "(anonymous namespace)".len()
        } else if name[..at].ends_with("operator") && name[at..].starts_with("()") {
            at + "()".len()
        } else {
            return &name[..at];
        };
        from = reserved;
    }
    name
}
