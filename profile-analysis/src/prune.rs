//! Frames that a profile says are of no interest: its `drop_frames` and `keep_frames`.

use profile_format::profile::{Profile, Samples};

use crate::Result;
use crate::pattern::compile;

/// Drops frames as `go tool pprof` does before it shows anything: a frame goes where `drop_frames`
/// matches its whole name and `keep_frames` does not, and so does all that it called; but none
/// above the first frame that stays, so that no stack loses everything.
///
/// # Errors
///
/// Where one of them is no regular expression, or too large a one.
pub(crate) fn drop_frames(profile: &mut Profile) -> Result<()> {
    if profile.str(profile.drop_frames).is_empty() {
        return Ok(());
    }
    let whole = |pattern: &str| compile(&format!("^({pattern})$"));
    let dropped = whole(profile.str(profile.drop_frames))?;
    let kept = match profile.str(profile.keep_frames) {
        "" => None,
        pattern => Some(whole(pattern)?),
    };
    let goes: Vec<bool> = profile
        .functions
        .iter()
        .map(|function| match shorten_name(profile.str(function.name)) {
            "" => false,
            name => {
                dropped.is_match(name) && !kept.as_ref().is_some_and(|kept| kept.is_match(name))
            }
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
